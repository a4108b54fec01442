"""``login logout pull push save load search``."""

from __future__ import annotations

from rootless.cli import output
from rootless.cli.actions.access import registry_access
from rootless.cli.actions.names import Each
from rootless.errors import UsageError
from rootless.image.access import Access, PullOptions, platform_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Unpack

    from rootless.cli.actions.access import RegistryOptions


def login(  # noqa: PLR0913 - one per option
    *,
    registry: list[str],
    authfile: str,
    cert_dir: str,
    get_login: bool,
    password: str,
    password_stdin: bool,
    tls_verify: bool | None,
    username: str,
    verbose: bool,
) -> int:
    """Log in, or say who is."""
    from rootless.engine import login as engine

    host = engine.registry_of(registry)
    access = Access(authfile=authfile, cert_dir=cert_dir, tls_verify=tls_verify)
    if get_login:
        output.emit(engine.who(host, access))
        return 0
    if password and password_stdin:
        raise UsageError("--password and --password-stdin exclude each other", "leave one out")
    if password_stdin and not username:
        raise UsageError("--password-stdin needs --username", "rpod login --username NAME --password-stdin")
    if not username and not password and (user := engine.is_logged_in(host, access)):
        output.emit(f"Existing credentials are valid. Already logged in to {host} as {user}")
        return 0
    if password:
        from rootless import log

        log.warn("--password can be seen by other users of this machine: rather --password-stdin")
    secret = engine.read_password() if password_stdin else password
    kept = engine.login(host, *engine.ask(host, username, secret), access)
    if verbose:
        output.emit(f"Used: {kept}")
    output.emit("Login Succeeded!")
    return 0


def logout(*, registry: list[str], all: bool, authfile: str) -> int:
    """Forget credentials."""
    from rootless.engine import login as engine

    if all:
        if registry:
            raise UsageError("--all and a registry exclude each other", "leave one out")
        engine.logout_all(authfile)
        output.emit("Removed login credentials for all registries")
        return 0
    host = engine.registry_of(registry)
    engine.logout(host, authfile)
    output.emit(f"Removed login credentials for {host}")
    return 0


def pull(  # noqa: PLR0913 - one per option
    *,
    images: list[str],
    all_tags: bool,
    arch: str,
    disable_content_trust: bool,  # noqa: ARG001 - it has no meaning, here as in Podman
    os: str,
    platform: str,
    policy: str,
    quiet: bool,
    variant: str,
    **access: Unpack[RegistryOptions],
) -> int:
    """Fetch images and print their ids; every name is tried."""
    from rootless.engine import pull as engine
    from rootless.engine.images import POLICIES

    if policy not in POLICIES:
        raise UsageError(f"--policy {policy}: there is no such policy", ", ".join(POLICIES))
    wanted = PullOptions(
        policy=policy,
        platform=platform_text(platform, os, arch, variant),
        quiet=quiet,
        access=registry_access(**access),
    )
    each = Each()
    for name in images:
        with each:
            found = engine.pull_all_tags(name, wanted) if all_tags else [engine.pull(name, wanted)]
            for ident in dict.fromkeys(image.hex for image in found):
                output.emit(ident)
    return each.code


def save(*, images: list[str], **options: Any) -> int:
    """Write images."""
    from rootless.engine import save as engine

    engine.save(images, engine.SaveOptions(**options))
    return 0


def load(*, input: str, quiet: bool) -> int:
    """Store images and print their names."""
    from rootless.engine import load as engine

    for name in engine.load(input, quiet=quiet):
        output.emit(f"Loaded image: {name}")
    return 0


def push(  # noqa: PLR0913 - one per option
    *,
    image: str,
    target: list[str],
    all_tags: bool,
    compression_format: str,
    compression_level: int | None,
    digestfile: str,
    disable_content_trust: bool,  # noqa: ARG001 - it has no meaning, here as in Podman
    force_compression: bool | None,
    format: str,
    quiet: bool,
    remove_signatures: bool,  # noqa: ARG001 - none are kept
    **access: Unpack[RegistryOptions],
) -> int:
    """Send an image, or all of a repository."""
    from rootless.engine import push as engine

    if len(target) > 1 or (all_tags and target):
        raise UsageError("push takes an image and a target" if target[1:] else "--all-tags takes no target")
    wanted = engine.PushOptions(
        access=registry_access(**access),
        compression=compression_format,
        level=compression_level,
        force=force_compression,
        format=format,
        digestfile=digestfile,
        quiet=quiet,
    )
    if all_tags:
        engine.push_all_tags(image, wanted)
    else:
        engine.push(image, target[0] if target else "", wanted)
    return 0


_SEARCH_TITLES = {
    "Index": "INDEX",
    "Name": "NAME",
    "Description": "DESCRIPTION",
    "Stars": "STARS",
    "Official": "OFFICIAL",
    "Automated": "AUTOMATED",
    "Tag": "TAG",
}
_DESCRIPTION_WIDTH = 44


def search(  # noqa: PLR0913 - one per option
    *,
    term: str,
    authfile: str,
    cert_dir: str,
    compatible: bool,
    creds: str,
    filter: list[str],
    format: str,
    limit: int,
    list_tags: bool,
    no_trunc: bool,
    tls_verify: bool | None,
) -> int:
    """List images of registries, or the tags of one."""
    from rootless.engine import search as engine

    if limit < 0 or (list_tags and filter):
        raise UsageError("--limit must be 0 or more" if limit < 0 else "--filter is not for --list-tags")
    access = Access(authfile=authfile, cert_dir=cert_dir, creds=creds, tls_verify=tls_verify)
    limit = limit or engine.DEFAULT_LIMIT
    columns: tuple[str, ...] = ("Name", "Description")
    rows: list[dict[str, Any]]
    if list_tags:
        columns = ("Name", "Tag")
        rows = [{"Name": name, "Tag": tag} for name, tag in engine.tags(term, access, limit=limit)]
    else:
        hits = engine.search(term, access, limit=limit, filters=filter)
        rows = [{name: getattr(hit, name) for name in hit.__slots__} for hit in hits]
    if compatible:
        columns = ("Name", "Description", "Stars", "Official", "Automated")
    shown = [dict(row) for row in rows]
    for row in shown:
        text = row.get("Description", "")
        if not no_trunc and len(text) > _DESCRIPTION_WIDTH:
            row["Description"] = f"{text[:_DESCRIPTION_WIDTH]}..."
    output.listing(shown, output.Layout(_SEARCH_TITLES, columns), format, rows)
    return 0
