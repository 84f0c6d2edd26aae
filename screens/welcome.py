"""What is said once to who has never seen this screen: one line above the footer, with where help is and what is harmless."""

from __future__ import annotations

from typing import TYPE_CHECKING

from screens import saved_settings
from screens.actions import BY_ID
from screens.bars import Bar
from screens.key_map import Keys
from screens.styled_lines import Line, Span, length

if TYPE_CHECKING:
    from screens.main import MainScreen

_SEEN = "/greeted"
"""Beside the clusters in what is remembered; no cluster has such a name that matters here."""

_WORDS = (
    (("help",), "all keys"),
    (("mark-all",), "marks all"),
    (("start", "stop", "restart"), "only show a plan"),
    (("quit",), "leaves, engines go on"),
    (("problems",), "only what is wrong"),
    (("logs",), "log of the engine"),
)
"""Actions, and what is worth knowing of them; the last ones go first where room is short."""


class Welcome(Bar):
    """The line; it is gone with the first key that does something."""

    def __init__(self, keys: Keys) -> None:
        super().__init__(id="greeting")
        self._keys = keys

    def on_resize(self) -> None:
        """Another width has room for other words."""
        spans: list[Span] = [(" First time?", "title")]
        for names, words in _WORDS:
            keys = " ".join(word for name in names if (word := self._keys.word(BY_ID[name])))
            part: Line = ((f" {keys}", "key"), (f" {words};", "plain"))
            if keys and length((*spans, *part)) <= self.size.width + 1:
                spans.extend(part)
        self.write((*spans[:-1], (spans[-1][0].rstrip(";"), spans[-1][1])))


async def greet(screen: MainScreen) -> bool:
    """Say it unless it was said before on this machine; gives whether it is said now."""
    directory = screen.console.session.state_dir
    known = saved_settings.load(directory)
    if not screen.console.options.hints or known.get(_SEEN) is True:
        return False
    saved_settings.save(directory, {**known, _SEEN: True})
    await screen.mount(Welcome(screen.console.options.keys), before=screen.prompt)
    return True


def welcome_is_over(screen: MainScreen) -> None:
    """Take the line away."""
    screen.greeted = False
    screen.query(Welcome).remove()
