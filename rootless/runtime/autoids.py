"""``--userns auto``: ids that no other container has, as few as the image needs."""

from __future__ import annotations

from rootless.errors import LaunchError, UsageError
from rootless.kernel.userns import HINT_RANGES, Extent, IdMap, Ranges
from rootless.runtime import idmaps

_LEAST = 1024  # as Podman's auto-userns-min-size
_MOST = 65536


def choose(options: dict[str, str], needed: int, ranges: Ranges, taken: list[IdMap]) -> IdMap:
    """The map for ``--userns auto:options`` of an image that uses ids below ``needed``.

    ``taken`` are the maps of the other containers. Raises LaunchError when not enough ids are free.
    """
    idmaps.demand_ranges("auto", ranges)
    size = idmaps.parse_id(options["size"], "auto size") if "size" in options else min(max(needed, _LEAST), _MOST)
    if size < 1:
        raise UsageError("--userns auto:size=0: a container needs one id at least")
    return IdMap(
        _one_side(size, options.get("uidmapping", ""), ranges, [maps.uids for maps in taken], uids=True),
        _one_side(size, options.get("gidmapping", ""), ranges, [maps.gids for maps in taken], uids=False),
    )


def _one_side(size: int, mapping: str, ranges: Ranges, taken: list[list[Extent]], *, uids: bool) -> list[Extent]:
    """``size`` free ids in a row, with the user's own mappings laid over them."""
    over = idmaps.explicit(mapping.split(","), ranges, uids=uids) if mapping else []
    subordinate = idmaps.flatten(ranges.uids if uids else ranges.gids)
    first = _free(size, subordinate, [extent for extents in [*taken, over] for extent in extents])
    stretch = idmaps.cut(subordinate, first, size, 0)
    for extent in over:
        stretch = _without(stretch, extent)
    return idmaps.check([*stretch, *over], "auto")


def _free(size: int, subordinate: list[Extent], taken: list[Extent]) -> int:
    """The number of the first of ``size`` subordinate ids in a row that nobody has."""
    used = sorted(
        (own.inside + low - own.outside, own.inside + high - own.outside)
        for own in subordinate
        for other in taken
        if (low := max(own.outside, other.outside)) < (high := min(own.outside + own.size, other.outside + other.size))
    )
    first = 0
    for low, high in used:
        if first + size <= low:
            break
        first = max(first, high)
    total = idmaps.total(subordinate)
    if first + size > total:
        raise LaunchError(
            f"no {size} subordinate ids in a row are free for --userns auto ({total} in all)",
            f"rpod rm containers that hold some, give auto:size=N, or ask for more: {HINT_RANGES}",
        )
    return first


def _without(extents: list[Extent], gone: Extent) -> list[Extent]:
    """The extents without the inner ids of ``gone``."""
    kept = []
    for extent in extents:
        end, gone_end = extent.inside + extent.size, gone.inside + gone.size
        for low, high in ((extent.inside, min(end, gone.inside)), (max(extent.inside, gone_end), end)):
            if low < high:
                kept.append(Extent(low, extent.outside + low - extent.inside, high - low))
    return kept
