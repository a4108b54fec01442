"""A home whose file system cannot keep images: the store is put elsewhere, once, and nowhere that is not the user's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.small_disk import Disk

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OTHER = "/var/tmp/rpod-0"


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Disk]:
    """XDG_DATA_HOME on a ramfs, which has no extended attributes; nothing of the machine's /var/tmp is seen."""
    disk = Disk(tmp_path / "home", "64m")
    disk.ok("mount -t tmpfs -o mode=1777 none /var/tmp && mkdir $DISK/data && mount -t ramfs none $DISK/data")
    yield disk
    disk.close()


def test_the_store_is_put_elsewhere_and_that_is_said_once(home: Disk) -> None:
    said = home.ok("$RPOD run --rm --network none hello 2>&1 >/dev/null")
    assert said.count("\n") == 1 and f"from now on everything is stored in {OTHER}" in said and "ramfs" in said
    assert "cannot set an extended attribute" in said
    assert home.ok(f"stat -c %a:%u {OTHER}; ls $DISK/data/rpod") == "700:0\nelsewhere\n"
    assert home.ok("$RPOD run --rm --network none hello 2>&1 >/dev/null") == ""
    assert home.ok("$RPOD info -f '{{.store.graphRoot}}'") == f"{OTHER}\n"
    assert home.ok("$RPOD system check") == ""
    assert OTHER in home.ok("$RPOD system reset --force")
    assert home.ok(f"ls -d {OTHER} $DISK/data/rpod 2>/dev/null; true") == ""


def test_only_a_directory_of_the_users_own_serves(home: Disk) -> None:
    home.ok(f"mkdir /var/tmp/trap && ln -s trap {OTHER}")
    code, out = home.do("$RPOD run --rm --network none hello")
    assert f"nor can {OTHER}" in out
    home.ok(f"rm -rf {OTHER} $DISK/data/rpod && $RPOD run --rm --network none hello")
    home.ok(f"mv {OTHER} /var/tmp/moved && ln -s moved {OTHER}")
    code, out = home.do("$RPOD images")
    assert code == 125 and f"the store at {OTHER} cannot be used" in out and "hint:" in out, out
    home.ok(f"rm {OTHER} && mkdir {OTHER} && chown 5:5 {OTHER}")
    assert home.do("$RPOD images")[0] == 125
    assert home.ok("ls /var/tmp/trap") == ""
