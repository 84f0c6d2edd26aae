"""Many names in few words, and every name counted."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.model.name_ranges import in_order, name_ranges


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ([], ""),
        (["proxy"], "proxy"),
        (["decode-0", "decode-1"], "decode-0, decode-1"),
        (["decode-0", "decode-1", "decode-2"], "decode-0..2"),
        (["decode-9", "decode-10", "decode-11", "prefill-12"], "decode-9..11, prefill-12"),
        (["a-1", "a-3", "a-5", "a-7", "a-9", "a-11"], "a-1, a-3, a-5, a-7 +2 more"),
        (["a-1", "b", "c", "d", "e-1", "e-2", "e-3"], "a-1, b, c, d +3 more"),
        (["mixed-0.1", "mixed-0.2", "mixed-0.3"], "mixed-0.1, mixed-0.2, mixed-0.3"),
        (["d0", "d0"], "d0"),
        (["d9", "d10", "d11"], "d9..11"),
        (["d09", "d10", "d11"], "d09, d10, d11"),
        (["n1", "n2", "n4", "n5", "n6"], "n1, n2, n4..6"),
        (["-1", "-2", "-3"], "-1..3"),
    ],
)
def test_rows_of_ranks_are_written_as_a_range(names: list[str], words: str) -> None:
    assert name_ranges(names) == words


def test_rows_of_ranks_stand_together() -> None:
    names = ["decode-10", "proxy", "decode-9", "decode-2", "decode-9"]
    assert in_order(names) == ["decode-2", "decode-9", "decode-10", "proxy"]


def test_a_caller_says_how_many_parts_it_has_room_for() -> None:
    assert name_ranges(["a", "b", "c"], 2) == "a, b +1 more"


_NAMES = st.lists(
    st.builds("{}{}".format, st.sampled_from(("d", "d0", "e-", "", "m-0.")), st.integers(0, 12)), unique=True
)


@given(_NAMES)
def test_a_text_stands_for_exactly_its_names(names: list[str]) -> None:
    text, _, more = name_ranges(names).partition(" +")
    found: list[str] = []
    for piece in filter(None, text.split(", ")):
        first, _, last = piece.partition("..")
        stem = re.sub(r"(0|[1-9][0-9]*)$", "", first)
        found += [f"{stem}{at}" for at in range(int(first[len(stem) :]), int(last) + 1)] if last else [piece]
    assert found == names[: len(found)]
    assert len(found) + int(more.removesuffix(" more") or 0) == len(names)
