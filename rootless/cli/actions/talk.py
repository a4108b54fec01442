"""``logs attach cp``."""

from __future__ import annotations

from rootless.cli.actions.names import Each, first, one
from rootless.errors import UsageError


def logs(  # noqa: PLR0913 - one per option
    *,
    containers: list[str],
    color: bool,
    follow: bool,
    latest: bool,
    names: bool,
    since: str,
    tail: int,
    timestamps: bool,
    until: str,
) -> int:
    """Print the logs of containers."""
    import os
    import sys

    from rootless.engine import logs as engine

    targets = Each().choose(containers, latest=latest).targets
    return engine.logs(
        [known or one(typed) for typed, known in targets],
        follow=follow,
        since=since,
        until=until,
        tail=tail,
        timestamps=timestamps,
        names=names,
        color=color and sys.stdout.isatty() and not os.environ.get("NO_COLOR"),
    )


def attach(*, containers: list[str], detach_keys: str | None, latest: bool, no_stdin: bool, sig_proxy: bool) -> int:
    """Connect to a running container; returns its exit code."""
    from rootless.engine import attach as engine

    container, rest = first(containers, latest)
    if rest:
        raise UsageError("attach takes one container", "rpod attach CONTAINER")
    return engine.attach(container, detach_keys=detach_keys, no_stdin=no_stdin, sig_proxy=sig_proxy)


def cp(*, source: str, target: str, archive: bool, follow_link: bool, overwrite: bool) -> int:
    """Copy between a container and the host."""
    from rootless.engine import copy as engine

    engine.copy(source, target, archive=archive, follow_link=follow_link, overwrite=overwrite)
    return 0
