"""``--log-driver journald`` and ``rpod logs`` with a real journald, in a namespace that has both."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.small_disk import Disk

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

JOURNALD = "/lib/systemd/systemd-journald"


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Disk]:
    """A user's rpod beside a journald of its own."""
    made = Disk(tmp_path / "home", "64m")
    made.ok("mount -t tmpfs run /run; mkdir -p /run/systemd /run/log/journal")
    made.ok(f"{JOURNALD} >/dev/null 2>&1 & JOURNALD=$!")
    made.ok("until [ -S /run/systemd/journal/socket ]; do sleep 0.05; done")
    yield made
    made.do("$RPOD rm -f -t 0 $($RPOD ps -aq)")
    made.do("kill $JOURNALD; wait $JOURNALD")
    made.close()


def test_a_containers_journal(box: Disk) -> None:
    greeting = box.ok("$RPOD run --rm --network none hello").splitlines()
    options = "--log-driver journald --log-opt tag={{.Name}}/{{.ImageName}} --log-opt label=SITE=home"
    box.ok(f"$RPOD run --name web --network none {options} hello >/dev/null")
    box.ok("journalctl --sync")
    logged = box.ok("$RPOD logs web").splitlines()
    assert len(logged) == len(greeting)
    assert logged[0] == greeting[0]
    assert box.ok("$RPOD logs --tail 1 web").splitlines() == logged[-1:]
    assert box.ok("$RPOD logs -f web").splitlines() == logged, "it has ended, and so does following it"
    assert box.ok("$RPOD logs --since 1h --until 30m web") == ""
    assert box.ok("$RPOD logs -t web").splitlines()[0].endswith(f" {logged[0]}")
    entry = "journalctl -o cat --output-fields=CONTAINER_NAME,CONTAINER_TAG,SITE -n 1 "
    fields = box.ok(entry + "CONTAINER_NAME=web SITE=home").split()
    assert "web/localhost/rpod/hello:latest" in fields
    box.ok("$RPOD rm web")


def test_options_of_the_journal(box: Disk) -> None:
    for option, word in (("max-size=1m", "max-size"), ("tag={{.Shape}}", "FIELD"), ("label=_PID=1", "NAME=VALUE")):
        code, out = box.do(f"$RPOD create --log-driver journald --log-opt '{option}' hello")
        assert code == 125, out
        assert word in out, out
