"""``--health-*`` and an image's HEALTHCHECK become the health check of a new container, by Podman's rules."""

from __future__ import annotations

from rootless.engine import values
from rootless.errors import UnsupportedError, UsageError
from rootless.kernel import fastjson
from rootless.state.health import Healthcheck

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.engine.options import ContainerOptions
    from rootless.storage.image_config import Healthcheck as ImageHealthcheck

_ACTIONS = ("none", "kill", "restart", "stop")
_NS_PER_MS = 1_000_000
_SHORTEST_TIMEOUT_MS = 1000


def choose(options: ContainerOptions, image: ImageHealthcheck | None) -> dict[str, object]:
    """The health check's record, {} for none. Raises UsageError."""
    given = [name for name, value in vars(options).items() if name.startswith("health_") and value]
    if options.no_healthcheck:
        if given:
            raise UsageError(f"--no-healthcheck and --{given[0].replace('_', '-')} exclude each other")
        return {}
    check = _of_image(image)
    if options.health_cmd is not None:
        check.test = parse_test(options.health_cmd, "--health-cmd")
    if not check.test:
        if set(given) - {"health_cmd"} and options.health_cmd is None:
            raise UsageError(f"--{given[0].replace('_', '-')} without a health check", "--health-cmd COMMAND")
        return {}
    _times(options, check)
    _startup(options, check)
    _log(options, check)
    if options.health_on_failure:
        if options.health_on_failure not in _ACTIONS:
            raise UsageError(f"--health-on-failure {options.health_on_failure}: no such action", ", ".join(_ACTIONS))
        if options.health_on_failure == "restart" and options.restart not in ("", "no", "never"):
            raise UsageError(
                "--health-on-failure restart and --restart exclude each other", "--health-on-failure kill serves both"
            )
        check.on_failure = options.health_on_failure
    return check.to_json()


def _of_image(image: ImageHealthcheck | None) -> Healthcheck:
    check = Healthcheck()
    if image is None or not image.test or image.test[0] == "NONE":
        return check
    check.test = image.test
    check.interval_ms = image.interval_ns // _NS_PER_MS or check.interval_ms
    check.timeout_ms = image.timeout_ns // _NS_PER_MS or check.timeout_ms
    check.start_period_ms = image.start_period_ns // _NS_PER_MS
    check.retries = image.retries or check.retries
    return check


def parse_test(text: str, option: str) -> list[str]:
    """``curl -f …`` for a shell, a JSON list for a program; [] for ``none``."""
    words: list[str] = [text]
    if text.lstrip().startswith("["):
        try:
            parsed = fastjson.loads(text)
        except fastjson.JSONError as error:
            raise UsageError(f"{option} {text}: {error}") from error
        if not isinstance(parsed, list) or not all(isinstance(item, str) for item in parsed) or not parsed:
            raise UsageError(f"{option} {text}: it is a list of strings")
        words = [str(item) for item in parsed]
    keyword = words[0].partition(" ")[0].upper()
    if keyword == "NONE":
        return []
    if keyword in ("CMD", "CMD-SHELL"):
        if len(words) == 1:
            rest = text.partition(" ")[2].strip()
            words = [keyword, rest] if keyword == "CMD-SHELL" else [keyword, *rest.split()]
        if len(words) < 2 or not words[1]:
            raise UsageError(f"{option} {text}: a command is missing after {keyword}")
        return [keyword, *words[1:]]
    if not words[0].strip():
        raise UsageError(f"{option}: a command is missing", "none turns the image's health check off")
    return ["CMD", *words] if len(words) > 1 else ["CMD-SHELL", *words]


def _times(options: ContainerOptions, check: Healthcheck) -> None:
    if options.health_interval:
        check.interval_ms = _interval(options.health_interval, "--health-interval")
    if options.health_timeout:
        check.timeout_ms = _timeout(options.health_timeout, "--health-timeout")
    if options.health_start_period:
        check.start_period_ms = _milliseconds(options.health_start_period, "--health-start-period")
    if options.health_retries:
        check.retries = values.integer(options.health_retries, "--health-retries", low=1)


def _startup(options: ContainerOptions, check: Healthcheck) -> None:
    if not options.health_startup_cmd:
        for name in ("interval", "timeout", "retries", "success"):
            if getattr(options, f"health_startup_{name}"):
                raise UsageError(f"--health-startup-{name} needs --health-startup-cmd")
        return
    check.startup_test = parse_test(options.health_startup_cmd, "--health-startup-cmd")
    if options.health_startup_interval:
        check.startup_interval_ms = _interval(options.health_startup_interval, "--health-startup-interval")
        if not check.startup_interval_ms:
            raise UsageError("--health-startup-interval disable: then the startup check would never be done")
    if options.health_startup_timeout:
        check.startup_timeout_ms = _timeout(options.health_startup_timeout, "--health-startup-timeout")
    if options.health_startup_retries:
        check.startup_retries = values.integer(options.health_startup_retries, "--health-startup-retries", low=0)
    if options.health_startup_success:
        check.startup_success = values.integer(options.health_startup_success, "--health-startup-success", low=1)


def _log(options: ContainerOptions, check: Healthcheck) -> None:
    if options.health_log_destination not in ("", "local"):
        raise UnsupportedError(
            f"--health-log-destination {options.health_log_destination} is not there", "local, shown by rpod inspect"
        )
    if options.health_max_log_count:
        check.log_count = values.integer(options.health_max_log_count, "--health-max-log-count", low=1, high=1000)
    if options.health_max_log_size:
        check.log_size = values.integer(options.health_max_log_size, "--health-max-log-size", low=0, high=1 << 20)


def _milliseconds(text: str, option: str) -> int:
    return values.duration_ns(text, option) // _NS_PER_MS


def _interval(text: str, option: str) -> int:
    """0 for ``disable``."""
    if text == "disable":
        return 0
    found = _milliseconds(text, option)
    if not found:
        raise UsageError(f"{option} {text}: too short", "1s, or disable")
    return found


def _timeout(text: str, option: str) -> int:
    found = _milliseconds(text, option)
    if found < _SHORTEST_TIMEOUT_MS:
        raise UsageError(f"{option} {text}: it must be at least 1s")
    return found
