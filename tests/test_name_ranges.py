"""Many names in few words, and every name counted."""

from __future__ import annotations

import pytest

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
        (["-1", "-2", "-3"], "-1..3"),
    ],
)
def test_rows_of_ranks_are_written_as_a_range(names: list[str], words: str) -> None:
    assert name_ranges(names) == words


def test_rows_of_ranks_stand_together() -> None:
    names = ["decode-10", "proxy", "decode-9", "decode-2", "decode-9"]
    assert in_order(names) == ["decode-2", "decode-9", "decode-10", "proxy"]
