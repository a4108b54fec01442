"""``system migrate``: after the user's subordinate ids changed, what is stored gets owners among the new ones.

An ordinary user can give a file away only where both owners, the old and the new, are ids of his. So this
works while /etc/subuid and /etc/subgid still have the old ranges beside the new ones, and says so where they
do not. Nothing is changed before everything is known to be possible; a second try goes on after an interruption.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from rootless import paths
from rootless.errors import StateError, StorageError, os_reason
from rootless.kernel import userns
from rootless.kernel.userns import Extent, IdMap
from rootless.state.containers import Containers
from rootless.storage import stored_map
from rootless.storage.staging import Staging

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Moves = list[tuple[int, int, int]]  # old, new, size

# What the kernel shows for an id that the namespace does not have (/proc/sys/kernel/overflowuid); never mapped here.
_NOBODY = 65534
_CAPABILITY = "security.capability"
_SET_IDS = stat.S_ISUID | stat.S_ISGID


def migrate() -> int:
    """Re-own everything; returns how many files changed. Raises StateError, StorageError."""
    data = paths.data()
    store = Containers()
    for container in store.all():
        if container.is_alive():
            raise StateError(f"container {container.name} is running", "rpod stop --all, then rpod system migrate")
    now = userns.default_map(userns.read_ranges())
    old = stored_map.read(data)
    then = old or now
    moves = stored_map.moved(then.uids, now.uids), stored_map.moved(then.gids, now.gids)
    for moved in moves:
        _refuse_overlap(moved)
    Staging(data).sweep()
    window = IdMap(_window(now.uids), _window(now.gids))
    work = _Work(
        data, [_shift(moved, extents) for moved, extents in zip(moves, (window.uids, window.gids), strict=True)]
    )
    found = userns.call_inside(work.survey, window)
    assert isinstance(found, dict)
    if found["strangers"]:
        raise _not_ours(found, then if old else None)
    changed = userns.call_inside(work.change, window) if found["changes"] else 0
    assert isinstance(changed, int)
    for container in store.all():
        record = container.record
        if record.uid_map:
            record.uid_map, record.gid_map = _moved_map(record.uid_map, moves[0]), _moved_map(record.gid_map, moves[1])
            container.save(sync=True)
    if os.path.isdir(data):
        stored_map.write(data, now)
    return changed


def _refuse_overlap(moves: Moves) -> None:
    """With an id that is both an old and a new one nobody could tell after an interruption what was done."""
    for old, _, size in moves:
        for _, new, other_size in moves:
            if new >= 0 and old < new + other_size and new < old + size:
                raise StorageError(
                    f"the old ids {old} to {old + size - 1} and the new ones from {new} on overlap",
                    "have the ranges put so that the new ones lie beside the old ones, or: rpod system reset",
                )


def _window(extents: list[Extent]) -> list[Extent]:
    """The same ids outside under other numbers inside, so that no one is the kernel's "nobody"."""
    found, inside = [], 0
    for extent in extents:
        first = max(0, min(extent.size, _NOBODY - inside))
        if first:
            found.append(Extent(inside, extent.outside, first))
            inside += first
        if inside == _NOBODY:
            inside += 1
        if extent.size > first:
            found.append(Extent(inside, extent.outside + first, extent.size - first))
            inside += extent.size - first
    return found


def _shift(moves: Moves, window: list[Extent]) -> Callable[[int], int]:
    """What becomes of an id as the window shows it: another one, itself, or _NOBODY where it has no place."""

    def change(shown: int) -> int:
        outside = next((e.outside + shown - e.inside for e in window if e.inside <= shown < e.inside + e.size), -1)
        for old, new, size in moves:
            if old <= outside < old + size:
                wanted = new + outside - old if new >= 0 else -1
                return next(
                    (e.inside + wanted - e.outside for e in window if e.outside <= wanted < e.outside + e.size), _NOBODY
                )
        return shown

    known: dict[int, int] = {_NOBODY: _NOBODY}

    def remembered(shown: int) -> int:
        if shown not in known:
            known[shown] = change(shown)
        return known[shown]

    return remembered


class _Work:
    """What is done inside the window's namespace."""

    def __init__(self, data: str, shifts: list[Callable[[int], int]]) -> None:
        self._data = data
        self._uid, self._gid = shifts

    def survey(self) -> dict[str, object]:
        """How many files change, and how many belong to strangers, with one of them."""
        changes = strangers = 0
        example = ""
        for folder, name, info in self._entries():
            if _NOBODY in (self._uid(info.st_uid), self._gid(info.st_gid)):
                strangers += 1
                example = example or os.fsencode(f"{folder}/{name}").decode("utf-8", "replace")
            elif (self._uid(info.st_uid), self._gid(info.st_gid)) != (info.st_uid, info.st_gid):
                changes += 1
        return {"changes": changes, "strangers": strangers, "example": example}

    def change(self) -> int:
        """Change every owner; what chown takes from a file (set-id bits, capabilities) is given back."""
        done: set[tuple[int, int]] = set()
        count = 0
        for folder, name, info in self._entries():
            owner = self._uid(info.st_uid), self._gid(info.st_gid)
            if owner == (info.st_uid, info.st_gid) or (info.st_dev, info.st_ino) in done:
                continue
            if info.st_nlink > 1:
                done.add((info.st_dev, info.st_ino))  # the other names show the new owner, which is no old one
            _chown(f"{folder}/{name}", info, *owner)
            count += 1
        return count

    def _entries(self) -> Iterator[tuple[str, str, os.stat_result]]:
        """Everything below the data directory, no link followed; a stranger's closed directory is not entered."""
        pending = [self._data]
        while pending:
            folder = pending.pop()
            try:
                with os.scandir(folder) as entries:
                    names = [entry.name for entry in entries]
            except (PermissionError, FileNotFoundError):
                continue
            for name in names:
                info = os.lstat(f"{folder}/{name}")
                if stat.S_ISDIR(info.st_mode):
                    pending.append(f"{folder}/{name}")
                yield folder, name, info


def _chown(path: str, info: os.stat_result, uid: int, gid: int) -> None:
    regular = stat.S_ISREG(info.st_mode)
    capability = b""
    if regular and _CAPABILITY in os.listxattr(path, follow_symlinks=False):
        capability = os.getxattr(path, _CAPABILITY, follow_symlinks=False)
    os.chown(path, uid, gid, follow_symlinks=False)
    if not stat.S_ISLNK(info.st_mode) and info.st_mode & _SET_IDS:
        os.chmod(path, stat.S_IMODE(info.st_mode))
    if capability:
        os.setxattr(path, _CAPABILITY, capability, follow_symlinks=False)


def _not_ours(found: dict[str, object], then: IdMap | None) -> StorageError:
    """The refusal: an ordinary user has no right over files of ids that are not his."""
    try:
        owner = f" (user {os.lstat(str(found['example'])).st_uid})"
    except OSError as error:
        owner = f" ({os_reason(error)})"
    anew = "or rpod system reset, and pull and make everything anew"
    if then is None or len(then.uids) < 2 or len(then.gids) < 2:
        hint = f"have the old ranges put back into /etc/subuid and /etc/subgid beside the new ones, {anew}"
    else:
        parts = [f"--add-subuids {e.outside}-{e.outside + e.size - 1}" for e in then.uids[1:]]
        parts += [f"--add-subgids {e.outside}-{e.outside + e.size - 1}" for e in then.gids[1:]]
        hint = f"sudo usermod {' '.join(parts)} {userns.user_name()} gives the old ids back; then again, {anew}"
    return StorageError(
        f"{found['strangers']} files belong to ids that are not yours any more, such as {found['example']}{owner}: "
        "only their owner or root can give them away",
        hint,
    )


def _moved_map(stored: list[list[int]], moves: Moves) -> list[list[int]]:
    """A container's own id map with the new ids."""
    old = [Extent(*line) for line in stored]
    for from_, to, size in moves:
        split: list[Extent] = []
        for extent in old:
            low, end = max(extent.outside, from_), min(extent.outside + extent.size, from_ + size)
            if low >= end or to < 0:
                split.append(extent)
                continue
            start = low - extent.outside
            if start:
                split.append(Extent(extent.inside, extent.outside, start))
            split.append(Extent(extent.inside + start, to + low - from_, end - low))
            if rest := extent.outside + extent.size - end:
                split.append(Extent(extent.inside + extent.size - rest, end, rest))
        old = split
    return [[extent.inside, extent.outside, extent.size] for extent in old]
