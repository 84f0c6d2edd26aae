"""The health pane: the state of all engines of the deployment, the worst first, and the health checks of each."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from console.model.counting import counted
from console.model.deployment import whole_engine
from console.model.durations import about
from console.model.name_ranges import name_ranges
from console.model.restart import RestartState
from console.model.role import BESIDE_ENGINES
from console.model.snapshot import ClusterSnapshot, EngineSnapshot, EngineState, Grade
from screens.charts import bar
from screens.grid.rows import age_words
from screens.pane_moment import PaneMoment
from screens.panes.base import PointedRow
from screens.panes.folding import FoldingPane
from screens.panes.link_rows import link_rows
from screens.short_names import names_in
from screens.styled_lines import Line, Pen, Row, Span, fit, join, length, shown, width
from screens.themes import GRADES, Sign, sign_of, signs_of

_RESTART_ROLES = {
    RestartState.HELD: "warn",
    RestartState.WAITING: "warn",
    RestartState.RESTARTING: "busy",
    RestartState.GAVE_UP: "fail",
}
_VERDICTS = {EngineState.STARTING: "starting", EngineState.LAUNCHING: "being launched"}
_STARTS = (EngineState.STARTING, EngineState.LAUNCHING)
_STATE_CELLS = 15
_MOST_NAME_CELLS = 30
_INDENT = 4


@dataclass(frozen=True, slots=True)
class AlikeEngines:
    """Engines of one group that are in the same state for the same reason."""

    engines: tuple[EngineSnapshot, ...]
    reason: str
    """The reason for their state; empty when the state needs none."""

    @property
    def first(self) -> EngineSnapshot:
        """The engine that represents all."""
        return self.engines[0]

    @property
    def sign(self) -> Sign:
        """The sign of their state."""
        return sign_of(self.first)

    @property
    def names(self) -> tuple[str, ...]:
        """Their ids."""
        return tuple(each.id for each in self.engines)


def alike(engines: Iterable[EngineSnapshot], now: float) -> list[AlikeEngines]:
    """Equal engines together, the worst state first, otherwise in the order of `engines`."""
    found: dict[object, list[EngineSnapshot]] = {}
    reasons: dict[object, str] = {}
    for each in engines:
        # The reason of each engine names the engine that failed first, with a time that differs between them.
        reason = each.why(now).partition(f"; {each.after} on ")[0] if each.after else each.why(now)
        checks = tuple((check.name, check.grade) for check in each.health) if not reason else ()
        key = (each.group, sign_of(each).word, reason, checks)
        found.setdefault(key, []).append(each)
        reasons[key] = reason
    made = [AlikeEngines(tuple(members), reasons[key]) for key, members in found.items()]
    return sorted(made, key=lambda one: EngineState.STARTING.rank if one.first.connecting else one.first.state.rank)


class HealthPane(FoldingPane):
    """A verdict, then a row for equal engines; the engine selected in the grid comes first and is unfolded."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._selected = ""
        """The engine that is selected in the grid; empty unless it is exactly one."""
        self._about: dict[str, PointedRow] = {}

    @property
    def pointed(self) -> PointedRow | None:
        """The engines of the row under the cursor."""
        return self._about.get(self.current.key) if self.current else None

    def draw_moment(self, moment: PaneMoment) -> None:
        """All engines of the deployment, or those that match the filter."""
        self.empty = "no engine yet; press a to assign nodes to a group"
        if self.needle:
            self.empty = f"no engine contains {shown(self.needle)!r}; esc removes the filter"
        needle = self.needle.casefold()
        engines = [
            each
            for each in moment.snapshot.engines.values()
            if needle in f"{each.id} {each.state} {each.cause} {each.node}".casefold()
        ]
        self._select(moment.engines[0].id if len(moment.engines) == 1 else "")
        self.folds.begin()
        self._about = {}
        rows = [*self._link(moment)]
        if engines:
            rows += self._of_groups(moment.snapshot, urgent=True)
            rows += self._folds(engines, moment.snapshot.at)
            rows += self._of_groups(moment.snapshot, urgent=False)
        self.show(rows, self._verdict(engines, moment.snapshot) if engines else ())

    def title(self) -> Line:
        """Whose health it is."""
        if self.moment is None:
            return (("Health", "bold"),)
        snapshot = self.moment.snapshot
        whose = f" of {shown(snapshot.deployment)}" if snapshot.deployment else ""
        return (("Health", "bold"), (f"  {counted(len(snapshot.engines), 'engine')}{whose}", "dim"))

    def _select(self, engine: str) -> None:
        if engine != self._selected:
            self.folds.unfolded.discard(f"engine/{self._selected}")
            self.folds.unfolded.add(f"engine/{engine}")
            self._selected = engine

    def _verdict(self, engines: Sequence[EngineSnapshot], snapshot: ClusterSnapshot) -> Line:
        """How many engines need attention, else their progress; then the counts by state."""
        bad = sum(each.bad for each in engines)
        counts = signs_of(engines)
        sign, state, most = counts[0]
        every = counted(len(engines), "engine")
        several = f"all {every} are" if len(engines) > 1 else f"{every} is"
        if bad:
            words = f"{bad} of {len(engines)} {'needs' if bad == 1 else 'need'} attention"
        else:
            words = f"{several if len(counts) == 1 else f'{most} of {every} are'} {_VERDICTS.get(state, sign.word)}"
        left = max((each.left_s for each in snapshot.start_progress.values() if each.left_s), default=None)
        if left and not bad:
            words += f", ready in about {about(left)}"
        line: Line = ((f"{self.pen.sign(sign)} {words}", f"bold {sign.role}"),)
        gap = "   "
        for each, _, count in counts if len(counts) > 1 else ():
            part: Line = ((gap, ""), (f"{self.pen.sign(each)} {count} {each.word}", each.role))
            if length((*line, *part)) > self.cells:
                break
            line, gap = (*line, *part), "  "
        return line

    def _link(self, moment: PaneMoment) -> Iterator[Row]:
        """The full reason why the node of the selected row is not connected."""
        name = moment.engines[0].node if len(moment.engines) == 1 else moment.target.node
        if (node := moment.snapshot.nodes.get(name or "")) is not None:
            yield from link_rows(node, self.size.width)

    def _folds(self, engines: Sequence[EngineSnapshot], now: float) -> Iterator[Row]:
        selected = [each for each in engines if each.id == self._selected]
        folds = [*alike(selected, now), *alike((each for each in engines if each.id != self._selected), now)]
        most = min(_MOST_NAME_CELLS, max(12, self.size.width // 3))
        cells = 2 + max(width(names_in(each.names, most)) for each in folds)
        for fold in folds:
            yield from self._fold(fold, cells, now)

    def _fold(self, fold: AlikeEngines, cells: int, now: float, indent: int = 0) -> Iterator[Row]:
        """The row of equal engines with their full reason; it unfolds to a row for each, or to the checks of a single one."""
        first, sign = fold.first, fold.sign
        one = len(fold.engines) == 1
        key = f"engine/{first.id}" if one else f"fold/{first.group}/{sign.word}/{fold.reason}"
        count = "" if one else f"{len(fold.engines)} "
        head: Line = (
            (" " * indent + fit(names_in(fold.names, cells - indent), cells - indent), first.role),
            (fit(f"{self.pen.sign(sign)} {count}{sign.word}", _STATE_CELLS) + " ", sign.role),
        )
        tail = self._tail(fold)
        room = self.cells - 3 - length(head)
        reason = shown(fold.reason) if indent == 0 else ""
        beside = bool(reason) and width(reason) + (length(tail) + 2 if tail else 0) <= room
        line = (*head, *join((tail, ((reason, sign.role),) if beside else ()), ("  ", "")))
        below = self._checks(first, now) if one else self._members(fold, cells, now)
        rows = [*self.folded(key, line, below)]
        if reason and not beside:
            why = [*self.texts(f"{key}/why", reason, _INDENT, sign.role)]
            for row in why:
                self.folds.put_below(row.key, key)
            rows[1:1] = why
        here = PointedRow(first.id, first.cause, others=tuple(each.id for each in fold.engines[1:]))
        for row in rows:
            self._about.setdefault(row.key, here)
            yield row

    def _members(self, fold: AlikeEngines, cells: int, now: float) -> Iterator[Row]:
        for each in fold.engines:
            yield from self._fold(AlikeEngines((each,), fold.reason), cells, now, indent=2)

    def _tail(self, fold: AlikeEngines) -> Line:
        """The progress of their start, or the checks that do not pass; then their nodes."""
        first = fold.first
        where: Line = ((f"on {shown(name_ranges(each.node for each in fold.engines))}", "dim"),)
        if first.state is EngineState.STARTING:
            slowest = min(fold.engines, key=lambda each: -1.0 if each.progress is None else each.progress)
            share = "" if slowest.progress is None else f"{slowest.progress:.0%} "
            return join(
                (((f"{share}{shown(slowest.phase)} {shown(slowest.progress_text)}".rstrip(), "busy"),), where),
                ("  ", ""),
            )
        if fold.reason or not first.health:
            return where
        passed = sum(check.grade is Grade.OK for check in first.health)
        others: list[Span] = [
            (f"{self.pen.sign(GRADES[check.grade])} {shown(check.name)}  ", GRADES[check.grade].role)
            for check in first.health
            if check.grade is not Grade.OK
        ]
        return join(((*others, (f"{passed} pass" if others else f"{passed} checks pass", "dim")), where), ("  ", ""))

    def _of_groups(self, snapshot: ClusterSnapshot, *, urgent: bool) -> Iterator[Row]:
        """The facts about whole groups: those that need attention now, or the others."""
        for group in dict.fromkeys(each.group for each in snapshot.engines.values()):
            if urgent and (pace := snapshot.start_progress.get(group)) is not None:
                words = f"{group}: {about(pace.elapsed_s)} so far, {pace.words()}"
                yield from self._labelled(f"start/{group}", "start", words, "busy")
            if (skew := snapshot.skews.get(group)) is not None and skew.late is urgent:
                yield from self._labelled(f"skew/{group}", "skew", skew.words(), "fail" if skew.late else "dim")
            restart = snapshot.restarts.get(group)
            if restart is not None and (restart.state in _RESTART_ROLES) is urgent:
                words = f"{group}: {restart.words(snapshot.at)}"
                yield from self._labelled(
                    f"restart/{group}", "restarts", words, _RESTART_ROLES.get(restart.state, "dim")
                )

    def _labelled(self, key: str, label: str, words: str, role: str) -> Iterator[Row]:
        """A fact with its label; it may take several lines."""
        return self.texts(key, shown(words), 13, role, f"  {label}")

    def _checks(self, engine: EngineSnapshot, now: float) -> Iterator[Row]:
        """Each health check of one engine with what was seen, then the facts of its run."""
        cells = max(20, self.cells - 1)
        key = f"engine/{engine.id}"
        if words := _run_words(engine):
            yield Row(f"{key}/run", ((f"    {words}", "dim"),))
        if engine.state in _STARTS:
            yield Row(f"{key}/progress", _progress(engine, cells, self.pen))
        for check in engine.health:
            grade = GRADES[check.grade]
            late = check.at is not None and now - check.at > 20
            seen = f"  ({age_words(max(0.0, now - (check.at or 0.0)))} ago)" if late else ""
            label = f"    {self.pen.sign(grade)} {fit(shown(check.name), 9)}{fit(grade.word, 10)}"
            yield from self.texts(
                f"{key}/check/{check.name}", shown(check.evidence) + seen, 25, "plain", label, grade.role
            )
        if engine.stuck_pids:
            pids = ", ".join(str(pid) for pid in engine.stuck_pids)
            yield Row(f"{key}/stuck", ((f"    processes left: {pids}", "fail"),))
        for name, words in _facts(engine):
            yield Row(f"{key}/fact/{name}", ((f"    {fit(name, 11)}", "dim"), (words, "plain")))


def _run_words(engine: EngineSnapshot) -> str:
    words = []
    if engine.run:
        words.append(f"run {shown(engine.run)}")
    if engine.pid:
        words.append(f"pid {engine.pid}")
    if engine.exit:
        words.append(f"exit {engine.exit}")
    if engine.age_s is not None and engine.age_s > 20:
        words.append(f"reported {age_words(engine.age_s)} ago")
    return "  ".join(words)


def _progress(engine: EngineSnapshot, cells: int, pen: Pen) -> Line:
    words = f" {shown(engine.phase)} {shown(engine.progress_text)}"
    if engine.progress is None:
        return ((f"    progress unknown{words}", "busy"),)
    fill = bar(engine.progress, min(30, cells - 10), pen, role="busy")
    return (("    ", ""), *fill, (f" {engine.progress:4.0%}", "busy"), (words, "plain"))


def _facts(engine: EngineSnapshot) -> list[tuple[str, str]]:
    rank = f", data-parallel rank {engine.dp_rank}" if engine.role not in BESIDE_ENGINES else ""
    facts = [("node", shown(engine.node)), ("role", f"{engine.role}, group {shown(engine.group)}{rank}")]
    if engine.part:
        facts.append(("part", f"{engine.part} of {shown(whole_engine(engine.id))}, which serves for it"))
    facts.append(("devices", ", ".join(str(each) for each in engine.devices) or "none"))
    facts.append(("port", "headless: no HTTP" if engine.headless else str(engine.port or "none")))
    if engine.started_at is not None:
        facts.append(("started", time.strftime("%m-%d %H:%M:%S %Z", time.localtime(engine.started_at))))
    if engine.log_bytes is not None:
        facts.append(
            ("log", f"{engine.log_copied} of {max(engine.log_bytes, engine.log_copied)} bytes copied to this machine")
        )
    return facts
