"""The rows of a plan: its summary, then its folded steps; which rows are unfolded, and where a search matches. Draws nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from console.model.plan import Plan
from console.services.operations.plan_summary import Grade, SummaryRow, plan_summary
from console.services.operations.step_folding import FoldedSteps, StepPart, folded_plan, turns
from screens.folds import Folds
from screens.styled_lines import Line, Pen, Row, fit, plain, shown, width, wrap

LABEL_CELLS = 11
"""Cells of the longest label of a summary, and a blank."""
MARK_CELLS = 2
"""Cells before each row: the sign of what can be unfolded."""
_ROLES: dict[Grade, str] = {"plain": "plain", "note": "plain", "warning": "warn", "error": "fail"}
UNFOLDED_WARNINGS = 2
"""As many warnings show at once what to do about them."""


class PlanRows:
    """The rows of one plan; `folds` knows which of them unfold. A row below another one has its key, `#` and more."""

    def __init__(self, plan: Plan, asked: Sequence[str], pen: Pen) -> None:
        """`asked` are the engines the operator pointed at, where the plan may take in more."""
        self._plan = plan
        self._pen = pen
        self._summary = plan_summary(plan, asked)
        self._blocks = turns(folded_plan(plan), plan)
        self._texts = {row.key: _text(row) for _, rows in self._blocks for row in rows}
        self.folds = Folds()
        warnings = [f"summary/{at}" for at, row in enumerate(self._summary) if row.grade == "warning"]
        errors = [f"summary/{at}" for at, row in enumerate(self._summary) if row.grade == "error"]
        self.folds.unfolded = {*errors, *(warnings if len(warnings) <= UNFOLDED_WARNINGS else ())}

    def rows(self, cells: int) -> list[Row]:
        """All rows at this width."""
        self.folds.begin()
        rows = [
            *self._summary_rows(cells),
            Row("gap", ()),
            Row("order", ((" " * MARK_CELLS + "In this order:", "dim"),)),
            *self._step_rows(cells),
        ]
        for row in rows:
            above = row.key
            while "#" in above and self.folds.head(row.key) is None:
                above = above.rpartition("#")[0]
                if head := self.folds.head(above):
                    self.folds.put_below(row.key, head)
        return rows

    @property
    def first_step(self) -> str:
        """The row of the first step."""
        turn, rows = self._blocks[0] if self._blocks else ("", [])
        return f"turn/{turn}" if turn else rows[0].key if rows else ""

    def every_fold(self) -> set[str]:
        """Each fold of the plan, but for the single commands of a row of many engines, which its table stands for."""
        summary = {f"summary/{at}" for at, row in enumerate(self._summary) if row.more}
        steps = {row.key for _, rows in self._blocks for row in rows if self._texts[row.key]}
        return summary | steps | {f"turn/{turn}" for turn, _ in self._blocks if turn}

    def unfold_all(self) -> None:
        """Show everything; or, where all of it is shown, only the summary and a row for what is done alike."""
        every = self.every_fold()
        self.folds.unfolded = set() if every <= self.folds.unfolded else self.folds.unfolded | every

    def search(self, text: str) -> None:
        """Unfold whatever has this text, in any case of letters."""
        needle = text.casefold()
        for at, each in enumerate(self._summary):
            if any(needle in more.casefold() for more in each.more):
                self.folds.unfolded.add(f"summary/{at}")
        for turn, rows in self._blocks:
            for row in rows:
                if self._texts[row.key] and any(needle in each for each in (self._texts[row.key], _names(row))):
                    self.folds.unfolded |= {row.key, f"turn/{turn}"}
                    self.folds.unfolded |= {
                        _part_key(row, part) for part in row.parts[1:] if _only_in(row, part, needle)
                    }

    def _summary_rows(self, cells: int) -> Iterator[Row]:
        label = ""
        for at, each in enumerate(self._summary):
            yield from self._summary_row(f"summary/{at}", each, cells, "" if each.label == label else each.label)
            label = each.label

    def _summary_row(self, key: str, each: SummaryRow, cells: int, label: str) -> Iterator[Row]:
        room, role = max(20, cells - MARK_CELLS - LABEL_CELLS), _ROLES[each.grade]
        head = (self._mark(key, bool(each.more)), (fit(label, LABEL_CELLS), "dim"))
        for number, text in enumerate(wrap(shown(each.text), room)):
            start: Line = head if not number else ((" " * (MARK_CELLS + LABEL_CELLS), ""),)
            yield Row(f"{key}#{number}" if number else key, (*start, (text, role)))
        for number, text in enumerate(each.more if key in self.folds.unfolded else ()):
            for line, piece in enumerate(wrap(shown(text), room)):
                yield Row(f"{key}#more/{number}/{line}", ((" " * (MARK_CELLS + LABEL_CELLS), ""), (piece, "key")))

    def _mark(self, key: str, foldable: bool) -> tuple[str, str]:
        if not foldable:
            return " " * MARK_CELLS, ""
        return fit(self._pen.opened if self.folds.offer(key) else self._pen.closed, MARK_CELLS), "key"

    def _step_rows(self, cells: int) -> Iterator[Row]:
        for turn, rows in self._blocks:
            if not turn:
                yield from self._numbered(rows, cells, "")
                continue
            key, last = f"turn/{turn}", rows[-1].stage
            title = f"{rows[0].stage}-{last} the turn of {shown(turn)}: {len(rows)} steps"
            yield Row(key, (self._mark(key, True), (title, "title")))
            if key in self.folds.unfolded:
                yield from self._numbered(rows, cells, f"{key}#")

    def _numbered(self, rows: Sequence[FoldedSteps], cells: int, within: str) -> Iterator[Row]:
        number = 0
        for row in rows:
            yield from self._folded(row, "" if row.stage == number else str(row.stage), cells, within)
            number = row.stage

    def _folded(self, row: FoldedSteps, number: str, cells: int, within: str) -> Iterator[Row]:
        foldable = bool(self._texts[row.key])
        mark = self._mark(row.key, foldable)
        head: Line = (mark, (fit(number, 3), "dim"))
        but = f" ({row.same_but})" if row.same_but else ""
        for line, text in enumerate(wrap(shown(f"{row.title}{but}"), max(20, cells - MARK_CELLS - 3))):
            start: Line = head if not line else ((" " * (MARK_CELLS + 3), ""),)
            yield Row(f"{row.key}#{line}" if line else row.key, (*start, (text, "plain")))
        if row.key in self.folds.unfolded and foldable:
            yield from self._commands(row, cells)

    def _commands(self, row: FoldedSteps, cells: int) -> Iterator[Row]:
        first, *others = row.parts
        alike = len({tuple(command.text for command in part.commands) for part in row.parts}) == 1
        if others:
            title = "on each of them:" if alike else f"{shown(first.name)}, in full:"
            yield Row(f"{row.key}#first", (("     ", ""), (title, "dim")))
        yield from _command_rows(first, f"{row.key}#", cells)
        if not alike:
            yield from self._table(row, cells)

    def _table(self, row: FoldedSteps, cells: int) -> Iterator[Row]:
        """What differs, a line for each part, in columns where they fit; each line unfolds to the whole command."""
        head = ["node" if not row.parts[0].engine else "engine", *(each.name for each in row.differences)]
        lines = [[part.name, *(each.values[at] for each in row.differences)] for at, part in enumerate(row.parts)]
        widths = [max(width(shown(line[at])) for line in (head, *lines)) for at in range(len(head))]
        fits = sum(widths) + 2 * len(widths) <= cells - 7
        if fits:
            yield Row(f"{row.key}#head", (("       ", ""), (_columns(head, widths), "dim")))
        for part, values in zip(row.parts, lines, strict=True):
            key = _part_key(row, part)
            pairs = ", ".join(f"{name} {value}" for name, value in zip(head[1:], values[1:], strict=True))
            pieces = [_columns(values, widths)] if fits else wrap(shown(f"{part.name}: {pairs}"), max(20, cells - 9))
            for line, text in enumerate(pieces):
                start: Line = (("     ", ""), self._mark(key, True)) if not line else (("         ", ""),)
                yield Row(f"{key}#{line}" if line else key, (*start, (text, "plain")))
            if key in self.folds.unfolded:
                yield from _command_rows(part, f"{key}#", cells)
        names = [
            f"{each.name} is {', '.join(each.settings)}" for each in row.differences if each.settings != (each.name,)
        ]
        for line, text in enumerate(wrap(shown("; ".join(names)), max(20, cells - 7)) if names else ()):
            yield Row(f"{row.key}#names/{line}", (("       ", ""), (text, "dim")))


def _part_key(row: FoldedSteps, part: StepPart) -> str:
    return f"{row.key}#part/{part.step.id}/{part.engine}"


def _columns(values: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(fit(shown(value), cells) for value, cells in zip(values, widths, strict=True)).rstrip()


def _command_rows(part: StepPart, within: str, cells: int) -> Iterator[Row]:
    for number, command in enumerate(part.commands):
        for line, text in enumerate(command.text.splitlines() or [""]):
            for at, piece in enumerate(wrap(shown(text), max(20, cells - 9), words=True)):
                key = f"{within}command/{part.name}/{number}/{line}/{at}"
                yield Row(key, (("       " if not at else "         ", ""), (piece, "dim")))


def _text(row: FoldedSteps) -> str:
    """Everything that a row of folded steps stands for, for a search; empty where nothing is typed on a node."""
    return "\n".join(command.text for part in row.parts for command in part.commands).casefold()


def _names(row: FoldedSteps) -> str:
    """The names in the table of a row of folded steps, for a search."""
    return "\n".join((*(part.name for part in row.parts), *(each.name for each in row.differences))).casefold()


def _only_in(row: FoldedSteps, part: StepPart, needle: str) -> bool:
    """Whether a text stands in the command of a part and neither in the first one nor among what differs."""
    whole = "\n".join(command.text for command in part.commands).casefold()
    first = "\n".join(command.text for command in row.parts[0].commands).casefold()
    at = row.parts.index(part)
    return (
        needle in whole
        and needle not in first
        and all(needle not in each.values[at].casefold() for each in row.differences)
    )


def places(rows: Sequence[Row], text: str) -> list[int]:
    """The rows that have this text; a text that was broken at the end of a line is found in its first row."""
    needle = text.casefold()
    lines = [plain(row.line).casefold() for row in rows]
    found = [at for at, line in enumerate(lines) if needle in line]
    joined = [at for at in range(len(lines) - 1) if needle in f"{lines[at].rstrip()} {lines[at + 1].lstrip()}"]
    return found or joined


def marked(line: Line, text: str) -> Line:
    """The line with each place of a text, in any case of letters, marked."""
    pattern = re.compile(f"({re.escape(text)})", re.IGNORECASE)
    return tuple(
        (piece, "hit" if number % 2 else role)
        for words, role in line
        for number, piece in enumerate(pattern.split(words))
        if piece
    )
