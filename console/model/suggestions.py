"""What somebody may have meant by a word that nothing is named."""

from __future__ import annotations

from collections.abc import Collection
from difflib import get_close_matches

MOST = 3


def suggestions(word: str, known: Collection[str], changing: Collection[str] = ()) -> tuple[str, ...]:
    """Known words that begin with `word` or are spelled like it, at most three, the likeliest first.

    Words in `changing`, which can change something, come after all others: a slip must not lead to an action.
    """
    likely = [*(each for each in known if word and each.startswith(word)), *get_close_matches(word, known, MOST + 2)]
    return tuple(sorted(dict.fromkeys(likely), key=lambda each: each in changing))[:MOST]


def did_you_mean(words: Collection[str]) -> str:
    """`did you mean status or start?`; empty for no words."""
    return f"did you mean {' or '.join(words)}?" if words else ""
