"""Records, words, and the user's own files."""

from __future__ import annotations

from support.protections.model import one

_FILES = "rootless/kernel/files.py"

PROTECTIONS = (
    one(
        "names of containers", "names that are paths or options", "letters, digits and three signs",
        "rootless/state/containers.py",
        "if not name or len(name) > 200 or not name[0].isalnum() or not _NAME_CHARACTERS.issuperset(name):",
        "if False:",
        "attack/test_attack_state.py::test_names_that_cannot_be",
    ),
    one(
        "names of volumes", "names that are paths or options", "letters, digits and three signs",
        "rootless/storage/volumes.py",
        'if not name or len(name) > _MAX_NAME or name[0] in "_.-" or not _CHARACTERS.issuperset(name):', "if False:",
        "integration/test_volume_verbs.py::test_volume_verbs_that_make_no_sense",
    ),
    one(
        "ids of rpod-runtime", "ids that are paths", "letters, digits and four signs",
        "rootless/oci/store.py",
        'if not ident or ident in (".", "..") or len(ident) > _ID_MAX or not set(ident) <= _ALLOWED:', "if False:",
        "attack/test_attack_oci.py::test_hostile_names",
    ),
    one(
        "runtime directory", "a runtime directory that is a link or another user's", "lstat, owner and mode",
        _FILES, "if not stat.S_ISDIR(info.st_mode) or info.st_uid != os.geteuid():", "if False:",
        "attack/test_attack_state.py::test_a_runtime_directory_that_is_not_to_be_trusted",
        "fault/test_fault_placement.py::test_only_a_directory_of_the_users_own_serves",
    ),
    one(
        "escape sequences", "names, labels and answers that drive a terminal", "control characters are escaped",
        "rootless/log.py", "    if text.isprintable():\n        return text\n", "    return text\n",
        "attack/test_attack_exec.py::test_a_program_that_prints_escape_sequences_into_tables",
        "attack/test_attack_image.py::test_escape_sequences_in_an_answer_are_made_visible",
    ),
    one(
        "lines of hosts", "a name with a line end in /etc/hosts", "the characters of host names",
        "rootless/network/names.py", 'all(c.isascii() and (c.isalnum() or c in "-._") for c in name)', "True",
        "attack/test_attack_network.py::test_no_line_is_smuggled_into_hosts",
    ),
    one(
        "cached code", "compiled code that others may write", "owner and mode are looked at",
        "rootless/kernel/codecache.py",
        "if info.st_uid != os.geteuid() or info.st_mode & 0o022 or not stat.S_ISREG(info.st_mode):", "if False:",
        "attack/test_attack_files.py::test_code_that_others_may_write_is_not_run",
    ),
    one(
        "cached filter and settings", "a compiled filter or settings that others may write",
        "owner and mode are looked at",
        _FILES, "if own and (info.st_uid != os.geteuid() or info.st_mode & 0o022):", "if False:",
        "attack/test_attack_files.py::test_a_filter_that_others_may_write_is_not_used",
        "attack/test_attack_files.py::test_settings_that_others_may_write_are_not_used",
    ),
    one(
        "mode of logins", "passwords that others read", "0600 from the first byte",
        _FILES, "*, mode: int = 0o600,", "*, mode: int = 0o666,",
        "attack/test_attack_files.py::test_a_login_is_closed_to_others_from_its_first_byte",
    ),
    one(
        "traps among files", "a FIFO in the place of a file", "O_NONBLOCK, and regular files only",
        _FILES, "fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)", "fd = os.open(path, os.O_RDONLY)",
        "attack/test_attack_files.py::test_a_description_of_devices_that_is_a_trap",
        "attack/test_attack_quadlet.py::test_one_bad_file_is_told_and_the_others_are_served[fifo]",
    ),
    one(
        "event log", "a link in the place of the event log", "O_NOFOLLOW",
        "rootless/state/events.py", "os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK", "os.O_CLOEXEC | os.O_NONBLOCK",
        "attack/test_attack_files.py::test_the_event_log_is_no_way_to_other_files",
    ),
    one(
        "event log of the monitor", "the same, where the monitor writes", "O_NOFOLLOW",
        "helpers/record.c", "O_CREAT | O_NOFOLLOW | O_NONBLOCK", "O_CREAT | O_NONBLOCK",
        "attack/test_attack_files.py::test_the_event_log_is_no_way_to_other_files",
    ),
    one(
        "event log as a FIFO", "a verb that waits for ever", "O_NONBLOCK",
        "rootless/state/events.py", "os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK", "os.O_CLOEXEC | os.O_NOFOLLOW",
        "attack/test_attack_files.py::test_an_event_log_of_nonsense",
    ),
    one(
        "size of logs", "a program that fills the disk with its output", "rotation",
        "helpers/log.c", "log->size + log->used > log->max_size", "0",
        "unit/test_monitor_log.py::test_rotation_with_one_file_begins_it_anew",
        "attack/test_attack_state.py::test_a_line_of_the_log_without_end",
    ),
    one(
        "output of health checks", "a check of the image that prints without end", "1 MiB is kept",
        "rootless/engine/health.py", "if len(data) < _OUTPUT_MAX:", "if True:",
        "attack/test_attack_health.py::test_a_check_that_prints_without_end",
    ),
    one(
        "names of services", "a unit that is installed elsewhere", "names without folders",
        "rootless/units/service.py", 'if "/" in name or name.startswith("."):', "if False:",
        "attack/test_attack_quadlet.py::test_links_stay_in_the_folder",
    ),
    one(
        "open directories", "a directory of ours that others may enter", "closed before it is used",
        _FILES, "    if info.st_mode & 0o077:\n        os.chmod(path, 0o700)", "    pass",
        "attack/test_attack_state.py::test_a_runtime_directory_that_is_not_to_be_trusted",
    ),
    one(
        "damaged records", "one record that stops every command", "it is said, and the others are served",
        "rootless/state/containers.py",
        '            except StorageError as error:\n                log.warn(f"{error.message} ({error.hint})")\n',
        "            except ZeroDivisionError as error:\n                log.warn(str(error))\n",
        "attack/test_attack_state.py::test_a_damaged_record_stops_no_other_container_and_can_be_removed",
    ),
    one(
        "link to cached code", "a link in the place of the compiled code", "O_NOFOLLOW",
        "rootless/kernel/codecache.py", "os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC", "os.O_RDONLY | os.O_CLOEXEC",
        "attack/test_attack_files.py::test_a_link_in_the_place_of_the_cached_code_is_not_followed",
    ),
    one(
        "lines of the event log", "a label that forges an event", "JSON, which has no line ends",
        "rootless/state/events.py", "    text = fastjson.dumps(fields)\n    if",
        """    text = fastjson.dumps(fields).replace("\\\\n", "\\n").replace('\\\\"', '"')\n    if""",
        "attack/test_attack_files.py::test_no_line_of_the_event_log_comes_from_a_label",
    ),
    one(
        "names of Quadlet files", "a file that is installed elsewhere", "names without folders",
        "rootless/engine/quadlet_install.py", 'if not named or "/" in named or not section:',
        "if not named or not section:",
        "attack/test_attack_quadlet.py::test_what_is_installed_stays_in_its_folder",
    ),
)  # fmt: skip
