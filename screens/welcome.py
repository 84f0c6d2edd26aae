"""What is shown once to who has never seen this screen: what is on it and which keys are harmless, one line for each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from screens import saved_settings
from screens.actions import BY_ID
from screens.key_map import Keys
from screens.styled_lines import Line, Span, fit, length
from screens.widgets import LineWidget

if TYPE_CHECKING:
    from screens.main import MainScreen

_SEEN = "/greeted"
"""Beside the clusters in what is remembered; no cluster has such a name that matters here."""

Part = tuple[tuple[str, ...], str]
"""Actions, whose keys are shown, and what is worth knowing of them."""
_LINES: tuple[tuple[str, tuple[Part, ...]], ...] = (
    ("First time?", ((("help",), "all keys;"), (("quit",), "leaves, engines go on;"), (("problems",), "only what is wrong"))),
    ("Marks", ((("mark",), "marks a row,"), (("mark-all",), "all rows;"), ((), "operations take the marked rows"))),
    ("Access", (((), "RW above: operations may change nodes;"), ((), "RO: look only;"), ((), "--write changes that"))),
    ("Tabs", (((), "each opens with its key;"), (("focus-next",), "goes to the pane and back;"), (("full",), "shows one half"))),
    ("Plan", ((("start", "stop", "restart"), "only show a plan;"), ((), "nothing runs before you confirm it"))),
)  # fmt: skip
"""What each line is about, and its parts; the last ones go first where room is short."""


class Welcome(LineWidget):
    """The lines; they are gone with the first key that does something."""

    DEFAULT_CSS = f"Welcome {{ height: {len(_LINES)}; width: 1fr; background: $surface; }}"

    def __init__(self, keys: Keys) -> None:
        super().__init__(id="greeting")
        self._keys = keys

    def on_resize(self) -> None:
        """Another width has room for other words."""
        self.paint([(self._line(head, parts), ()) for head, parts in _LINES])

    def _line(self, head: str, parts: tuple[Part, ...]) -> Line:
        spans: list[Span] = [(f" {fit(head, 11)}", "title")]
        for names, words in parts:
            keys = " ".join(word for name in names if (word := self._keys.word(BY_ID[name])))
            part: Line = ((f" {keys}" if keys else "", "key"), (f" {words}", "plain"))
            if (keys or not names) and length((*spans, *part)) <= self.size.width:
                spans.extend(part)
        return (*spans[:-1], (spans[-1][0].rstrip(";,"), spans[-1][1]))


async def greet(screen: MainScreen) -> bool:
    """Show it unless it was shown before on this machine; gives whether it is shown now."""
    directory = screen.console.session.state_dir
    known = saved_settings.load(directory)
    if not screen.console.options.hints or known.get(_SEEN) is True:
        return False
    saved_settings.save(directory, {**known, _SEEN: True})
    await screen.mount(Welcome(screen.console.options.keys), before=screen.prompt)
    return True


def welcome_is_over(screen: MainScreen) -> None:
    """Take the lines away."""
    screen.greeted = False
    screen.query(Welcome).remove()
