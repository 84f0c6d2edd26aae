"""Answers through the proxy must start as those of prefill alone; counters show which decode rank gave another one."""

from __future__ import annotations

import pytest

from console.services.serving.output_comparison import Tally, agree, who_answered

RANKS = frozenset({"decode-0", "decode-1", "decode-2"})
WELL = {5: "Paris. The", 6: "Paris. The capital", 7: "Paris. The capital of"}
WHO = {5: "decode-0", 6: "decode-1", 7: "decode-2"}


def counted(finished: float, made: float) -> dict[str, float]:
    """The counters of a rank."""
    return {"finished:length": finished, "generation": made}


@pytest.mark.parametrize(
    ("through", "same"),
    [("Paris. The", True), ("Paris. The capital", True), ("Paris, The", False), ("Paris", False), ("London", False)],
)
def test_only_the_first_tokens_must_be_equal(through: str, same: bool) -> None:
    assert agree("Paris. The", through) is same


def test_a_rank_that_finished_one_request_with_just_as_many_tokens_answered_it() -> None:
    before = {name: counted(3, 100) for name in (*RANKS, "decode-3", "decode-4")}
    after = {
        "decode-0": counted(4, 105),
        "decode-1": counted(5, 111),
        "decode-2": counted(4, 107),
        "decode-3": counted(4, 108),
        "decode-4": counted(4, 108),
    }
    assert who_answered(before, after, (5, 6, 7, 8)) == {5: "decode-0", 7: "decode-2"}, "two of 11 tokens, and two of 8"
    assert who_answered({}, after, (5, 6, 7)) == {}, "nothing is known without a count before"


def test_a_difference_counts_when_two_rounds_show_it_and_names_its_rank() -> None:
    tally = Tally(RANKS)
    tally.add("Paris. The", WELL | {7: "in of the is"}, WHO)
    assert (tally.differ, tally.settled(None)) == (False, False), "one difference asks again"
    tally.add("Paris. The", WELL | {5: "in of the is"}, {5: "decode-2", 6: "decode-1", 7: "decode-0"})
    assert tally.differ
    assert tally.settled(None)
    assert tally.named == ("decode-2",)
    assert tally.words("prefill-0", "proxy") == (
        "2 of 6 answers differ, by counters those of decode-2: prefill-0 alone answers 'Paris. The', through proxy 'in of the is'"
    )


def test_a_rank_is_not_named_without_counters_nor_when_it_answered_well_too() -> None:
    tally = Tally(RANKS)
    for _ in range(2):
        tally.add("Paris. The", WELL | {7: "is"}, {})
    assert tally.differ
    assert not tally.settled(9), "more requests may show the rank"
    assert "2 of 6 answers differ: prefill-0 alone" in tally.words("prefill-0", "proxy")
    assert "the decode rank is not known: verify again with more --requests" in tally.words("prefill-0", "proxy")
    tally.add("Paris. The", WELL | {7: "is"}, WHO)
    tally.add("Paris. The", WELL, WHO)
    assert tally.named == ()


def test_where_all_answers_differ_no_rank_is_named() -> None:
    tally = Tally(RANKS)
    for _ in range(2):
        tally.add("Paris. The", dict.fromkeys(WELL, "\x1b[31mis"), WHO)
    assert tally.settled(None)
    assert tally.named == ()
    assert tally.words("prefill-0", "proxy").startswith("prefill-0 alone answers 'Paris. The', through proxy '")
    assert "\x1b" not in tally.words("prefill-0", "proxy")


def test_a_difference_that_does_not_come_again_is_reported_but_is_no_failure() -> None:
    tally = Tally(RANKS)
    tally.add("Paris. The", WELL | {5: "is"}, WHO)
    tally.add("Paris. The", WELL, WHO)
    assert not tally.differ
    assert (
        tally.words("p", "proxy")
        == "both answer 'Paris. The', 6 times through proxy; 1 of 6 answers differed, but not again"
    )


def test_equal_answers_are_enough_once_every_rank_gave_one() -> None:
    tally = Tally(RANKS)
    tally.add("Paris. The", WELL, {5: "decode-0"})
    assert tally.settled(None), "the monitor asks once"
    assert not tally.settled(0)
    assert tally.words("p", "proxy").endswith(
        "by counters none came from decode-1, decode-2: verify again with more --requests"
    )
    tally.add("Paris. The", WELL, {6: "decode-1", 7: "decode-2"})
    assert tally.settled(6)
    assert not tally.settled(7)
    assert tally.words("p", "proxy") == "both answer 'Paris. The', 6 times through proxy"


def test_equal_answers_without_counters_say_that_their_ranks_are_unknown() -> None:
    tally = Tally(RANKS)
    tally.add("Paris. The", WELL, {})
    assert tally.settled(0)
    assert tally.words("p", "proxy").endswith("; which decode ranks answered is not known")
    several = Tally(RANKS, 2)
    for _ in range(2):
        several.add("Paris. The", WELL | {7: "is"}, WHO)
    assert "those of decode-2 or a prefill engine that feeds it" in several.words("p", "proxy")
