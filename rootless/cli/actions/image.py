"""``images rmi tag untag image exists image inspect image prune``."""

from __future__ import annotations

from rootless.cli import output
from rootless.cli.actions.names import Each
from rootless.engine.gotypes import Map
from rootless.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Unpack

    from rootless.cli.actions.access import RegistryOptions
    from rootless.engine.image_report import ImageRow

_TITLES = {
    "Created": "CREATED",
    "CreatedAt": "CREATED AT",
    "CreatedSince": "CREATED",
    "CreatedTime": "CREATED AT",
    "Containers": "CONTAINERS",
    "Dangling": "DANGLING",
    "Digest": "DIGEST",
    "History": "HISTORY",
    "ID": "IMAGE ID",
    "IsManifestList": "IS MANIFEST LIST",
    "Labels": "LABELS",
    "Names": "NAMES",
    "ParentId": "PARENT ID",
    "ReadOnly": "READ ONLY",
    "RepoDigests": "REPO DIGESTS",
    "RepoTags": "REPO TAGS",
    "Repository": "REPOSITORY",
    "SharedSize": "SHARED SIZE",
    "Size": "SIZE",
    "Tag": "TAG",
    "VirtualSize": "VIRTUAL SIZE",
}
_SORT: dict[str, tuple[Callable[[ImageRow], Any], bool]] = {
    "created": (lambda row: row.CreatedAt, True),
    "id": (lambda row: row.Id, False),
    "repository": (lambda row: row.Repository, False),
    "size": (lambda row: row.Size, True),
    "tag": (lambda row: row.Tag, False),
}


def images(  # noqa: PLR0913 - one per option
    *,
    name: list[str],
    all: bool,  # noqa: ARG001 - the steps of builds are no images here
    digests: bool,
    filter: list[str],
    format: str,
    no_trunc: bool,
    noheading: bool,
    quiet: bool,
    sort: str,
) -> int:
    """List images."""
    from rootless.engine import images as engine

    if sort not in _SORT:
        raise UsageError(f"--sort {sort}: there is no such key", ", ".join(_SORT))
    if len(name) > 1:
        raise UsageError("images takes one name", "rpod images --filter reference=PATTERN for several")
    if quiet and format:
        raise UsageError("--quiet and --format exclude each other", "leave one out")
    shared = format == "json" or "SharedSize" in format
    rows = engine.list_images(filter + [f"reference={item}" for item in name], shared=shared)
    key, reverse = _SORT[sort]
    rows.sort(key=key, reverse=reverse)
    if quiet:
        shown = [f"sha256:{row.Id}" if no_trunc else row.Id[:12] for row in rows]
        for ident in dict.fromkeys(shown):
            output.emit(ident)
        return 0
    columns = ("Repository", "Tag", *(("Digest",) if digests else ()), "ID", "Created", "Size")
    layout = output.Layout(_TITLES, columns)
    fields = [_fields(row, full=no_trunc) for row in rows]
    output.listing(fields, layout, format, [_json(row) for row in rows], noheading=noheading)
    return 0


def _fields(row: ImageRow, *, full: bool) -> dict[str, Any]:
    created = output.ago(row.Created)
    size = output.size(row.Size, " ")
    return {
        **{name: getattr(row, name) for name in row.__slots__ if name != "Id"},
        "ID": f"sha256:{row.Id}" if full else row.Id[:12],
        "Created": created,
        "CreatedSince": created,
        "CreatedAt": output.timestamp(row.CreatedAt),
        "CreatedTime": output.timestamp(row.CreatedAt),
        "Labels": Map(row.Labels),
        "Size": size,
    }


def _json(row: ImageRow) -> dict[str, Any]:
    values = {name: getattr(row, name) for name in row.__slots__}
    values["CreatedAt"] = output.rfc3339(row.CreatedAt)
    return values


def rmi(*, images: list[str], all: bool, force: bool, ignore: bool) -> int:
    """Remove images; every name is tried, and what was done is printed as it is done.

    ``force`` passes over absent names as ``ignore`` does, like Podman's and Docker's.
    """
    from rootless.engine import images as engine

    if bool(images) == all:
        raise UsageError("give names of images, or --all", "rpod images")
    if all:
        engine.remove_images([], force=force, all=True, announce=output.emit)
        return 0
    each = Each(ignore=ignore or force)
    for name in images:
        with each:
            engine.remove_images([name], force=force, announce=output.emit)
    return each.code


def tag(*, image: str, names: list[str]) -> int:
    """Give an image more names."""
    from rootless.engine import images as engine

    engine.tag(image, names)
    return 0


def untag(*, image: str, names: list[str]) -> int:
    """Take names from an image."""
    from rootless.engine import images as engine

    engine.untag(image, names)
    return 0


def exists(*, image: str) -> int:
    """Whether there is such an image."""
    from rootless.engine import images as engine

    return 0 if engine.find(image) is not None else 1


def prune(*, all: bool, filter: list[str], force: bool) -> int:
    """Remove unused images, after asking."""
    from rootless.engine import prune as engine

    what = "images that no container uses" if all else "images without a name"
    if not force and not output.agreed(f"WARNING! This command removes all {what}."):
        return 0
    for ident in engine.prune_images(all=all, filters=filter):
        output.emit(ident.removeprefix("sha256:"))
    return 0


def inspect(*, images: list[str], format: str, remote: bool, **access: Unpack[RegistryOptions]) -> int:
    """Show images."""
    from rootless.cli.actions import look
    from rootless.engine import images as engine

    def describe(name: str) -> dict[str, Any]:
        if remote and not name.startswith("docker://"):
            name = f"docker://{name}"
        if not engine.is_elsewhere(name):
            return engine.inspect_image(name)
        from rootless.cli.actions.access import registry_access

        return engine.inspect_image(name, registry_access(**access))

    each = Each(quiet=True)
    each.targets = [(name, None) for name in images]
    return look.show(each, format, describe)
