"""The diagnosis pane: who broke first, what it means and what to do, then everything known in the order it happened."""

from __future__ import annotations

import time

from console.model.snapshot import Diagnosis
from screens.lines import Line, Row, fit, shown, wrap
from screens.panes.base import Pane, Shown

_ROLES = {"fatal": "fail", "running": "warn", "advice": "dim"}


class DiagnosisPane(Pane):
    """The whole deployment's, whatever the cursor is on: a first cause is often on another node."""

    def draw_moment(self, moment: Shown) -> None:
        """The first cause in full, then the timeline with each remedy."""
        self.empty = "no known failure shows in the current runs"
        found = [each for each in moment.snapshot.diagnoses if self.needle.casefold() in _words(each).casefold()]
        cells = max(30, self.size.width - 1)
        rows: list[Row] = []
        for each in sorted(found, key=lambda each: not each.first):
            rows += _rows(each, cells)
        self.show(rows)

    def title(self) -> Line:
        """How many there are."""
        count = len(self.moment.snapshot.diagnoses) if self.moment else 0
        return ((f"{count} known failures, {time.strftime('%Z')}", "dim"),)


def _words(each: Diagnosis) -> str:
    return f"{each.signature} {each.title} {each.engine} {each.text} {each.remedy}"


def _rows(each: Diagnosis, cells: int) -> list[Row]:
    """One failure: the head, then labelled texts broken to the width."""
    clock = ("" if each.exact else "~") + time.strftime("%H:%M:%S", time.localtime(each.at))
    role = _ROLES.get(each.severity, "plain")
    key = f"{each.engine}/{each.signature}"
    first = "FIRST CAUSE  " if each.first else ""
    times = f"  {each.count} times" if each.count > 1 else ""
    head: Line = (
        (f"{fit(clock, 10)}", "dim"),
        (f"{fit(shown(each.engine), 13)} ", "bold"),
        (f"{first}{shown(each.signature)} {shown(each.title)}", role),
        (times, "dim"),
    )
    rows = [Row(f"{key}/head", head)]
    for label, text in (
        ("seen", each.text), ("cause", each.cause), ("remedy", each.remedy), ("source", each.source),
    ):  # fmt: skip
        for number, part in enumerate(wrap(shown(text), cells - 18) if text else []):
            rows.append(
                Row(f"{key}/{label}/{number}", ((f"{'':10}{label if number == 0 else '':8}", "dim"), (part, "plain")))
            )
    return rows
