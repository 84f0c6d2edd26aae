"""The diagnosis pane: who broke first, what it means and what to do, then everything known in the order it happened."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import ClassVar

from console.model.deployment import engine_words
from console.model.snapshot import ClusterSnapshot, Diagnosis, EngineState
from screens.actions import BY_ID, bindings
from screens.panes.base import Pane, PaneMoment, PointedRow
from screens.styled_lines import Line, Row, counted, fit, length, shown, wrap
from screens.widgets import Verbs

_ROLES = {"fatal": "fail", "running": "warn", "advice": "dim"}
_ENDED = (EngineState.FAILED, EngineState.LOST)
_DEAD_BEHIND_PROXY = "E13"


class DiagnosisPane(Pane):
    """The whole deployment's, whatever the grid's cursor is on: a first cause is often on another node.

    Its own cursor says which failure operations are for while keys go here.
    """

    place: ClassVar[str] = "causes"
    BINDINGS: ClassVar = bindings("diagnosis", "verb")
    with_cursor = True

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.on_engine: Callable[[str], object] = lambda engine: None
        self._of_row: dict[str, Diagnosis] = {}

    def verbs(self) -> Verbs:
        """Moves, and the way to what broke."""
        return {**super().verbs(), "go-there": self.go_there}

    @property
    def pointed(self) -> PointedRow | None:
        """The engine that broke, and the line that shows it."""
        found = self._of_row.get(self.current.key) if self.current else None
        return PointedRow(found.engine, found.text, found.where_file, found.where_line) if found else None

    def go_there(self) -> None:
        """Put the grid's cursor on the engine."""
        if (here := self.pointed) is not None:
            self.on_engine(here.engine)

    def watch_has_focus(self, focus: bool) -> None:
        """Other keys lead on from here."""
        super().watch_has_focus(focus)
        if self.moment is not None:
            self.draw_moment(self.moment)

    def draw_moment(self, moment: PaneMoment) -> None:
        """The first cause in full, then the timeline with each remedy."""
        self.empty = "no known failure shows in the current runs"
        found = [each for each in moment.snapshot.diagnoses if self.needle.casefold() in _words(each).casefold()]
        cells = max(30, self.size.width - 1)
        rows: list[Row] = []
        self._of_row = {}
        for each in sorted(found, key=lambda each: not each.first):
            made = _rows(each, cells, _packed(self._next(each, moment.snapshot), cells - 18))
            self._of_row.update((row.key, each) for row in made)
            rows += made
        self.show(rows)

    def title(self) -> Line:
        """How many there are."""
        count = len(self.moment.snapshot.diagnoses) if self.moment else 0
        return ((f"{counted(count, 'known failure')}, {time.strftime('%Z')}", "dim"),)

    def _next(self, each: Diagnosis, picture: ClusterSnapshot) -> list[Line]:
        """The keys that lead on from a failure; from elsewhere the first of them, with the pane's own before it."""
        if each.engine not in picture.engines:
            return []
        edits = [("edit", "opens that file")] if each.where_file else []
        wanted = [*edits, *_act(each, picture), ("go-there", "goes there"), ("logs", "its log")]
        before = "" if self.has_focus else f"{self.keys.word(BY_ID['pane-10'])} "
        lines: list[Line] = [
            ((f"{before}{key}", "key"), (f" {words}", "plain"))
            for name, words in wanted
            if (key := self.keys.word(BY_ID[name]))
        ]
        return lines if self.has_focus else lines[:1]


def _packed(parts: Sequence[Line], cells: int) -> list[Line]:
    """The parts side by side, in as few lines as they fit into."""
    lines: list[Line] = []
    for part in parts:
        if lines and length(lines[-1]) + 2 + length(part) <= cells:
            lines[-1] = (*lines[-1], ("  ", ""), *part)
        else:
            lines.append(part)
    return lines


def _act(each: Diagnosis, picture: ClusterSnapshot) -> list[tuple[str, str]]:
    """What the console itself can do about it: an action and its words, or nothing."""
    engine = picture.engines[each.engine]
    if picture.read_only:
        return []
    if each.signature == _DEAD_BEHIND_PROXY:
        return [("sync-proxy", "has the proxy drop it")]
    if engine.state is EngineState.STUCK:
        return [("kill", f"ends what is left of {shown(engine.id)}")]
    if engine.state in _ENDED or "restart" in each.remedy.casefold():
        peers = [name for name, other in picture.engines.items() if engine.group and other.group == engine.group]
        name = f"{shown(engine.group)}: {engine_words(peers)}" if len(peers) > 1 else shown(engine.id)
        # The same settings fail the same way: a restart that the remedy does not name comes after it.
        after = "" if not each.remedy or "restart" in each.remedy.casefold() else ", once that is done"
        return [("restart", f"restarts {name}{after}")]
    return []


def _words(each: Diagnosis) -> str:
    return f"{each.signature} {each.title} {each.engine} {each.text} {each.remedy}"


def _rows(each: Diagnosis, cells: int, following: Sequence[Line]) -> list[Row]:
    """One failure: the head, then labelled texts broken to the width, and the keys that lead on."""
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
        ("cause", each.cause), ("remedy", each.remedy), ("where", each.where), ("seen", each.text),
        ("source", each.source),
    ):  # fmt: skip
        for number, part in enumerate(wrap(shown(text), cells - 18) if text else []):
            rows.append(
                Row(f"{key}/{label}/{number}", ((f"{'':10}{label if number == 0 else '':8}", "dim"), (part, "plain")))
            )
        if label == "where":
            for number, line in enumerate(following):
                rows.append(Row(f"{key}/next/{number}", ((f"{'':10}{'' if number else 'next':8}", "dim"), *line)))
    return rows
