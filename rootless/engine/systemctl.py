"""The user's systemd, asked with ``systemctl --user``, also from cron, su and ssh without a session."""

from __future__ import annotations

import os

from rootless.errors import RpodError, StateError
from rootless.kernel import spawn, userns

_SHOWN = ("Id", "LoadState", "ActiveState", "SubState", "Result", "NeedDaemonReload")


def runtime_directory() -> str:
    """XDG_RUNTIME_DIR, or where it would be: su and cron do not set it, and the user's systemd is there just so."""
    return os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.geteuid()}"


def booted() -> bool:
    """Whether systemd is this machine's init, as sd_booted(3) finds out."""
    return os.path.isdir("/run/systemd/system")


def lingers() -> bool:
    """Whether the user's systemd, and what it runs, outlives the last logout."""
    return os.path.exists(f"/var/lib/systemd/linger/{userns.user_name()}")


def available() -> bool:
    """Whether the user's systemd runs and can be asked."""
    return os.path.exists(f"{runtime_directory()}/systemd/private") and spawn.which("systemctl") is not None


def require() -> None:
    """Raise StateError with the way out if there is no systemd of the user's to ask."""
    if available():
        return
    fix = "log in, or let it run always: loginctl enable-linger"
    raise StateError(
        "systemd does not run for this user", fix if booted() else "this machine was not booted by systemd"
    )


def call(*words: str) -> spawn.Result:
    """Run ``systemctl --user WORDS``; the exit code is the caller's to judge. Raises StateError without systemd."""
    require()
    program = spawn.which("systemctl")
    assert program is not None
    env = {**spawn.clean_environment(), "XDG_RUNTIME_DIR": runtime_directory()}
    return spawn.run([program, "--user", *words], env=env)


def do(*words: str) -> None:
    """The same, where a failure is an RpodError with systemd's own words."""
    result = call(*words)
    if result.code:
        raise RpodError(
            f"systemctl --user {' '.join(words)}: {result.text or f'status {result.code}'}", "systemctl --user status"
        )


class UnitState:
    """What systemd knows of a unit."""

    __slots__ = ("active", "load", "result", "stale", "sub")

    def __init__(self, values: dict[str, str]) -> None:
        self.load = values.get("LoadState", "")
        self.active = values.get("ActiveState", "")
        self.sub = values.get("SubState", "")
        self.result = values.get("Result", "")
        self.stale = values.get("NeedDaemonReload") == "yes"

    def __str__(self) -> str:
        """As ``podman quadlet list`` shows it."""
        return f"{self.active}/{self.sub}" if self.load == "loaded" else "Not loaded"


def states(units: list[str]) -> dict[str, UnitState]:
    """Unit -> what systemd knows of it."""
    if not units:
        return {}
    result = call("show", *(f"--property={name}" for name in _SHOWN), "--", *units)
    blocks = [block for block in result.text.split("\n\n") if block]
    # An alias is shown under the unit's own name, but in the place where it was asked for.
    pairs = zip(units, blocks, strict=False)
    return {unit: UnitState(dict(line.partition("=")[::2] for line in block.splitlines())) for unit, block in pairs}
