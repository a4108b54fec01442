"""``--userns`` and ``--uidmap``: which ids a container sees, as extents over the host's.

The kernel's rules (user_namespaces(7)): no overlap on either side, at most 340 lines, and
only the user's own id and subordinate ids may be shown.
"""

from __future__ import annotations

import itertools
import os

from rootless.errors import LaunchError, UsageError
from rootless.kernel.userns import HINT_RANGES, MAX_ID, Extent, IdMap, Ranges, as_id, default_map

_MAX_EXTENTS = 340
_MODES = {
    "host": (),
    "keep-id": ("uid", "gid", "size"),
    "nomap": (),
    "auto": ("size", "uidmapping", "gidmapping"),
}
_REPEATED = ("uidmapping", "gidmapping")


def parse_mode(text: str) -> tuple[str, dict[str, str]]:
    """``keep-id:uid=5,gid=6`` -> ("keep-id", {"uid": "5", "gid": "6"}); unknown ones are UsageErrors.

    What may be given several times comes joined by commas.
    """
    mode, _, rest = text.partition(":")
    if mode in ("", "private"):
        mode = "host"
    if mode in ("container", "ns"):
        return mode, {"target": rest}
    if mode not in _MODES:
        raise UsageError(
            f"--userns {text}: unknown mode", "host, keep-id[:uid=N,gid=N], auto[:size=N], nomap or container:NAME"
        )
    options: dict[str, str] = {}
    for item in filter(None, rest.split(",")):
        key, equals, value = item.partition("=")
        if not equals or key not in _MODES[mode]:
            raise UsageError(f"--userns {text}: {item!r} is not an option of {mode}")
        options[key] = f"{options[key]},{value}" if key in options and key in _REPEATED else value
    return mode, options


def is_default(text: str) -> bool:
    """Whether ``--userns`` ``text`` says nothing but the default map."""
    return text in ("", "private", "host")


def parse_id(text: str, what: str) -> int:
    """A user or group id: 0 to 4294967294, decimal."""
    number = as_id(text)
    if number is None:
        raise UsageError(f"{what}: {text[:100]!r} is not an id (0 to {MAX_ID})")
    return number


def flatten(ranges: list[tuple[int, int]]) -> list[Extent]:
    """Subordinate ids numbered from 0 on."""
    extents = []
    position = 0
    for start, size in ranges:
        extents.append(Extent(position, start, size))
        position += size
    return extents


def cut(extents: list[Extent], first: int, count: int, inside: int) -> list[Extent]:
    """``count`` ids from number ``first`` of ``extents`` on, shown from ``inside`` on."""
    result = []
    for extent in extents:
        low, high = max(extent.inside, first), min(extent.inside + extent.size, first + count)
        if low < high:
            result.append(Extent(inside + low - first, extent.outside + low - extent.inside, high - low))
    return result


def total(extents: list[Extent]) -> int:
    """How many ids ``extents`` map."""
    return sum(extent.size for extent in extents)


def keep_id(own: int, shown: int, ranges: list[tuple[int, int]], size: int | None) -> list[Extent]:
    """The user's id ``own`` shown as ``shown``; subordinate ids fill the numbers around it."""
    sub = flatten(ranges)
    if shown and total(sub) < shown:
        raise LaunchError(f"keep-id needs {shown} subordinate ids and there are {total(sub)}", HINT_RANGES)
    rest = total(sub) - shown
    if size is not None:
        rest = min(rest, max(0, size - shown - 1))
    return [*cut(sub, 0, shown, 0), Extent(shown, own, 1), *cut(sub, shown, rest, shown + 1)]


def _keep_id_map(options: dict[str, str], ranges: Ranges) -> IdMap:
    uid = parse_id(options.get("uid", str(os.geteuid())), "keep-id uid")
    gid = parse_id(options.get("gid", str(os.getegid())), "keep-id gid")
    size = parse_id(options["size"], "keep-id size") if "size" in options else None
    return IdMap(keep_id(os.geteuid(), uid, ranges.uids, size), keep_id(os.getegid(), gid, ranges.gids, size))


def explicit(mappings: list[str], ranges: Ranges, *, uids: bool) -> list[Extent]:
    """``--uidmap CONTAINER:FROM:SIZE``: FROM counts in the default map (0 = the user), ``@FROM`` on the host."""
    option = "--uidmap" if uids else "--gidmap"
    base = default_map(ranges)
    stored = base.uids if uids else base.gids
    result: list[Extent] = []
    for text in mappings:
        fields = text.split(":")
        if len(fields) == 2:
            fields.append("1")
        if len(fields) != 3:
            raise UsageError(f"{option} {text}: it is CONTAINER_ID:FROM_ID:SIZE")
        inside, size = parse_id(fields[0], option), parse_id(fields[2], option)
        host = fields[1].startswith("@")
        first = parse_id(fields[1].removeprefix("@"), option)
        if size < 1 or inside + size - 1 > MAX_ID:
            raise UsageError(f"{option} {text}: the size is out of range")
        found = _host_slice(stored, first, size, inside) if host else cut(stored, first, size, inside)
        if total(found) != size:
            raise UsageError(
                f"{option} {text}: {size} ids from {fields[1]} on are not all yours", "rpod doctor subordinate-ids"
            )
        result += found
    return check(result, option)


def _host_slice(stored: list[Extent], first: int, size: int, inside: int) -> list[Extent]:
    result = []
    for extent in stored:
        low, high = max(extent.outside, first), min(extent.outside + extent.size, first + size)
        if low < high:
            result.append(Extent(inside + low - first, low, high - low))
    return result


def check(extents: list[Extent], option: str) -> list[Extent]:
    """Refuse what the kernel would refuse with a bare EINVAL: overlaps, too many lines."""
    if len(extents) > _MAX_EXTENTS:
        raise UsageError(f"{option}: {len(extents)} extents, the kernel takes {_MAX_EXTENTS}")
    for side in ("inside", "outside"):
        ordered = sorted(extents, key=lambda e: int(getattr(e, side)))
        for one, other in itertools.pairwise(ordered):
            if getattr(one, side) + one.size > getattr(other, side):
                raise UsageError(f"{option}: {one} and {other} overlap")
    return extents


def choose(mode: str, uidmap: list[str], gidmap: list[str], ranges: Ranges) -> IdMap | None:
    """The map of a new container's user namespace; None stands for the default map, made anew at each start.

    ``auto`` is not decided here but by runtime/autoids.py, which has to know of the others.
    """
    name, options = parse_mode(mode)
    if uidmap or gidmap:
        if name != "host":
            raise UsageError(f"--uidmap and --gidmap do not go together with --userns {mode}")
        uids = explicit(uidmap or gidmap, ranges, uids=True)
        return IdMap(uids, explicit(gidmap or uidmap, ranges, uids=False))
    if name == "keep-id":
        return _keep_id_map(options, ranges)
    if name == "nomap":
        demand_ranges(mode, ranges)
        return IdMap(flatten(ranges.uids), flatten(ranges.gids))
    return None


def demand_ranges(mode: str, ranges: Ranges) -> None:
    """LaunchError for a user without subordinate ids, of whom ``mode`` needs some."""
    if not ranges.uids or not ranges.gids:
        raise LaunchError(f"--userns {mode} needs subordinate ids, and this user has none", HINT_RANGES)
