"""Compiles the helpers: as hatchling's build hook into a wheel, or alone.

::

    python helpers/build_hook.py [--sanitize] [--out DIR]

``$CC``, else ``cc``, ``gcc`` or ``clang``. The helpers are linked without the C library on the
processors that ``freestanding.c`` knows (a tenth of the memory), elsewhere statically with it,
and with ``--sanitize`` dynamically, so that AddressSanitizer and UBSan can look inside.
"""

from __future__ import annotations

import argparse
import atexit
import os
import platform
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
except ImportError:  # started alone, where there is no build backend
    BuildHookInterface = object  # type: ignore[assignment,misc]

HERE = Path(__file__).resolve().parent
HELPERS = {
    "rpod-monitor": (
        "monitor.c",
        "pump.c",
        "clients.c",
        "log.c",
        "journal.c",
        "job.c",
        "check.c",
        "mend.c",
        "notify.c",
        "options.c",
        "record.c",
    ),
    "rpod-init": ("init.c", "hello.c"),
}
LIBRARY = ("freestanding.c", "freestanding_text.c")
FREESTANDING = ("x86_64", "aarch64", "riscv64")
WARNINGS = ("-Wall", "-Wextra", "-Werror", "-Wconversion", "-Wshadow")
COMMON = ("-std=gnu11", "-D_GNU_SOURCE", *WARNINGS)
STATIC = (
    *("-Os", "-static", "-fno-pie", "-fstack-protector-strong", "-ffunction-sections", "-fdata-sections"),
    # Without a build id and symbols the same compiler gives the same bytes again.
    *("-s", "-Wl,--gc-sections", "-Wl,--build-id=none", "-Wl,-z,noexecstack"),
)
WITHOUT_LIBC = ("-nostdlib", "-fno-builtin")
SANITIZED = ("-O1", "-g", "-fno-omit-frame-pointer", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")


def compiler() -> list[str]:
    """The C compiler's command. Ends the build with one line when there is none."""
    if chosen := shlex.split(os.environ.get("CC", "")):
        return chosen
    for name in ("cc", "gcc", "clang"):
        if path := shutil.which(name):
            return [path]
    sys.exit(
        "rpod: its two helpers are written in C, and there is no C compiler here\n"
        "  hint: sudo apt-get install gcc libc6-dev  (dnf: gcc glibc-static), or install a ready wheel"
    )


def _flags(sanitize: bool) -> list[str]:
    """The compiler's options, and the sources that serve as the library."""
    if sanitize:
        return [*COMMON, *SANITIZED]
    machine = platform.machine()
    if machine not in FREESTANDING:
        return [*COMMON, *STATIC]
    # A canary in thread-local storage, x86's default, would need the library's start.
    guard = ["-mstack-protector-guard=global"] if machine == "x86_64" else []
    return [*COMMON, *STATIC, *WITHOUT_LIBC, *guard, *(str(HERE / name) for name in LIBRARY)]


def build(out: Path, *, sanitize: bool = False) -> list[Path]:
    """Compile both helpers into ``out`` (made if missing); a running one is replaced, not overwritten."""
    out.mkdir(parents=True, exist_ok=True)
    command = compiler()
    made = []
    for name, sources in HELPERS.items():
        fresh = out / f".{name}.new"
        argv = [*command, *_flags(sanitize), *(str(HERE / source) for source in sources), "-o", str(fresh)]
        result = subprocess.run(argv, check=False)
        if result.returncode != 0:
            sys.exit(f"rpod: {name} cannot be compiled: {shlex.join(argv)}")
        fresh.chmod(0o755)
        made.append(fresh.rename(out / name))
    return made


class HelpersHook(BuildHookInterface):  # type: ignore[type-arg]
    """Puts the helpers into ``rootless/_bin``: of the wheel, or of the tree for an editable install."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called by hatchling before it writes a wheel; ``version`` is ``standard`` or ``editable``."""
        if version == "editable":
            build(HERE.parent / "rootless" / "_bin")
        else:
            # Not in the tree: it may belong to somebody else.
            scratch = tempfile.mkdtemp(prefix="rpod-build-")
            atexit.register(shutil.rmtree, scratch, ignore_errors=True)  # also after an error, which has no finalize
            for path in build(Path(scratch)):
                build_data["force_include"][str(path)] = f"rootless/_bin/{path.name}"
        build_data["pure_python"] = False
        build_data["tag"] = "py3-none-" + sysconfig.get_platform().replace("-", "_").replace(".", "_")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Compile rpod's helpers.")
    parser.add_argument("--sanitize", action="store_true", help="with AddressSanitizer and UBSan, dynamic")
    parser.add_argument("--out", type=Path, default=HERE.parent / "rootless" / "_bin", metavar="DIR")
    options = parser.parse_args()
    for path in build(options.out, sanitize=options.sanitize):
        print(path)


if __name__ == "__main__":
    main()
