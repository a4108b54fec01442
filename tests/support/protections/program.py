"""What the program of a container may do."""

from __future__ import annotations

from support.protections.model import Edit, one, several

_INIT = "rootless/runtime/init.py"
_SECURITY = "rootless/runtime/security.py"
_MOUNTS = "rootless/runtime/mounts.py"
_JOIN = "rootless/runtime/join.py"
_DEFAULTS = "attack/test_attack_defaults.py::test_the_defaults_of_a_container"

PROTECTIONS = (
    one(
        "seccomp", "system calls that containers have no use for", "the seccomp filter",
        "rootless/runtime/program.py", "filter_ = seccomp.program_for(spec.seccomp)", 'filter_ = b""',
        _DEFAULTS,
        "attack/test_attack_health.py::test_a_check_runs_as_the_containers_program_does",
    ),
    one(
        "namespaces from inside", "the kernel's code for a new user namespace", "clone's flags are looked at",
        "rootless/runtime/seccomp_profile.py", "_NAMESPACE_FLAGS = 0x7E020000", "_NAMESPACE_FLAGS = 0",
        _DEFAULTS,
    ),
    one(
        "socket families", "the hypervisor and the kernel's crypto through a socket", "families that are named",
        "rootless/runtime/seccomp_profile.py", "39, *range(41, 46))", "*range(38, 46))",
        _DEFAULTS,
    ),
    one(
        "bounding set", "capabilities over the container's own namespace", "PR_CAPBSET_DROP",
        _SECURITY, "if not bounding >> number & 1:", "if False:",
        _DEFAULTS,
        "attack/test_attack_defaults.py::test_everything_can_be_dropped",
        "attack/test_attack_defaults.py::test_what_exec_and_a_terminal_get_is_the_same",
    ),
    one(
        "no new privileges", "set-id programs of the image", "PR_SET_NO_NEW_PRIVS",
        _SECURITY, "    syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)", "    pass",
        "attack/test_attack_defaults.py::test_set_id_programs_gain_nothing_under_no_new_privileges",
    ),
    one(
        "masked paths", "files of the kernel that tell about the host", "an empty tmpfs or /dev/null over them",
        _INIT, "mounts.mask(root, path)", "pass",
        _DEFAULTS, "integration/test_isolation.py::test_paths_of_the_kernel_are_closed",
    ),
    one(
        "read-only paths", "files of the kernel that change it", "read-only mounts over themselves",
        _INIT, "mounts.make_readonly(root, path)", "pass",
        _DEFAULTS,
    ),
    one(
        "read-only /sys", "writing to /sys", "a read-only sysfs",
        "rootless/engine/specs.py",
        'mounts.append(Mount("/sys", "sysfs", "sysfs", [*closed, *([] if options.privileged else ["ro"])]))',
        'mounts.append(Mount("/sys", "sysfs", "sysfs", closed))',
        _DEFAULTS,
    ),
    one(
        "cgroup namespace", "names of the host's services and sessions", "CLONE_NEWCGROUP",
        _INIT, "        syscalls.unshare(syscalls.CLONE_NEWCGROUP)", "        pass",
        "attack/test_attack_process.py::test_a_container_sees_no_cgroup_above_its_own",
    ),
    one(
        "umask", "files that everybody may write, made under the caller's umask", "the umask of the specification",
        _INIT, "    os.umask(process.umask)", "    pass",
        "attack/test_attack_process.py::test_the_callers_umask_is_not_the_programs",
    ),
    several(
        "session keyring", "keys of the caller's session", "KEYCTL_JOIN_SESSION_KEYRING in run and exec",
        (
            Edit(_INIT, "        syscalls.new_session_keyring()", "        pass"),
            Edit(_JOIN, "        syscalls.new_session_keyring()", "        pass"),
        ),
        "attack/test_attack_process.py::test_the_callers_keys_stay_outside",
    ),
    one(
        "primary group", "dropping a group to escape what it is denied (CVE-2022-2995)",
        "it is a supplementary one, too",
        "rootless/runtime/users.py", "    groups.append(gid)\n", "",
        "attack/test_attack_runtime.py::test_the_primary_group_is_a_supplementary_one_too",
    ),
    one(
        "numeric user names", "a passwd line that calls root 1000", "a number is never a name",
        "rootless/runtime/users.py", "(wanted is None and fields[0] == user)", "(fields[0] == user)",
        "attack/test_attack_runtime.py::test_a_numeric_name_means_the_number",
    ),
    one(
        "ids out of range", "ids that wrap around to 0", "at most 2^32 - 2",
        "rootless/kernel/userns.py", "return decimal(text, MAX_ID)", "return int(text) if text.isdecimal() else None",
        "attack/test_attack_runtime.py::test_ids_that_no_file_can_have",
    ),
    one(
        "passwd as a FIFO", "an image that stops the launch for ever", "O_NONBLOCK, and regular files only",
        "rootless/runtime/users.py",
        "fd = root.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)\n    except OSError:\n        return []",
        "fd = root.open(path, os.O_RDONLY)\n    except OSError:\n        return []",
        "attack/test_attack_runtime.py::test_a_passwd_file_that_is_a_trap",
    ),
    one(
        "depth of trees", "a tree that overflows the stack of whoever packs it", "200 directories, and then a word",
        "rootless/storage/depth.py", "if depth > MAX_DEPTH:", "if depth > 10_000:",
        "attack/test_attack_depth.py::test_what_a_container_made_too_deep_to_pack",
    ),
    one(
        "device over masked paths", "a link at /dev/null that is shown in the place of what is masked (CVE-2025-31133)",
        "the host's device, whose number is checked",
        _MOUNTS, '        tree = _host_device("/dev/null", "c", 1, 3)',
        '        tree = sc.open_tree(root.open("/dev/null"), "", sc.OPEN_TREE_CLONE | sc.AT_EMPTY_PATH)',
        "attack/test_attack_oci.py::test_a_dev_of_somebody_else_lends_nothing_to_a_mask",
    ),
    one(
        "terminal of exec", "a path to a terminal that leads to something else (CVE-2025-52565)", "TIOCGPTPEER",
        "rootless/runtime/terminal.py", "fcntl.ioctl(master, _TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)",
        'root.open("/dev/pts/0", os.O_RDWR | os.O_NOCTTY)',
        "attack/test_attack_exec.py::test_the_terminal_of_exec_is_the_masters_other_end",
    ),
    one(
        "number of processes", "a program that forks without end", "pids.max of the container's cgroup",
        "rootless/engine/resources.py", "limits.pids = pids if pids > 0 else None", "limits.pids = None",
        "attack/test_attack_defaults.py::test_the_pids_limit",
    ),
    several(
        "profiles", "a profile that was asked for and is not there", "an error, and no container",
        (
            Edit("rootless/engine/security_options.py", "        _check_apparmor(options.apparmor)\n", ""),
            Edit(_SECURITY, "    if process.apparmor_profile:\n", "    if False:\n"),
        ),
        "attack/test_attack_defaults.py::test_a_profile_that_cannot_be_applied_is_an_error",
    ),
    one(
        "the caller's keyboard", "a program that types into the terminal that it was given", "passthrough is refused",
        "rootless/engine/log_driver.py",
        'if record.log_driver == "passthrough" and any(os.isatty(fd) for fd in range(3)):', "if False:",
        "attack/test_attack_exec.py::test_passthrough_hands_no_keyboard_over",
    ),
)  # fmt: skip
