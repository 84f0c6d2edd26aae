"""What changed between two assignments, in words that hold in both directions."""

from __future__ import annotations

import pytest

from console.model.assignment_changes import change_words
from console.model.deployment import Assignment
from console.model.layout import Shape

FULL = {"prefill": ("p0", "p1"), "decode": ("d0", "d1")}


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (FULL, FULL, ""),
        ({"decode": ("d0",)}, {"decode": ("d0", "d1")}, "d1 from free to decode"),
        ({"decode": ("d0", "d1")}, {"decode": ("d1",)}, "d0 from decode to free, d1 from place 1 to place 0 of decode"),
        (FULL, {"prefill": ("p0", "d0"), "decode": ("p1", "d1")}, "p1 and d0 swapped"),
        (FULL, {"prefill": ("p1", "p0"), "decode": ("d0", "d1")}, "p0 and p1 swapped"),
        ({"a": ("n0",)}, {"b": ("n0",)}, "n0 from a to b"),
        ({}, {"a": ("n0", "n1", "n2", "n3", "n4")}, "n0 from free to a, n1 from free to a, n2 from free to a +2 more"),
    ],
)
def test_moves_of_nodes_are_named(
    before: dict[str, tuple[str, ...]], after: dict[str, tuple[str, ...]], words: str
) -> None:
    assert change_words(Assignment(before), Assignment(after)) == words


def test_another_size_and_an_added_group_are_named() -> None:
    before = Assignment(FULL)
    after = Assignment(FULL, {"decode": Shape(nodes=3, size=24, per_node=8, tensor_parallel=2)}, {"decode-2": "decode"})
    assert change_words(before, after) == "size of decode, group decode-2 added"
    assert change_words(after, before) == "size of decode, group decode-2 removed"
