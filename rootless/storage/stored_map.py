"""Under which id map things are stored: ``ids.json``, beside the layers.

The ranges of /etc/subuid may change; what is stored keeps its owners. The file says which ids those were.
"""

from __future__ import annotations

from rootless import log
from rootless.errors import StorageError
from rootless.kernel import fastjson, files
from rootless.kernel.userns import Extent, IdMap

SCHEMA = 1


def read(data_dir: str) -> IdMap | None:
    """The recorded map, None where there is none. Raises StorageError."""
    path = f"{data_dir}/ids.json"
    try:
        value = files.read_json(path)
        if not isinstance(value, dict) or value["schema"] != SCHEMA:
            raise StorageError(f"{path}: not a record of this version of rpod", "update rpod, or remove the file")
        return IdMap([Extent(*map(int, e)) for e in value["uids"]], [Extent(*map(int, e)) for e in value["gids"]])
    except FileNotFoundError:
        return None
    except (OSError, fastjson.JSONError, KeyError, TypeError, ValueError) as error:
        raise StorageError(f"{path} cannot be read: {error}", "remove the file") from error


def write(data_dir: str, maps: IdMap) -> None:
    """Record the map. Raises OSError."""
    lines = {name: [[e.inside, e.outside, e.size] for e in extents] for name, extents in _parts(maps)}
    files.write_json(f"{data_dir}/ids.json", {"schema": SCHEMA, **lines})


def _parts(maps: IdMap) -> tuple[tuple[str, list[Extent]], ...]:
    return ("uids", maps.uids), ("gids", maps.gids)


def moved(old: list[Extent], new: list[Extent]) -> list[tuple[int, int, int]]:
    """(old outside, new outside, size) of the ids that are others now; new is -1 for those that have none any more."""
    found = []
    for extent in old:
        low, end = extent.inside, extent.inside + extent.size
        for other in sorted(new, key=lambda other: other.inside):
            first, last = max(low, other.inside), min(end, other.inside + other.size)
            if first >= last:
                continue
            if low < first:
                found.append((extent.outside + low - extent.inside, -1, first - low))
            old_id, new_id = extent.outside + first - extent.inside, other.outside + first - other.inside
            if old_id != new_id:
                found.append((old_id, new_id, last - first))
            low = last
        if low < end:
            found.append((extent.outside + low - extent.inside, -1, end - low))
    return found


def note(data_dir: str, maps: IdMap) -> None:
    """A layer is about to be stored under ``maps``: record them, or warn that the ids of what is there are others."""
    try:
        old = read(data_dir)
        if old is None:
            files.make_private(data_dir)
            write(data_dir, maps)
        elif any(
            new >= 0 for kinds in ("uids", "gids") for _, new, _ in moved(getattr(old, kinds), getattr(maps, kinds))
        ):
            log.warn(
                "the ids of /etc/subuid or /etc/subgid are others than when images were stored: rpod system migrate"
            )
    except (OSError, StorageError) as error:
        log.debug(f"the id map is not recorded: {error}")
