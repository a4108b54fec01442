"""``commit``: what a container is and what it changed become an image."""

from __future__ import annotations

import contextlib
import signal
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rootless import paths
from rootless.engine import compose_image, diff, facts, images, instructions, pause, target_file
from rootless.engine.compose_image import Draft
from rootless.errors import NotFoundError, UsageError
from rootless.image import manifest, reference
from rootless.state import events
from rootless.storage import drivers
from rootless.storage.changeset import FlatPacker, UpperPacker
from rootless.storage.layers import LayerStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rootless.state.container import Container
    from rootless.storage.image_record import Image
    from rootless.storage.layers import Sink

# The engine's own additions to a container's environment (``engine.specs``), which belong to no image.
_OWN_ENV = ("container", "HOSTNAME", "TERM", "http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy")


@dataclass(kw_only=True)
class CommitOptions:
    """Options of ``commit`` under podman-commit(1)'s names."""

    author: str = ""
    change: list[str] = field(default_factory=list)
    format: str = "oci"
    iidfile: str = ""
    include_volumes: bool = False
    message: str = ""
    pause: bool = False
    quiet: bool = False
    squash: bool = False


def commit(container: Container, name: str, options: CommitOptions) -> Image:
    """Store an image of ``container`` and return it; ``name`` is "" for an image without one.

    Nothing is left of a commit that fails. Raises UsageError, UnsupportedError, StorageError.
    """
    if container.record.rare:
        from rootless.engine import rare

        rare.refuse_directory(container.record, "commit")
    target = [reference.parse_target(name).tagged] if name else []
    target_file.check("--iidfile", options.iidfile)
    pack = _packer(container, options)

    def fill(sink: Sink) -> None:
        with _paused(container, options.pause):
            sink.fill(pack)

    told = f"Copying what container {container.name} {'holds' if options.squash else 'changed'}"
    image = compose_image.store(_draft(container, options), target, fill, told=told, quiet=options.quiet)
    target_file.note(options.iidfile, image.hex)
    events.of_container(container.record, "commit")
    return image


def _packer(container: Container, options: CommitOptions) -> Callable[[Callable[[bytes], None]], None]:
    """What writes the new layer. Everything is looked up now: the process that packs sees no records."""
    layers = LayerStore(paths.data())
    upper = f"{container.directory}/diff"
    roots = [upper, *(layers.path(chain_id) for chain_id in reversed(container.record.layers))]
    mount_points = diff.mount_points(container)
    marks = container.record.driver == drivers.FUSE
    if options.squash:
        return lambda write: FlatPacker(write).run(roots)
    lower = roots[1] if len(roots) > 1 else ""
    return lambda write: UpperPacker(write, mount_points, marks=marks).run(upper, lower)


@contextlib.contextmanager
def _paused(container: Container, wanted: bool) -> Iterator[None]:
    """Stop the container's processes for the time of the copy; one that does not run stays as it is."""
    if not wanted or container.state().status != "running":
        yield
        return
    pause.pause(container)
    try:
        yield
    finally:
        pause.unpause(container)


def _draft(container: Container, options: CommitOptions) -> Draft:
    base = images.find(container.record.image_id)
    if base is None:
        raise NotFoundError(
            f"the image of container {container.name} is not there any more: {container.record.image}",
            "rpod export keeps the files of the container without it",
        )
    draft = Draft(base, format=options.format)
    draft.config.update(_container_config(container, base, draft.config, volumes=options.include_volumes))
    instructions.apply(draft.config, options.change, docker=draft.docker)
    draft.author, draft.comment = options.author, options.message
    draft.created_by = " ".join(container.record.command)
    if options.squash:
        draft.flatten()
    if len(draft.chain) >= manifest.MAX_LAYERS:
        raise UsageError(
            f"the image of container {container.name} has {len(draft.chain)} layers, and no more can be stacked",
            "rpod commit --squash makes one of all",
        )
    return draft


def _container_config(
    container: Container, base: Image, config: dict[str, object], *, volumes: bool
) -> dict[str, object]:
    """What the container says about programs in it, as an image's ``config`` object has it."""
    record = container.record
    spec = facts.read_spec(container)
    found: dict[str, object] = {
        "User": record.user,
        "WorkingDir": record.workdir,
        "Entrypoint": record.entrypoint,
        "Cmd": record.command[len(record.entrypoint) :],
        "Env": _environment(spec.process.env, base.config.env, record.env),
        "Labels": record.labels,
        "ExposedPorts": {
            **{port: {} for port in base.config.exposed_ports},
            **{item if "/" in item else f"{item}/tcp": {} for item in record.exposed},
        },
    }
    if config.get("StopSignal") or record.stop_signal != signal.SIGTERM:
        found["StopSignal"] = _signal_name(record.stop_signal)
    if volumes:
        mounted = [mount.destination for mount in record.mounts]
        found["Volumes"] = {path: {} for path in [*base.config.volumes, *mounted]}
    return found


def _environment(entries: list[str], image: list[str], typed: list[str]) -> list[str]:
    """The container's variables without those that the engine added by itself."""
    asked = {entry.partition("=")[0] for entry in typed}
    kept = []
    for entry in entries:
        name = entry.partition("=")[0]
        own = name in _OWN_ENV or name.lower() in _OWN_ENV
        if not own or name in asked or entry in image:
            kept.append(entry)
    return kept


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)
