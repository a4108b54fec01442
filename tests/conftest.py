"""Fixtures for every test: a user's rpod in a home of its own, and the marks of the folders.

``RPOD_TEST_DRIVER`` (overlay, fuse-overlayfs) chooses the storage driver of the whole run.
"""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.leaks import SessionScan, wait_until_gone
from support.shell import Rpod, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
MARKED = ("integration", "attack", "fault")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test is marked by the folder that it is in."""
    for item in items:
        folder = item.path.relative_to(HERE).parts[0]
        if folder in MARKED:
            item.add_marker(folder)


def pytest_sessionstart() -> None:
    """rpod is for ordinary users, and so are its tests."""
    # A background job ignores INT and QUIT, nohup HUP; and a shell that a test starts could not trap what is ignored.
    for number, action in (
        (signal.SIGHUP, signal.SIG_DFL),
        (signal.SIGQUIT, signal.SIG_DFL),
        (signal.SIGINT, signal.default_int_handler),
    ):
        signal.signal(number, action)
    if os.geteuid() == 0:
        pytest.exit("run the tests as an ordinary user: contrib/check, or tests/testbed --user NAME pytest …", 2)


@pytest.fixture(scope="session", autouse=True)
def nothing_is_left(tmp_path_factory: pytest.TempPathFactory, runtime_base: Path) -> Iterator[None]:
    """The last thing of a run: no process, mount, namespace, cgroup, socket or temporary file of it is there."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        yield  # workers run beside each other: what one uses would be what another one left
        return
    scan = SessionScan(tmp_path_factory.getbasetemp(), runtime_base)
    before = set(scan.lines())
    yield
    wait_until_gone(lambda: sorted(set(scan.lines()) - before))


@pytest.fixture(scope="session")
def driver() -> str:
    """The storage driver of this run, "" for rpod's own choice."""
    return os.environ.get("RPOD_TEST_DRIVER", "")


@pytest.fixture(scope="session")
def runtime_base() -> Iterator[Path]:
    """A short directory of mode 0700: Unix sockets have 107 bytes for their path."""
    parent = os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()
    path = Path(tempfile.mkdtemp(prefix="t", dir=parent))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="session")
def session_rpod(tmp_path_factory: pytest.TempPathFactory, runtime_base: Path, driver: str) -> Iterator[Rpod]:
    """The rpod whose images all tests share."""
    home = tmp_path_factory.mktemp("home")
    runtime = runtime_base / "s"
    runtime.mkdir(mode=0o700)
    shared = Rpod(home, runtime, driver)
    yield shared
    shared.remove()


@pytest.fixture
def rpod(session_rpod: Rpod) -> Iterator[Rpod]:
    """The shared rpod; the test's containers are removed after it, and nothing may be left."""
    yield session_rpod
    session_rpod.remove_containers()
    # A monitor that somebody else cleans up behind lives until its slirp4netns has ended.
    wait_for(lambda: session_rpod.leftovers() == [], what=f"nothing left behind: {session_rpod.leftovers()}")


@pytest.fixture
def fresh_rpod(tmp_path: Path, runtime_base: Path, driver: str) -> Iterator[Rpod]:
    """An rpod with an empty store of its own."""
    runtime = Path(tempfile.mkdtemp(prefix="f", dir=runtime_base))
    fresh = Rpod(tmp_path / "home", runtime, driver)
    yield fresh
    fresh.remove()
