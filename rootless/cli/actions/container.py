"""``init``, ``container exists``, ``container prune``, ``container cleanup``."""

from __future__ import annotations

from rootless.cli import output
from rootless.cli.actions.names import Each
from rootless.errors import ConflictError, NotFoundError
from rootless.state.container import RUNNING

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.state.container import Container

_IDLE = ("created", "exited")


def exists(*, container: str) -> int:
    """0 if the container is there, 1 if not."""
    from rootless.state.containers import Containers

    try:
        Containers().resolve(container)
    except NotFoundError:
        return 1
    except ConflictError:
        return 0  # there are several
    return 0


def init(*, containers: list[str], all: bool, latest: bool) -> int:
    """Set containers up to the exec of their programs."""
    from rootless.engine import init as engine

    each = Each().choose(containers, all=all, latest=latest, only=lambda status: status in _IDLE)
    return each.do(engine.initialize)


def prune(*, filter: list[str], force: bool) -> int:
    """Remove what does not run, after asking."""
    from rootless.engine import prune as engine

    if not force and not output.agreed("WARNING! This will remove all non running containers."):
        return 0
    for ident in engine.prune_containers(filter):
        output.emit(ident)
    return 0


def cleanup(*, containers: list[str], all: bool, latest: bool, rm: bool, rmi: bool) -> int:
    """Free what ended containers hold; with ``rm`` remove them, with ``rmi`` their images, too."""
    from rootless.engine import cleanup as engine

    def verb(container: Container) -> None:
        engine.by_hand(container, rm=rm or rmi, rmi=rmi)

    each = Each().choose(containers, all=all, latest=latest, only=lambda status: status not in RUNNING)
    return each.do(verb)
