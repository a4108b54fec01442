"""The stories of images: find one by what was typed, have it ready, list, tag, remove, inspect."""

from __future__ import annotations

import os

from rootless import config, log, paths
from rootless.engine import builtin_names
from rootless.errors import ConflictError, NotFoundError, RpodError, UsageError
from rootless.image import reference
from rootless.image.access import PullOptions
from rootless.state import events
from rootless.storage.images import ImageStore

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from rootless.engine.image_report import ImageRow
    from rootless.image.access import Access
    from rootless.storage.image_record import Image
    from rootless.storage.images import ContainerUse

_ID_DIGITS = 64
# Kinds of places (``transports.places``) on this machine.
_PLACES = ("oci", "oci-archive", "docker-archive", "dir")
POLICIES = ("always", "missing", "newer", "never")


def find(name: str, platform: str = "") -> Image | None:
    """The stored image that ``name`` means, or None.

    Tried in this order: full names (a short one under localhost, then under the registries
    of ``registries.search``), a digest, an id or the beginning of one, the end of a stored
    name, an alias of registries.conf. With ``platform`` (OS/ARCH[/VARIANT]) an image for another one is none. Raises
    ImageError for what cannot be a name, NotFoundError where several images may be meant.
    """
    image = _find_in(ImageStore(paths.data()), name) or _find_elsewhere(name) or _find_alias(name)
    if image is not None and platform and not _is_for(image, platform):
        return None
    return image


def _find_in(store: ImageStore, name: str) -> Image | None:
    bare = name.removeprefix("sha256:")
    return store.by_id(name) if bare != name or len(bare) == _ID_DIGITS else _find_name(store, name)


def _find_elsewhere(name: str) -> Image | None:
    """In the additional stores, in their order."""
    from rootless.storage import additional

    found = (_find_in(ImageStore(folder), name) for folder in additional.folders())
    return next((image for image in found if image is not None), None)


def _find_alias(name: str) -> Image | None:
    """What was pulled by a short name that registries.conf has an alias for, which may end quite differently."""
    parsed = reference.parse(name)
    if parsed.domain or name.startswith("sha256:"):
        return None
    from rootless.image import registries

    alias = registries.load().alias(parsed)
    return find(alias.stored) if alias is not None else None


def _find_name(store: ImageStore, name: str) -> Image | None:
    parsed = reference.parse(name)
    for candidate in reference.candidates(parsed, config.load().registries.search):
        image = store.find(candidate.stored)
        if image is None and candidate.digest:
            image = store.by_digest(candidate.name, candidate.digest)
        if image is not None:
            return image
    if parsed.digest or parsed.domain:
        return None
    return store.by_id(name) or store.by_last_part(parsed.path, parsed.tag or reference.DEFAULT_TAG)


def _is_for(image: Image, platform: str) -> bool:
    from rootless.image import manifest

    wanted = manifest.parse_platform(platform)
    return wanted.rank(manifest.Platform(image.os, image.architecture, image.variant)) is not None


def _built_in(name: str) -> Image | None:
    if not builtin_names.is_name(name):
        return None
    from rootless.engine import builtin

    return builtin.ensure(name)


def resolve(name: str) -> Image:
    """The stored image that ``name`` means. Raises NotFoundError."""
    image = find(name) or _built_in(name)
    if image is None:
        raise NotFoundError(f"{name}: no such image", f"rpod pull {name}, or look at: rpod images")
    return image


def ensure_image(name: str, wanted: PullOptions | None = None) -> Image:
    """The image for ``create`` and ``run``: stored, built in, or pulled as ``wanted`` says (missing)."""
    wanted = wanted or PullOptions(policy="missing")
    policy, platform = wanted.policy, wanted.platform
    if policy not in POLICIES:
        raise UsageError(f"--pull {policy}: unknown policy", f"one of {', '.join(POLICIES)}")
    if is_place(name):
        from rootless.engine import image_copy

        return image_copy.take(name, wanted)
    if (image := _built_in(name)) and not (platform and not _is_for(image, platform)):
        return image
    if policy in ("missing", "never"):
        image = find(name, platform)
        if image is not None:
            return image
        if policy == "never":
            raise NotFoundError(f"{name}: no such image, and --pull=never was given", f"rpod pull {name}")
    if policy == "missing" and os.path.exists(f"{paths.data()}/lists"):
        from rootless.engine import manifest_list

        if (listed := manifest_list.find(name)) is not None:
            return manifest_list.image_for(listed, wanted)
    if name.startswith("sha256:"):
        raise NotFoundError(f"{name}: no such image; only by its name can one be pulled", "rpod images --digests")
    from rootless.engine.pull import pull

    if "NOTIFY_SOCKET" in os.environ:
        from rootless.engine import service_manager

        return service_manager.with_patience(lambda: pull(name, wanted))
    return pull(name, wanted)


def is_place(name: str) -> bool:
    """Whether ``name`` is a place of this machine (``oci:DIR:NAME``, containers-transports(5)) and no image's name.

    An image could be called dir:latest: what stands behind ``oci:`` and ``dir:`` looks like a path, or is one.
    """
    kind, colon, rest = name.partition(":")
    if not colon or kind not in _PLACES:
        return False
    return kind.endswith("-archive") or rest.startswith(("/", ".")) or os.path.exists(rest.partition(":")[0])


def list_images(filters: list[str] | None = None, *, shared: bool = False) -> list[ImageRow]:
    """One row a name, newest image first; an image without a name has one row. ``shared``: with their SharedSize."""
    from rootless.engine import image_report

    others = []
    if config.load().storage.additional:
        from rootless.storage import additional

        others = [ImageStore(folder) for folder in additional.folders()]
    return image_report.rows(ImageStore(paths.data()), filters or [], others, shared=shared)


def is_elsewhere(name: str) -> bool:
    """Whether ``name`` means an image that is not in the store: docker://NAME or a place."""
    return name.startswith("docker://") or is_place(name)


def inspect_image(name: str, access: Access | None = None) -> dict[str, object]:
    """``image inspect`` of one image, in Podman's layout; what is elsewhere is not pulled for it, but asked for.

    Raises NotFoundError, and for what is elsewhere RegistryError, ImageError.
    """
    if is_elsewhere(name):
        from rootless.engine import image_copy
        from rootless.image.access import Access

        return image_copy.describe(name, access or Access())
    from rootless.engine import image_report

    image = resolve(name)
    return image_report.describe(ImageStore(image.data_dir), image)


def tag(source: str, names: list[str]) -> None:
    """Give ``source`` the names ``names``; a short one is put under localhost, as Podman does."""
    targets = [reference.parse_target(name) for name in names]
    image = resolve(source)
    store = ImageStore(paths.data())
    for target in targets:
        store.tag(image, target.tagged)
        events.of_image("tag", image.id, target.tagged)


def untag(source: str, names: list[str]) -> None:
    """Take ``names`` from ``source``, all that it has if none are given. Raises NotFoundError."""
    image = resolve(source)
    store = ImageStore(paths.data())
    store.refuse_foreign(image)
    current = store.names(image)
    for typed in names or current:
        full = typed if typed in current else _name_of(image, typed, current)
        store.untag(image, full)
        events.of_image("untag", image.id, full)


def _name_of(image: Image, typed: str, current: list[str]) -> str:
    """The full name of ``image`` that ``typed`` means, found as every name is."""
    found = find(typed)
    if found is None or found.hex != image.hex or found.found_as not in current:
        raise NotFoundError(f"{typed}: image {image.hex[:12]} has no such name", f"it has: {', '.join(current)}")
    return found.found_as


def remove_images(
    names: list[str],
    *,
    force: bool = False,
    all: bool = False,
    announce: Callable[[str], None] | None = None,
) -> list[str]:
    """Remove the images or names ``names`` (with ``all`` every image); returns Podman's lines.

    A name of several is only taken away; the last one takes the image along, and the layers
    that nothing else needs. Every name is tried; ``announce`` gets each line as it comes true.
    The last failure is raised at the end and the others are warned about; its exit code is 1
    for an image that is not there, 2 for one that is in use.
    """
    store = ImageStore(paths.data())
    if all:
        names = [image.id for image in store.all()]
    lines: list[str] = []
    failures: list[RpodError] = []
    for name in names:
        try:
            done = _remove_one(store, name, all_names=force or all, containers_too=force)
        except RpodError as error:
            failures.append(error)
            continue
        lines += done
        if announce:
            for line in done:
                announce(line)
    for failure in failures[:-1]:
        log.warn(failure.message)
    if failures:
        raise failures[-1]
    return lines


def _remove_one(store: ImageStore, name: str, *, all_names: bool, containers_too: bool) -> list[str]:
    image = find(name)
    if image is None:
        return _remove_list(name)
    store.refuse_foreign(image)
    names = store.names(image)
    if image.found_as in names and len(names) > 1:
        store.untag(image, image.found_as)
        events.of_image("untag", image.id, image.found_as)
        return [f"Untagged: {image.found_as}"]
    if len(names) > 1 and not all_names:
        raise ConflictError(
            f"image {image.hex[:12]} has several names: {', '.join(names)}",
            f"remove one of the names, or all with: rpod rmi --force {image.hex[:12]}",
            code=2,
        )
    users = list({use.id: use for use in store.containers() if use.image_id == image.id}.values())
    if users:
        _remove_users(image, users, force=containers_too)
    store.remove(image)
    events.of_image("remove", image.id, names[0] if names else image.id)
    return [*(f"Untagged: {item}" for item in names), f"Deleted: {image.hex}"]


def _remove_list(name: str) -> list[str]:
    """A name that is not an image's may be one of a list of images (``manifest create``)."""
    if not os.path.exists(f"{paths.data()}/lists"):
        raise NotFoundError(f"{name}: no such image", "rpod images", code=1)
    from rootless.engine import manifest_list

    if manifest_list.find(name) is None:
        raise NotFoundError(f"{name}: no such image", "rpod images", code=1)
    found = manifest_list.remove(name)
    return [f"Untagged: {found.name}", f"Deleted: {found.id}"]


def _remove_users(image: Image, users: list[ContainerUse], *, force: bool) -> None:
    if not force:
        who = ", ".join(f"{user.name} ({user.id[:12]})" for user in users[:5])
        raise ConflictError(
            f"image {image.hex[:12]} is in use by container {who}{' and more' if len(users) > 5 else ''}",
            f"rpod rm {users[0].name or users[0].id[:12]}, or rpod rmi --force, which removes its containers, too",
            code=2,
        )
    from rootless.engine.remove import remove
    from rootless.state.containers import Containers

    containers = Containers()
    for user in users:
        remove(containers.resolve(user.id), force=True, volumes=False, timeout_s=None)


def is_here(name: str) -> bool:
    """Whether no pull is needed for ``name``. Raises ImageError for what cannot be a name."""
    return builtin_names.is_name(name) or is_place(name) or find(name) is not None
