"""The process ``rpod``: where an error that ends the command becomes a line, a hint and an exit code."""

from __future__ import annotations

import errno
import gc
import os
import sys

import rootless
from rootless import log, paths
from rootless.errors import DiskFullError, RpodError, os_reason
from rootless.kernel.codecache import CodeCache

_INTERRUPTED, _BROKEN_PIPE, _ENGINE = 130, 141, 125
# The usual 700 makes the collector look a dozen times at what only imports have made.
_GC_THRESHOLD = 20_000


def run(argv: list[str]) -> int:
    """Run one command line and return its exit code: no exception leaves."""
    try:
        return _command(argv)
    except RpodError as error:
        _report(error)
        return error.code
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        return _BROKEN_PIPE
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        _report(DiskFullError(os_reason(error)) if full else RpodError(os_reason(error), _trace()))
    except MemoryError:
        _report(RpodError("out of memory"))
    except Exception as error:  # noqa: BLE001 - the user gets a line, the developer the file
        _report(RpodError(f"this is a bug in rpod: {type(error).__name__}: {error}", _trace()))
    return _ENGINE


def _command(argv: list[str]) -> int:
    code_cache = CodeCache(rootless, paths.cache())
    code_cache.install()
    from rootless.cli import fast

    if not os.path.exists(paths.data_home()):
        from rootless.storage import placement

        placement.choose()
    code = fast.run(argv)
    if code is None:
        from rootless.cli import app

        code = app.run(argv)
    if code_cache.incomplete:
        from rootless.runtime import birth

        birth.load_init()
        code_cache.save()
    return code


def _report(error: RpodError) -> None:
    from rootless.cli import output

    output.report(error)


def _trace() -> str:
    """Keep the traceback of the exception at hand; returns the hint that says where it is."""
    import traceback

    text = traceback.format_exc()
    log.debug(text)
    from rootless.kernel import files

    try:
        path = f"{paths.cache()}/traceback.txt"
        files.make_private(paths.cache())
        files.write_atomic(path, text.encode("utf-8", "surrogateescape"), sync=False)
    except (OSError, RpodError):
        return "rpod --log-level debug … shows where"
    return f"where it happened: {path}"


def _flush(code: int) -> int:
    """Write out what is buffered: a full disk must not look like success."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        return code or _BROKEN_PIPE
    except OSError as error:
        _report(RpodError(f"standard output: {os_reason(error)}"))
        return code or _ENGINE
    return code


def main() -> None:
    """Run the command line of this process and end it.

    Without the interpreter's own way out, which takes 3 ms and could only find things that end
    with the process anyway.
    """
    gc.set_threshold(_GC_THRESHOLD)
    if sys.stdout is None:  # started with descriptor 1 closed
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    sys.stdout.reconfigure(errors="surrogateescape")  # type: ignore[union-attr]
    os._exit(_flush(run(sys.argv[1:])))


if __name__ == "__main__":
    main()
