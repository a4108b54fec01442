"""``linux.resources`` of config.json, as far as cgroup v2 knows it.

Source: opencontainers/runtime-spec, config-linux.md, "Control groups".
"""

from __future__ import annotations

from rootless.checked import string_map, take

_WHERE = "linux.resources."
_PLACES = {  # attribute -> group and key
    "memory": ("memory", "limit"),
    "memory_swap": ("memory", "swap"),
    "memory_reservation": ("memory", "reservation"),
    "cpu_quota_us": ("cpu", "quota"),
    "cpu_period_us": ("cpu", "period"),
    "cpu_shares": ("cpu", "shares"),
    "cpuset_cpus": ("cpu", "cpus"),
    "cpuset_mems": ("cpu", "mems"),
    "pids": ("pids", "limit"),
    "io_weight": ("blockIO", "weight"),
}
_WORDS = ("cpuset_cpus", "cpuset_mems")  # all others are numbers
_THROTTLES = {
    "rbps": "throttleReadBpsDevice",
    "wbps": "throttleWriteBpsDevice",
    "riops": "throttleReadIOPSDevice",
    "wiops": "throttleWriteIOPSDevice",
}
_THROTTLE_FIELDS = ("major", "minor", "rate")


class Resources:
    """Bytes, microseconds, counts; None or empty where no limit is set.

    ``foreign``: another engine's, which calls limits by their properties and not by rpod's options.
    """

    __slots__ = (
        "cpu_period_us",
        "cpu_quota_us",
        "cpu_shares",
        "cpuset_cpus",
        "cpuset_mems",
        "foreign",
        "io_device_weights",
        "io_throttles",
        "io_weight",
        "memory",
        "memory_reservation",
        "memory_swap",
        "pids",
        "unified",
    )

    def __init__(self) -> None:
        self.foreign = False
        self.memory: int | None = None
        self.memory_swap: int | None = None  # memory plus swap; -1 = unlimited
        self.memory_reservation: int | None = None
        self.cpu_quota_us: int | None = None
        self.cpu_period_us: int | None = None
        self.cpu_shares: int | None = None
        self.cpuset_cpus = ""
        self.cpuset_mems = ""
        self.pids: int | None = None
        self.io_weight: int | None = None  # 10 to 1000
        self.io_device_weights: list[tuple[int, int, int]] = []  # (major, minor, weight)
        self.io_throttles: list[tuple[str, int, int, int]] = []  # (rbps|riops|wbps|wiops, major, minor, rate)
        self.unified: dict[str, str] = {}  # file of the cgroup -> value

    def property_of(self, limit: str) -> str:
        """The full name of the property that sets an attribute, or a file of ``unified``."""
        if limit == "io_device_weights":
            return f"{_WHERE}blockIO.weightDevice"
        if limit == "io_throttles":
            return f"{_WHERE}blockIO.{_THROTTLES[self.io_throttles[0][0]]}"
        return _WHERE + ".".join(_PLACES.get(limit, ("unified", limit)))

    def to_json(self) -> dict[str, object]:
        """As in the specification, without what is not set."""
        groups: dict[str, dict[str, object]] = {}
        for name, (group, key) in _PLACES.items():
            value = getattr(self, name)
            if value not in (None, ""):
                groups.setdefault(group, {})[key] = value
        if self.io_device_weights or self.io_throttles:
            groups.setdefault("blockIO", {}).update(self._io_to_json())
        return {**groups, "unified": self.unified} if self.unified else {**groups}

    def _io_to_json(self) -> dict[str, object]:
        group: dict[str, object] = {}
        if self.io_device_weights:
            group["weightDevice"] = [
                {"major": major, "minor": minor, "weight": weight} for major, minor, weight in self.io_device_weights
            ]
        for key, name in _THROTTLES.items():
            found = [{"major": a, "minor": b, "rate": rate} for k, a, b, rate in self.io_throttles if k == key]
            if found:
                group[name] = found
        return group

    @classmethod
    def from_json(cls, value: object) -> Resources:
        """Check ``linux.resources``. Raises SpecError."""
        self = cls()
        for name, (group, key) in _PLACES.items():
            part = take(value, group, dict, {}, _WHERE)
            if part.get(key) is not None:
                setattr(self, name, take(part, key, str if name in _WORDS else int, None, f"{_WHERE}{group}."))
        self.unified = string_map(value, "unified", _WHERE)
        self._io_from_json(take(value, "blockIO", dict, {}, _WHERE))
        return self

    def _io_from_json(self, group: dict[str, object]) -> None:
        where = f"{_WHERE}blockIO."
        for item in take(group, "weightDevice", list, [], where):
            at = f"{where}weightDevice[]."
            major, minor, weight = (take(item, key, int, 0, at) for key in ("major", "minor", "weight"))
            self.io_device_weights.append((major, minor, weight))
        for key, name in _THROTTLES.items():
            for item in take(group, name, list, [], where):
                major, minor, rate = (take(item, field, int, 0, f"{where}{name}[].") for field in _THROTTLE_FIELDS)
                self.io_throttles.append((key, major, minor, rate))
