"""One-line widgets of the main screen, such as the footer. Each repaints only when its text changes."""

from __future__ import annotations

from screens.actions import ACTIONS, BY_ID, FOOTERS, Action, Place
from screens.key_map import Keys
from screens.styled_lines import Line, Span, length, width
from screens.widgets import LineWidget


class Bar(LineWidget):
    """One line."""

    DEFAULT_CSS = "Bar { height: 1; width: 1fr; background: $surface; }"

    def write(self, line: Line) -> None:
        """Show this line."""
        self.paint([(line, ())])


class Footer(Bar):
    """Help and Quit first, then the keys of this place."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._hints: list[tuple[str, str]] = []
        self._close = False
        """Whether hints may stand closer together."""

    def draw(self, place: Place, keys: Keys, *, read_only: bool, back: bool) -> None:
        """Draw as many hints as fit; a place with hints of its own moves them closer together before one is left out."""
        own = [(BY_ID[name], word) for name, word in FOOTERS.get(place, ())]
        self._hints = [
            (keys.word(action), "Back" if action.id == "quit" and back else word)
            for action, word in own or _general(place)
            if keys.of(action) and not (action.danger and read_only)
        ]
        self._close = bool(own)
        self.on_resize()

    def on_resize(self) -> None:
        """Another width has room for other hints; none has any while something else is in its place."""
        wide = sum(width(key) + width(word) + 3 for key, word in self._hints)
        gap = " " if self._close and wide > self.size.width else "  "
        spans: list[Span] = [(" ", "")]
        for key, word in self._hints:
            hint: Line = ((key, "key"), (f" {word}{gap}", "plain"))
            if length(tuple(spans)) + length(hint) - len(gap) > self.size.width:
                break
            spans.extend(hint)
        self.write(tuple(spans))


def _general(place: Place) -> list[tuple[Action, str]]:
    """The hints of the table for a place that has none of its own."""
    there = (each for each in ACTIONS if each.footer and ("everywhere" in each.where or place in each.where))
    return [(each, each.label) for each in sorted(there, key=lambda each: each.footer)]


class Rule(LineWidget):
    """A line that divides two areas, with a blank at either end of a level one; `upright` where they stand side by side."""

    DEFAULT_CSS = "Rule { height: 1; width: 1fr; } Rule.upright { height: 1fr; width: 1; }"

    def on_resize(self) -> None:
        """Another size has another line."""
        upright = self.has_class("upright")
        text = "╎" if upright else " " + "╌" * (self.size.width - 2)
        self.paint([(((text, "rule"),), ())] * (self.size.height if upright else 1))
