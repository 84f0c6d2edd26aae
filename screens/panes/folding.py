"""A pane whose rows unfold: a folded row stands for what Enter shows below it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from screens.folds import Folds
from screens.panes.base import Pane
from screens.styled_lines import Line, Row, fit, wrap


class FoldingPane(Pane):
    """Has a cursor, and remembers which rows are unfolded; subclasses build their rows with `folded` and `texts`."""

    with_cursor = True

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.folds = Folds()

    def unfold(self) -> bool:
        """Show what the row under the cursor stands for, or hide it again; False where nothing unfolds."""
        head = self.folds.toggle(self.current.key) if self.current else None
        if head is None:
            return False
        if self.moment is not None:
            self.draw_moment(self.moment)
        self.go(head)
        return True

    def folded(self, key: str, line: Line, below: Iterable[Row]) -> Iterator[Row]:
        """A row with the mark of its fold, and what is below it while it is unfolded."""
        shown = self.folds.offer(key)
        yield Row(key, ((f"{self.pen.opened if shown else self.pen.closed} ", "dim"), *line))
        if shown:
            for row in below:
                self.folds.put_below(row.key, key)
                yield row

    def texts(
        self, key: str, text: str, indent: int, role: str, label: str = "", label_role: str = "dim"
    ) -> Iterator[Row]:
        """A text broken to the width of the pane from the column `indent` on, its label before its first line."""
        room = max(20, self.size.width - 1 - indent)
        for number, part in enumerate(wrap(text, room)):
            head = fit(label, indent) if number == 0 else " " * indent
            yield Row(f"{key}/{number}", ((head, label_role), (part, role)))
