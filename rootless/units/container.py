"""A ``.container`` file becomes a service that runs ``rpod run``."""

from __future__ import annotations

import csv
import io
import os

from rootless.units import convert
from rootless.units.convert import Conversion

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.units.convert import Source
    from rootless.units.service import Service
    from rootless.units.unitfile import Entry

_SECTION = "Container"
# The other ways to end a service would leave the monitor no time to write down the end, or leave processes behind.
_KILL_MODES = ("mixed", "control-group")
_TYPES = ("notify", "oneshot")
_STOP_MARGIN_S = 60


def convert_container(source: Source, others: dict[str, Source]) -> Service:
    """The service of a ``.container`` file. Raises UnitError."""
    work = Conversion(source, others)
    name = convert.container_name(source.unit)
    # Before [Container] is looked at: [Service] says which kind of service it is.
    notifies = _service_defaults(work)
    work.service.command("ExecStop", work.rpod("stop", "--ignore", name))
    # A container whose monitor was killed is still there then.
    work.service.command("ExecStopPost", work.rpod("rm", "-v", "-f", "-i", name), optional=True)
    _reload(work, name)
    work.service.command("ExecStart", _run(work, name, notifies=notifies))
    return work.service


def _service_defaults(work: Conversion) -> bool:
    """What systemd is told unless the file says otherwise; returns whether the service notifies systemd."""
    service, unit = work.service, work.unit
    kind, mode = unit.last("Service", "Type"), unit.last("Service", "KillMode")
    if kind is not None and kind.text not in _TYPES:
        raise kind.error(f"Type={kind.value} does not work for a container", "notify or oneshot")
    if mode is not None and mode.text not in _KILL_MODES:
        raise mode.error(f"KillMode={mode.value} does not work for a container", "mixed or control-group")
    service.add("Service", "Environment", "PODMAN_SYSTEMD_UNIT=%n")
    service.default("Service", "KillMode", "mixed")
    service.default("Service", "Delegate", "yes")
    service.default("Service", "SyslogIdentifier", "%N")
    notifies = kind is None or kind.text == "notify"
    if notifies:
        service.default("Service", "Type", "notify")
        service.default("Service", "NotifyAccess", "all")
    stop = work.unit.last(_SECTION, "StopTimeout")
    if stop is not None:
        service.default("Service", "TimeoutStopSec", str(stop.number() + _STOP_MARGIN_S))
    return notifies


def _run(work: Conversion, name: str, *, notifies: bool) -> list[str]:
    argv = work.rpod("run", "--name", name, "--replace", "--rm")
    argv.append(f"--cgroups={work.text('CgroupsMode') or 'split'}")
    argv += ["--log-driver", work.text("LogDriver") or "journald"]
    if notifies:
        argv += [f"--sdnotify={_notify(work)}", "-d"]
    argv += work.options() + _entrypoint(work)
    argv += _networks(work) + _user(work) + _devices(work) + _volumes(work) + _mounts(work)
    argv += _environment_files(work)
    argv += work.arguments("PodmanArgs")
    argv += _image(work)
    command = work.unit.last(_SECTION, "Exec")
    return argv + (command.words() if command else [])


def _entrypoint(work: Conversion) -> list[str]:
    """An empty ``Entrypoint=`` is one, too: it takes the image's away."""
    typed = [entry for entry in work.unit.entries(_SECTION) if entry.key == "Entrypoint"]
    return [f"--entrypoint={typed[-1].text}"] if typed else []


def _environment_files(work: Conversion) -> list[str]:
    argv = []
    for entry in work.unit.all(_SECTION, "EnvironmentFile"):
        for word in entry.words():
            path = work.path(word.removeprefix("-"))
            if not word.startswith("-") or path.startswith("%") or os.path.exists(path):
                argv += ["--env-file", path]
    return argv


def _image(work: Conversion) -> list[str]:
    image, rootfs = work.unit.last(_SECTION, "Image"), work.unit.last(_SECTION, "Rootfs")
    if image is not None and rootfs is not None:
        raise rootfs.error("Rootfs= and Image= exclude each other", "leave one out")
    if rootfs is not None:
        return ["--rootfs", rootfs.text]
    if image is None:
        raise convert.missing(work.unit, _SECTION, "Image=", "Image=docker.io/library/debian")
    return [work.image(image)]


def _notify(work: Conversion) -> str:
    entry = work.unit.last(_SECTION, "Notify")
    if entry is None:
        return "conmon"
    if entry.text.lower() == "healthy":
        return "healthy"
    return "container" if entry.boolean() else "conmon"


def _reload(work: Conversion, name: str) -> None:
    command, signal = work.unit.last(_SECTION, "ReloadCmd"), work.unit.last(_SECTION, "ReloadSignal")
    if command is not None and signal is not None:
        raise signal.error("ReloadSignal= and ReloadCmd= exclude each other", "leave one out")
    if command is not None:
        work.service.command("ExecReload", work.rpod("exec", name, *command.words()))
    elif signal is not None:
        work.service.command("ExecReload", work.rpod("kill", "--signal", signal.text, name))


def _networks(work: Conversion) -> list[str]:
    argv = []
    for entry in work.unit.all(_SECTION, "Network"):
        network, colon, options = entry.text.partition(":")
        if network.endswith(".network"):
            work.other(entry, network)
        if network.endswith(".container"):
            if colon:
                raise entry.error(f"Network={entry.value}: a joined network takes no options {options!r}")
            argv += ["--network", f"container:{work.resource(entry, network)}"]
        else:
            argv += ["--network", entry.text]
    return argv


def _user(work: Conversion) -> list[str]:
    user, group = work.text("User"), work.unit.last(_SECTION, "Group")
    if group is not None and not user:
        raise group.error("Group= needs User=", "User=0")
    return ["--user", f"{user}:{group.text}" if group else user] if user else []


def _devices(work: Conversion) -> list[str]:
    argv = []
    for entry in work.unit.all(_SECTION, "AddDevice"):
        for device in entry.words(unescape=False):
            if not device.startswith("-"):
                argv += ["--device", device]
            elif os.path.exists(device[1:].partition(":")[0]):
                argv += ["--device", device[1:]]
    return argv


def _volumes(work: Conversion) -> list[str]:
    argv = []
    for entry in work.unit.all(_SECTION, "Volume"):
        source, colon, rest = entry.text.partition(":")
        argv += ["--volume", f"{work.storage(entry, source, ('volume',))}:{rest}" if colon else source]
    return argv


def _mounts(work: Conversion) -> list[str]:
    argv = []
    for entry in work.unit.all(_SECTION, "Mount"):
        for text in entry.words():
            argv += ["--mount", _mount(work, entry, text)]
    return argv


def _mount(work: Conversion, entry: Entry, text: str) -> str:
    """``--mount`` with its source resolved; the fields are those of a CSV line, as Podman reads them."""
    fields = next(csv.reader([text]), [])
    kind = next((field[5:] for field in fields if field.startswith("type=")), "volume")
    if kind not in ("volume", "bind", "glob", "image"):
        return text
    for index, field in enumerate(fields):
        name, _, value = field.partition("=")
        if name in ("source", "src"):
            if not value:
                raise entry.error(f"Mount={entry.value}: {name} is empty")
            fields[index] = f"source={work.storage(entry, value, ('volume', 'image'))}"
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(fields)
    return line.getvalue()
