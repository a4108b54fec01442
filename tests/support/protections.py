"""What protects against each attack: the lines that do it, and the tests that see it gone.

``attack/unprotect.py`` takes them out one by one; ``unit/test_protections.py`` holds the list to the tree,
and ``docs/security.md`` to the list.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Edit:
    """``old`` stands once in the file ``path`` of the tree; with ``new`` in its place the protection is gone."""

    path: str
    old: str
    new: str

    def apply(self, text: str) -> str:
        """The file's text without the protection."""
        assert text.count(self.old) == 1, f"{self.path}: the protection's lines have changed: {self.old!r}"
        return text.replace(self.old, self.new)


@dataclass(frozen=True)
class Protection:
    """One protection: its name, the attack, the mechanism in words, and the tests below ``tests/`` that must fail."""

    name: str
    threat: str
    mechanism: str
    edits: tuple[Edit, ...]
    tests: tuple[str, ...]


def _one(name: str, threat: str, mechanism: str, path: str, old: str, new: str, *tests: str) -> Protection:
    return Protection(name, threat, mechanism, (Edit(path, old, new),), tuple(f"tests/{test}" for test in tests))


_INIT, _SECURITY, _MOUNTS = "rootless/runtime/init.py", "rootless/runtime/security.py", "rootless/runtime/mounts.py"
_JOIN = "rootless/runtime/join.py"
_CLIENT, _REGISTRY = "rootless/image/client.py", "rootless/image/registry.py"
_EXTRACT, _FILES = "rootless/storage/extract.py", "rootless/kernel/files.py"
_DEFAULTS = "attack/test_attack_defaults.py::test_the_defaults_of_a_container"

PROTECTIONS = (
    # ---- what the program may do
    _one(
        "seccomp", "system calls that containers have no use for", "the seccomp filter",
        "rootless/runtime/program.py", "filter_ = seccomp.program_for(spec.seccomp)", 'filter_ = b""',
        _DEFAULTS,
    ),
    _one(
        "namespaces from inside", "the kernel's code for a new user namespace", "clone's flags are looked at",
        "rootless/runtime/seccomp_profile.py", "_NAMESPACE_FLAGS = 0x7E020000", "_NAMESPACE_FLAGS = 0",
        _DEFAULTS,
    ),
    _one(
        "socket families", "the hypervisor and the kernel's crypto through a socket", "families that are named",
        "rootless/runtime/seccomp_profile.py", "39, *range(41, 46))", "*range(38, 46))",
        _DEFAULTS,
    ),
    _one(
        "bounding set", "capabilities over the container's own namespace", "PR_CAPBSET_DROP",
        _SECURITY, "if not bounding >> number & 1:", "if False:",
        _DEFAULTS,
    ),
    _one(
        "no new privileges", "set-id programs of the image", "PR_SET_NO_NEW_PRIVS",
        _SECURITY, "    syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)", "    pass",
        "attack/test_attack_defaults.py::test_set_id_programs_gain_nothing_under_no_new_privileges",
    ),
    _one(
        "masked paths", "files of the kernel that tell about the host", "an empty tmpfs or /dev/null over them",
        _INIT, "mounts.mask(root, path)", "pass",
        _DEFAULTS, "integration/test_isolation.py::test_paths_of_the_kernel_are_closed",
    ),
    _one(
        "read-only paths", "files of the kernel that change it", "read-only mounts over themselves",
        _INIT, "mounts.make_readonly(root, path)", "pass",
        _DEFAULTS,
    ),
    _one(
        "read-only /sys", "writing to /sys", "a read-only sysfs",
        "rootless/engine/specs.py",
        'mounts.append(Mount("/sys", "sysfs", "sysfs", [*closed, *([] if options.privileged else ["ro"])]))',
        'mounts.append(Mount("/sys", "sysfs", "sysfs", closed))',
        _DEFAULTS,
    ),
    _one(
        "cgroup namespace", "names of the host's services and sessions", "CLONE_NEWCGROUP",
        _INIT, "        syscalls.unshare(syscalls.CLONE_NEWCGROUP)", "        pass",
        "attack/test_attack_process.py::test_a_container_sees_no_cgroup_above_its_own",
    ),
    _one(
        "umask", "files that everybody may write, made under the caller's umask", "the umask of the specification",
        _INIT, "    os.umask(process.umask)", "    pass",
        "attack/test_attack_process.py::test_the_callers_umask_is_not_the_programs",
    ),
    Protection(
        "session keyring", "keys of the caller's session", "KEYCTL_JOIN_SESSION_KEYRING in run and exec",
        (
            Edit(_INIT, "        syscalls.new_session_keyring()", "        pass"),
            Edit(_JOIN, "        syscalls.new_session_keyring()", "        pass"),
        ),
        ("tests/attack/test_attack_process.py::test_the_callers_keys_stay_outside",),
    ),
    _one(
        "primary group", "dropping a group to escape what it is denied (CVE-2022-2995)",
        "it is a supplementary one, too",
        "rootless/runtime/users.py", "    groups.append(gid)\n", "",
        "attack/test_attack_runtime.py::test_the_primary_group_is_a_supplementary_one_too",
    ),
    _one(
        "numeric user names", "a passwd line that calls root 1000", "a number is never a name",
        "rootless/runtime/users.py", "(wanted is None and fields[0] == user)", "(fields[0] == user)",
        "attack/test_attack_runtime.py::test_a_numeric_name_means_the_number",
    ),
    _one(
        "ids out of range", "ids that wrap around to 0", "at most 2^32 - 2",
        "rootless/kernel/userns.py", "return decimal(text, MAX_ID)", "return int(text) if text.isdecimal() else None",
        "attack/test_attack_runtime.py::test_ids_that_no_file_can_have",
    ),
    _one(
        "passwd as a FIFO", "an image that stops the launch for ever", "O_NONBLOCK, and regular files only",
        "rootless/runtime/users.py",
        "fd = root.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)\n    except OSError:\n        return []",
        "fd = root.open(path, os.O_RDONLY)\n    except OSError:\n        return []",
        "attack/test_attack_runtime.py::test_a_passwd_file_that_is_a_trap",
    ),
    _one(
        "depth of trees", "a tree that overflows the stack of whoever packs it", "200 directories, and then a word",
        "rootless/storage/depth.py", "if depth > MAX_DEPTH:", "if depth > 10_000:",
        "attack/test_attack_depth.py::test_what_a_container_made_too_deep_to_pack",
    ),
    _one(
        "device over masked paths", "a link at /dev/null that is shown in the place of what is masked (CVE-2025-31133)",
        "the host's device, whose number is checked",
        _MOUNTS, '        tree = _host_device("/dev/null", "c", 1, 3)',
        '        tree = sc.open_tree(root.open("/dev/null"), "", sc.OPEN_TREE_CLONE | sc.AT_EMPTY_PATH)',
        "attack/test_attack_oci.py::test_a_dev_of_somebody_else_lends_nothing_to_a_mask",
    ),
    _one(
        "terminal of exec", "a path to a terminal that leads to something else (CVE-2025-52565)", "TIOCGPTPEER",
        "rootless/runtime/terminal.py", "fcntl.ioctl(master, _TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)",
        'root.open("/dev/pts/0", os.O_RDWR | os.O_NOCTTY)',
        "attack/test_attack_exec.py::test_the_terminal_of_exec_is_the_masters_other_end",
    ),
    # ---- the host's files and the engine
    _one(
        "root of every path", "links of the image at a mount's target or the working directory",
        "openat2 with RESOLVE_IN_ROOT",
        _MOUNTS, "resolve = sc.RESOLVE_IN_ROOT | (0 if links else sc.RESOLVE_NO_SYMLINKS)",
        "resolve = 0 if links else sc.RESOLVE_NO_SYMLINKS",
        "attack/test_attack_runtime.py::test_a_workdir_through_a_link_makes_nothing_on_the_host",
        "attack/test_attack_runtime.py::test_a_link_at_a_volumes_target",
    ),
    _one(
        "places of the kernel", "/proc as a link, so that something else is masked (CVE-2019-19921)",
        "openat2 with RESOLVE_NO_SYMLINKS",
        _MOUNTS, "target = root.open(mount.destination, links=False)", "target = root.open(mount.destination)",
        "attack/test_attack_process.py::test_the_kernels_places_are_directories_of_the_image",
        "attack/test_attack_oci.py::test_a_link_within_the_root_where_the_kernel_is_mounted",
    ),
    _one(
        "subpath", "a link at the part of a volume or image that is mounted", "openat2 with RESOLVE_BENEATH",
        _MOUNTS, "resolve = sc.RESOLVE_BENEATH | sc.RESOLVE_NO_MAGICLINKS", "resolve = sc.RESOLVE_NO_MAGICLINKS",
        "attack/test_attack_volumes.py::test_an_image_that_is_mounted_shows_only_itself",
    ),
    _one(
        "VOLUMEs of images", "a volume over the kernel's files (CVE-2019-16884)", "refused by name",
        "rootless/engine/mounts.py", 'if wanted.destination.startswith(("/proc/", "/sys/")):', "if False:",
        "attack/test_attack_runtime.py::test_an_image_volume_over_the_kernels_files",
    ),
    _one(
        "leaked descriptors", "descriptors that the caller left open", "CLOSE_RANGE_CLOEXEC before the exec",
        _INIT, "    syscalls.close_on_exec_from(3)\n", "",
        "attack/test_attack_runtime.py::test_descriptors_that_the_caller_leaked_stay_outside",
    ),
    _one(
        "working directory", "a working directory through a leaked descriptor (CVE-2024-21626)",
        "getcwd after the chdir",
        _INIT, "    if not inside:\n", "    if False:\n",
        "attack/test_attack_runtime.py::test_a_workdir_through_a_leaked_descriptor",
    ),
    _one(
        "sealed init", "overwriting the engine through /proc/PID/exe (CVE-2019-5736)", "a sealed copy in memory",
        "rootless/runtime/program.py", "    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)\n", "",
        "attack/test_attack_process.py::test_what_executes_the_program_is_a_sealed_copy",
    ),
    Protection(
        "joining processes", "a container that traces who joins it, and with it the engine", "PR_SET_DUMPABLE",
        (
            Edit(_JOIN, "syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)\n        fd = ", "fd = "),
            Edit(_JOIN, "syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)\n        os.setsid()", "os.setsid()"),
        ),
        ("tests/attack/test_attack_exec.py::test_the_interpreter_behind_exec_is_out_of_reach",),
    ),
    _one(
        "late imports", "modules of the image that the engine would run", "no import after the root was changed",
        _INIT, "    sys.path.clear()\n    sys.path_hooks.clear()\n    sys.path_importer_cache.clear()\n", "    pass\n",
        "attack/test_attack_process.py::test_nothing_is_imported_after_the_root_was_changed",
    ),
    _one(
        "ids of --userns auto", "one container's processes and files against another's", "ids that nobody else has",
        "rootless/runtime/autoids.py", "for extents in [*taken, over] for extent in extents", "for extent in over",
        "attack/test_attack_userns.py::test_containers_with_ids_of_their_own_cannot_touch_each_other",
    ),
    _one(
        "the host's loopback", "services that listen on 127.0.0.1 only", "slirp4netns --disable-host-loopback",
        "rootless/network/slirp4netns.py", 'arguments.append("--disable-host-loopback")', "pass",
        "attack/test_attack_network.py::test_the_hosts_loopback_is_closed",
    ),
    # ---- state, words, the user's own files
    _one(
        "names of containers", "names that are paths or options", "letters, digits and three signs",
        "rootless/state/containers.py",
        "if not name or len(name) > 200 or not name[0].isalnum() or not _NAME_CHARACTERS.issuperset(name):",
        "if False:",
        "attack/test_attack_state.py::test_names_that_cannot_be",
    ),
    _one(
        "names of volumes", "names that are paths or options", "letters, digits and three signs",
        "rootless/storage/volumes.py",
        'if not name or len(name) > _MAX_NAME or name[0] in "_.-" or not _CHARACTERS.issuperset(name):', "if False:",
        "integration/test_volume_verbs.py::test_volume_verbs_that_make_no_sense",
    ),
    _one(
        "ids of rpod-runtime", "ids that are paths", "letters, digits and four signs",
        "rootless/oci/store.py",
        'if not ident or ident in (".", "..") or len(ident) > _ID_MAX or not set(ident) <= _ALLOWED:', "if False:",
        "attack/test_attack_oci.py::test_hostile_names",
    ),
    _one(
        "runtime directory", "a runtime directory that is a link or another user's", "lstat, owner and mode",
        _FILES, "if not stat.S_ISDIR(info.st_mode) or info.st_uid != os.geteuid():", "if False:",
        "attack/test_attack_state.py::test_a_runtime_directory_that_is_not_to_be_trusted",
    ),
    _one(
        "escape sequences", "names, labels and answers that drive a terminal", "control characters are escaped",
        "rootless/log.py", "    if text.isprintable():\n        return text\n", "    return text\n",
        "attack/test_attack_exec.py::test_a_program_that_prints_escape_sequences_into_tables",
        "attack/test_attack_image.py::test_escape_sequences_in_an_answer_are_made_visible",
    ),
    _one(
        "lines of hosts", "a name with a line end in /etc/hosts", "the characters of host names",
        "rootless/network/names.py", 'all(c.isascii() and (c.isalnum() or c in "-._") for c in name)', "True",
        "attack/test_attack_network.py::test_no_line_is_smuggled_into_hosts",
    ),
    _one(
        "cached code", "compiled code that others may write", "owner and mode are looked at",
        "rootless/kernel/codecache.py",
        "if info.st_uid != os.geteuid() or info.st_mode & 0o022 or not stat.S_ISREG(info.st_mode):", "if False:",
        "attack/test_attack_files.py::test_code_that_others_may_write_is_not_run",
    ),
    _one(
        "cached filter and settings", "a compiled filter or settings that others may write",
        "owner and mode are looked at",
        _FILES, "if own and (info.st_uid != os.geteuid() or info.st_mode & 0o022):", "if False:",
        "attack/test_attack_files.py::test_a_filter_that_others_may_write_is_not_used",
        "attack/test_attack_files.py::test_settings_that_others_may_write_are_not_used",
    ),
    _one(
        "mode of logins", "passwords that others read", "0600 from the first byte",
        _FILES, "*, mode: int = 0o600,", "*, mode: int = 0o666,",
        "attack/test_attack_files.py::test_a_login_is_closed_to_others_from_its_first_byte",
    ),
    _one(
        "traps among files", "a FIFO in the place of a file", "O_NONBLOCK, and regular files only",
        _FILES, "fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)", "fd = os.open(path, os.O_RDONLY)",
        "attack/test_attack_files.py::test_a_description_of_devices_that_is_a_trap",
    ),
    _one(
        "event log", "a link in the place of the event log", "O_NOFOLLOW",
        "rootless/state/events.py", "os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK", "os.O_CLOEXEC | os.O_NONBLOCK",
        "attack/test_attack_files.py::test_the_event_log_is_no_way_to_other_files",
    ),
    _one(
        "event log of the monitor", "the same, where the monitor writes", "O_NOFOLLOW",
        "helpers/record.c", "O_CREAT | O_NOFOLLOW | O_NONBLOCK", "O_CREAT | O_NONBLOCK",
        "attack/test_attack_files.py::test_the_event_log_is_no_way_to_other_files",
    ),
    _one(
        "event log as a FIFO", "a verb that waits for ever", "O_NONBLOCK",
        "rootless/state/events.py", "os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK", "os.O_CLOEXEC | os.O_NOFOLLOW",
        "attack/test_attack_files.py::test_an_event_log_of_nonsense",
    ),
    _one(
        "size of logs", "a program that fills the disk with its output", "rotation",
        "helpers/log.c", "log->size + log->used > log->max_size", "0",
        "unit/test_monitor_log.py::test_rotation_with_one_file_begins_it_anew",
    ),
    _one(
        "output of health checks", "a check of the image that prints without end", "1 MiB is kept",
        "rootless/engine/health.py", "if len(data) < _OUTPUT_MAX:", "if True:",
        "attack/test_attack_health.py::test_a_check_that_prints_without_end",
    ),
    _one(
        "names of services", "a unit that is installed elsewhere", "names without folders",
        "rootless/units/service.py", 'if "/" in name or name.startswith("."):', "if False:",
        "attack/test_attack_quadlet.py::test_links_stay_in_the_folder",
    ),
    # ---- archives
    _one(
        "names that climb", "../ in an archive", "refused, with the entry's name",
        _EXTRACT,
        '            if not parts:\n                raise StorageError(f"{shown(name)} leads out of the archive")\n',
        "            if not parts:\n                continue\n",
        "attack/test_attack_storage.py::test_names_that_climb",
        "attack/test_attack_cp.py::test_names_in_a_stream_that_climb",
    ),
    _one(
        "root of a layer", "a link in an archive, and something through it", "chroot into the layer's directory",
        "rootless/storage/unpack.py", '    os.chroot(".")\n', "",
        "attack/test_attack_storage.py::test_a_link_and_something_through_it",
    ),
    _one(
        "devices in layers", "device nodes, and overlayfs' own mark", "none is made",
        _EXTRACT, "        self._devices += 1\n",
        "        os.mknod(name, stat.S_IFCHR, 0)\n        self._devices += 1\n",
        "attack/test_attack_storage.py::test_no_device_not_even_a_whiteout",
    ),
    _one(
        "attributes of the drivers", "an archive that speaks to overlayfs", "those attributes are left out",
        _EXTRACT, " or key.startswith(DRIVER_XATTRS):", ":",
        "attack/test_attack_storage.py::test_attributes_of_the_drivers_are_not_taken",
    ),
    _one(
        "whiteouts of nothing", "a whiteout of .. or of no name", "refused",
        "rootless/storage/whiteouts.py", 'elif target in (b"", b".", b".."):', "elif False:",
        "unit/test_storage_layers.py::test_whiteouts_of_nothing",
    ),
    _one(
        "bombs", "a few bytes that unpack to terabytes", "a limit on the uncompressed stream",
        "rootless/storage/inflate.py", "if total > limit_bytes:", "if False:",
        "attack/test_attack_storage.py::test_bombs",
    ),
    _one(
        "number of entries", "ten million files", "a limit on the entries",
        "rootless/storage/tarstream.py", "if self._headers_left < 0:", "if False:",
        "unit/test_storage_tar.py::test_entries_are_counted",
    ),
    _one(
        "lengths in archives", "a file that is longer than its archive, or ends before it begins", "bounds, checked",
        "rootless/storage/tarheader.py", "if not fits or total != stored:", "if False:",
        "unit/test_storage_tar.py::test_what_cannot_be_right",
    ),
    _one(
        "cp from a container", "a link of the container that leads to the host", "openat2 with RESOLVE_IN_ROOT",
        "rootless/engine/copy.py", "_RESOLVE = syscalls.RESOLVE_IN_ROOT | syscalls.RESOLVE_NO_MAGICLINKS",
        "_RESOLVE = syscalls.RESOLVE_NO_MAGICLINKS",
        "attack/test_attack_cp.py::test_a_link_of_the_container_stays_inside",
    ),
    _one(
        "cp to the host", "a container that makes a link of a directory while it is read", "chroot into the target",
        "rootless/engine/copy.py", '        os.chroot(".")\n', "",
        "attack/test_attack_cp.py::test_a_stream_that_a_container_has_made_hostile",
    ),
    _one(
        "owners", "chown -R through a link", "no link is followed",
        "rootless/runtime/chown.py", "os.chown(name, uid, gid, dir_fd=directory, follow_symlinks=False)",
        "os.chown(name, uid, gid, dir_fd=directory)",
        "integration/test_mend.py::test_chown_gives_everything_back",
    ),
    _one(
        "links in layouts", "a layout whose blobs are links to the user's files", "openat2 with RESOLVE_NO_SYMLINKS",
        "rootless/engine/transports/blobs.py", "resolve = syscalls.RESOLVE_BENEATH | syscalls.RESOLVE_NO_SYMLINKS",
        "resolve = 0",
        "attack/test_attack_load.py::test_layouts_with_links_are_refused",
    ),
    # ---- registries
    _one(
        "digest of a manifest", "another manifest than was asked for", "sha256 before it is parsed",
        _REGISTRY, 'if expected.startswith("sha256:") and check_digest(expected) != found:', "if False:",
        "attack/test_attack_image.py::test_manifest_by_digest_with_other_bytes",
    ),
    _one(
        "form of a digest", "a digest that is a path", "sha256: and 64 lower-case digits",
        "rootless/image/reference.py", "if len(value) != 64 or not _HEX.issuperset(value):", "if False:",
        "unit/test_image_manifest.py::test_damaged_manifests",
        "unit/test_image_reference.py::test_hostile_names_are_refused",
    ),
    _one(
        "one meaning of JSON", "a key that is there twice, read differently by two tools",
        "duplicate keys are refused",
        "rootless/kernel/fastjson.py", "if len(result) != len(pairs):", "if False:",
        "unit/test_image_manifest.py::test_damaged_manifests",
    ),
    _one(
        "digest of a blob", "other bytes than the manifest says", "sha256 over the stream",
        _REGISTRY, 'if f"sha256:{digest.hexdigest()}" == descriptor.digest:', "if True:",
        "attack/test_attack_image.py::test_layer_with_other_bytes",
        "attack/test_attack_image.py::test_config_with_other_bytes",
    ),
    _one(
        "size of a blob", "a blob without end", "no byte more than the manifest says",
        _REGISTRY, "if done > descriptor.size:", "if False:",
        "attack/test_attack_image.py::test_layer_longer_than_said_without_a_length",
    ),
    _one(
        "diff id", "a layer that unpacks to something else", "sha256 of the uncompressed layer",
        "rootless/storage/unpack.py", "elif found != orders.diff_id:", "elif False:",
        "attack/test_attack_storage.py::test_a_layer_that_unpacks_to_something_else",
    ),
    _one(
        "size of a manifest", "a document that fills the memory", "4 MiB",
        "rootless/image/manifest.py", "if len(raw) > MAX_BYTES:", "if False:",
        "unit/test_image_manifest.py::test_damaged_manifests",
    ),
    _one(
        "kind of a manifest", "one document that two tools understand differently", "one meaning, or refused",
        "rootless/image/manifest.py",
        'if "manifests" in document and ("layers" in document or "config" in document):', "if False:",
        "attack/test_attack_image.py::test_both_an_image_and_an_index",
    ),
    _one(
        "passwords across redirects", "a registry that redirects to a thief", "Authorization stays with its origin",
        _CLIENT, "if origin != home:", "if False:",
        "attack/test_attack_image.py::test_credentials_stay_when_a_blob_is_redirected",
    ),
    _one(
        "realm", "a token service of somebody else", "passwords go to the registry's own domain",
        _CLIENT, "if credentials and not challenges_of.trusts_realm(registry.host, origin.host):", "if False:",
        "attack/test_attack_image.py::test_a_password_goes_to_no_foreign_realm",
    ),
    _one(
        "https to http", "a redirect that takes TLS off", "refused",
        _CLIENT, 'if response.origin.scheme == "https" and origin.scheme == "http":', "if False:",
        "attack/test_attack_image.py::test_from_https_to_http_is_refused",
    ),
    _one(
        "http unasked", "a registry without TLS", "only hosts that are named as insecure",
        "rootless/image/transport.py",
        'if origin.scheme == "http" and not origin.is_any_of(self.insecure):', "if False:",
        "attack/test_attack_image.py::test_insecure_means_that_host_and_port_only",
    ),
    _one(
        "certificates", "somebody in the middle", "TLS with the system's authorities, and no way back",
        "rootless/image/certificates.py", "    if not verify:\n", "    if True:\n",
        "attack/test_attack_image.py::test_a_bad_certificate_fails_and_never_falls_back",
    ),
    _one(
        "tokens", "a token that begins another header", "visible ASCII",
        _CLIENT,
        'if not isinstance(token, str) or not token.isascii() or not token.isprintable() or " " in token:', "if False:",
        "attack/test_attack_image.py::test_tokens_that_are_none",
    ),
    # ---- faults
    _one(
        "reused pids", "a recorded pid that is another process now", "the start time is recorded, too",
        "rootless/kernel/process.py", "    if start_ticks(pid) != ticks:\n", "    if False:\n",
        "fault/test_fault_runtime.py::test_a_recorded_pid_that_is_another_process_now",
    ),
    _one(
        "death of the monitor", "a program that nobody watches", "PR_SET_PDEATHSIG",
        _INIT, "        syscalls.prctl(syscalls.PR_SET_PDEATHSIG, 9)", "        pass",
        "fault/test_fault_runtime.py::test_the_end_of_a_process_that_holds_the_container",
    ),
    _one(
        "one name, one container", "eight commands that want one name", "symlink(2), which one of them wins",
        "rootless/state/containers.py", "                if not self._stale_name(path):", "                if False:",
        "fault/test_fault_runtime.py::test_one_name_for_eight",
    ),
    _one(
        "half-made containers", "a client that is killed at any system call", "the next command sweeps",
        "rootless/engine/reconcile.py", "for container in store.unfinished():", "for container in ():",
        "fault/test_fault_runtime.py::test_kill_the_client_at_a_system_call",
    ),
    _one(
        "undoing a create", "what is left of a container that could not be made", "everything is undone in reverse",
        "rootless/engine/create.py", "        new.discard()\n", "        pass\n",
        "integration/test_cdi.py::test_what_is_refused",
    ),
    _one(
        "the caller's terminal", "a signal that leaves the terminal raw", "restored whatever happens",
        "rootless/kernel/tty.py", "            termios.tcsetattr(self._fd, termios.TCSADRAIN, self._saved)",
        "            pass",
        "fault/test_fault_signals.py::test_a_signal_restores_the_terminal",
    ),
)  # fmt: skip


def table() -> str:
    """The rows of docs/security.md."""
    lines = ["| protection | against | by | seen by |", "|---|---|---|---|"]
    for each in PROTECTIONS:
        tests = ", ".join(f"`{test.removeprefix('tests/').replace('.py::', '` `')}`" for test in each.tests)
        lines.append(f"| {each.name} | {each.threat} | {each.mechanism} | {tests} |")
    return "\n".join(lines) + "\n"
