"""The top of the main screen: whether the deployment serves and why not, what needs attention, and how busy it is.

Two lines, one where the terminal has few rows. Nothing is said twice, and what is not known is left out.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from console.model.counting import counted
from console.model.service import ServiceState
from console.model.state import EngineState, LinkState
from screens.actions import BY_ID
from screens.bars import Bar
from screens.header_figures import engine_counts, load_parts, start_part
from screens.key_map import Keys
from screens.styled_lines import Line, Span, brief, join, length, shown, width

if TYPE_CHECKING:
    from console.model.alert import Alert
    from console.model.snapshot import ClusterSnapshot


SERVICES: Mapping[ServiceState, str] = {
    ServiceState.UP: "ok",
    ServiceState.PART: "warn",
    ServiceState.UNPROVEN: "warn",
    ServiceState.DOWN: "fail",
    ServiceState.UNKNOWN: "stale",
}
_SIGNS: Mapping[ServiceState, tuple[str, str]] = {
    ServiceState.UP: ("✓", "+"),
    ServiceState.PART: ("!", "!"),
    ServiceState.UNPROVEN: ("?", "?"),
    ServiceState.DOWN: ("✗", "X"),
    ServiceState.UNKNOWN: ("?", "?"),
}
LEAST_ALERT = 12
"""Cells below which a reason in the header would say nothing."""
MOST_ALERT = 56
"""Cells that names and counts leave to a reason in the one line of a short screen; a longer one is cut."""
GAP: Span = ("  ", "")
WIDE_GAP: Span = ("   ", "")
_AT_REST = (EngineState.IDLE, EngineState.EXITED)


class Header(Bar):
    """What an operator must always see."""

    DEFAULT_CSS = "Header { height: 2; }"

    def say(self, words: str) -> None:
        """Say what the console does before it has a snapshot."""
        self.write(((" dsv4-console", "title"), (f"  {shown(words)}", "dim")))

    def draw(
        self,
        snapshot: ClusterSnapshot,
        *,
        marks: int,
        frozen_at: float | None,
        running: str,
        problems: int,
        keys: Keys,
        elsewhere: int = 0,
        replay: str = "",
        only: str = "",
    ) -> None:
        """Draw the moment; the least important parts go when room is short. `only` says which rows the grid shows."""
        safe = f" {replay or 'RO'} "
        mode: Span = (safe, "readonly") if replay or snapshot.read_only else (" RW ", "readwrite")
        notices: list[Line] = [((f" CONSOLE FAULT: {shown(each)} ", "fail"),) for each in snapshot.faults]
        if frozen_at is not None:
            notices.append(((f" FROZEN {time.strftime('%H:%M:%S', time.localtime(frozen_at))} ", "readonly"),))
        notices += _at_work(snapshot, running)
        chosen = [only, f"{marks} marked" if marks else ""]
        notices += [((words, "key"),) for words in chosen if words]
        if elsewhere:
            notices.append(((f"{elsewhere} bad elsewhere (!)", "fail"),))
        findings: Line = ((f"{counted(problems, 'finding')} (7)", "warn"),) if problems else ()
        at = snapshot.at if replay or frozen_at is not None else time.time()
        clock: Line = ((time.strftime("%H:%M", time.localtime(at)), "dim"),)
        if self.size.height > 1:
            lead = self._lead(snapshot, mode, keys, self.size.width)
            self.paint([(line, ()) for line in self._two(snapshot, lead, notices, findings, clock)])
        else:
            reason = min(MOST_ALERT, width(_reason(snapshot)[0]))
            lead = self._lead(snapshot, mode, keys, self.size.width - reason)
            self.write(self._one(snapshot, lead, notices, findings, clock, reason))

    def _two(
        self, snapshot: ClusterSnapshot, lead: Line, notices: Sequence[Line], findings: Line, clock: Line
    ) -> tuple[Line, Line]:
        """Verdict and notices above, counts, cause and figures below; a notice that finds no room above goes below."""
        cells = self.size.width - 1
        right = join((_links(snapshot), clock), GAP)
        above, left = _placed(lead, [*notices, _endpoint(snapshot)], cells - length(right) - 2, GAP)
        left = [each for each in left if each != _endpoint(snapshot)]
        cells -= 1
        counts, _ = engine_counts(snapshot, self.pen)
        below, _ = _placed((), [counts, *left, findings, start_part(snapshot, self.pen)], cells, GAP)
        below = _with_cause(below, snapshot, cells)
        for figures in load_parts(snapshot, self.pen):
            full, missing = _placed(below, figures, cells, GAP)
            if not missing:
                full = join((below, *figures), WIDE_GAP)
                full = full if length(full) <= cells else join((below, *figures), GAP)
                break
        return _apart(above, right, cells + 1), ((" ", ""), *full)

    def _one(
        self,
        snapshot: ClusterSnapshot,
        lead: Line,
        notices: Sequence[Line],
        findings: Line,
        clock: Line,
        reason: int,
    ) -> Line:
        """Everything in one line: verdict, notices, cause in so many cells, and what of counts and figures finds room."""
        cells = self.size.width - 1
        spare = reason + len(GAP[0]) if reason else 0
        line, _ = _placed(lead, notices, cells - min(spare, LEAST_ALERT + len(GAP[0])), GAP)
        for counts in engine_counts(snapshot, self.pen):
            line, missing = _placed(line, [counts], cells - spare, GAP)
            if not missing:
                break
        line, _ = _placed(line, [start_part(snapshot, self.pen), _links(snapshot), findings], cells - spare, GAP)
        line = _with_cause(line, snapshot, cells)
        line, _ = _placed(line, load_parts(snapshot, self.pen)[-1], cells, GAP)
        return _apart(line, clock, cells) if length(line) + length(clock) + len(GAP[0]) <= cells else line

    def _lead(self, snapshot: ClusterSnapshot, mode: Span, keys: Keys, cells: int) -> Line:
        """Names, mode and verdict. When there is too little room, names are dropped first; key and reason of the verdict are
        dropped only when the whole line is too short for them.

        A verdict that wants something done names the key that leads on: to the proof, or to the cause.
        """
        heads = _heads(snapshot, mode)
        service = snapshot.service
        if service is None:
            rest, key = _at_rest(snapshot)
            hint = keys.word(BY_ID[key]) if key and not snapshot.read_only else ""
            return join(
                (heads[0], ((rest, "dim"),), ((f"({hint}: {BY_ID[key].label.lower()})", "key"),) if hint else ())
            )
        action, words = _leads_on(snapshot)
        key = keys.word(BY_ID[action]) if action else ""
        more: Line = ((f" ({key}: {words})", "key"),) if key else ()
        role, glyphs = _verdict_look(snapshot)
        sign = glyphs[1] if self.pen.ascii else glyphs[0]
        said, word = f"{sign} {shown(service.brief())}", f"{sign} {service.state}"
        verdicts: list[Line] = [((said, role), *more), ((said, role),), ((word, role), *more), ((word, role),)]
        whole, short = verdicts[:1], heads[-2:-1]
        least = self.size.width - LEAST_ALERT if cells < self.size.width else cells
        forms = ((cells, heads[:-1], whole), (least, short, whole), (self.size.width, heads, verdicts))
        for room, some, chosen in forms:
            for head in some:
                for verdict in chosen:
                    if length(head) + 1 + length(verdict) < room:
                        return join((head, verdict))
        return verdicts[-1]


def _at_work(snapshot: ClusterSnapshot, running: str) -> list[Line]:
    """Who or what is at work on engines, here or elsewhere."""
    parts: list[Line] = []
    if running:
        parts.append(((running, "busy"),))
    elif who := snapshot.holder or (snapshot.interrupted_plan.brief() if snapshot.interrupted_plan else ""):
        parts.append(((shown(who), "warn"),))
    restarts = [words for each in snapshot.restarts.values() if (words := each.brief(snapshot.at))]
    parts.extend(((shown(words), "warn"),) for words in restarts)
    if snapshot.tasks:
        parts.append(((shown(", ".join(dict.fromkeys(task.name for task in snapshot.tasks))), "busy"),))
    return parts


def _at_rest(snapshot: ClusterSnapshot) -> tuple[str, str]:
    """What there is instead of a verdict, and the action that leads on."""
    if not snapshot.deployment:
        return "", ""
    if not snapshot.engines:
        return "no node has a role", "assign"
    rests = all(each.state in _AT_REST for each in snapshot.engines.values())
    return ("not started", "start") if rests else ("", "")


def _verdict_look(snapshot: ClusterSnapshot) -> tuple[str, tuple[str, str]]:
    """The role and the glyphs of the verdict; a deployment that only starts is not drawn as broken."""
    assert snapshot.service is not None
    state = snapshot.service.state
    engines = snapshot.engines.values()
    starts = any(each.state in (EngineState.STARTING, EngineState.LAUNCHING) for each in engines)
    if state is ServiceState.DOWN and starts and not any(each.bad for each in engines):
        return "bold busy", ("↻", "/")
    return f"bold {SERVICES[state]}", _SIGNS[state]


def _endpoint(snapshot: ClusterSnapshot) -> Line:
    """Where requests go and which model they name, while there is something behind it."""
    service = snapshot.service
    if service is None or service.state in (ServiceState.DOWN, ServiceState.UNKNOWN):
        return ()
    model: Line = ((f"  {shown(service.model)}", "dim"),) if service.model else ()
    return ((shown(service.endpoint), "plain"), *model)


def _links(snapshot: ClusterSnapshot) -> Line:
    up = sum(1 for node in snapshot.nodes.values() if node.link.state is LinkState.UP)
    total = len(snapshot.nodes)
    return ((f"{up}/{total} nodes", "dim" if up == total else "bold warn"),)


def _cause(snapshot: ClusterSnapshot) -> tuple[Alert, int] | None:
    """The alert that says most of why something is wrong, and how many more there are; those that the counts tell are not."""
    holding = [each for each in snapshot.alerts if not each.calm]
    counted = [each for each in holding if each.key == "links" or each.key.startswith("group/")]
    others = [each for each in holding if each not in counted]
    first = next(iter(others or counted), None)
    return None if first is None else (first, max(0, len(others) - 1))


def _reason(snapshot: ClusterSnapshot) -> Span:
    """The cause in words, and how many more there are."""
    found = _cause(snapshot)
    if found is None:
        return "", ""
    alert, more = found
    words = alert.title
    if alert.key == "links":
        words = f"{', '.join(alert.subjects)}: {alert.text}" if alert.text else words
    elif alert.key.startswith("group/"):
        words = alert.text or words
    return shown(words) + (f" +{more}" if more else ""), "fail" if alert.level == "error" else "warn"


def _with_cause(line: Line, snapshot: ClusterSnapshot, cells: int) -> Line:
    """The line with the cause behind it, cut to what is left, where that is enough to say something."""
    words, role = _reason(snapshot)
    left = cells - length(line) - (len(GAP[0]) if line else 0)
    return join((line, ((brief(words, left), role),)), GAP) if words and left >= LEAST_ALERT else line


def _heads(snapshot: ClusterSnapshot, mode: Span) -> list[Line]:
    """What stands first, ever shorter."""
    cluster: Span = (f" {shown(snapshot.cluster)}", "title")
    deployed = shown(snapshot.deployment) or "no layout (:layout)"
    return [(cluster, (f" {deployed} ", "dim"), mode), (cluster, (" ", ""), mode), (mode,), ()]


def _leads_on(snapshot: ClusterSnapshot) -> tuple[str, str]:
    """The action that shows what is behind the verdict, or proves it, and its word; empty where none does."""
    state = snapshot.service.state if snapshot.service else None
    if state is ServiceState.UNPROVEN:
        return "pane-verify", "prove"
    if not snapshot.diagnoses or state in (None, ServiceState.UNKNOWN):
        return "", ""
    if state is ServiceState.UP:
        return ("pane-diagnosis", "cause") if _cause(snapshot) is not None else ("", "")
    return "pane-diagnosis", "why"


def _placed(line: Line, parts: Sequence[Line], cells: int, gap: Span) -> tuple[Line, list[Line]]:
    """The line with the parts behind it that fit, and those that do not."""
    missing: list[Line] = []
    for part in parts:
        longer = join((line, part), gap)
        if length(longer) <= cells:
            line = longer
        else:
            missing.append(part)
    return line, missing


def _apart(left: Line, right: Line, cells: int) -> Line:
    """The one at the left edge, the other at the right one."""
    return (*left, (" " * max(1, cells - length(left) - length(right)), ""), *right)
