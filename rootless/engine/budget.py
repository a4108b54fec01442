"""``storage.max_size`` and ``storage.max_age``: what a pull, load, import or commit tidies away behind itself."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from rootless import config, log, paths
from rootless.engine import once
from rootless.errors import ConflictError, NotFoundError, RpodError
from rootless.image import partial, progress
from rootless.kernel import files
from rootless.state import events
from rootless.storage import budget, unused_layers
from rootless.storage.images import ImageStore

if TYPE_CHECKING:
    from rootless.storage.budget import Candidate, Plan

_MOST_NAMES = 5


def plan() -> Plan | None:
    """What the budget would take now; None where none is set. Raises StorageError."""
    settings = config.load().storage
    if not settings.max_size and not settings.max_age:
        return None
    from rootless.engine import image_mount

    survey = budget.Survey(paths.data(), partial.folder(), image_mount.in_use())
    return survey.plan(settings.max_size, settings.max_age)


def keep() -> None:
    """Take what the budget takes. The first time with these limits it is only said.

    A failure is warned about: what was pulled is there.
    """
    try:
        found = plan()
        if found is None:
            return
        settings = config.load().storage
        if found.taken and once.first(f"budget-{settings.max_size}-{settings.max_age}-said"):
            log.warn(
                f"storage.max_size and max_age: the next pull, load, import or commit removes {_words(found.taken)}, "
                f"which nothing uses; to keep everything remove both from {paths.user_config()}"
            )
            return
        gone = [candidate for candidate in found.taken if _remove(candidate)]
        if gone:
            log.warn(f"storage.max_size and max_age: removed {_words(gone)}")
        elif settings.max_size and found.left_bytes > settings.max_size:
            once.warn(
                f"budget-{settings.max_size}-exceeded",
                f"images take {progress.size(found.left_bytes)}, more than storage.max_size; all of it is in use, "
                "or was used in the last two hours",
            )
    except (OSError, RpodError) as error:
        log.warn(f"storage.max_size and max_age: {error.message if isinstance(error, RpodError) else error}")


def _remove(candidate: Candidate) -> bool:
    """Remove it, unless it came into use meanwhile or is gone."""
    if candidate.was_used_since:
        return False
    store = ImageStore(paths.data())
    if candidate.kind == budget.IMAGE:
        image = store.by_id(candidate.id)
        if image is None:
            return False
        try:
            store.remove(image, if_unused=True)
        except (ConflictError, NotFoundError):
            return False
        events.of_image("prune", image.id, candidate.name)
        return True
    if candidate.kind == budget.LAYER:
        return unused_layers.remove(store, only={candidate.id}) != []
    if files.Lock.is_held(candidate.path):
        return False
    try:
        os.unlink(candidate.path)
    except FileNotFoundError:
        return False
    return True


def _words(candidates: list[Candidate]) -> str:
    names = ", ".join(candidate.name for candidate in candidates[:_MOST_NAMES])
    more = f" and {len(candidates) - _MOST_NAMES} more" if len(candidates) > _MOST_NAMES else ""
    return f"{names}{more} ({progress.size(sum(candidate.size_bytes for candidate in candidates))})"
