"""``inspect``: a container in the layout of podman's container inspect."""

from __future__ import annotations

from rootless.engine import facts, port
from rootless.engine import inspect_constants as constants
from rootless.engine.gotypes import Map, Struct
from rootless.kernel import cgroup2, times
from rootless.spec import OCI_VERSION
from rootless.state import health

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.resources import Resources
    from rootless.spec import Spec
    from rootless.state.container import Container, State
    from rootless.state.record import ContainerRecord

# The tmpfs of every container, which nobody asked for.
_OWN = ("/dev", "/dev/shm")
_NEVER = "0001-01-01T00:00:00Z"
# What JSON leaves out, and templates see all the same.
_WITHOUT_SIZE = {"SizeRw": None, "SizeRootFs": None}
_WITHOUT_HEALTHCHECK = {
    "Healthcheck": None,
    "HealthcheckOnFailureAction": "",
    "HealthMaxLogCount": 0,
    "HealthMaxLogSize": 0,
    "HealthLogDestination": "",
    "StartupHealthCheck": None,
}


def _moment(time_ns: int) -> str:
    return times.format_rfc3339(time_ns) if time_ns else _NEVER


def inspect_container(container: Container, size: bool) -> dict[str, object]:
    """Everything about a container. With ``size`` also SizeRw and SizeRootFs in bytes."""
    record, state, spec = container.record, container.state(), facts.read_spec(container)
    result = {
        "Id": record.id,
        "Created": _moment(record.created_ns),
        "Path": record.command[0] if record.command else "",
        "Args": record.command[1:],
        "State": _state(state) | {"Health": _health(container)},
        "Image": record.image_id.removeprefix("sha256:"),
        "ImageDigest": _image_digest(record),
        "ImageName": record.image,
        "Rootfs": record.rare.get("rootfs", ""),
        "Dependencies": sorted({*record.join.values(), *record.requires}),
        "PidFile": record.rare.get("pidfile", ""),
        "ResolvConfPath": f"{container.directory}/resolv.conf",
        "HostnamePath": f"{container.directory}/hostname",
        "HostsPath": f"{container.directory}/hosts",
        "OCIConfigPath": f"{container.directory}/config.json",
        "StaticDir": container.directory,
        "ConmonPidFile": record.rare.get("conmon_pidfile", ""),
        "OCIRuntime": str(record.rare.get("runtime", "rpod")).rpartition("/")[2],
        "LogPath": container.log_path,
        "Name": record.name,
        "RestartCount": state.run.restarts if state.run else 0,
        "Driver": record.driver,
        "EffectiveCaps": spec.process.effective,
        "BoundingCaps": spec.process.bounding,
        "GraphDriver": _graph_driver(container),
        "Mounts": _mounts(record),
        "NetworkSettings": _network(record, state),
        **constants.CONTAINER,
        "Config": Struct(_config(record, spec) | _healthcheck(container), _WITHOUT_HEALTHCHECK),
        "HostConfig": _host_config(container, state, spec),
    }
    if size:
        from rootless.engine import ps

        row = ps.PsRow(container, state)
        ps.fill_sizes([row], [container])
        if row.Size:
            result |= {"SizeRw": row.Size["rwSize"], "SizeRootFs": row.Size["rootFsSize"]}
    return Struct(result, _WITHOUT_SIZE)


def _state(state: State) -> dict[str, object]:
    run, end = state.run, state.exit
    return {
        "OciVersion": OCI_VERSION,
        "Status": state.status,
        "Running": state.status in ("running", "stopping"),
        "Paused": state.status == "paused",
        "Restarting": state.status == "restarting",
        "OOMKilled": bool(end and end.oom),
        "Pid": run.pid if run and (state.running or state.waits) else 0,
        "ConmonPid": run.monitor_pid if run and (state.running or state.waits) else 0,
        "ExitCode": state.exit_code,
        "Error": run.error if run else "",
        "StartedAt": _moment(run.started_ns if run else 0),
        "FinishedAt": _moment(end.finished_ns if end else 0),
        "CgroupPath": run.cgroup.removeprefix(cgroup2.MOUNT) if run else "",
        **constants.STATE,
    }


def _image_digest(record: ContainerRecord) -> str:
    """The manifest's digest; "" for an image that was removed by force, and for a --rootfs."""
    from rootless import paths
    from rootless.storage.images import ImageStore

    image = ImageStore(paths.data()).by_id(record.image_id) if record.image_id else None
    return image.digest if image else ""


def _health(container: Container) -> dict[str, object]:
    if not container.record.health:
        return {"Status": "", "FailingStreak": 0, "Log": None}
    found = health.read(container)
    entries = [
        {
            "Start": times.format_rfc3339(int(str(entry["start_ns"]))),
            "End": times.format_rfc3339(int(str(entry["end_ns"]))),
            "ExitCode": entry["code"],
            "Output": entry["output"],
        }
        for entry in found.log
    ]
    return {"Status": found.status, "FailingStreak": found.failing_streak, "Log": entries or None}


def _healthcheck(container: Container) -> dict[str, object]:
    """The properties of Config that only a container with a health check has."""
    check = health.check_of(container)
    if check is None:
        return {}
    result: dict[str, object] = {
        "Healthcheck": {
            "Test": check.test,
            "Interval": check.interval_ms * 1_000_000,
            "Timeout": check.timeout_ms * 1_000_000,
            "StartPeriod": check.start_period_ms * 1_000_000,
            "Retries": check.retries,
        },
        "HealthcheckOnFailureAction": check.on_failure,
        "HealthMaxLogCount": check.log_count,
        "HealthMaxLogSize": check.log_size,
        "HealthLogDestination": "local",
    }
    if check.startup_test:
        result["StartupHealthCheck"] = {
            "Test": check.startup_test,
            "Interval": check.startup_interval_ms * 1_000_000,
            "Timeout": check.startup_timeout_ms * 1_000_000,
            "Retries": check.startup_retries,
            "Successes": check.startup_success,
        }
    return result


def _graph_driver(container: Container) -> dict[str, object]:
    plan = facts.root_plan(container.record, container.directory)
    return {
        "Name": container.record.driver,
        "Data": Map(
            LowerDir=":".join(reversed(plan.layers)),
            MergedDir=plan.merged,
            UpperDir=f"{plan.directory}/diff",
            WorkDir=f"{plan.directory}/work",
        ),
    }


def _mounts(record: ContainerRecord) -> list[dict[str, object]]:
    result: list[dict[str, object]] = []
    for mount in record.mounts:
        propagation = [item for item in mount.options if item.endswith(("private", "slave", "shared"))]
        result.append(
            {
                "Type": mount.type,
                "Name": mount.name,
                "Source": mount.source,
                "Destination": mount.destination,
                "Driver": "local" if mount.type == "volume" else "",
                "Mode": "",
                "Options": [item for item in mount.options if item not in ("ro", "rw", *propagation)],
                "RW": "ro" not in mount.options,
                "Propagation": propagation[-1] if propagation else "rprivate" if mount.type != "tmpfs" else "",
            }
        )
    return result


def _ports(record: ContainerRecord, state: State) -> Map:
    bindings: dict[str, list[dict[str, str]]] = {}
    for mapping in port.mappings(record, state.run):
        key = f"{mapping.container_port}/{mapping.protocol}"
        bindings.setdefault(key, []).append({"HostIp": mapping.host_ip, "HostPort": str(mapping.host_port)})
    exposed: dict[str, object] = {(item if "/" in item else f"{item}/tcp"): None for item in record.exposed}
    return Map(exposed | bindings)


def _network(record: ContainerRecord, state: State) -> dict[str, object]:
    network = record.network
    networks = {} if network in ("host", "none") else {network: constants.ENDPOINT | {"NetworkID": network}}
    return constants.NETWORK | {"Ports": _ports(record, state), "Networks": Map(networks)}


def _config(record: ContainerRecord, spec: Spec) -> dict[str, object]:
    return {
        "Hostname": record.hostname,
        "User": record.user,
        "AttachStdin": record.open_stdin,
        "AttachStdout": True,
        "AttachStderr": True,
        "Tty": record.tty,
        "OpenStdin": record.open_stdin,
        "StdinOnce": record.open_stdin,
        "Env": spec.process.env,
        "Cmd": record.command[len(record.entrypoint) :],
        "Image": record.image,
        "WorkingDir": record.workdir,
        "Entrypoint": " ".join(record.entrypoint),
        "Labels": Map(record.labels),
        "Annotations": Map(record.annotations),
        "StopSignal": record.stop_signal,
        "StopTimeout": record.stop_timeout_s,
        "Timeout": record.timeout_s,
        "CreateCommand": record.create_command,
        "Umask": f"{spec.process.umask:04o}",
        "ExposedPorts": Map({(item if "/" in item else f"{item}/tcp"): {} for item in record.exposed}),
        "Passwd": not record.accounts.get("off"),
        "sdNotifyMode": record.sdnotify,
        **constants.CONFIG,
    }


def _namespace_mode(record: ContainerRecord, spec: Spec, kind: str) -> str:
    if kind in record.join:
        return f"container:{record.join[kind]}"
    if kind not in spec.namespaces:
        return "host"
    return f"ns:{spec.namespaces[kind]}" if spec.namespaces[kind] else "private"


def _host_config(container: Container, state: State, spec: Spec) -> dict[str, object]:
    record = container.record
    return {
        "Binds": [
            f"{mount.name or mount.source}:{mount.destination}"
            for mount in record.mounts
            if mount.type in ("bind", "volume")
        ],
        "Tmpfs": Map(
            {m.destination: ",".join(m.options) for m in spec.mounts if m.type == "tmpfs" and m.destination not in _OWN}
        ),
        "VolumesFrom": record.volumes_from or None,
        "ContainerIDFile": record.cidfile,
        "LogConfig": {
            "Type": record.log_driver,
            "Config": None,
            "Path": container.log_path,
            "Tag": record.log_tag,
            "Size": f"{record.log_size_max}B",
        },
        "RestartPolicy": {"Name": record.restart, "MaximumRetryCount": record.restart_max},
        "AutoRemove": record.auto_remove,
        "Runtime": "rpod",
        "Init": record.init,
        "Cgroups": "default" if record.cgroups == "enabled" else record.cgroups,
        "CgroupManager": _cgroup_manager(record, state),
        "CgroupParent": record.cgroup_parent,
        **_namespaces(record, spec),
        **_addresses(record, state),
        **_privileges(record, spec),
        **_limits(spec),
        **constants.HOST_CONFIG,
    }


def _cgroup_manager(record: ContainerRecord, state: State) -> str:
    """Who made the container's cgroup, or would make it."""
    if state.run and state.run.cgroup:
        return "systemd" if state.run.cgroup.endswith(".scope") else "cgroupfs"
    from rootless.runtime import cgroup

    return cgroup.manager(facts.cgroup_manager(record))


def _namespaces(record: ContainerRecord, spec: Spec) -> dict[str, object]:
    return {
        "CgroupMode": _namespace_mode(record, spec, "cgroup"),
        "IpcMode": _namespace_mode(record, spec, "ipc"),
        "NetworkMode": record.network,
        "PidMode": _namespace_mode(record, spec, "pid"),
        "UTSMode": _namespace_mode(record, spec, "uts"),
        "UsernsMode": record.userns,
        "IDMappings": {
            "UidMap": [":".join(map(str, extent)) for extent in record.uid_map],
            "GidMap": [":".join(map(str, extent)) for extent in record.gid_map],
        },
    }


def _addresses(record: ContainerRecord, state: State) -> dict[str, object]:
    return {
        "Dns": record.dns,
        "DnsOptions": record.dns_option,
        "DnsSearch": record.dns_search,
        "ExtraHosts": record.add_host,
        "PublishAllPorts": record.publish_all,
        "PortBindings": Map({key: value for key, value in _ports(record, state).items() if value}),
    }


def _privileges(record: ContainerRecord, spec: Spec) -> dict[str, object]:
    return {
        "Privileged": record.privileged,
        "CapAdd": _capabilities(record.cap_add),
        "CapDrop": _capabilities(record.cap_drop),
        "SecurityOpt": record.security_opt,
        "GroupAdd": record.groups,
        "ReadonlyRootfs": spec.root_readonly,
        "Devices": [
            {"PathOnHost": d.source, "PathInContainer": d.path, "CgroupPermissions": "rwm"} for d in spec.devices
        ],
    }


def _capabilities(typed: list[str]) -> list[str]:
    """``net_admin,CAP_KILL`` -> CAP_NET_ADMIN and CAP_KILL; ALL stays as it is."""
    names = [name.upper() for text in typed for name in text.split(",")]
    return [name if name == "ALL" or name.startswith("CAP_") else f"CAP_{name}" for name in names]


def _limits(spec: Spec) -> dict[str, object]:
    limits = spec.resources
    weights = [{"Path": f"{major}:{minor}", "Weight": weight} for major, minor, weight in limits.io_device_weights]
    return {
        "CpuPeriod": limits.cpu_period_us or 0,
        "CpuQuota": limits.cpu_quota_us or 0,
        "CpuShares": limits.cpu_shares or 0,
        "CpusetCpus": limits.cpuset_cpus,
        "CpusetMems": limits.cpuset_mems,
        "NanoCpus": (limits.cpu_quota_us or 0) * 1_000_000_000 // (limits.cpu_period_us or 100000),
        "Memory": limits.memory or 0,
        "MemoryReservation": limits.memory_reservation or 0,
        "MemorySwap": limits.memory_swap or 0,
        "ShmSize": _shm_size(spec),
        "OomScoreAdj": spec.process.oom_score_adj or 0,
        "PidsLimit": limits.pids or 0,
        "Ulimits": [{"Name": name, "Soft": soft, "Hard": hard} for name, soft, hard in spec.process.rlimits],
        "BlkioWeight": limits.io_weight or 0,
        "BlkioWeightDevice": weights or None,
        **{name: _throttles(limits, key) for key, name in _THROTTLES.items()},
        "CgroupConf": Map(limits.unified) or None,
    }


_THROTTLES = {
    "rbps": "BlkioDeviceReadBps",
    "wbps": "BlkioDeviceWriteBps",
    "riops": "BlkioDeviceReadIOps",
    "wiops": "BlkioDeviceWriteIOps",
}


def _throttles(limits: Resources, key: str) -> list[dict[str, object]] | None:
    found: list[dict[str, object]] = [
        {"Path": f"{major}:{minor}", "Rate": rate} for kind, major, minor, rate in limits.io_throttles if kind == key
    ]
    return found or None


def _shm_size(spec: Spec) -> int:
    for mount in spec.mounts:
        if mount.destination == "/dev/shm":
            for option in mount.options:
                if option.startswith("size="):
                    return int(option.removeprefix("size="))
    return 0
