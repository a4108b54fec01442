"""``diff history image tree commit export import``."""

from __future__ import annotations

from rootless.cli import output
from rootless.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rootless.engine.history import Layer, Step
    from rootless.storage.image_record import Image

_WORDS = {"C": "changed", "A": "added", "D": "deleted"}
_HISTORY = output.Layout(
    {
        "ID": "ID",
        "Created": "CREATED",
        "CreatedAt": "CREATED AT",
        "CreatedSince": "CREATED",
        "CreatedBy": "CREATED BY",
        "Size": "SIZE",
        "Comment": "COMMENT",
        "Tags": "TAGS",
    },
    ("ID", "Created", "CreatedBy", "Size", "Comment"),
)
_MAX_CREATED_BY = 45


def diff(*, names: list[str], format: str, latest: bool) -> int:
    """Compare containers or images."""
    return _diff(names, format, "all", latest=latest)


def diff_container(*, names: list[str], format: str, latest: bool) -> int:
    """Compare containers."""
    return _diff(names, format, "container", latest=latest)


def diff_image(*, names: list[str], format: str) -> int:
    """Compare images."""
    return _diff(names, format, "image", latest=False)


def _diff(names: list[str], format_: str, kind: str, *, latest: bool) -> int:
    from rootless.engine import diff as engine

    if format_ not in ("", "json"):
        raise UsageError(f"--format {format_}: diff has no templates", "json, or nothing")
    if latest:
        from rootless.state.containers import Containers

        names = [Containers().latest().id, *names]
    if not 1 <= len(names) <= 2:
        raise UsageError("diff takes one name, or two to compare", "rpod ps -a; rpod images")
    found = engine.diff(*names, kind=kind)
    if format_ == "json":
        groups = {word: [path for letter, path in found if letter == key] for key, word in _WORDS.items()}
        output.print_json({word: listed for word, listed in groups.items() if listed}, "     ")
        return 0
    for letter, path in found:
        output.emit(f"{letter} {path}")
    return 0


def history(*, image: str, format: str, human: bool, no_trunc: bool, quiet: bool) -> int:
    """List the steps of an image."""
    from rootless.engine import history as engine

    if quiet and format:
        raise UsageError("--quiet and --format exclude each other", "leave one out")
    steps = engine.history(image)
    if quiet:
        for step in steps:
            output.emit(step.id if no_trunc or step.id == engine.MISSING else step.id[:12])
        return 0
    rows = [_fields(step, human=human, full=no_trunc) for step in steps]
    output.listing(rows, _HISTORY, format, [_json(step) for step in steps])
    return 0


def _fields(step: Step, *, human: bool, full: bool) -> dict[str, Any]:
    by = step.created_by
    moment = output.rfc3339(step.created_ns // 1_000_000_000 * 1_000_000_000)
    since = output.ago(step.created_ns / 1e9)
    return {
        "ID": step.id if full or step.id.startswith("<") else step.id[:12],
        "Created": since if human else moment,
        "CreatedAt": moment,
        "CreatedSince": since,
        "CreatedBy": by if full or len(by) <= _MAX_CREATED_BY else f"{by[: _MAX_CREATED_BY - 3]}...",
        "Size": output.size(step.size_bytes, " ") if human else str(step.size_bytes),
        "Comment": step.comment,
        "Tags": step.tags,
    }


def _json(step: Step) -> dict[str, Any]:
    return {
        "id": step.id,
        "created": output.rfc3339(step.created_ns),
        "CreatedBy": step.created_by,
        "size": step.size_bytes,
        "comment": step.comment,
        "tags": step.tags,
    }


def tree(*, image: str, whatrequires: bool) -> int:
    """Show an image's layers as a tree."""
    from rootless.engine import history as engine

    if whatrequires:
        found, names, above = engine.dependants(image)
        _tree_head(found, names)
        for index, (depth, layer) in enumerate(above):
            later = [other for other, _ in above[index + 1 :]]
            last = next((other for other in later if other <= depth), -1) < depth
            output.emit(f"{'    ' * depth}{'└──' if last else '├──'} {_tree_line(layer)}")
        return 0
    found, names, layers = engine.layers(image)
    _tree_head(found, names)
    for layer in layers:
        output.emit(f"{'└──' if layer is layers[-1] else '├──'} {_tree_line(layer)}")
    return 0


def _tree_head(image: Image, names: list[str]) -> None:
    output.emit(f"Image ID: {image.hex[:12]}")
    output.emit(f"Tags:     [{' '.join(names)}]")
    output.emit(f"Size:     {output.size(image.size_bytes)}")
    output.emit("Image Layers")


def _tree_line(layer: Layer) -> str:
    tops = f" Top Layer of: [{' '.join(layer.tops)}]" if layer.tops else ""
    return f"ID: {layer.chain_id[7:19]} Size: {output.size(layer.size_bytes)}{tops}"


def commit(*, container: str, image: str, **options: Any) -> int:
    """Make an image of a container and print its id."""
    from rootless.cli.actions.names import one
    from rootless.engine import commit as engine

    output.emit(engine.commit(one(container), image, engine.CommitOptions(**options)).hex)
    return 0


def export(*, container: str, output: str) -> int:
    """Write a container's root."""
    from rootless.cli.actions.names import one
    from rootless.engine import export as engine

    engine.export(one(container), output)
    return 0


def import_(*, source: str, reference: str, **options: Any) -> int:
    """Make an image of an archive and print its id."""
    from rootless.engine import import_ as engine

    output.emit(engine.import_(source, reference, engine.ImportOptions(**options)).hex)
    return 0
