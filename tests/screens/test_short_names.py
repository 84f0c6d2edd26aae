"""A long name keeps what tells it from the others."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest

from screens.short_names import short_names
from screens.styled_lines import width
from tests.screens.fakes import FakeSession
from tests.screens.seen import running

ENDS = tuple(f"rack-17-node-with-a-very-long-name-{at:04}" for at in range(256))
BEGINS = tuple(f"{site}{at}.compute.example.internal.net" for site, at in product(("north", "south"), range(16)))
MIDDLES = tuple(f"production-cluster-{at:02}-ascend-a3-node" for at in range(64))
WIDE = tuple(f"华东可用区机房{at}号昇腾计算节点很长" for at in range(1, 33))


@pytest.mark.parametrize("cells", [12, 16, 24])
@pytest.mark.parametrize("names", [ENDS, BEGINS, MIDDLES, WIDE, ("p0", "d0")], ids=lambda names: names[-1])
def test_different_names_stay_different_and_fit(names: tuple[str, ...], cells: int) -> None:
    short = short_names(names, cells)
    assert len(set(short.values())) == len(names)
    assert all(width(each) <= cells for each in short.values())
    assert all(short[name] == name for name in names if width(name) <= cells)


def test_the_middle_goes_and_no_number_is_shortened() -> None:
    assert short_names(ENDS, 16)[ENDS[42]] == "rack-~name-0042"
    assert short_names(("n123456", "n123457"), 5) == {"n123456": "n~", "n123457": "n~"}, "no room for a number"


async def test_nodes_with_long_names_are_told_apart_in_the_grid(tmp_path: Path) -> None:
    names = tuple(f"rack-17-node-with-a-long-name-{at}" for at in range(4))
    async with running(FakeSession(tmp_path, names=names)) as seen:
        rows = [line for line in seen.lines() if "rack-" in line]
        assert all(any(f"-{at} " in row for row in rows) for at in range(4)), rows
