"""``--filter`` of ps and of the verbs that take several containers, as Podman has them."""

from __future__ import annotations

from rootless.engine import logfile
from rootless.errors import UnsupportedError, UsageError
from rootless.kernel.numbers import decimal
from rootless.state import health

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from rootless.state.container import Container, State
    from rootless.state.containers import Containers

_STATES = frozenset(
    ("restarting", "created", "initialized", "running", "paused", "stopping", "exited", "stopped", "removing")
)
_LATER = frozenset(("pod", "ctr-depends"))
_POLICIES = ("no", "never", "on-failure", "always", "unless-stopped")


class Rule:
    """One ``key=value``."""

    __slots__ = ("_test", "key")

    def __init__(self, key: str, test: Callable[[Container, State], bool]) -> None:
        self.key = key
        self._test = test

    def matches(self, container: Container, state: State) -> bool:
        """Whether the container passes."""
        return self._test(container, state)


def parse(texts: list[str], store: Containers) -> list[Rule]:
    """The rules of all ``--filter`` options. Raises UsageError for an unknown key."""
    return [_rule(text, store) for text in texts]


def all_match(wanted: list[Rule], container: Container, state: State) -> bool:
    """Whether a container passes every key; several values of one key are alternatives."""
    by_key: dict[str, bool] = {}
    for rule in wanted:
        by_key[rule.key] = by_key.get(rule.key, False) or rule.matches(container, state)
    return all(by_key.values())


def _rule(text: str, store: Containers) -> Rule:
    key, equals, value = text.partition("=")
    if not equals:
        raise UsageError(f"--filter {text}: it is KEY=VALUE")
    if key in _LATER:
        raise UnsupportedError(f"--filter {key} is not there yet")
    negated = key.endswith("!")
    key = key.removesuffix("!")
    test = _test(key, value, text, store)
    if negated:
        return Rule(f"{key}!", lambda c, s: not test(c, s))
    return Rule(key, test)


def _test(key: str, value: str, text: str, store: Containers) -> Callable[[Container, State], bool]:
    if key == "id":
        return lambda c, _: c.id.startswith(value)
    if key == "name":
        return lambda c, _: _name_matches(value, c.name)
    if key == "label":
        return lambda c, _: has_label(c.record.labels, value)
    if key == "status":
        wanted = "exited" if value == "stopped" else value
        if value not in _STATES:
            raise UsageError(f"--filter {text}: unknown state", ", ".join(sorted(_STATES)))
        return lambda _, s: s.status == wanted
    if key == "exited":
        code = decimal(value, 255)
        if code is None:
            raise UsageError(f"--filter {text}: it is an exit code, 0 to 255")
        return lambda _, s: s.status == "exited" and s.exit_code == code
    if key == "ancestor":
        return lambda c, _: _is_ancestor(value, c)
    if key in ("before", "since", "until"):
        return _time_test(key, value, store)
    if key in ("restart-policy", "should-start-on-boot"):
        return _policy_test(key, value, text)
    if key == "volume":
        return lambda c, _: any(value in (m.name, m.source, m.destination) for m in c.record.mounts)
    if key == "health":
        return _health_test(value, text)
    if key == "network":
        return lambda c, _: c.record.network == value
    raise UsageError(
        f"--filter {text}: unknown key",
        "ancestor, before, exited, health, id, label, name, network, restart-policy, should-start-on-boot, since, "
        "status, until or volume",
    )


def _time_test(key: str, value: str, store: Containers) -> Callable[[Container, State], bool]:
    if key in ("before", "since"):
        other = store.resolve(value).record.created_ns
        return lambda c, _: c.record.created_ns < other if key == "before" else c.record.created_ns > other
    import time

    moment = logfile.moment(value, time.time_ns())
    return lambda c, _: c.record.created_ns < moment


def _policy_test(key: str, value: str, text: str) -> Callable[[Container, State], bool]:
    if key == "restart-policy":
        if value not in _POLICIES:
            raise UsageError(f"--filter {text}: unknown policy", ", ".join(_POLICIES))
        return lambda c, _: c.record.restart == ("no" if value == "never" else value)
    if value not in ("true", "false"):
        raise UsageError(f"--filter {text}: it is true or false")
    return lambda c, s: _starts_on_boot(c, s) == (value == "true")


def _health_test(value: str, text: str) -> Callable[[Container, State], bool]:
    if value not in ("starting", "healthy", "unhealthy", "none"):
        raise UsageError(f"--filter {text}: unknown health", "starting, healthy, unhealthy or none")
    return lambda c, s: s.running and (health.status_of(c) or "none") == value


def _starts_on_boot(container: Container, state: State) -> bool:
    """Whether the restart policy has it run after a boot: what never ran is not started by itself."""
    if state.run is None:
        return False
    policy = container.record.restart
    return policy == "always" or (policy == "unless-stopped" and not state.run.stopped_by_user)


def _name_matches(pattern: str, name: str) -> bool:
    """Podman's name filter is a regular expression; a plain word is looked for without the module."""
    if pattern.replace("_", "").replace("-", "").isalnum():
        return pattern in name
    import re

    try:
        return re.search(pattern, name) is not None
    except re.error as error:
        raise UsageError(f"--filter name={pattern}: {error}") from error


def has_label(labels: dict[str, str], wanted: str) -> bool:
    """``key`` is there, or ``key=value`` is."""
    key, equals, value = wanted.partition("=")
    return key in labels and (not equals or labels[key] == value)


def _is_ancestor(value: str, container: Container) -> bool:
    record = container.record
    image_id = record.image_id.removeprefix("sha256:")
    bare = value.removeprefix("sha256:")
    if len(bare) >= 3 and image_id.startswith(bare):
        return True
    name = record.image
    return value in (name, name.rpartition(":")[0]) or name.endswith((f"/{value}", f"/{value}:latest"))


def select(texts: list[str], store: Containers) -> list[Container]:
    """The containers that pass ``texts``."""
    wanted = parse(texts, store)
    return [c for c in store.all() if all_match(wanted, c, c.state())]
