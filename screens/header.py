"""The top line of the main screen: cluster, mode, whether the deployment serves, counts, and what is held still."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from console.model.service import ServiceState
from console.model.state import LinkState
from screens.actions import BY_ID
from screens.bars import Bar
from screens.key_map import Keys
from screens.styled_lines import Line, Span, fit, length, shown
from screens.themes import signs_of

if TYPE_CHECKING:
    from console.model.snapshot import ClusterSnapshot


SERVICES: Mapping[ServiceState, str] = {
    ServiceState.UP: "ok",
    ServiceState.PART: "warn",
    ServiceState.UNPROVEN: "warn",
    ServiceState.DOWN: "fail",
    ServiceState.UNKNOWN: "stale",
}
WIDE = 100
"""Cells from which the door of a deployment may stand in the header."""
LEAST_ALERT = 12
"""Cells below which an alert in the header would say nothing."""


class Header(Bar):
    """Cluster, mode, counts by state, links, what is held still: what an operator must always see."""

    def say(self, words: str) -> None:
        """Say what is being done before there is a picture."""
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
        parts: list[Line] = [((f" CONSOLE FAULT: {shown(each)} ", "fail"),) for each in snapshot.faults]
        if frozen_at is not None:
            parts.append(((f" FROZEN {time.strftime('%H:%M:%S', time.localtime(frozen_at))} ", "readonly"),))
        if running:
            parts.append(((f" {running} ", "busy"),))
        elif who := snapshot.holder or (snapshot.cut_off.brief() if snapshot.cut_off else ""):
            parts.append(((f" {shown(who)} ", "warn"),))
        restarts = [words for each in snapshot.restarts.values() if (words := each.brief(snapshot.at))]
        parts.extend(((f" {shown(words)} ", "warn"),) for words in restarts)
        if snapshot.tasks:
            names = ", ".join(dict.fromkeys(task.name for task in snapshot.tasks))
            parts.append(((f" {shown(names)} ", "busy"),))
        if only:
            parts.append(((f" {only}", "key"),))
        if marks:
            parts.append(((f" {marks} marked", "key"),))
        if elsewhere:
            parts.append(((f" {elsewhere} bad elsewhere (!)", "fail"),))
        parts.append(self._counts(snapshot))
        up = sum(1 for node in snapshot.nodes.values() if node.link.state is LinkState.UP)
        total = len(snapshot.nodes)
        parts.append(((f"links {up}/{total}", "ok" if up == total else "stale"),))
        if problems:
            parts.append(((f"{problems} finding{'s' if problems != 1 else ''} (7)", "warn"),))
        line = self._fitted(_heads(snapshot, mode), snapshot, parts, keys)
        left = self.size.width - length(line) - 1
        holding = [each for each in snapshot.alerts if not each.calm]
        if holding and left >= LEAST_ALERT:
            first, more = holding[0], len(holding) - 1
            words = shown(first.title) + (f" +{more}" if more else "")
            role = "fail" if first.level == "error" else "warn"
            line = (*line, (fit(words, min(left, length(((words, ""),)))), role))
        self.write(line)

    def _fitted(self, heads: Sequence[Line], snapshot: ClusterSnapshot, parts: Sequence[Line], keys: Keys) -> Line:
        """The parts that fit, behind whether the deployment serves; where that costs no other part, its door too.

        A verdict that wants something done names the key that leads on: to the proof, or to the causes. Its word is the last
        thing that goes: the names in front of it, of which `heads` are ever shorter ones, go before.
        """
        service, cells = snapshot.service, self.size.width
        if service is None:
            return _joined((heads[0], *parts), cells)
        room = cells - (LEAST_ALERT + 1 if any(not each.calm for each in snapshot.alerts) else 0)
        action, words = _leads_on(snapshot)
        key = keys.word(BY_ID[action]) if action else ""
        more: Line = ((f" ({key}: {words})", "key"),) if key else ()
        role = f"bold {SERVICES[service.state]}"
        if cells >= WIDE:
            every: Sequence[Line] = (heads[0], ((shown(service.words()), role), *more), *parts)
            if sum(length(part) + 1 for part in every) <= room:
                return _joined(every, cells)
        brief, word = shown(service.brief()), str(service.state)
        verdicts: list[Line] = [((brief, role), *more), ((brief, role),), ((word, role), *more), ((word, role),)]
        fitting = (
            (head, verdict) for head in heads for verdict in verdicts if length(head) + 1 + length(verdict) < cells
        )
        return _joined((*next(fitting, ((), verdicts[-1])), *parts), cells)

    def _counts(self, snapshot: ClusterSnapshot) -> Line:
        counts = signs_of(snapshot.engines.values())
        return tuple((f" {self.pen.sign(sign)} {count} {sign.word}", sign.role) for sign, _, count in counts)


def _deployed(snapshot: ClusterSnapshot) -> str:
    return shown(snapshot.deployment) or "no layout (:layout)"


def _heads(snapshot: ClusterSnapshot, mode: Span) -> list[Line]:
    """What stands first, ever shorter."""
    cluster: Span = (f" {shown(snapshot.cluster)}", "title")
    return [(cluster, (f" {_deployed(snapshot)} ", "dim"), mode), (cluster, (" ", ""), mode), (mode,), ()]


def _leads_on(snapshot: ClusterSnapshot) -> tuple[str, str]:
    """The action that shows what is behind the verdict, or proves it, and its word; empty where none does."""
    state = snapshot.service.state if snapshot.service else None
    if state is ServiceState.UNPROVEN:
        return "pane-verify", "prove"
    known = state in (ServiceState.DOWN, ServiceState.PART) and snapshot.diagnoses
    return ("pane-diagnosis", "why") if known else ("", "")


def _joined(parts: Sequence[Line], cells: int) -> Line:
    spans: list[Span] = []
    for part in parts:
        if length(tuple(spans)) + length(part) + 1 <= cells:
            spans.extend(part)
            spans.append((" ", ""))
    return tuple(spans)
