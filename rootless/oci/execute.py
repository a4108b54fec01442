"""``exec``: a second program in a container."""

from __future__ import annotations

import os

from rootless.errors import UsageError
from rootless.kernel.userns import MAX_ID, as_id
from rootless.oci import console, lifecycle
from rootless.oci.bundle import Bundle, read_document
from rootless.oci.create import preserved, write_pid_file
from rootless.runtime import join, security

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.oci.options import Parsed
    from rootless.oci.store import Container
    from rootless.spec import Process

_KILL = 9
_SETS = ("bounding", "effective", "permitted")


def execute(container: Container, parsed: Parsed) -> join.Joined:
    """Start the program of ``parsed`` in a running container; its terminal's master is ours when nobody else got it."""
    allowed = ("created", "running", "paused") if parsed.flag("ignore-paused") else ("created", "running")
    container.demand("exec in", *allowed)
    own = lifecycle.document(container)
    bundle = Bundle(container.state.bundle, {**own, "process": _process(container.ident, own, parsed)})
    process = bundle.spec.process
    _check_terminal(process, parsed)
    pidfd = container.pidfd()
    plan = join.JoinPlan(bundle.spec, pidfd, _foreign(container))
    plan.user = None
    plan.attributes = bundle.attributes(second=True)
    plan.state = container.hook_state()
    plan.cgroup = container.state.cgroup or container.state.joined_cgroup
    plan.limited = bool(plan.cgroup)
    plan.preserve_fds = preserved(parsed, process.env)
    plan.die_with_caller = not parsed.flag("detach")
    if path := parsed.text("console-socket"):
        plan.on_terminal = lambda master: console.send(path, master)
    joined = join.start_program(plan, console.streams(bundle.process))
    os.close(pidfd)
    if pid_file := parsed.text("pid-file"):
        try:
            write_pid_file(pid_file, joined.pid)
        except BaseException:
            os.kill(joined.pid, _KILL)
            raise
    return joined


def _check_terminal(process: Process, parsed: Parsed) -> None:
    given = "console-socket" in parsed.options
    if process.terminal and parsed.flag("detach") and not given:
        raise UsageError("nobody would hold the terminal", "--console-socket PATH")
    if given and not process.terminal:
        raise UsageError("--console-socket is given without --tty")


def _foreign(container: Container) -> list[str]:
    """The namespaces that init does not share with this process; setns into one's own user namespace is an error."""
    files_ = {"network": "net", "mount": "mnt"}
    found = []
    for kind in container.state.namespaces:
        name = files_.get(kind, kind)
        if os.readlink(f"/proc/{container.state.pid}/ns/{name}") != os.readlink(f"/proc/self/ns/{name}"):
            found.append(kind)
    return found


def _process(ident: str, document: dict[str, object], parsed: Parsed) -> dict[str, object]:
    """``process`` as JSON: from --process, or the container's own with what was typed."""
    if path := parsed.text("process"):
        described = read_document(path)
    else:
        if len(parsed.words) < 2:
            raise UsageError("a program is missing", f"rpod-runtime exec {ident} PROGRAM")
        own = document["process"]
        assert isinstance(own, dict)
        described = {**own, **_typed(parsed, own)}
    if parsed.flag("tty"):
        described["terminal"] = True
    return described


def _typed(parsed: Parsed, own: dict[str, object]) -> dict[str, object]:
    """The properties that options and words say."""
    env = own.get("env") or []
    assert isinstance(env, list)
    typed: dict[str, object] = {
        "args": parsed.words[1:],
        "terminal": parsed.flag("tty"),
        "env": [*env, *parsed.many("env")],
    }
    if parsed.text("cwd"):
        typed["cwd"] = parsed.text("cwd")
    if parsed.flag("no-new-privs"):
        typed["noNewPrivileges"] = True
    if parsed.text("apparmor"):
        typed["apparmorProfile"] = parsed.text("apparmor")
    if parsed.text("user") or parsed.many("additional-gids"):
        typed["user"] = _user(parsed, own)
    if names := [security.capability(name) for name in parsed.many("cap")]:
        sets = own.get("capabilities") or {}
        assert isinstance(sets, dict)
        typed["capabilities"] = {**sets, **{key: sorted({*(sets.get(key) or []), *names}) for key in _SETS}}
    return typed


def _user(parsed: Parsed, own: dict[str, object]) -> dict[str, object]:
    user = own.get("user") or {}
    assert isinstance(user, dict)
    result = dict(user)
    if text := parsed.text("user"):
        uid, _, gid = text.partition(":")
        result |= {"uid": _id(uid, "--user"), "gid": _id(gid or "0", "--user"), "additionalGids": []}
    if groups := parsed.many("additional-gids"):
        result["additionalGids"] = [_id(group, "--additional-gids") for group in groups]
    return result


def _id(text: str, option: str) -> int:
    number = as_id(text)
    if number is None:
        raise UsageError(f"{option} {text}: ids are numbers here, 0 to {MAX_ID}")
    return number
