"""The record of a container: what ``create`` decided, as it stands in container.json.

Everything here is checked when it is read: a damaged or foreign file is a StorageError
that names it, never an exception of the JSON or type kind.
"""

from __future__ import annotations

from rootless.errors import StorageError

SCHEMA = 1

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import ClassVar, Self


def _is_string(item: object) -> bool:
    return isinstance(item, str)


def _is_number(item: object) -> bool:
    return type(item) is int


def is_object(item: object) -> bool:
    """Whether an item of a list is a JSON object."""
    return isinstance(item, dict)


def _unchecked(_item: object) -> bool:
    """For what is checked by those who read it."""
    return True


def _numbers(count: int) -> Callable[[object], bool]:
    """Whether an item is a list of ``count`` numbers."""
    return lambda item: isinstance(item, list) and len(item) == count and all(type(n) is int for n in item)


class Record:
    """Base of records: fields with defaults, whose JSON types are those of the defaults.

    What a list or an object holds are strings, unless ``ITEMS`` has another test for them.
    """

    FIELDS: ClassVar[Mapping[str, object]] = {}
    ITEMS: ClassVar[Mapping[str, Callable[[object], bool]]] = {}
    __slots__ = ()

    def __init__(self, **values: object) -> None:
        for name, default in self.FIELDS.items():
            value = values.pop(name, default)
            setattr(self, name, type(value)(value) if isinstance(value, list | dict) else value)
        if values:
            raise TypeError(f"{type(self).__name__} has no field {', '.join(values)}")

    @classmethod
    def from_json(cls, value: object, path: str) -> Self:
        """Check and take over a JSON object read from ``path``; StorageError if it is none of this kind."""
        if not isinstance(value, dict):
            raise StorageError(f"{path}: not a record")
        self = cls.__new__(cls)
        for name, default in cls.FIELDS.items():  # `ps` does this 60 times for each container
            found = value.get(name, default)
            if type(found) is not type(default):
                raise StorageError(f"{path}: {name} is of the wrong type")
            if isinstance(found, list | dict):
                if found and not cls._holds(name, found):
                    raise StorageError(f"{path}: {name} is of the wrong type")
                if found is default:
                    found = found.copy()
            setattr(self, name, found)
        return self

    @classmethod
    def _holds(cls, name: str, found: list[object] | dict[str, object]) -> bool:
        """Whether a list or an object holds what it should."""
        items = found if isinstance(found, list) else found.values()
        return all(map(cls.ITEMS.get(name, _is_string), items))

    def to_json(self) -> dict[str, object]:
        """The JSON object of this record."""
        return {name: getattr(self, name) for name in self.FIELDS}


class MountRecord(Record):
    """A mount of a container besides the runtime's own.

    ``type``: bind, volume, tmpfs, devpts or image. ``name`` is a volume's or an image's; ``source`` a
    path, for a volume of the type tmpfs that word. ``copy``: an empty volume is filled from the image.
    ``scratch`` puts an overlay over the source whose writes go with the run, or to ``upper``. ``subpath``
    is what of a volume or an image is shown. ``chown``: everything in it becomes the user's who runs
    the program. ``image_id`` and ``layers``, chain ids, are an image's.
    """

    FIELDS: ClassVar[Mapping[str, object]] = {
        "type": "",
        "name": "",
        "source": "",
        "destination": "",
        "options": [],
        "anonymous": False,
        "copy": True,
        "chown": False,
        "scratch": False,
        "upper": "",
        "work": "",
        "subpath": "",
        "image_id": "",
        "layers": [],
    }
    __slots__ = tuple(FIELDS)

    if TYPE_CHECKING:
        type: str
        name: str
        source: str
        destination: str
        options: list[str]
        anonymous: bool
        copy: bool
        chown: bool
        scratch: bool
        upper: str
        work: str
        subpath: str
        image_id: str
        layers: list[str]

    def to_json(self) -> dict[str, object]:
        """The JSON object, without what is as in most mounts."""
        return {name: value for name, value in super().to_json().items() if value != self.FIELDS[name]}


class ContainerRecord(Record):
    """What a container is. Times are nanoseconds since the epoch, sizes bytes, timeouts seconds."""

    FIELDS: ClassVar[Mapping[str, object]] = {
        "schema": SCHEMA,
        "id": "",
        "name": "",
        "image": "",  # the reference as resolved, for people
        "image_id": "",  # sha256:HEX
        "created_ns": 0,
        "command": [],  # entrypoint and arguments, as ps shows them
        "entrypoint": [],  # what of it is the entrypoint
        "create_command": [],  # rpod's own arguments
        "driver": "",  # storage driver
        "layers": [],  # chain ids, base first
        "uid_map": [],  # [[inside, outside, size], …], [] = made anew at each start (the default map)
        "gid_map": [],
        "userns": "",
        "user": "",  # USER as typed or as the image says; looked up inside at each start
        "groups": [],  # --group-add
        "accounts": {},  # --passwd and the like: {"off", "passwd_entry", "group_entry", "hostuser"}, what was given
        "workdir": "",
        "tty": False,
        "open_stdin": False,
        "auto_remove": False,
        "init": False,
        "privileged": False,
        "network": "",  # private drivers by name, host, none, container:ID, ns:PATH
        "network_options": {},
        "dns": [],
        "dns_search": [],
        "dns_option": [],
        "add_host": [],
        "hostname": "",
        "ports": [],  # [{"host_ip", "host_port", "container_port", "protocol"}, …]
        "exposed": [],
        "publish_all": False,
        "join": {},  # namespace -> container id: pid, ipc, uts, net, user, cgroup
        "mounts": [],  # MountRecord
        "labels": {},
        "annotations": {},
        "env": [],  # what was typed: the lines of --env-file, then -e
        "log_driver": "k8s-file",
        "log_size_max": 0,
        "log_files_max": 0,
        "log_path": "",  # --log-opt path, "" = ctr.log beside the record
        "log_tag": "",
        "log_labels": [],  # NAME=VALUE fields of the journal's entries
        "health": {},  # state/health.py, {} = no health check
        "sdnotify": "container",
        "restart": "no",
        "restart_max": 0,
        "stop_signal": 15,
        "stop_timeout_s": 10,
        "timeout_s": 0,
        "cgroup_parent": "",
        "cgroups": "enabled",
        "cidfile": "",
        "cap_add": [],
        "cap_drop": [],
        "security_opt": [],
        "volumes_from": [],
        "requires": [],  # ids of the containers that are started first
        "rare": {},  # what only few have, see engine/rare.py
    }
    ITEMS: ClassVar[Mapping[str, Callable[[object], bool]]] = {
        "uid_map": _numbers(3),
        "gid_map": _numbers(3),
        "accounts": _unchecked,
        "ports": is_object,
        "mounts": is_object,
        "health": _unchecked,
        "rare": _unchecked,
    }
    __slots__ = tuple(FIELDS)

    if TYPE_CHECKING:
        schema: int
        id: str
        name: str
        image: str
        image_id: str
        created_ns: int
        command: list[str]
        entrypoint: list[str]
        create_command: list[str]
        driver: str
        layers: list[str]
        uid_map: list[list[int]]
        gid_map: list[list[int]]
        userns: str
        user: str
        groups: list[str]
        accounts: dict[str, object]
        workdir: str
        tty: bool
        open_stdin: bool
        auto_remove: bool
        init: bool
        privileged: bool
        network: str
        network_options: dict[str, str]
        dns: list[str]
        dns_search: list[str]
        dns_option: list[str]
        add_host: list[str]
        hostname: str
        ports: list[dict[str, object]]
        exposed: list[str]
        publish_all: bool
        join: dict[str, str]
        mounts: list[MountRecord]
        labels: dict[str, str]
        annotations: dict[str, str]
        env: list[str]
        log_driver: str
        log_size_max: int
        log_files_max: int
        log_path: str
        log_tag: str
        log_labels: list[str]
        health: dict[str, object]
        sdnotify: str
        restart: str
        restart_max: int
        stop_signal: int
        stop_timeout_s: int
        timeout_s: int
        cgroup_parent: str
        cgroups: str
        cidfile: str
        cap_add: list[str]
        cap_drop: list[str]
        security_opt: list[str]
        volumes_from: list[str]
        requires: list[str]
        rare: dict[str, object]

    @classmethod
    def from_json(cls, value: object, path: str) -> Self:
        """As every record; its mounts are records of their own."""
        self = super().from_json(value, path)
        self.mounts = [MountRecord.from_json(mount, path) for mount in self.mounts]
        return self

    def to_json(self) -> dict[str, object]:
        """The JSON object of this record."""
        return {**super().to_json(), "mounts": [mount.to_json() for mount in self.mounts]}


class RunRecord(Record):
    """What one start of a container left in state.json; pids count only in the boot of ``boot_id``."""

    FIELDS: ClassVar[Mapping[str, object]] = {
        "boot_id": "",
        "pid": 0,
        "start_ticks": 0,
        "monitor_pid": 0,
        "monitor_ticks": 0,
        "started_ns": 0,  # 0: everything is set up, and the program waits for start
        "cgroup": "",
        "helpers": [],  # [[pid, start_ticks], …]
        "ports": [],
        "names_ns": {},  # hosts, resolv.conf -> st_mtime_ns when rpod wrote it last: another one, and it is not ours
        "restarts": 0,
        "restart_delay_ms": 0,  # what was waited before this start
        "restart_at_ns": 0,  # when the next start comes, 0 = none is planned
        "error": "",  # why the last start failed
        "stopped_by_user": False,
    }
    ITEMS: ClassVar[Mapping[str, Callable[[object], bool]]] = {
        "helpers": _numbers(2),
        "names_ns": _is_number,
        "ports": is_object,
    }
    __slots__ = tuple(FIELDS)

    if TYPE_CHECKING:
        boot_id: str
        pid: int
        start_ticks: int
        monitor_pid: int
        monitor_ticks: int
        started_ns: int
        cgroup: str
        helpers: list[list[int]]
        ports: list[dict[str, object]]
        names_ns: dict[str, int]
        restarts: int
        restart_delay_ms: int
        restart_at_ns: int
        error: str
        stopped_by_user: bool


class ExitRecord(Record):
    """What the monitor wrote when the program ended."""

    FIELDS: ClassVar[Mapping[str, object]] = {
        "code": 0,
        "signal": 0,
        "oom": False,
        "finished_ns": 0,
    }
    __slots__ = tuple(FIELDS)

    if TYPE_CHECKING:
        code: int
        signal: int
        oom: bool
        finished_ns: int
