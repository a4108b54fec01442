"""From the names that were typed to containers, and one verb done to each of them, or to other things."""

from __future__ import annotations

from rootless.cli import output
from rootless.errors import NotFoundError, RpodError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TypedDict

    from rootless.state.container import Container

    class Choice(TypedDict):
        """What ``rootless.cli.options.Chosen`` declares, and the verb's own ``all``."""

        containers: list[str]
        all: bool
        cidfile: list[str]
        filter: list[str]
        latest: bool


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


def _from_files(paths: Sequence[str]) -> list[str]:
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

    Things of other kinds are done in a ``with`` block each, which an RpodError ends and nothing more. With ``ignore``
    it is no failure if one is not there, else it counts as ``missing_code``, if that is not 0.

    ``code`` of the result is 0, the code that all failures share, or 125.
    """

    __slots__ = ("_codes", "ignore", "missing_code", "quiet", "targets")

    def __init__(self, *, ignore: bool = False, missing_code: int = 0, quiet: bool = False) -> None:
        self.targets: list[tuple[str, Container | None]] = []
        self.ignore = ignore
        self.missing_code = missing_code
        self.quiet = quiet
        self._codes: list[int] = []

    def choose(
        self,
        containers: Sequence[str],
        *,
        all: bool = False,
        cidfile: Sequence[str] = (),
        filter: Sequence[str] = (),
        latest: bool = False,
        only: Callable[[str], bool] | None = None,
    ) -> Each:
        """Take the named ones, or the latest, or all containers whose status passes ``only``. Raises UsageError.

        Those in ``cidfile`` are named, too. ``filter`` chooses among the names, or without any among all containers.
        """
        from rootless.state.containers import Containers

        names = [*containers, *_from_files(cidfile)]
        if bool(names) + all + latest > 1:
            raise UsageError("names, --all and --latest exclude each other", "give one of them")
        if filter:
            return self._choose_filtered(names, filter, latest=latest, only=only)
        if not (names or all or latest):
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
            with self:
                verb(known or one(typed))
                if not self.quiet:
                    output.emit(typed)
        return self.code

    def __enter__(self) -> None:
        """Begin one attempt."""

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> bool:
        if isinstance(error, NotFoundError):
            if not self.ignore:
                self.fail(error, self.missing_code or error.code)
            return True
        if isinstance(error, RpodError):
            self.fail(error, error.code)
            return True
        return False

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
