"""--userns and --uidmap as arithmetic; the kernel's word on the results is in tests/integration/test_userns.py."""

from __future__ import annotations

import os

import pytest

from rootless.errors import LaunchError, UnsupportedError, UsageError
from rootless.kernel.userns import Extent, Ranges
from rootless.runtime import idmaps
from rootless.storage.drivers import shift_triples

RANGES = Ranges([(100000, 1000), (300000, 64536)], [(100000, 65536)])


def show(extents: list[Extent]) -> list[str]:
    return [repr(extent) for extent in extents]


def test_host_is_the_default_map() -> None:
    assert idmaps.choose("host", [], [], RANGES) is None
    assert idmaps.choose("", [], [], RANGES) is None


def test_keep_id_puts_the_user_in_the_middle() -> None:
    assert show(idmaps.keep_id(1001, 1001, RANGES.gids, None)) == [
        "0:100000:1001",
        "1001:1001:1",
        "1002:101001:64535",
    ]


def test_keep_id_crosses_ranges() -> None:
    assert show(idmaps.keep_id(5, 1500, RANGES.uids, 1502)) == [
        "0:100000:1000",
        "1000:300000:500",
        "1500:5:1",
        "1501:300500:1",
    ]


def test_keep_id_needs_enough_ids() -> None:
    with pytest.raises(LaunchError, match="needs 70000 subordinate ids"):
        idmaps.keep_id(1001, 70000, RANGES.gids, None)


OWN = f"0:@{os.geteuid()}:1"


def test_uidmap_counts_in_the_default_map() -> None:
    maps = idmaps.choose("", ["0:1:10", "10:0:1"], [], RANGES)
    assert maps is not None
    assert show(maps.uids) == ["0:100000:10", f"10:{os.geteuid()}:1"]
    direct = idmaps.choose("", ["1:@100005:3", OWN], ["1:1:1", "0:0:1"], RANGES)
    assert direct is not None
    assert show(direct.uids) == ["1:100005:3", f"0:{os.geteuid()}:1"]


@pytest.mark.parametrize(
    "mapping", ["0", "0:1:2:3", "a:1:1", "0:1:0", "-1:0:1", "4294967295:0:1", "0:999999:1", "0:@0:1", "0:1:4294967294"]
)
def test_a_mapping_that_makes_no_sense_is_refused(mapping: str) -> None:
    with pytest.raises(UsageError):
        idmaps.choose("", [mapping], [], RANGES)


def test_overlaps_are_refused_before_the_kernel_does() -> None:
    with pytest.raises(UsageError, match="overlap"):
        idmaps.choose("", ["0:1:10", "5:50:10"], [], RANGES)
    with pytest.raises(UsageError, match="overlap"):
        idmaps.choose("", ["0:1:10", "20:5:10"], [], RANGES)


def test_a_map_without_the_own_id_is_refused_by_name() -> None:
    for mode, mapping in (("nomap", []), ("auto", []), ("auto:size=5", []), ("", ["0:1:10"])):
        with pytest.raises(UnsupportedError, match="not there yet"):
            idmaps.choose(mode, mapping, [], RANGES)


@pytest.mark.parametrize("mode", ["keepid", "keep-id:uid", "keep-id:uid=x", "host:size=3"])
def test_an_unknown_mode_or_option_is_refused(mode: str) -> None:
    with pytest.raises(UsageError):
        idmaps.choose(mode, [], [], RANGES)


def test_the_shift_between_two_maps() -> None:
    inside = [Extent(0, 100000, 1001), Extent(1001, 1001, 1), Extent(1002, 101001, 64535)]
    stored = [Extent(0, 1001, 1), Extent(1, 100000, 65536)]
    assert shift_triples(inside, stored) == "0:1:1001:1001:0:1:1002:1002:64535"
