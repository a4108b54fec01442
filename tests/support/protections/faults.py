"""What keeps the state whole where processes die and disks fill up."""

from __future__ import annotations

from support.protections.model import one

_INIT = "rootless/runtime/init.py"
_CHECK = "rootless/engine/check.py"
_STAGING = "rootless/storage/staging.py"
_MIGRATE = "rootless/engine/migrate.py"

PROTECTIONS = (
    one(
        "reused pids", "a recorded pid that is another process now", "the start time is recorded, too",
        "rootless/kernel/process.py", "    if start_ticks(pid) != ticks:\n", "    if False:\n",
        "fault/test_fault_runtime.py::test_a_recorded_pid_that_is_another_process_now",
    ),
    one(
        "death of the monitor", "a program that nobody watches", "PR_SET_PDEATHSIG",
        _INIT, "        syscalls.prctl(syscalls.PR_SET_PDEATHSIG, 9)", "        pass",
        "fault/test_fault_runtime.py::test_the_end_of_a_process_that_holds_the_container",
    ),
    one(
        "one name, one container", "eight commands that want one name", "symlink(2), which one of them wins",
        "rootless/state/containers.py", "                if not self._stale_name(path):", "                if False:",
        "fault/test_fault_runtime.py::test_one_name_for_eight",
    ),
    one(
        "half-made containers", "a client that is killed at any system call", "the next command sweeps",
        "rootless/engine/reconcile.py", "for container in store.unfinished():", "for container in ():",
        "fault/test_fault_runtime.py::test_kill_the_client_at_a_system_call[mkdir-kept]",
        "fault/test_fault_launcher.py::test_kill_at_a_system_call[rename-overlay]",
    ),
    one(
        "undoing a create", "what is left of a container that could not be made", "everything is undone in reverse",
        "rootless/engine/create.py", "        new.discard()\n", "        pass\n",
        "integration/test_cdi.py::test_what_is_refused",
    ),
    one(
        "the caller's terminal", "a signal that leaves the terminal raw", "restored whatever happens",
        "rootless/kernel/tty.py", "            termios.tcsetattr(self._fd, termios.TCSADRAIN, self._saved)",
        "            pass",
        "fault/test_fault_signals.py::test_a_signal_restores_the_terminal",
    ),
    one(
        "flipped bits", "a layer that has changed on the disk", "system check reads every layer",
        _CHECK, "            if not self._quick:\n", "            if False:\n",
        "fault/test_fault_check.py::test_every_damage_is_found_and_mended",
    ),
    one(
        "records of a newer version", "an older rpod that destroys what it does not understand", "left as it is",
        "rootless/storage/image_record.py", "if isinstance(schema, int) and schema > SCHEMA:", "if False:",
        "fault/test_fault_check.py::test_a_newer_record_is_refused_untouched",
    ),
    one(
        "damaged containers", "a repair that loses a container", "only with --force",
        _CHECK, "                    needs_force=True,\n", "",
        "fault/test_fault_check.py::test_a_damaged_container_goes_only_when_that_is_allowed",
    ),
    one(
        "damaged manifests", "an image that is pushed with another manifest", "its digest is looked at each time",
        "rootless/engine/image_documents.py", """!= image.digest:
        raise _damaged(image, "manifest",""", """!= image.digest and False:
        raise _damaged(image, "manifest",""",
        "fault/test_fault_check.py::test_what_needs_the_manifest_says_that_it_is_damaged",
    ),
    one(
        "cleanups under a reset", "a cleanup that writes after everything was removed", "reset waits for them",
        "rootless/engine/reset.py", "    _await_cleanups(runs)\n", "",
        "fault/test_fault_check.py::test_reset_waits_for_the_monitors_that_become_cleanups",
    ),
    one(
        "ids that changed", "files that become another one's", "nothing is changed before everything was looked at",
        _MIGRATE, '    if found["strangers"]:\n', "    if False:\n",
        "fault/test_fault_ids.py::test_ids_that_are_not_the_users_any_more",
    ),
    one(
        "ids of a running container", "a container whose files change their owner", "refused while one runs",
        _MIGRATE, "        if container.is_alive():\n", "        if False:\n",
        "fault/test_fault_ids.py::test_not_under_a_running_container",
    ),
    one(
        "half-made layers", "a pull that is killed in the middle of a layer", "the next command sweeps",
        _STAGING, "                if lock is None:\n", "                if True:\n",
        "fault/test_fault_storage.py::test_the_puller_is_killed",
        "fault/test_fault_kills.py::test_killed_at_a_system_call[mkdir,mkdirat-pull]",
    ),
    one(
        "layers in the making", "a sweep that takes a layer from whoever unpacks it",
        "flock(2), which the worker holds, too",
        _STAGING, "                if lock is None:\n", "                if lock is None and not _discard(path):\n",
        "fault/test_fault_storage.py::test_a_sweep_leaves_a_living_worker_alone",
    ),
    one(
        "one layer, two pulls", "a pull that fails because another one was faster", "rename(2): who comes first wins",
        "rootless/storage/layers.py", "if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):", "if True:",
        "fault/test_fault_storage.py::test_two_processes_make_one_layer",
    ),
    one(
        "room on a full disk", "a pull that fills the disk and keeps it full", "what came of it is given back",
        "rootless/engine/fetch.py", "                self._give_back(missing)\n", "                pass\n",
        "fault/test_fault_pull.py::test_a_disk_that_fills_up_while_an_image_arrives",
    ),
    one(
        "a lost runtime directory", "a second program on the files of one that still runs",
        "the monitor's recorded start time",
        "rootless/state/container.py", "return files.Lock.is_held(self.alive_path) or self.lost_lock()",
        "return files.Lock.is_held(self.alive_path)",
        "fault/test_fault_runtime.py::test_a_logout_deletes_the_runtime_directory_under_a_live_container",
    ),
    one(
        "exit codes on a full disk", "an end that nobody could write down", "the lock's file has the code, too",
        "rootless/state/container.py",
        "        if record is not None:\n            return record\n        try:\n            digits",
        "        return record\n        try:\n            digits",
        "fault/test_fault_full_disk.py::test_stop_and_rm_on_a_full_disk",
    ),
    one(
        "threads of a pull", "a limit of processes that is reached in the middle of a pull", "fewer threads do it, too",
        "rootless/engine/crew.py", "            except RuntimeError:\n", "            except ZeroDivisionError:\n",
        "fault/test_fault_verbs.py::test_an_error_in_a_pull[clone-EAGAIN]",
    ),
)  # fmt: skip
