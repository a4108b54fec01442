"""What keeps the host's files and the engine from a container."""

from __future__ import annotations

from support.protections.model import Edit, one, several

_INIT = "rootless/runtime/init.py"
_MOUNTS = "rootless/runtime/mounts.py"
_JOIN = "rootless/runtime/join.py"
_SLIRP = "rootless/network/slirp4netns.py"

PROTECTIONS = (
    one(
        "root of every path", "links of the image at a mount's target or the working directory",
        "openat2 with RESOLVE_IN_ROOT",
        _MOUNTS, "resolve = sc.RESOLVE_IN_ROOT | (0 if links else sc.RESOLVE_NO_SYMLINKS)",
        "resolve = 0 if links else sc.RESOLVE_NO_SYMLINKS",
        "attack/test_attack_runtime.py::test_a_workdir_through_a_link_makes_nothing_on_the_host",
        "attack/test_attack_runtime.py::test_a_link_at_a_volumes_target",
        "attack/test_attack_runtime.py::test_a_link_at_a_place_of_the_runtime",
    ),
    one(
        "places of the kernel", "/proc as a link, so that something else is masked (CVE-2019-19921)",
        "openat2 with RESOLVE_NO_SYMLINKS",
        _MOUNTS, "target = root.open(mount.destination, links=False)", "target = root.open(mount.destination)",
        "attack/test_attack_process.py::test_the_kernels_places_are_directories_of_the_image",
        "attack/test_attack_oci.py::test_a_link_within_the_root_where_the_kernel_is_mounted",
    ),
    one(
        "subpath", "a link at the part of a volume or image that is mounted", "openat2 with RESOLVE_BENEATH",
        _MOUNTS, "resolve = sc.RESOLVE_BENEATH | sc.RESOLVE_NO_MAGICLINKS", "resolve = sc.RESOLVE_NO_MAGICLINKS",
        "attack/test_attack_volumes.py::test_an_image_that_is_mounted_shows_only_itself",
    ),
    one(
        "VOLUMEs of images", "a volume over the kernel's files (CVE-2019-16884)", "refused by name",
        "rootless/engine/mounts.py", 'if wanted.destination.startswith(("/proc/", "/sys/")):', "if False:",
        "attack/test_attack_runtime.py::test_an_image_volume_over_the_kernels_files",
    ),
    one(
        "leaked descriptors", "descriptors that the caller left open", "CLOSE_RANGE_CLOEXEC before the exec",
        _INIT, "    syscalls.close_on_exec_from(3)\n", "",
        "attack/test_attack_runtime.py::test_descriptors_that_the_caller_leaked_stay_outside",
    ),
    one(
        "working directory", "a working directory through a leaked descriptor (CVE-2024-21626)",
        "getcwd after the chdir",
        _INIT, "    if not inside:\n", "    if False:\n",
        "attack/test_attack_runtime.py::test_a_workdir_through_a_leaked_descriptor",
    ),
    one(
        "sealed init", "overwriting the engine through /proc/PID/exe (CVE-2019-5736)", "a sealed copy in memory",
        "rootless/runtime/program.py", "    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)\n", "",
        "attack/test_attack_process.py::test_what_executes_the_program_is_a_sealed_copy",
    ),
    several(
        "joining processes", "a container that traces who joins it, and with it the engine", "PR_SET_DUMPABLE",
        (
            Edit(_JOIN, "syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)\n        fd = ", "fd = "),
            Edit(_JOIN, "syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)\n        os.setsid()", "os.setsid()"),
        ),
        "attack/test_attack_exec.py::test_the_interpreter_behind_exec_is_out_of_reach",
    ),
    one(
        "late imports", "modules of the image that the engine would run", "no import after the root was changed",
        _INIT, "    sys.path.clear()\n    sys.path_hooks.clear()\n    sys.path_importer_cache.clear()\n", "    pass\n",
        "attack/test_attack_process.py::test_nothing_is_imported_after_the_root_was_changed",
    ),
    one(
        "ids of --userns auto", "one container's processes and files against another's", "ids that nobody else has",
        "rootless/runtime/autoids.py", "for extents in [*taken, over] for extent in extents", "for extent in over",
        "attack/test_attack_userns.py::test_containers_with_ids_of_their_own_cannot_touch_each_other",
        "attack/test_attack_userns.py::test_the_files_of_one_are_closed_to_the_other",
    ),
    one(
        "the host's loopback", "services that listen on 127.0.0.1 only", "slirp4netns --disable-host-loopback",
        "rootless/network/slirp4netns.py", 'arguments.append("--disable-host-loopback")', "pass",
        "attack/test_attack_network.py::test_the_hosts_loopback_is_closed",
    ),
    one(
        "nomap", "a container that acts as the user", "a map without the user's own id",
        "rootless/runtime/idmaps.py", "return IdMap(flatten(ranges.uids), flatten(ranges.gids))", "return None",
        "attack/test_attack_userns.py::test_the_user_does_not_exist_inside",
    ),
    one(
        "addresses of ports", "a port for the host alone that the network reaches", "slirp4netns' host_addr",
        _SLIRP, '"host_addr": port.host_ip or ANY_ADDRESS,', '"host_addr": ANY_ADDRESS,',
        "attack/test_attack_network.py::test_a_loopback_binding_is_never_widened",
    ),
    one(
        "slirp4netns' own walls", "a packet that takes over the network's process", "its sandbox and seccomp filter",
        _SLIRP, 'arguments += ["--enable-sandbox", "--enable-seccomp"]', "pass",
        "attack/test_attack_network.py::test_slirp_is_sandboxed",
    ),
    one(
        "options of networks", "an option that is another program's", "each value is looked at",
        _SLIRP, "if not is_address(value) and not (0 < len(value) < 16 and value.isascii() and value.isalnum()):",
        "if False:",
        "attack/test_attack_network.py::test_options_are_no_arguments",
    ),
    one(
        "absolute paths of a bundle", "a hook that is looked for where somebody else stands", "refused by name",
        "rootless/oci/schema.py", "hooks.*[].path | path! | +", "hooks.*[].path | string! | +",
        "attack/test_attack_oci.py::test_values_that_lead_elsewhere",
    ),
)  # fmt: skip
