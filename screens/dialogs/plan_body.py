"""The rows of a plan in its dialog: a cursor, rows that unfold, and a search over everything."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import Binding, BindingType

from console.model.counting import counted
from screens.dialogs.base import Text
from screens.plan_rows import PlanRows, marked, places
from screens.styled_lines import Row


class PlanBody(Text, can_focus=True, inherit_bindings=False):
    """Shows `PlanRows` once it is filled; `needle` is what is searched for."""

    with_cursor = True
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter,space,right", "unfold", "Unfold", show=False),
        Binding("left", "fold", "Fold", show=False),
        Binding("plus,fullwidth_plus_sign", "unfold_all", "Unfold all", show=False),
    ]

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self.needle = ""
        self._plan: PlanRows | None = None

    @property
    def cells(self) -> int:
        """Cells that a row may take."""
        return max(20, (self.size.width or 76) - 1)

    def fill(self, plan: PlanRows) -> None:
        """Show a plan from its first row: all of it where that fits, else folded, with the cursor on the first step."""
        self._plan = plan
        before = set(plan.folds.unfolded)
        plan.folds.unfolded |= plan.every_fold()
        if len(plan.rows(self.cells)) > self.visible_rows:
            plan.folds.unfolded = before
        self.draw_rows()
        self.go(plan.first_step)
        self.offset_row = 0
        self.draw()

    def draw_rows(self) -> None:
        """Make the rows anew, at the width of now."""
        if self._plan is not None:
            rows = self._plan.rows(self.cells)
            self.show([Row(row.key, marked(row.line, self.needle)) for row in rows] if self.needle else rows)

    def action_unfold(self) -> None:
        """Show what the row under the cursor stands for, or hide it again."""
        fold = self._plan.folds.toggle(self.current.key) if self._plan and self.current else None
        if fold is not None:
            self.draw_rows()
            self.go(fold)

    def action_fold(self) -> None:
        """Hide what the row under the cursor is a part of."""
        if self._plan and self.current and self._plan.folds.head(self.current.key) in self._plan.folds.unfolded:
            self.action_unfold()

    def action_unfold_all(self) -> None:
        """Show all of the plan, or fold it again."""
        if self._plan is not None:
            self._plan.unfold_all()
            self.draw_rows()

    def search(self, text: str) -> str:
        """Unfold what has the text and go to the first place from the cursor on; gives words on what was found.

        No text ends the search.
        """
        self.needle = text
        if self._plan is not None and text:
            self._plan.search(text)
        self.draw_rows()
        return self.to_place(1, here=True) if text else ""

    def to_place(self, by: int, *, here: bool = False) -> str:
        """Go to the next place of the search, or the one before, round at the ends; gives words on where that is."""
        found = places(self.rows, self.needle)
        if not found:
            self.needle = ""
            self.draw_rows()
            return "not found in this plan"
        at = self.cursor
        if by > 0:
            to = next((each for each in found if each > at or (here and each == at)), found[0])
        else:
            to = next((each for each in reversed(found) if each < at), found[-1])
        self.move(to - at)
        return f"{found.index(to) + 1} of {counted(len(found), 'place')}"
