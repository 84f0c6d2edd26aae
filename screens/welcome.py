"""The lines that a first-time user sees once: what the screen shows, and which keys change nothing."""

from __future__ import annotations

from pathlib import Path

from screens import saved_settings
from screens.actions import BY_ID
from screens.key_map import Keys
from screens.styled_lines import Line, Span, fit, length
from screens.widgets import LineWidget

_SEEN = "/greeted"
"""A key beside the names of clusters in the saved settings."""

Part = tuple[tuple[str, ...], str]
"""Actions, whose keys are shown, and a text about them."""
_LINES: tuple[tuple[str, tuple[Part, ...]], ...] = (
    ("First time?", ((("help",), "all keys;"), (("quit",), "quits, engines keep running;"), (("problems",), "only problems"))),
    ("Marks", ((("mark",), "marks a row,"), (("mark-all",), "all rows;"), ((), "operations take the marked rows"))),
    ("Access", (((), "RW above: operations may change nodes;"), ((), "RO: changes are refused;"), ((), "--write allows them"))),
    ("Tabs", (((), "each opens with its key;"), (("focus-next",), "goes to the pane and back;"), (("full",), "shows one half"))),
    ("Plan", ((("start", "stop", "restart"), "only show a plan;"), ((), "nothing runs before you confirm it"))),
)  # fmt: skip
"""The subject of each line, and its parts; the last parts are left out where the terminal is narrow."""


class Welcome(LineWidget):
    """The lines; the first key that does something removes them."""

    DEFAULT_CSS = f"Welcome {{ height: {len(_LINES)}; width: 1fr; background: $surface; }}"

    def __init__(self, keys: Keys) -> None:
        super().__init__(id="greeting")
        self._keys = keys

    def on_resize(self) -> None:
        """Draw as many parts as the new width has room for."""
        self.paint([(self._line(head, parts), ()) for head, parts in _LINES])

    def _line(self, head: str, parts: tuple[Part, ...]) -> Line:
        spans: list[Span] = [(f" {fit(head, 11)}", "title")]
        for names, words in parts:
            keys = " ".join(word for name in names if (word := self._keys.word(BY_ID[name])))
            part: Line = ((f" {keys}" if keys else "", "key"), (f" {words}", "plain"))
            if (keys or not names) and length((*spans, *part)) <= self.size.width:
                spans.extend(part)
        return (*spans[:-1], (spans[-1][0].rstrip(";,"), spans[-1][1]))


def is_new_here(state_dir: Path) -> bool:
    """Whether the lines were never shown on this machine; from now on they were."""
    known = saved_settings.load(state_dir)
    if known.get(_SEEN) is True:
        return False
    saved_settings.save(state_dir, {**known, _SEEN: True})
    return True
