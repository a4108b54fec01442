"""The process ``rpod-runtime``: a command line becomes a verb, an error becomes lines and an exit code."""

from __future__ import annotations

import gc
import os
import sys
import time

import rootless
from rootless import log, paths
from rootless.errors import RpodError, UnsupportedError, UsageError, os_reason
from rootless.kernel.codecache import CodeCache
from rootless.kernel.numbers import decimal
from rootless.oci import options
from rootless.oci.options import Parsed

_ERROR, _ERROR_OF_EXEC, _INTERRUPTED = 1, 255, 130
_NOT_STARTED = (126, 127)  # of a program that this process stays with
# The usual 700 makes the collector look a dozen times at what only imports have made.
_GC_THRESHOLD = 20_000


def run(argv: list[str]) -> int:
    """Run one command line and return its exit code: no exception leaves."""
    parsed = Parsed()
    try:
        parsed = options.parse(argv)
        _take_global(parsed)
        return _command(parsed)
    except RpodError as error:
        _report(parsed, error)
        return _code_of(parsed, error)
    except KeyboardInterrupt:
        return _INTERRUPTED
    except OSError as error:
        _report(parsed, RpodError(os_reason(error)))
    except Exception as error:  # noqa: BLE001 - the caller gets a line
        _report(parsed, RpodError(f"this is a bug in rpod: {type(error).__name__}: {error}", _trace()))
    return _code_of(parsed, RpodError(""))


def _code_of(parsed: Parsed, error: RpodError) -> int:
    """126 and 127 of a program that this process would have stayed with; 255, as runc, where 1 could be a program's."""
    stays = parsed.command in ("run", "exec") and not parsed.flag("detach")
    if stays and error.code in _NOT_STARTED:
        return error.code
    return _ERROR_OF_EXEC if parsed.command == "exec" else _ERROR


def _take_global(parsed: Parsed) -> None:
    level = "debug" if parsed.flag("debug") else parsed.text("log-level", "warn").replace("warning", "warn")
    if level not in log.LEVELS:
        raise UsageError(f"--log-level {level}: unknown", ", ".join(log.LEVELS))
    log.set_level(level)
    log.set_sink(lambda level, text: _log(parsed, level, text))
    log.debug(f"{parsed.command or 'no command'} {' '.join(parsed.words)}")
    if parsed.text("log-format", "text") not in ("text", "json"):
        raise UsageError(f"--log-format {parsed.text('log-format')}: unknown", "text or json")
    if parsed.text("rootless", "auto") not in ("auto", "true"):
        raise UnsupportedError("--rootless false: rpod-runtime knows only how an ordinary user does it", "use runc")


def _trace() -> str:
    """Where it happened, for the hint."""
    import traceback

    return traceback.format_exc().replace("\n", " | ")


def _command(parsed: Parsed) -> int:
    if parsed.flag("version"):
        from rootless.oci import report

        report.print_version()
    elif parsed.flag("help") or not parsed.command:
        print(options.usage(parsed.command))
    else:
        return _VERBS[parsed.command](parsed)
    return 0


def _root(parsed: Parsed) -> str:
    if "root" in parsed.options:
        return os.path.abspath(parsed.text("root"))
    from rootless.oci import store

    return store.default_root()


def _create(parsed: Parsed) -> int:
    from rootless.oci import create

    create.create(_root(parsed), parsed, foreground=False)
    return 0


def _run(parsed: Parsed) -> int:
    from rootless.oci import create, foreground, lifecycle

    root, detach = _root(parsed), parsed.flag("detach")
    created = create.create(root, parsed, foreground=not detach)
    try:
        if not detach and created.master < 0:
            foreground.pass_signals(created.container.state.pid)
        lifecycle.start(created.container)
    except BaseException:
        lifecycle.delete(root, parsed.ident, force=True)
        raise
    if detach:
        return 0
    code = foreground.stay(created.container.state.pid, created.master)
    if not parsed.flag("keep"):
        lifecycle.delete(root, parsed.ident, force=True)
    return code


def _start(parsed: Parsed) -> int:
    from rootless.oci import lifecycle

    lifecycle.start(_find(parsed))
    return 0


def _find(parsed: Parsed) -> store.Container:
    from rootless.oci import store

    return store.Container.find(_root(parsed), parsed.ident)


def _state(parsed: Parsed) -> int:
    from rootless.kernel import fastjson

    print(fastjson.dumps(_find(parsed).report()))
    return 0


def _kill(parsed: Parsed) -> int:
    from rootless.oci import lifecycle

    signal = parsed.words[1] if len(parsed.words) > 1 else "TERM"
    lifecycle.kill(_find(parsed), signal, everything=parsed.flag("all"))
    return 0


def _delete(parsed: Parsed) -> int:
    from rootless.oci import lifecycle

    lifecycle.delete(_root(parsed), parsed.ident, force=parsed.flag("force"))
    return 0


def _exec(parsed: Parsed) -> int:
    from rootless.oci import execute, foreground

    executed = execute.execute(_find(parsed), parsed)
    if parsed.flag("detach"):
        return 0
    if executed.master < 0:
        foreground.pass_signals(executed.pid)
    return foreground.stay(executed.pid, executed.master)


def _pause(parsed: Parsed) -> int:
    from rootless.oci import lifecycle

    lifecycle.freeze(_find(parsed), frozen=parsed.command == "pause")
    return 0


def _update(parsed: Parsed) -> int:
    from rootless.oci import update

    update.update(_find(parsed), parsed)
    return 0


def _ps(parsed: Parsed) -> int:
    from rootless.oci import report

    report.ps(_find(parsed), parsed.text("format"), parsed.words[1:])
    return 0


def _list(parsed: Parsed) -> int:
    from rootless.oci import report

    report.list_(_root(parsed), parsed.text("format"), quiet=parsed.flag("quiet"))
    return 0


def _events(parsed: Parsed) -> int:
    from rootless.kernel import fastjson
    from rootless.oci import report

    container = _find(parsed)
    interval_s = _seconds(parsed.text("interval", "5s"))
    print(fastjson.dumps(report.stats(container)), flush=True)
    while not parsed.flag("stats"):
        time.sleep(interval_s)
        if not container.alive():
            break
        print(fastjson.dumps(report.stats(container)), flush=True)
    return 0


def _seconds(text: str) -> float:
    number = decimal(text.removesuffix("s"), 1 << 30)
    if not number:
        raise UsageError(f"--interval {text}: it is a number of seconds such as 5s")
    return number


def _features(_: Parsed) -> int:
    from rootless.oci import report

    report.emit(report.features())
    return 0


def _spec(parsed: Parsed) -> int:
    from rootless.oci import report

    report.write_spec(parsed.text("bundle", "."))
    return 0


_VERBS = {
    "create": _create,
    "start": _start,
    "run": _run,
    "state": _state,
    "kill": _kill,
    "delete": _delete,
    "exec": _exec,
    "ps": _ps,
    "list": _list,
    "pause": _pause,
    "resume": _pause,
    "update": _update,
    "events": _events,
    "features": _features,
    "spec": _spec,
}


def _report(parsed: Parsed, error: RpodError) -> None:
    """The error on standard error, and in --log as runc writes it."""
    message = log.printable(error.message)
    text = f"rpod-runtime: {message}\n" + (f"rpod-runtime: hint: {log.printable(error.hint)}\n" if error.hint else "")
    _write("", text)
    if parsed.text("log"):
        _log(parsed, "error", message)


def _log(parsed: Parsed, level: str, message: str) -> None:
    """A line for --log, or for standard error without it."""
    level = {"warn": "warning"}.get(level, level)
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    if parsed.text("log-format") == "json":
        from rootless.kernel import fastjson

        line = fastjson.dumps({"level": level, "msg": message, "time": stamp}) + "\n"
    else:
        quoted = message.replace("\\", "\\\\").replace('"', '\\"')
        line = f'time="{stamp}" level={level} msg="{quoted}"\n'
    _write(parsed.text("log"), line)


def _write(path: str, text: str) -> None:
    data = text.encode("utf-8", "surrogateescape")
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644) if path else os.dup(2)
        os.write(fd, data)
        os.close(fd)
    except OSError:
        pass  # there is nobody to tell


def main() -> None:
    """Run the command line of this process and end it, without the interpreter's own slow way out."""
    gc.set_threshold(_GC_THRESHOLD)
    if sys.stdout is None:  # started with descriptor 1 closed
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    code_cache = CodeCache(rootless, paths.cache())
    code_cache.install()
    code = run(sys.argv[1:])
    if code_cache.incomplete:
        from rootless.runtime import birth

        birth.load_init()
        code_cache.save()
    try:
        sys.stdout.flush()
    except OSError:
        code = code or _ERROR
    os._exit(code)


TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.oci import store
