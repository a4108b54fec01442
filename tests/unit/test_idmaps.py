"""--userns and --uidmap as arithmetic; the kernel's word on the results is in tests/integration/test_userns.py."""

from __future__ import annotations

import os

import pytest

from rootless.errors import LaunchError, UsageError
from rootless.kernel.userns import Extent, IdMap, Ranges
from rootless.runtime import autoids, idmaps
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


def test_nomap_leaves_the_user_out() -> None:
    maps = idmaps.choose("nomap", [], [], RANGES)
    assert maps is not None
    assert show(maps.uids) == ["0:100000:1000", "1000:300000:64536"]
    assert show(maps.gids) == ["0:100000:65536"]
    with pytest.raises(LaunchError, match="nomap needs subordinate ids"):
        idmaps.choose("nomap", [], [], Ranges([], []))


def test_auto_takes_what_nobody_has() -> None:
    taken: list[IdMap] = []
    for needed, uids, gids in (
        (5, ["0:300000:1024"], ["0:100000:1024"]),  # the first range is too small, and 1024 is the least
        (0, ["0:301024:1024"], ["0:101024:1024"]),
        (3000, ["0:302048:3000"], ["0:102048:3000"]),
    ):
        # In the order of the subordinate ids the first range is the first thousand.
        maps = autoids.choose({}, needed, RANGES, [*taken, IdMap([Extent(0, 100000, 1000)], [])])
        assert (show(maps.uids), show(maps.gids)) == (uids, gids)
        taken.append(maps)


def test_auto_crosses_ranges_and_fills_gaps() -> None:
    maps = autoids.choose({"size": "1500"}, 0, RANGES, [])
    assert show(maps.uids) == ["0:100000:1000", "1000:300000:500"]
    between = autoids.choose({"size": "10"}, 0, RANGES, [IdMap([Extent(0, 100010, 60000)], [Extent(0, 100000, 5)])])
    assert (show(between.uids), show(between.gids)) == (["0:100000:10"], ["0:100005:10"])


def test_auto_ends_where_the_ids_end() -> None:
    with pytest.raises(LaunchError, match="no 2000 subordinate ids in a row are free"):
        autoids.choose({"size": "2000"}, 0, RANGES, [IdMap([Extent(0, 300000, 64000)], [])])
    with pytest.raises(LaunchError, match="auto needs subordinate ids"):
        autoids.choose({}, 0, Ranges([], []), [])
    with pytest.raises(UsageError):
        autoids.choose({"size": "0"}, 0, RANGES, [])


def test_auto_with_mappings_of_the_users_own() -> None:
    options = idmaps.parse_mode("auto:size=100,uidmapping=5:0:1,uidmapping=200:50:10")[1]
    maps = autoids.choose(options, 0, RANGES, [])
    own = f"5:{os.geteuid()}:1"
    # Subordinate ids 50 to 59 are given away by name, so the hundred come behind them.
    assert show(maps.uids) == ["0:100059:5", "6:100065:94", own, "200:100049:10"]
    assert show(maps.gids) == ["0:100000:100"]


@pytest.mark.parametrize("mode", ["keepid", "keep-id:uid", "keep-id:uid=x", "host:size=3"])
def test_an_unknown_mode_or_option_is_refused(mode: str) -> None:
    with pytest.raises(UsageError):
        idmaps.choose(mode, [], [], RANGES)


def test_the_shift_between_two_maps() -> None:
    inside = [Extent(0, 100000, 1001), Extent(1001, 1001, 1), Extent(1002, 101001, 64535)]
    stored = [Extent(0, 1001, 1), Extent(1, 100000, 65536)]
    assert shift_triples(inside, stored) == "0:1:1001:1001:0:1:1002:1002:64535"
