"""From the names that were typed to containers, and one verb done to each of them."""

from __future__ import annotations

from rootless.cli import output
from rootless.errors import NotFoundError, RpodError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rootless.state.container import Container


def one(name: str) -> Container:
    """The container of a name or id. Raises NotFoundError."""
    from rootless.state.containers import Containers

    return Containers().resolve(name)


def first(words: list[str], latest: bool) -> tuple[Container, list[str]]:
    """The container that ``words`` begin with, or the latest, and the words that are left."""
    from rootless.state.containers import Containers

    if latest:
        return Containers().latest(), words
    if not words:
        raise UsageError("a container is missing", "give its name or id, or --latest; rpod ps -a lists them")
    return Containers().resolve(words[0]), words[1:]


def from_files(paths: list[str]) -> list[str]:
    """The ids that --cidfile names. Raises UsageError."""
    from rootless.errors import os_reason
    from rootless.kernel import files

    found = []
    for path in paths:
        try:
            found.append(files.read_file(path, 4096).decode("utf-8", "replace").strip())
        except OSError as error:
            raise UsageError(f"--cidfile: {os_reason(error)}") from error
    return found


class Each:
    """Containers that a verb is done to one after the other; every failure is said, and counted.

    ``code`` of the result is 0, the code that all failures share, or 125.
    """

    __slots__ = ("_codes", "ignore", "missing_code", "quiet", "targets")

    def __init__(self, *, ignore: bool = False, missing_code: int = 125, quiet: bool = False) -> None:
        self.targets: list[tuple[str, Container | None]] = []
        self.ignore = ignore
        self.missing_code = missing_code
        self.quiet = quiet
        self._codes: list[int] = []

    def choose(
        self,
        names: list[str],
        *,
        everything: bool = False,
        latest: bool = False,
        filters: Sequence[str] = (),
        only: Callable[[str], bool] | None = None,
    ) -> Each:
        """Take ``names``, or the latest, or all containers whose status passes ``only``. Raises UsageError.

        ``filters`` choose among the names, or without any among all containers.
        """
        from rootless.state.containers import Containers

        if bool(names) + everything + latest > 1:
            raise UsageError("names, --all and --latest exclude each other", "give one of them")
        if filters:
            return self._choose_filtered(names, filters, latest=latest, only=only)
        if not (names or everything or latest):
            raise UsageError("a container is missing", "give names or ids, --latest or --all; rpod ps -a lists them")
        store = Containers()
        if names:
            self.targets = [(name, None) for name in names]
        elif latest:
            container = store.latest()
            self.targets = [(container.id, container)]
        else:
            chosen = sorted(store.all(), key=lambda container: container.record.created_ns)
            self.targets = [(c.id, c) for c in chosen if only is None or only(c.state().status)]
        return self

    def _choose_filtered(
        self, names: list[str], filters: Sequence[str], *, latest: bool, only: Callable[[str], bool] | None
    ) -> Each:
        from rootless.engine import filters as rules
        from rootless.state.containers import Containers

        if latest:
            raise UsageError("--filter and --latest exclude each other", "give one of them")
        named = {one(name).id for name in names}
        chosen = rules.select(list(filters), Containers())
        chosen.sort(key=lambda container: container.record.created_ns)
        for container in chosen:
            if container.id in named if names else only is None or only(container.state().status):
                self.targets.append((container.id, container))
        return self

    def do(self, verb: Callable[[Container], object]) -> int:
        """Do ``verb`` to each and print what was typed (or the id); returns the exit code."""
        for typed, known in self.targets:
            try:
                verb(known or one(typed))
            except NotFoundError as error:
                if not self.ignore:
                    self.fail(error, self.missing_code)
            except RpodError as error:
                self.fail(error, error.code)
            else:
                if not self.quiet:
                    output.emit(typed)
        return self.code

    def fail(self, error: RpodError, code: int) -> None:
        """Say and count a failure."""
        output.report(error)
        self._codes.append(code)

    @property
    def code(self) -> int:
        """The exit code so far."""
        if not self._codes:
            return 0
        return self._codes[0] if len(set(self._codes)) == 1 else 125
