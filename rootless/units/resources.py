"""``.volume`` and ``.image`` files become services that make the thing and stay active."""

from __future__ import annotations

from rootless.units.convert import Conversion, missing
from rootless.units.words import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.units.convert import Source
    from rootless.units.service import Service
    from rootless.units.unitfile import Entry


def convert_volume(source: Source, others: dict[str, Source]) -> Service:
    """The service of a ``.volume`` file. Raises UnitError."""
    work = Conversion(source, others)
    _once(work)
    by_image = work.text("Driver") == "image"
    options = _of_image(work) if by_image else _of_mount(work)
    argv = work.rpod("volume", "create", "--ignore", *work.options(), *options, *work.arguments("PodmanArgs"))
    work.service.command("ExecStart", [*argv, source.resource])
    return work.service


def convert_image(source: Source, others: dict[str, Source]) -> Service:
    """The service of an ``.image`` file. Raises UnitError."""
    work = Conversion(source, others)
    image = work.text("Image")
    if not image:
        raise missing(work.unit, "Image", "Image=", "Image=docker.io/library/debian")
    _once(work)
    argv = work.rpod("image", "pull", *work.options(), *work.arguments("PodmanArgs"), image)
    work.service.command("ExecStart", argv)
    return work.service


def _once(work: Conversion) -> None:
    work.service.default("Service", "Type", "oneshot")
    work.service.default("Service", "RemainAfterExit", "yes")
    work.service.default("Service", "SyslogIdentifier", "%N")


def _of_image(work: Conversion) -> list[str]:
    image = work.unit.last("Volume", "Image")
    if image is None:
        raise missing(work.unit, "Volume", "Image=, which Driver=image needs", "Image=docker.io/library/debian")
    return ["--opt", f"image={work.image(image)}"]


def _of_mount(work: Conversion) -> list[str]:
    """The volume's options: Device=, Type= and Options= of what is mounted, its owner, and whether it is filled."""
    unit, argv, options = work.unit, [], []
    for key, name in (("User", "uid"), ("Group", "gid")):
        entry = unit.last("Volume", key)
        if entry is not None:
            options.append(f"{name}={entry.number()}")
    fill = unit.last("Volume", "Copy")
    if fill is not None:
        argv += ["--opt", "copy" if fill.boolean() else "nocopy"]
    device = work.text("Device")
    if device:
        argv += ["--opt", f"device={device}"]
    kind = unit.last("Volume", "Type")
    if kind is not None:
        argv += ["--opt", f"type={_with_device(kind, device)}"]
        if kind.text == "bind":
            work.service.add_new("Unit", "RequiresMountsFor", quote(device))
    mount = unit.last("Volume", "Options")
    if mount is not None:
        options.append(_with_device(mount, device))
    return [*argv, "--opt", f"o={','.join(options)}"] if options else argv


def _with_device(entry: Entry, device: str) -> str:
    if not device:
        raise entry.error(f"{entry.key}= needs Device=")
    return entry.text
