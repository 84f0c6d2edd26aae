"""The health pane: for each engine the health checks, from the link to a real answer, with what was seen."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from console.model.deployment import whole_engine
from console.model.durations import about
from console.model.restart import RestartState
from console.model.role import BESIDE_ENGINES
from console.model.snapshot import EngineSnapshot, EngineState
from screens.charts import bar
from screens.grid.rows import age_words
from screens.panes.base import Pane, PaneMoment
from screens.panes.link_rows import link_rows
from screens.styled_lines import Line, Pen, Row, Span, fit, shown, wrap
from screens.themes import GRADES, STATES, sign_of

NAMED = 3
"""How many engines are named that share a reason."""
_STANDINGS = {
    RestartState.HELD: "warn",
    RestartState.WAITING: "warn",
    RestartState.RESTARTING: "busy",
    RestartState.GAVE_UP: "fail",
}


class HealthPane(Pane):
    """One engine: every health check on a line. Several: one line each, then the causes."""

    def draw_moment(self, moment: PaneMoment) -> None:
        """The ladder of the target."""
        engines = moment.engines
        self.empty = "no engine here; assign the node to a group with a"
        if self.needle:
            engines = tuple(
                each for each in engines if self.needle.casefold() in f"{each.id} {each.state} {each.cause}".casefold()
            )
        if len(engines) == 1:
            rows = self._one(engines[0], moment.snapshot.at)
            calm = not moment.snapshot.paces and all(
                each.state is RestartState.WATCHING for each in moment.snapshot.restarts.values()
            )
            at = next((n for n, row in enumerate(rows) if row.key.startswith("fact/" if calm else "rung/")), len(rows))
            self.show([*self._link(moment), *rows[:at], *self._of_groups(moment, engines), *rows[at:]])
            return
        rows = [Row(f"engine/{engine.id}", self._short(engine)) for engine in engines]
        self.show(
            [*self._link(moment), *rows, *self._causes(engines, moment.snapshot.at), *self._of_groups(moment, engines)]
        )

    def _link(self, moment: PaneMoment) -> Iterator[Row]:
        """Why the node under the cursor, or that of the engine there, is not connected, in full."""
        name = moment.engines[0].node if len(moment.engines) == 1 else moment.target.node
        if (node := moment.snapshot.nodes.get(name or "")) is not None:
            yield from link_rows(node, self.size.width)

    def _causes(self, engines: Sequence[EngineSnapshot], now: float) -> Iterator[Row]:
        """What explains their states, each reason once with whom it is true of."""
        reasons: dict[tuple[str, str], list[EngineSnapshot]] = {}
        for engine in engines:
            if why := engine.why(now):
                own = why.partition(f"; {engine.after} on ")[0] if engine.after else why
                reasons.setdefault((engine.group, own), []).append(engine)
        for (_, why), members in reasons.items():
            names = ", ".join(each.id for each in members[:NAMED])
            more = f" +{len(members) - NAMED} more" if len(members) > NAMED else ""
            words = shown(f"{names}{more}: {why}")
            for number, text in enumerate(wrap(words, max(20, self.size.width - 5))):
                line = ((f"    {text}", STATES[members[0].state].role),)
                yield Row(f"cause/{members[0].id}/{number}", line)

    def _of_groups(self, moment: PaneMoment, engines: Sequence[EngineSnapshot]) -> list[Row]:
        """What is true of the groups of these engines as a whole."""
        now, rows = moment.snapshot.at, list[Row]()
        for group in dict.fromkeys(engine.group for engine in engines):
            if (pace := moment.snapshot.paces.get(group)) is not None:
                words = f"{group}: {about(pace.elapsed_s)} so far, {pace.words()}"
                rows += self._labelled(f"start/{group}", "start", words, "busy")
            if (skew := moment.snapshot.skews.get(group)) is not None:
                rows += self._labelled(f"skew/{group}", "skew", skew.words(), "fail" if skew.late else "plain")
            if (restart := moment.snapshot.restarts.get(group)) is not None:
                role = _STANDINGS.get(restart.state, "plain")
                rows += self._labelled(f"restart/{group}", "restarts", f"{group}: {restart.words(now)}", role)
        return rows

    def _labelled(self, key: str, label: str, words: str, role: str) -> Iterator[Row]:
        """A fact whose words may take several lines."""
        for at, text in enumerate(wrap(shown(words), max(20, self.size.width - 15))):
            yield Row(f"{key}/{at}", ((f"  {fit('' if at else label, 11)}", "dim"), (text, role)))

    def title(self) -> Line:
        """Whose health it is."""
        engines = self.moment.engines if self.moment else ()
        if len(engines) == 1:
            return ((f"Health of {shown(engines[0].id)}", "bold"), (f" on {shown(engines[0].node)}", "dim"))
        return (("Health", "bold"), (f"  {len(engines)} engines", "dim"))

    def _short(self, engine: EngineSnapshot) -> Line:
        sign = sign_of(engine)
        spans: list[Span] = [
            (fit(shown(engine.id), 13) + " ", engine.role),
            (fit(f"{self.pen.sign(sign)} {sign.word}", 11) + " ", sign.role),
        ]
        rungs = [(GRADES[rung.grade], shown(rung.name)) for rung in engine.health]
        narrow = 26 + sum(len(name) + 4 for _, name in rungs) > self.size.width
        for grade, name in rungs:
            words = f"{name[:3]} " if narrow else f"{name}  "
            spans.append((f"{self.pen.sign(grade)} {words}", grade.role))
        if engine.state is EngineState.STARTING:
            share = "" if engine.progress is None else f"{engine.progress:.0%} "
            spans.append((f"{share}{shown(engine.phase)} {shown(engine.progress_text)}", "busy"))
        return tuple(spans)

    def _one(self, engine: EngineSnapshot, now: float) -> list[Row]:
        sign = sign_of(engine)
        cells = max(20, self.size.width - 1)
        rows = [Row("state", ((f"{self.pen.sign(sign)} {sign.word}", sign.role), (f"   {_run_words(engine)}", "dim")))]
        why = shown(engine.why(now))
        for number, text in enumerate(wrap(why, cells) if why else []):
            rows.append(Row(f"cause/{number}", ((text, sign.role),)))
        if engine.state in (EngineState.STARTING, EngineState.LAUNCHING):
            rows.append(Row("progress", _progress(engine, cells, self.pen)))
        for rung in engine.health:
            grade = GRADES[rung.grade]
            seen = f"  ({age_words(max(0.0, now - rung.at))} ago)" if rung.at is not None and now - rung.at > 20 else ""
            head: list[Span] = [
                (f"  {self.pen.sign(grade)} {fit(shown(rung.name), 9)}", grade.role),
                (fit(grade.word, 10), grade.role),
            ]
            for part, text in enumerate(wrap(shown(rung.evidence) + seen, max(10, cells - 22)) or [""]):
                rows.append(Row(f"rung/{rung.name}/{part}", (*head, (text, "plain"))))
                head = [(" " * 22, "")]
        if engine.stuck_pids:
            pids = ", ".join(str(pid) for pid in engine.stuck_pids)
            rows.append(Row("stuck", ((f"processes left: {pids}", "fail"),)))
        for key, words in _facts(engine):
            rows.append(Row(f"fact/{key}", ((f"  {fit(key, 11)}", "dim"), (words, "plain"))))
        return rows


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
        return ((f"  progress unknown{words}", "busy"),)
    fill = bar(engine.progress, min(30, cells - 10), pen, role="busy")
    return (("  ", ""), *fill, (f" {engine.progress:4.0%}", "busy"), (words, "plain"))


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
            ("log", f"{engine.log_copied} of {max(engine.log_bytes, engine.log_copied)} bytes are copied here")
        )
    return facts
