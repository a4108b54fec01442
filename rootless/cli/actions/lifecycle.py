"""``start stop restart kill pause unpause rm wait rename``."""

from __future__ import annotations

from rootless.cli import output
from rootless.cli.actions.names import Each, one
from rootless.errors import NotFoundError, StateError, UsageError
from rootless.state.container import RUNNING

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Unpack

    from rootless.cli.actions.names import Choice
    from rootless.state.container import Container

# `rm` of Podman: 1 for a container that is not there, 2 for one that runs.
_MISSING, _RUNS = 1, 2


def _runs(status: str) -> bool:
    """Whether there is something to stop: also what waits for its next start."""
    return status in RUNNING or status == "restarting"


def start(
    *,
    containers: list[str],
    all: bool,
    attach: bool,
    detach_keys: str | None,
    filter: list[str],
    interactive: bool,
    latest: bool,
    sig_proxy: bool,
) -> int:
    """Start containers; attached, the exit code is the program's."""
    from rootless.engine import start as engine

    attach = attach or interactive
    each = Each(quiet=attach)
    each.choose(containers, all=all, latest=latest, filter=filter, only=lambda status: status not in RUNNING)
    if attach and len(each.targets) != 1:
        raise UsageError("--attach takes one container", "start the others without --attach")
    codes = []

    def verb(container: Container) -> None:
        codes.append(
            engine.start(
                container, attach=attach, interactive=interactive, detach_keys=detach_keys, sig_proxy=sig_proxy
            )
        )

    return each.do(verb) or (codes[0] if attach else 0)


def stop(*, ignore: bool, time: int | None, **choice: Unpack[Choice]) -> int:
    """Stop containers."""
    from rootless.engine import stop as engine

    return Each(ignore=ignore).choose(**choice, only=_runs).do(lambda container: engine.stop(container, time))


def restart(*, running: bool, time: int | None, **choice: Unpack[Choice]) -> int:
    """Stop containers if they run, and start them."""
    from rootless.engine import stop as engine

    choice["all"] |= running
    each = Each().choose(**choice, only=_runs if running else None)
    return each.do(lambda container: engine.restart(container, time))


def kill(*, signal: str, **choice: Unpack[Choice]) -> int:
    """Send a signal to containers."""
    from rootless.engine import stop as engine

    return Each().choose(**choice, only=_runs).do(lambda container: engine.kill(container, signal))


def pause(**choice: Unpack[Choice]) -> int:
    """Freeze running containers."""
    from rootless.engine import pause as engine

    return Each().choose(**choice, only=lambda status: status == "running").do(engine.pause)


def unpause(**choice: Unpack[Choice]) -> int:
    """Let paused containers go on."""
    from rootless.engine import pause as engine

    return Each().choose(**choice, only=lambda status: status == "paused").do(engine.unpause)


def rm(*, depend: bool, force: bool, ignore: bool, time: int | None, volumes: bool, **choice: Unpack[Choice]) -> int:
    """Remove containers."""
    from rootless.engine import remove as engine

    each = Each(ignore=ignore or force, missing_code=_MISSING)
    each.choose(**choice)
    if choice["all"] or choice["filter"]:
        each.targets.reverse()  # the newest first: a container is younger than those whose namespaces it shares
    gone: set[str] = set()

    def verb(container: Container) -> None:
        if container.id in gone:
            return
        try:
            removed = engine.remove(container, force=force, volumes=volumes, timeout_s=time, depend=depend)
        except StateError as error:
            error.code = _RUNS
            raise
        gone.update(removed)
        for ident in removed[:-1]:
            output.emit(ident)

    return each.do(verb)


def wait(
    *,
    containers: list[str],
    condition: list[str],
    ignore: bool,
    interval: str,
    latest: bool,
    return_on_first: bool,
) -> int:
    """Wait for containers and print their exit codes; -1 for one that is not there, with ``ignore``."""
    from rootless.engine import wait as engine

    interval_s = duration_s(interval, "--interval")
    each = Each().choose(containers, latest=latest)
    conditions = [word for text in condition for word in text.split(",")]
    if return_on_first:
        output.emit(
            str(engine.wait_first([known or one(typed) for typed, known in each.targets], conditions, interval_s))
        )
        return 0
    for typed, known in each.targets:
        with each:
            try:
                code = engine.wait(known or one(typed), conditions, interval_s)
            except NotFoundError:
                if not ignore:
                    raise
                code = -1
            output.emit(str(code))
    return each.code


def duration_s(text: str, option: str) -> float:
    """``250ms``, ``1.5s``, ``2m`` -> seconds; a bare number is milliseconds, as with Podman. Raises UsageError."""
    from rootless.engine import values

    value = values.duration_ns(text if text[-1:].isalpha() else f"{text}ms", option) / 1e9
    if not 0 < value < 1e6:
        raise UsageError(f"{option} {text}: not a time", "a number with ms, s, m or h: 250ms")
    return value


def rename(*, container: str, name: str) -> int:
    """Give a container another name."""
    from rootless.engine import rename as engine

    engine.rename(one(container), name)
    return 0
