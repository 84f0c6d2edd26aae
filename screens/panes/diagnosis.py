"""The diagnosis pane: which engine failed first, the remedy and its place. The consequences are one line that unfolds."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import ClassVar

from console.diagnosis.summary import DiagnosisSummary, SharedFailure, first_words, summarize
from console.model.counting import counted
from console.model.deployment import engine_words
from console.model.name_ranges import name_ranges
from console.model.snapshot import ClusterSnapshot, Diagnosis, EngineSnapshot, EngineState
from screens.actions import BY_ID, bindings
from screens.logs.line_drawing import short_head
from screens.pane_moment import PaneMoment
from screens.panes.base import PointedRow
from screens.panes.folding import FoldingPane
from screens.styled_lines import Line, Row, length, shown
from screens.themes import sign_of
from screens.widgets import Verbs

_ROLES = {"fatal": "fail", "running": "warn", "advice": "dim"}
_ENDED = (EngineState.FAILED, EngineState.LOST)
_DEAD_BEHIND_PROXY = "E13"
_INDENT = 10
"""Cells before a text: two spaces and the label."""


class DiagnosisPane(FoldingPane):
    """The failures of the whole deployment, not only of the selected row: the first cause is often on another node.

    While the pane has the focus, operations apply to the failure under its own cursor.
    """

    place: ClassVar[str] = "diagnosis"
    BINDINGS: ClassVar = bindings("diagnosis", "verb")

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.on_engine: Callable[[str], object] = lambda engine: None
        self._of_row: dict[str, PointedRow] = {}
        self._found: DiagnosisSummary[Diagnosis] = summarize((), lambda each: each)
        self._unknown: list[tuple[EngineSnapshot, ...]] = []

    def verbs(self) -> Verbs:
        """Moves, and the jump to the failed engine."""
        return {**super().verbs(), "go-there": self.go_there}

    @property
    def pointed(self) -> PointedRow | None:
        """The failed engine, and the line of its log that shows the failure."""
        return self._of_row.get(self.current.key) if self.current else None

    def go_there(self) -> None:
        """Unfold the row; if it does not unfold, move the cursor of the grid to its engine."""
        if not self.unfold() and (here := self.pointed) is not None:
            self.on_engine(here.engine)

    def watch_has_focus(self, focus: bool) -> None:
        """Draw again, because the rows name other keys while the pane has the focus."""
        super().watch_has_focus(focus)
        if self.moment is not None:
            self.draw_moment(self.moment)

    def draw_moment(self, moment: PaneMoment) -> None:
        """The first cause with its remedy, failures that it does not explain, and the consequences in one line."""
        needle = self.needle.casefold()
        known = [each for each in moment.snapshot.diagnoses if needle in _words(each).casefold()]
        self._found = summarize(known, lambda each: each)
        self._unknown = [] if needle else _unexplained(moment.snapshot)
        self.empty = "no known failure in the current runs"
        if needle:
            self.empty = f"no failure contains {shown(self.needle)!r}; esc removes the filter"
        self._of_row = {}
        self.folds.begin()
        self.show([*self._rows(moment.snapshot)])

    def title(self) -> Line:
        """The number of failures, and whether the first cause is known."""
        found = self._found
        name = ("Diagnosis  ", "bold")
        broken = [each for each in (found.first, *found.others) if each is not None]
        if not broken and self._unknown:
            return (
                name,
                ("failed, cause unknown", "fail"),
            )
        if not broken:
            return (
                name,
                ("no failure", "ok"),
                ("; advice is below" if found.advice else "", "dim"),
            )
        after = f", {counted(len(found.consequences), 'consequence')} folded" if found.consequences else ""
        return (name, (counted(len(broken), "failure"), "fail"), (f"{after}, times in {time.strftime('%Z')}", "dim"))

    def _rows(self, snapshot: ClusterSnapshot) -> Iterator[Row]:
        found = self._found
        if found.first is not None:
            yield from self._cause(found.first, shown(first_words(found.first)), snapshot)
        for number, each in enumerate(found.others):
            words = f"{shown(each.title)} on {each.where}"
            yield from self._cause(
                each, f"not explained by the first failure: {words}" if found.first or number else words, snapshot
            )
        for same in self._unknown:
            yield from self._unexplained_rows(same, snapshot)
        for key, words, failures in (
            ("after", found.consequence_words, found.consequences),
            ("advice", found.advice_words, found.advice),
        ):
            if failures:
                yield from self._pointing(
                    failures[0].known, self.folded(key, ((shown(words), "dim"),), self._list(failures))
                )

    def _cause(self, failure: SharedFailure[Diagnosis], words: str, snapshot: ClusterSnapshot) -> Iterator[Row]:
        """One failure in full: what failed, the remedy, its place, the keys, the cause, and the line of the log."""
        each = failure.known
        key = f"{each.engine}/{each.signature}"
        role = _ROLES.get(each.severity, "plain")
        sign = "X" if self.pen.ascii else "✗"
        count = sum(one.count for one in failure.seen)
        when = _clock(each) + (f", {count} times" if count > 1 else "")
        head = [*self.texts(f"{key}/head", words, 2, f"bold {role}", sign, role)]
        if length(head[-1].line) + len(when) + 2 < self.size.width:
            head[-1] = Row(head[-1].key, (*head[-1].line, (f"  {when}", "dim")))
        yield from self._pointing(each, head)
        following = _packed(
            self._next(each.engine, _actions(each, snapshot), each.where_file), self.size.width - 1 - _INDENT
        )
        yield from self._pointing(each, self._labelled(key, "remedy", each.remedy, "plain"))
        yield from self._pointing(each, self._labelled(key, "where", each.where, "plain"))
        yield from self._pointing(each, _lines(key, "next", following))
        yield from self._pointing(each, self._labelled(key, "cause", each.cause, "dim"))
        seen = short_head(shown(each.text))[2]
        line: Line = ((f"{'seen':{_INDENT - 2}}", "dim"), (seen, "dim"))
        yield from self._pointing(each, self.folded(f"{key}/seen", line, self._evidence(key, each)))

    def _unexplained_rows(self, same: Sequence[EngineSnapshot], snapshot: ClusterSnapshot) -> Iterator[Row]:
        """Engines that need attention without a known failure: their state, and the keys that help."""
        one = same[0]
        key = f"{one.id}/unknown"
        sign = sign_of(one)
        here = PointedRow(one.id, one.cause)
        words = (
            f"{name_ranges(each.id for each in same)} {sign.word}: {shown(one.why(snapshot.at)) or 'no cause found'}"
        )
        actions = [] if snapshot.read_only or one.state not in _ENDED else [_restart(one, snapshot, "")]
        following = _packed(self._next(one.id, actions), self.size.width - 1 - _INDENT)
        rows = [
            *self.texts(f"{key}/head", words, 2, f"bold {sign.role}", self.pen.sign(sign), sign.role),
            *_lines(key, "next", following),
        ]
        for row in rows:
            self._of_row[row.key] = here
            yield row

    def _list(self, failures: Sequence[SharedFailure[Diagnosis]]) -> Iterator[Row]:
        """A line for each failure; advice also has its remedy."""
        for each in failures:
            key = f"list/{each.known.signature}"
            words = f"{_clock(each.known)}  {shown(each.title)} on {each.where}"
            yield from self._pointing(each.known, self.texts(key, words, 4, "plain"))
            if each.known.severity == "advice":
                yield from self._pointing(
                    each.known, self.texts(f"{key}/remedy", shown(each.known.remedy), 14, "dim", "    remedy")
                )

    def _evidence(self, key: str, each: Diagnosis) -> Iterator[Row]:
        yield from self.texts(f"{key}/text", shown(each.text), _INDENT, "plain")
        if each.source:
            yield from self._labelled(key, "source", each.source, "dim")

    def _labelled(self, key: str, label: str, text: str, role: str) -> Iterator[Row]:
        if text:
            yield from self.texts(f"{key}/{label}", shown(text), _INDENT, role, f"  {label}")

    def _pointing(self, each: Diagnosis, rows: Iterator[Row] | Sequence[Row]) -> Iterator[Row]:
        """The rows, each with a pointer to this failure."""
        here = PointedRow(each.engine, each.text, each.where_file, each.where_line)
        for row in rows:
            self._of_row.setdefault(row.key, here)
            yield row

    def _next(self, engine: str, actions: Sequence[tuple[str, str]], file: str = "") -> list[Line]:
        """The keys that help with a failure; without the focus only the first one, after the key of this pane."""
        if self.moment is None or engine not in self.moment.snapshot.engines:
            return []
        edits = [("edit", "opens the file")] if file else []
        wanted = [*edits, *actions, ("go-there", "to the engine"), ("logs", "its log")]
        before = "" if self.has_focus else f"{self.keys.word(BY_ID['pane-diagnosis'])} "
        lines: list[Line] = [
            ((f"{before}{key}", "key"), (f" {words}", "plain"))
            for name, words in wanted
            if (key := self.keys.word(BY_ID[name]))
        ]
        return lines if self.has_focus else lines[:1]


def _lines(key: str, label: str, lines: Sequence[Line]) -> list[Row]:
    return [
        Row(f"{key}/{label}/{at}", ((f"  {'' if at else label}".ljust(_INDENT), "dim"), *line))
        for at, line in enumerate(lines)
    ]


def _packed(parts: Sequence[Line], cells: int) -> list[Line]:
    """The parts side by side, in as few lines as possible."""
    lines: list[Line] = []
    for part in parts:
        if lines and length(lines[-1]) + 2 + length(part) <= cells:
            lines[-1] = (*lines[-1], ("  ", ""), *part)
        else:
            lines.append(part)
    return lines


def _unexplained(snapshot: ClusterSnapshot) -> list[tuple[EngineSnapshot, ...]]:
    """Engines that need attention, without a known failure and not because of another engine; equal ones together."""
    known = {each.engine for each in snapshot.diagnoses if each.severity != "advice"}
    broken = {snapshot.engines[name].group for name in known if name in snapshot.engines} - {""}
    found: dict[tuple[object, ...], list[EngineSnapshot]] = {}
    for each in snapshot.engines.values():
        led = each.after or (each.group in broken and each.state is EngineState.DEGRADED)
        if (each.bad or each.held_up) and each.id not in known and not led:
            found.setdefault((each.group, each.state, each.cause, each.held_up), []).append(each)
    return [tuple(same) for same in found.values()]


def _actions(each: Diagnosis, snapshot: ClusterSnapshot) -> list[tuple[str, str]]:
    """The action of the console that helps with a failure, and its text; empty when there is none."""
    engine = snapshot.engines.get(each.engine)
    if snapshot.read_only or engine is None:
        return []
    if each.signature == _DEAD_BEHIND_PROXY:
        return [("sync-proxy", "removes it from the proxy")]
    if engine.state is EngineState.STUCK:
        return [("kill", f"kills the remaining processes of {shown(engine.id)}")]
    if engine.state in _ENDED or "restart" in each.remedy.casefold():
        return [_restart(engine, snapshot, each.remedy)]
    return []


def _restart(engine: EngineSnapshot, snapshot: ClusterSnapshot, remedy: str) -> tuple[str, str]:
    peers = [name for name, other in snapshot.engines.items() if engine.group and other.group == engine.group]
    name = f"{shown(engine.group)} ({engine_words(peers)})" if len(peers) > 1 else shown(engine.id)
    # The same settings fail again, so a restart comes after the remedy, unless it is the remedy.
    then = "" if not remedy or "restart" in remedy.casefold() else "then "
    return "restart", f"{then}restarts {name}"


def _clock(each: Diagnosis) -> str:
    return ("" if each.exact else "~") + time.strftime("%H:%M:%S", time.localtime(each.at))


def _words(each: Diagnosis) -> str:
    return f"{each.signature} {each.title} {each.engine} {each.text} {each.remedy}"
