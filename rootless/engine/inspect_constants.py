"""Fields of podman's container inspect that are the same for every container here.

Scripts and libraries that were written for Podman or Docker name them, and a template that names a field
that is not there is a mistake. Each says the truth: what rpod does not do is off, empty or zero.
"""

from __future__ import annotations

CONTAINER: dict[str, object] = {
    "MountLabel": "",
    "ProcessLabel": "",
    "AppArmorProfile": "",
    "Pod": "",
    "Namespace": "",
    "IsInfra": False,
    "IsService": False,
    "ExecIDs": [],
}

# There are no checkpoints.
STATE: dict[str, object] = {
    "CheckpointedAt": "0001-01-01T00:00:00Z",
    "RestoredAt": "0001-01-01T00:00:00Z",
    "Dead": False,
}

# The host's end has no address: slirp4netns and pasta translate.
ENDPOINT: dict[str, object] = {
    "EndpointID": "",
    "Gateway": "",
    "IPAddress": "",
    "IPPrefixLen": 0,
    "IPv6Gateway": "",
    "GlobalIPv6Address": "",
    "GlobalIPv6PrefixLen": 0,
    "MacAddress": "",
}
NETWORK: dict[str, object] = {
    **ENDPOINT,
    "Bridge": "",
    "SandboxID": "",
    "SandboxKey": "",
    "HairpinMode": False,
    "LinkLocalIPv6Address": "",
    "LinkLocalIPv6PrefixLen": 0,
}

CONFIG: dict[str, object] = {
    "Domainname": "",
    "OnBuild": None,
    "Volumes": None,
}

# What belongs to cgroup v1, to Windows, or to drivers that are not here.
HOST_CONFIG: dict[str, object] = {
    "VolumeDriver": "",
    "Cgroup": "",
    "Links": None,
    "ConsoleSize": [0, 0],
    "Isolation": "",
    "CpuRealtimePeriod": 0,
    "CpuRealtimeRuntime": 0,
    "CpuCount": 0,
    "CpuPercent": 0,
    "DiskQuota": 0,
    "KernelMemory": 0,
    "MemorySwappiness": 0,
    "OomKillDisable": False,
    "IOMaximumIOps": 0,
    "IOMaximumBandwidth": 0,
}
