"""The three single lines of the main screen: header, tabs, footer. Each repaints only when its text changes."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from console.model.service import ServiceState
from console.model.state import LinkState
from screens.actions import ACTIONS, BY_ID, FOOTERS, Action, Place
from screens.key_map import Keys
from screens.styled_lines import Line, Span, end_of, fit, join, length, shown, width
from screens.themes import signs_of
from screens.widgets import LineWidget

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


class Bar(LineWidget):
    """One line."""

    DEFAULT_CSS = "Bar { height: 1; width: 1fr; background: $surface; }"

    def write(self, line: Line) -> None:
        """Show this line."""
        self.paint([(line, ())])


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
        return "pane-13", "prove"
    known = state in (ServiceState.DOWN, ServiceState.PART) and snapshot.diagnoses
    return ("pane-10", "why") if known else ("", "")


def _joined(parts: Sequence[Line], cells: int) -> Line:
    spans: list[Span] = []
    for part in parts:
        if length(tuple(spans)) + length(part) + 1 <= cells:
            spans.extend(part)
            spans.append((" ", ""))
    return tuple(spans)


class Tabs(Bar):
    """Names of the panes with their digits, and at the right what the open pane says of itself."""

    def draw(
        self,
        names: Sequence[tuple[str, str, str]],
        current: str,
        title: Line,
        *,
        here: bool = False,
        more: str = "",
    ) -> None:
        """Draw the tabs; when room is short the others lose letters, then all of them, then the pane's words their beginning.

        `here` says that keys go to the open pane, `more` how many of its rows are not seen; it is a bare `+` and number where
        there is no room for its words.
        """
        if more:
            least = length(_tab_words(names, current, 0, here=here)) + length(title) + 2
            brief = f"+{more.split()[0]}" if least + width(more) >= self.size.width else more
            title = join((title, ((brief, "key"),)), ("  ", ""))
        for letters in LETTERS:
            spans = _tab_words(names, current, letters, here=here)
            if length(spans) + min(length(title), LEAST_TITLE) < self.size.width:
                break
        room = self.size.width - length(spans) - 1
        if room >= length(title):
            spans = (*spans, (" " * (room - length(title)), ""), *title)
        elif room > 8:
            spans = (*spans, (" ", ""), *end_of(title, room - 1))
        self.write(spans)


LETTERS = (99, 3, 0)
"""How many letters of a tab that is not open are shown, most first."""
LEAST_TITLE = 72
"""Cells of the pane's own words that are worth more than the letters of other tabs."""


def _tab_words(names: Sequence[tuple[str, str, str]], current: str, letters: int, *, here: bool) -> Line:
    """`names` are the pane's id, its word and its key."""
    spans: list[Span] = []
    role = "title cursor" if here else "title under"
    for name, words, key in names:
        spans.append((f" {key}", "key"))
        opened = name == current
        shown_words = words if opened else words[:letters]
        if shown_words:
            blank = " " if opened or letters > 3 else ""
            spans.append((blank + shown_words, role if opened else "dim"))
    spans.append((" ", ""))
    return tuple(spans)


class Footer(Bar):
    """Help and Quit first, then the keys of this place."""

    def draw(self, place: Place, keys: Keys, *, read_only: bool, back: bool) -> None:
        """Draw as many hints as fit; a place with hints of its own moves them closer together before one is left out."""
        own = [(BY_ID[name], word) for name, word in FOOTERS.get(place, ())]
        hints = [
            (keys.word(action), "Back" if action.id == "quit" and back else word)
            for action, word in own or _general(place)
            if keys.of(action) and not (action.danger and read_only)
        ]
        wide = sum(width(key) + width(word) + 3 for key, word in hints)
        gap = " " if own and wide > self.size.width else "  "
        spans: list[Span] = [(" ", "")]
        for key, word in hints:
            hint: Line = ((key, "key"), (f" {word}{gap}", "plain"))
            if length(tuple(spans)) + length(hint) - len(gap) > self.size.width:
                break
            spans.extend(hint)
        self.write(tuple(spans))


def _general(place: Place) -> list[tuple[Action, str]]:
    """The hints of the table for a place that has none of its own."""
    there = (each for each in ACTIONS if each.footer and ("everywhere" in each.where or place in each.where))
    return [(each, each.label) for each in sorted(there, key=lambda each: each.footer)]
