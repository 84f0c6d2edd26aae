"""The base of the widgets of the main screen: they draw lines, repaint only changed rows, and map action ids to methods.

Widgets here keep no connection and start no work on a node; they draw what they are given.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

from rich.style import Style
from textual import events
from textual.filter import LineFilter
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from screens.actions import BY_ID, bindings
from screens.styled_lines import Line, Pen, Row, length, shifted, strip, wrap
from screens.themes import LOOKS, Look

Verbs = Mapping[str, Callable[[], object]]
Painted = tuple[Line, tuple[str, ...]]
"""A row: its line, and roles that are laid over all of it."""


class LineWidget(Widget):
    """A widget that draws itself line by line; `painted` is what each of its rows shows now."""

    DEFAULT_CSS = "LineWidget { height: 1fr; width: 1fr; background: $background; color: $foreground; }"
    ALLOW_SELECT = False
    look: Look = LOOKS["dark"]
    pen: Pen = Pen()

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._painted: list[Painted] = []
        self._ground: Style | None = None
        """Colours of the widget itself; worked out once, because Textual works them out anew at each asking."""

    def verbs(self) -> Verbs:
        """What this widget does for action ids."""
        return {}

    async def action_verb(self, name: str) -> None:
        """Run one of the widget's actions; what it does not know itself, or is dangerous or guarded, is for the whole screen."""
        verb = self.verbs().get(name)
        if verb is None or BY_ID[name].danger or BY_ID[name].guarded:
            await self.run_action(f"screen.do('{name}')")
        else:
            verb()

    def dress(self, look: Look, pen: Pen) -> None:
        """Take another look."""
        self.look = look
        self.pen = pen
        self._ground = None
        self.refresh()

    def notify_style_update(self) -> None:
        """The stylesheet gave other colours."""
        self._ground = None
        super().notify_style_update()

    def get_line_filters(self) -> Sequence[LineFilter]:
        """None: looks hold true colours, or none at all, so there is nothing to translate in each segment of each row."""
        return ()

    def paint(self, lines: Sequence[Painted]) -> int:
        """Show these lines, each with roles over the whole row; gives how many rows had to be drawn."""
        old = self._painted
        self._painted = list(lines)
        if not self.is_mounted:
            return 0
        changed = [
            index
            for index in range(max(len(old), len(lines)))
            if index >= len(old) or index >= len(lines) or old[index] != lines[index]
        ]
        width = self.size.width
        spans = [(index, *changed_cells(old[index : index + 1], lines[index : index + 1], width)) for index in changed]
        if regions := [Region(start, index, end - start, 1) for index, start, end in spans if end > start]:
            self.refresh(*regions)
        return len(changed)

    def render_line(self, y: int) -> Strip:
        """One row of the widget."""
        if self._ground is None:
            self._ground = self.rich_style
        base = self._ground
        if y >= len(self._painted):
            return Strip.blank(self.size.width, base)
        line, over = self._painted[y]
        return strip(line, self.look, self.pen, self.size.width, base, over)

    def move(self, by: int) -> None:
        """Go so many rows; for widgets that scroll."""

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Three rows down."""
        event.stop()
        self.move(3)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Three rows up."""
        event.stop()
        self.move(-3)


def changed_cells(old: Sequence[Painted], new: Sequence[Painted], cells: int) -> tuple[int, int]:
    """From which cell to which a row differs, given as no or one line each; all of it where that is not plain to see."""
    if not old or not new or old[0][1] != new[0][1]:
        return 0, cells
    before, after = old[0][0], new[0][0]
    total = length(after)
    if max(length(before), total) > cells:  # where a line is cut depends on what is behind the cut
        return 0, cells
    same = 0
    while same < min(len(before), len(after)) and before[same] == after[same]:
        same += 1
    end = cells
    if length(before) == total:
        tail = 0
        while tail < min(len(before), len(after)) - same and before[-1 - tail] == after[-1 - tail]:
            tail += 1
        end = total - length(after[len(after) - tail :])
    return length(after[:same]), end


class ListWidget(LineWidget, can_focus=True):
    """A list with a heading, a cursor and marks, which scrolls by itself and keeps its place when rows come and go."""

    place: ClassVar[str] = "list"
    BINDINGS: ClassVar = bindings("list", "verb")
    with_cursor: bool = True
    margin: ClassVar[int] = 0
    """Blank cells before each row."""

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self.heading: Line = ()
        self.rows: list[Row] = []
        self.cursor = 0
        self.offset_row = 0
        self.offset_cells = 0
        """How far the rows are moved to the left."""
        self.empty = "nothing here"
        self.on_beyond: Callable[[], None] = lambda: None
        """Called when `beyond` has changed, for whoever says it."""
        self._said = ""

    def verbs(self) -> Verbs:
        """Moves; a subclass adds its own."""
        return {
            "up": lambda: self.move(-1),
            "down": lambda: self.move(1),
            "page-up": lambda: self.move(-self.visible_rows),
            "page-down": lambda: self.move(self.visible_rows),
            "half-up": lambda: self.move(-max(1, self.visible_rows // 2)),
            "half-down": lambda: self.move(max(1, self.visible_rows // 2)),
            "top": lambda: self.move(-len(self.rows)),
            "end": lambda: self.move(len(self.rows)),
            "sideways-left": lambda: self.sideways(-1),
            "sideways-right": lambda: self.sideways(1),
        }

    def sideways(self, by: int) -> None:
        """Move the rows by half a width, as far as the longest one reaches."""
        self.offset_cells += by * max(1, self.size.width // 2)
        self.draw()

    @property
    def visible_rows(self) -> int:
        """Rows of the list that fit under the heading."""
        return max(1, self.size.height - (1 if self.heading else 0))

    @property
    def cells(self) -> int:
        """Cells of a row beside the margin."""
        return self.size.width - self.margin

    @property
    def bright(self) -> bool:
        """Whether the cursor row is drawn as the place where keys go."""
        return self.has_focus

    @property
    def current(self) -> Row | None:
        """The row under the cursor."""
        return self.rows[self.cursor] if self.rows else None

    def show(self, rows: Sequence[Row], heading: Line = ()) -> None:
        """Show these rows; the cursor stays on the row of the same key, else where it was."""
        key = self.current.key if self.current else None
        self.rows = list(rows)
        self.heading = heading
        if key is not None and not (self.cursor < len(self.rows) and self.rows[self.cursor].key == key):
            self.cursor = next((index for index, row in enumerate(self.rows) if row.key == key), self.cursor)
        self.cursor = max(0, min(self.cursor, len(self.rows) - 1))
        self.draw()

    def go(self, key: str) -> bool:
        """Put the cursor on a row by key; False when there is no such row."""
        found = next((index for index, row in enumerate(self.rows) if row.key == key), None)
        if found is None:
            return False
        self.move(found - self.cursor)
        return True

    def move(self, by: int) -> None:
        """Move the cursor, or the text when the list has no cursor."""
        last = max(0, len(self.rows) - 1)
        if self.with_cursor:
            self.cursor = max(0, min(self.cursor + by, last))
        else:
            self.offset_row = max(0, min(self.offset_row + by, max(0, len(self.rows) - self.visible_rows)))
        self.draw()
        self.moved()

    @property
    def beyond(self) -> str:
        """How many rows are below what is seen, at the end how many above; empty when all are seen."""
        below = len(self.rows) - self.offset_row - self.visible_rows
        return f"{below} more below" if below > 0 else f"{self.offset_row} above" if self.offset_row else ""

    def head(self) -> Line:
        """The heading as it is drawn; for subclasses that say more in it."""
        return self.heading

    def moved(self) -> None:
        """Called after each move; for subclasses."""

    def draw(self) -> None:
        """Work out what is visible and repaint the rows that differ."""
        room = self.visible_rows
        if self.with_cursor:
            if self.cursor < self.offset_row:
                self.offset_row = self.cursor
            elif self.cursor >= self.offset_row + room:
                self.offset_row = self.cursor - room + 1
        self.offset_row = max(0, min(self.offset_row, max(0, len(self.rows) - room)))
        if self.offset_cells:
            longest = max((length(row.line) for row in self.rows), default=0)
            self.offset_cells = max(0, min(self.offset_cells, longest - self.cells))
        lines: list[Painted] = []
        if self.heading:
            lines.append((self._placed(self.head()), ()))
        if not self.rows:
            empty = wrap(self.empty, max(20, self.cells))
            lines += [(self._placed(((piece, "dim"),)), ()) for piece in empty]
        for index in range(self.offset_row, min(len(self.rows), self.offset_row + room)):
            on_it = self.with_cursor and index == self.cursor
            over = (("cursor",) if self.bright else ("unfocused",)) if on_it else ()
            lines.append((self._placed(self.rows[index].line), over))
        self.paint(lines)
        if self.size.height and self.beyond != self._said:
            self._said = self.beyond
            self.on_beyond()

    def _placed(self, line: Line) -> Line:
        """A line as it is drawn: behind the margin, and moved to the left as far as the reader went to the right."""
        line = shifted(line, self.offset_cells)
        return ((" " * self.margin, ""), *line) if self.margin else line

    def on_resize(self) -> None:
        """Another size shows other rows."""
        self.draw()
        self.refresh()

    def watch_has_focus(self, focus: bool) -> None:
        """The cursor row is drawn differently; the event of a blur comes before this is so."""
        super().watch_has_focus(focus)
        self.draw()

    def on_click(self, event: events.Click) -> None:
        """Put the cursor where the mouse is."""
        index = event.y - (1 if self.heading else 0) + self.offset_row
        if self.with_cursor and 0 <= index < len(self.rows):
            self.move(index - self.cursor)
