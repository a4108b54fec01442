"""``update``."""

from __future__ import annotations

from rootless.cli.actions.names import Each
from rootless.engine.options import UpdateOptions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def update(*, containers: list[str], latest: bool, **values: Any) -> int:
    """Give containers other limits."""
    from rootless.engine import update as engine

    options = UpdateOptions(values)
    return Each().choose(containers, latest=latest).do(lambda container: engine.update(container, options))
