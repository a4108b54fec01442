"""rpod-runtime, a root file system, and a config.json that tests change."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support import oci
from support.oci import Runtime, shell
from support.shell import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> str:
    return oci.install(tmp_path_factory.mktemp("bin"))


@pytest.fixture(scope="session")
def rootfs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return oci.unpack(tmp_path_factory.mktemp("rootfs"))


@pytest.fixture
def runtime(program: str, runtime_base: Path) -> Iterator[Runtime]:
    own = Runtime(program, Path(tempfile.mkdtemp(prefix="o", dir=runtime_base)))
    before = cgroups()
    yield own
    for ident in own.ok("list", "-q").split():
        own("delete", "--force", ident)
    assert list(own.root.iterdir()) == []
    wait_for(lambda: cgroups() <= before, what=f"no cgroup left behind: {cgroups() - before}")


def cgroups() -> set[str]:
    """The cgroups of containers below and beside ours."""
    own = Path("/proc/self/cgroup").read_text().splitlines()[-1].removeprefix("0::")
    place = Path("/sys/fs/cgroup" + own).parent
    return {str(path) for path in place.glob("**/rpod-*")} if place.is_dir() else set()


@pytest.fixture
def spec(rootfs: Path) -> dict[str, Any]:
    return oci.document(rootfs)


@pytest.fixture
def running(runtime: Runtime, spec: dict[str, Any], tmp_path: Path) -> Runtime:
    bundle = oci.write(tmp_path / "b", shell(spec, "sleep 1000"))
    runtime.detached("run", "--detach", "--bundle", str(bundle), "c")
    return runtime
