"""The one door to other programs.

A program gets a chosen environment, only the descriptors that it was given, default
signal handlers, and a failure that is said once with the program's own words.
"""

from __future__ import annotations

import os

from rootless.errors import LaunchError, RpodError, os_reason

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_SIGNALS_TO_DEFAULT = (2, 3, 13, 15, 17)  # INT QUIT PIPE TERM CHLD
_HIGH_FD = 200
_KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "USER", "XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS", "TMPDIR")
_DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Result:
    """What a finished program left: its exit ``code`` (128+n for signal n) and what it printed."""

    __slots__ = ("argv", "code", "output")

    def __init__(self, argv: list[str], code: int, output: bytes) -> None:
        self.argv = argv
        self.code = code
        self.output = output

    @property
    def text(self) -> str:
        """The output as text, without the last line end."""
        return self.output.decode("utf-8", "replace").rstrip("\n")


def which(name: str) -> str | None:
    """The path of an executable ``name`` on PATH and the system's folders, or None."""
    if "/" in name:
        return name if os.access(name, os.X_OK) else None
    for folder in (os.environ.get("PATH") or "").split(":") + _DEFAULT_PATH.split(":"):
        path = f"{folder}/{name}"
        if folder.startswith("/") and os.access(path, os.X_OK) and not os.path.isdir(path):
            return path
    return None


def clean_environment() -> dict[str, str]:
    """The few variables that a helper program needs from ours."""
    environment = {key: os.environ[key] for key in _KEPT if key in os.environ}
    environment.setdefault("PATH", _DEFAULT_PATH)
    return environment


def start(
    argv: list[str],
    *,
    fds: dict[int, int] | None = None,
    env: dict[str, str] | None = None,
) -> int:
    """Start ``argv`` (argv[0] a path) and return its pid.

    ``fds`` maps numbers in the program to descriptors here; 0, 1 and 2 are shared unless
    mapped. Everything else closes on exec, as all descriptors of Python do. Raises OSError.
    """
    actions: list[tuple[int, ...]] = []
    # Through high numbers first, above all that are mapped: so a mapping like {3: 4, 4: 3} does not overwrite itself.
    mapped = list((fds or {}).items())
    first = max([_HIGH_FD, *(max(pair) + 1 for pair in mapped)])
    high = range(first, first + len(mapped))
    actions += [(os.POSIX_SPAWN_DUP2, source, number) for number, (_, source) in zip(high, mapped, strict=True)]
    actions += [(os.POSIX_SPAWN_DUP2, number, target) for number, (target, _) in zip(high, mapped, strict=True)]
    actions += [(os.POSIX_SPAWN_CLOSE, number) for number in high]
    return os.posix_spawn(
        argv[0],
        argv,
        clean_environment() if env is None else env,
        file_actions=actions,
        setsigdef=_SIGNALS_TO_DEFAULT,
    )


def by_middle(work: Callable[[int], int], failed: str) -> int:
    """The pid that ``work`` returns in a middle process, which ends then: only what it made keeps what it joined.

    ``work`` is given the descriptor of its answer, which a clone that execs nothing has to close. Raises a
    LaunchError that begins with ``failed``.
    """
    read_end, write_end = os.pipe()
    middle = os.fork()
    if middle == 0:
        try:
            os.close(read_end)
            os.write(write_end, str(work(write_end)).encode())
        except (RpodError, OSError) as error:
            reason = error.message if isinstance(error, RpodError) else os_reason(error)
            os.write(write_end, f"!{reason}".encode())
        finally:
            os._exit(0)
    os.close(write_end)
    answer = os.read(read_end, 4096).decode()
    os.close(read_end)
    os.waitpid(middle, 0)
    if not answer.isdigit():
        raise LaunchError(f"{failed}: {answer.removeprefix('!') or 'the process that tried was killed'}")
    return int(answer)


def exit_code(status: int) -> int:
    """A wait status as a shell says it: the exit code, or 128+n for signal n."""
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def wait(pid: int) -> int:
    """Wait for a child and return its exit code as a shell says it."""
    return exit_code(os.waitpid(pid, 0)[1])


def run(argv: list[str], *, env: dict[str, str] | None = None, stdin: bytes | None = None) -> Result:
    """Run ``argv`` to its end; standard output and error come back in ``output`` (1 MiB at most).

    ``stdin`` of at most 4 KiB is given to it, else it reads nothing. Raises OSError if it
    cannot be started; its exit code is the caller's to judge.
    """
    read_end, write_end = os.pipe()
    null = os.open("/dev/null", os.O_RDWR)
    source = null
    if stdin is not None:
        source, feed = os.pipe()
        os.write(feed, stdin[:4096])
        os.close(feed)
    try:
        pid = start(argv, fds={0: source, 1: write_end, 2: write_end}, env=env)
    except OSError:
        os.close(read_end)
        raise
    finally:
        for fd in {source, null, write_end}:
            os.close(fd)
    output = bytearray()
    while chunk := os.read(read_end, 65536):
        if len(output) < 1 << 20:
            output += chunk
    os.close(read_end)
    return Result(argv, wait(pid), bytes(output))
