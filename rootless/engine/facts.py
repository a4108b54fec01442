"""What every verb may ask about a container: what its record and config.json mean on this machine today.

They say what was wished; its id maps, its root and its cgroup also depend on the ranges, the store and the
configuration as they are now.
"""

from __future__ import annotations

import sys

from rootless import config, paths
from rootless.errors import StorageError
from rootless.kernel import fastjson, files, userns
from rootless.kernel.userns import Extent, IdMap
from rootless.runtime import limits
from rootless.spec import Spec
from rootless.storage import drivers
from rootless.storage.layers import LayerStore

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.state.container import Container
    from rootless.state.record import ContainerRecord

_MAIN = "from rootless.__main__ import main; main()"
# --cgroups; a scope of systemd's would hold the monitor, too, a child of the caller's cgroup does not.
_CGROUP_MANAGERS = {"disabled": "none", "no-conmon": "cgroupfs", "split": "split"}


def read_spec(container: Container) -> Spec:
    """The container's config.json."""
    path = f"{container.directory}/config.json"
    try:
        return Spec.from_json(files.read_json(path))
    except (OSError, fastjson.JSONError) as error:
        raise StorageError(
            f"{path} cannot be read: {error}", f"rpod rm {container.name}, and create it anew"
        ) from error


def command(*words: str) -> list[str]:
    """The argv of an rpod command like this one, for a process that outlives it."""
    return [sys.executable, "-P", "-c", _MAIN, *words]


def cgroup_manager(record: ContainerRecord) -> str:
    """Who is to make the container's cgroup: a word of ``engine.cgroup_manager``, or split."""
    return _CGROUP_MANAGERS.get(record.cgroups) or config.load().engine.cgroup_manager


def optional_limits(record: ContainerRecord, spec: Spec) -> frozenset[str]:
    """The limits of ``spec`` without whose controller the container runs all the same: rpod's defaults, or any."""
    if "limits" in record.rare:
        return frozenset(limits.wanted(spec.resources))
    return frozenset(("pids",)) if spec.resources.pids == config.load().containers.pids_limit else frozenset()


def root_plan(record: ContainerRecord, directory: str) -> drivers.RootPlan:
    """How the container's root is put together."""
    store = LayerStore(paths.data())
    if rootfs := record.rare.get("rootfs"):
        return drivers.RootPlan(record.driver, [str(rootfs)], directory)
    layers = [store.path(chain_id) for chain_id in record.layers]
    uids, gids = shifts(record) if record.uid_map else ("", "")
    return drivers.RootPlan(record.driver, layers, directory, uids, gids)


def shifts(record: ContainerRecord) -> tuple[str, str]:
    """How stored ids, uid and gid, are shown under the container's own maps."""
    stored = userns.default_map(userns.read_ranges())
    return (
        drivers.shift_triples(_extents(record.uid_map), stored.uids),
        drivers.shift_triples(_extents(record.gid_map), stored.gids),
    )


def _extents(stored: list[list[int]]) -> list[Extent]:
    return [Extent(*extent) for extent in stored]


def id_map(record: ContainerRecord, ranges: userns.Ranges) -> IdMap:
    """The container's id map; the default one is made of the ranges as they are now."""
    if record.uid_map:
        return IdMap(_extents(record.uid_map), _extents(record.gid_map))
    return userns.default_map(ranges)


def is_shifted(record: ContainerRecord) -> bool:
    """Whether the user's own id is not in the container."""
    if not record.uid_map:
        return False
    from rootless.kernel import nested

    return not nested.holds_self(IdMap(_extents(record.uid_map), _extents(record.gid_map)))
