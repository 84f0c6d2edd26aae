"""Suggests known words for an unknown word."""

from __future__ import annotations

from collections.abc import Collection
from difflib import SequenceMatcher

MOST = 3
LIKE = 0.6
"""Least similarity of a suggestion: the share of equal characters, 0 to 1."""
_SAME_LETTERS = 0.9
"""Least similarity of two words with the same letters in another order, such as `mpt` and `mtp`."""


def suggestions(
    word: str, known: Collection[str], changing: Collection[str] = (), *, least: float = LIKE
) -> tuple[str, ...]:
    """Known words that start with `word` or are similar to it, at most three, the most similar first.

    Upper and lower case, and `_` and `-`, are equal. Words in `changing`, which can change something, come last, so that a
    mistake does not lead to an action. `least` is the least similarity.
    """
    folded = _folded(word)
    scored = []
    for each in known:
        begins = bool(folded) and _folded(each).startswith(folded)
        likeness = _likeness(folded, _folded(each), least)
        if begins or likeness >= least:
            scored.append((each in changing, not begins, -likeness, abs(len(each) - len(word)), each))
    return tuple(each for *_, each in sorted(scored)[:MOST])


def slip_of(word: str, known: Collection[str]) -> str:
    """The known word that `word` is with one letter lost, added, changed or swapped with its neighbour; empty when there is none.

    Upper and lower case are equal. Words of fewer than seven letters are too alike for this.
    """
    upper = word.upper()
    found = [each for each in known if len(each) > 6 and each != word and _one_slip(upper, each.upper())]
    return min(found, default="")


def _one_slip(one: str, other: str) -> bool:
    short, long = sorted((one, other), key=len)
    if len(long) - len(short) > 1:
        return False
    begin = next((at for at, char in enumerate(short) if char != long[at]), len(short))
    if len(short) < len(long):
        return short[begin:] == long[begin + 1 :]
    changed, swapped = (
        short[begin + 1 :] == long[begin + 1 :],
        short[begin : begin + 2] == long[begin : begin + 2][::-1],
    )
    return changed or (swapped and short[begin + 2 :] == long[begin + 2 :])


def did_you_mean(words: Collection[str]) -> str:
    """`did you mean status or start?`; empty for no words."""
    return f"did you mean {' or '.join(words)}?" if words else ""


def _folded(word: str) -> str:
    return word.lower().replace("_", "-")


def _likeness(one: str, other: str, least: float) -> float:
    """The share of equal characters; 0 when it is less than `least`."""
    matcher = SequenceMatcher(None, one, other)
    if matcher.real_quick_ratio() < least or matcher.quick_ratio() < least:
        return 0.0
    likeness = max(matcher.ratio(), _SAME_LETTERS if sorted(one) == sorted(other) else 0.0)
    return likeness if likeness >= least else 0.0
