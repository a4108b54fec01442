"""The user's subordinate ids change: ``system migrate`` re-owns what it can, and says exactly what it cannot."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support import busybox
from support.small_disk import Disk

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MAKE = 'sh -c "echo x >/v/file; chown 1000:1000 /v/file; chmod 4755 /v/file; ln /v/file /v/other; touch /mine"'
LOOK = "stat -c %u:%g:%a:%h"


@pytest.fixture
def stored(tmp_path: Path) -> Iterator[Disk]:
    """An image, a container and a volume under the ids from 1 on."""
    busybox.write_layout(tmp_path / "image", tag="box:1")
    disk = Disk(tmp_path / "home", "64m", "root:1:20000\n")
    disk.ok(f"$RPOD load -q -i {tmp_path}/image")
    disk.ok(f"$RPOD run --network none --name c -v v:/v localhost/box:1 {MAKE}")
    yield disk
    disk.close()


def owners(disk: Disk) -> list[str]:
    """Ids and mode of a file of the image and of one of the volume, as the host sees them."""
    data = "$DISK/data/rpod"
    return disk.ok(f"stat -c %u:%g:%a {data}/layers/*/fs/home/user {data}/volumes/v/_data/file").split()


def test_old_and_new_ids_side_by_side(stored: Disk) -> None:
    assert owners(stored) == ["1000:1000:755", "1000:1000:4755"]
    assert stored.ok("$RPOD system migrate") == "0 files changed their owner\n"
    stored.ok("printf 'root:30001:20000\\nroot:1:20000\\n' > $DISK/ids")
    assert "rpod system migrate" in stored.ok("echo | $RPOD import -q - empty 2>&1; true")
    assert int(stored.ok("$RPOD system migrate").split()[0]) >= 2
    assert owners(stored) == ["31000:31000:755", "31000:31000:4755"], "what chown takes away is back"
    stored.ok("printf 'root:30001:20000\\n' > $DISK/ids")
    assert stored.ok(f"$RPOD run --rm --network none -v v:/v localhost/box:1 {LOOK} /v/other") == "1000:1000:4755:2\n"
    stored.ok("$RPOD start -a c")
    assert stored.ok("$RPOD system check") == ""
    assert stored.ok("$RPOD system migrate") == "0 files changed their owner\n"


def test_ids_that_are_not_the_users_any_more(stored: Disk) -> None:
    before = owners(stored)
    stored.ok("printf 'root:30001:20000\\n' > $DISK/ids")
    code, out = stored.do("$RPOD system migrate")
    assert code == 125 and "belong to ids that are not yours any more" in out and "(user 1000)" in out, out
    assert "usermod --add-subuids 1-20000 --add-subgids 1-20000 root gives the old ids back" in out
    assert owners(stored) == before
    stored.ok("printf 'root:1001:20000\\n' > $DISK/ids")
    code, out = stored.do("$RPOD system migrate")
    assert code == 125 and "overlap" in out, out
    stored.ok("printf 'root:1:20000\\n' > $DISK/ids")
    stored.ok("$RPOD start -a c")


def test_not_under_a_running_container(stored: Disk) -> None:
    stored.ok("$RPOD run -d --network none --name web localhost/box:1 sleep 900")
    code, out = stored.do("$RPOD system migrate")
    assert code == 125 and "web is running" in out
    stored.ok("$RPOD rm -f -t 0 web")
