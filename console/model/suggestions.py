"""What somebody may have meant by a word that nothing is named."""

from __future__ import annotations

from collections.abc import Collection
from difflib import SequenceMatcher

MOST = 3
LIKE = 0.6
"""From which likeness on (share of equal characters, 0 to 1) one word is suggested for another."""
_SAME_LETTERS = 0.9
"""How alike two words are at least that differ in the order of their letters only, such as `mpt` and `mtp`."""


def suggestions(
    word: str, known: Collection[str], changing: Collection[str] = (), *, least: float = LIKE
) -> tuple[str, ...]:
    """Known words that start with `word` or are spelled like it, at most three, the likeliest first.

    Case counts for nothing, and `_` is as good as `-`. Words in `changing`, which can change something, come after all
    others: a slip must not lead to an action. `least` is the likeness that a suggestion needs.
    """
    folded = _folded(word)
    scored = []
    for each in known:
        begins = bool(folded) and _folded(each).startswith(folded)
        likeness = _likeness(folded, _folded(each), least)
        if begins or likeness >= least:
            scored.append((each in changing, not begins, -likeness, abs(len(each) - len(word)), each))
    return tuple(each for *_, each in sorted(scored)[:MOST])


def did_you_mean(words: Collection[str]) -> str:
    """`did you mean status or start?`; empty for no words."""
    return f"did you mean {' or '.join(words)}?" if words else ""


def _folded(word: str) -> str:
    return word.lower().replace("_", "-")


def _likeness(one: str, other: str, least: float) -> float:
    """Share of equal characters; 0 where it is below `least`."""
    matcher = SequenceMatcher(None, one, other)
    if matcher.real_quick_ratio() < least or matcher.quick_ratio() < least:
        return 0.0
    likeness = max(matcher.ratio(), _SAME_LETTERS if sorted(one) == sorted(other) else 0.0)
    return likeness if likeness >= least else 0.0
