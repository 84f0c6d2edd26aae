"""The roles pane: the groups of the layout with their places, the ranks of each place, and all rules that do not hold.

Order within a group is rank order, so places can be moved. Nothing here touches a node: an assignment is only written down.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from typing import ClassVar, Protocol

from console.model.counting import counted
from console.model.deployment import Deployment, Rank
from console.model.findings import Finding, Severity
from console.model.snapshot import ClusterSnapshot
from console.services.monitoring.drift import group_by_drift
from screens.actions import BY_ID, bindings
from screens.assignment_preview import rank_words
from screens.grid.rows import count_words
from screens.pane_moment import PaneMoment
from screens.panes.base import Pane
from screens.styled_lines import Line, Pen, Row, Span, cut, fit, length, shown, width, wrap
from screens.widgets import Verbs

_ROLES = {Severity.ERROR: "fail", Severity.WARNING: "warn", Severity.NOTE: "dim"}


NAME_CELLS = 16
"""Cells of a node's name; a longer one is cut."""


class EditsAssignment(Protocol):
    """What the pane asks for; each answer says whether it was done."""

    def move(self, node: str, at: int) -> bool:
        """Give a node another place in its group."""

    def swap(self, nodes: Sequence[str]) -> bool:
        """Let two nodes take each other's places."""


class RolePane(Pane):
    """Groups, their places in rank order, and the findings below."""

    place: ClassVar[str] = "roles"
    BINDINGS: ClassVar = bindings("roles", "verb")
    with_cursor = True

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.on_place: Callable[[str, str | None], None] = lambda group, node: None
        self.board_acts: EditsAssignment | None = None
        self.marked: str | None = None
        """Key of the place marked for a swap."""

    def verbs(self) -> Verbs:
        """Moves, and what is done with a place."""
        return {
            **super().verbs(),
            "place": self.choose,
            "earlier": lambda: self.shift(-1),
            "later": lambda: self.shift(1),
            "mark-place": self.mark,
            "swap": self.swap,
        }

    def draw_moment(self, moment: PaneMoment) -> None:
        """The board of now."""
        deployment = moment.session.deployment
        rows = board(deployment, moment.snapshot, self.pen, self.cells)
        rows = [Row(row.key, _marked(row.line, self.pen)) if row.key == self.marked else row for row in rows]
        rows += finding_rows(moment.session.findings, max(30, self.size.width - 4))
        if self.needle:
            needle = self.needle.casefold()
            rows = [row for row in rows if needle in "".join(text for text, _ in row.line).casefold()]
        self.show(rows, self._what_to_do(moment))

    def _what_to_do(self, moment: PaneMoment) -> Line:
        """What the pane is, and the next thing to do here; shorter where room is short."""
        deployment = moment.session.deployment
        lacking = sum(
            max(0, group.nodes - len(deployment.assignment.of(name)))
            for name, group in deployment.layout.groups.items()
        )
        differ = any(each.drift and each.state.alive for each in moment.snapshot.engines.values())
        what: Line = (("Nodes and ranks. ", "dim"),)
        if moment.snapshot.read_only:
            return (*what, ("Read-only: nothing can be changed here", "dim"))
        if self.marked:
            return self._hint(
                what,
                f"{self._node_name(self.marked)} is marked: move to another place, then",
                ("swap", "swaps the two nodes"),
            )
        if lacking:
            places = f"{counted(lacking, 'place')} empty:"
            return self._hint(what, places, ("fill", "fills"), ("place", "chooses a node"))
        if differ:
            return self._hint(what, "Running engines differ from this layout:", ("restart", "restarts them with it"))
        return self._hint(
            what, "", ("place", "changes a node"), ("mark-place", "marks a swap"), ("start", "plans a start")
        )

    def _hint(self, what: Line, words: str, *keys: tuple[str, str]) -> Line:
        spans: list[Span] = [(f"{words} ", "warn")] if words else []
        for at, (name, does) in enumerate(keys):
            gap = ", " if at else ""
            spans += [
                (gap, "dim"),
                (self.keys.word(BY_ID[name]).capitalize() if name == "place" else self.keys.word(BY_ID[name]), "key"),
                (f" {does}", "plain"),
            ]
        line: Line = (*what, *spans)
        return line if length(line) < self.size.width else tuple(spans)

    def _node_name(self, key: str) -> str:
        return shown(self.node_at(key) or "a place")

    def title(self) -> Line:
        """Whether it is whole."""
        if self.moment is None:
            return ()
        findings = self.moment.session.findings
        errors = sum(1 for each in findings if each.severity is Severity.ERROR)
        if errors:
            return (
                ("Roles  ", "bold"),
                (counted(errors, "error"), "fail"),
                (f" of {counted(len(findings), 'finding')}", "dim"),
            )
        whole = self.moment.session.deployment.complete()
        return (
            ("Roles  ", "bold"),
            (counted(len(findings), "finding") if findings else "no problems", "warn" if findings else "ok"),
            ("" if whole else ", incomplete", "warn"),
        )

    def _place(self) -> tuple[str, int] | None:
        kind, _, rest = (self.current.key if self.current else "").partition("/")
        group, _, index = rest.rpartition("/")
        return (group, int(index)) if kind == "place" else None

    def choose(self) -> None:
        """Give the place another node, or a first one."""
        group = self.group_here
        if group is None or self.moment is None:
            self.notify("no place here; select a place of a group, or press A to fill all groups", markup=False)
            return
        deployment = self.moment.session.deployment
        members, found = deployment.assignment.of(group), self._place()
        index = found[1] if found else len(members)
        if found is None and index >= deployment.layout.groups[group].nodes:
            self.notify(
                f"{shown(group)} has all its nodes; select the place whose node you want to change", markup=False
            )
            return
        self.on_place(group, members[index] if index < len(members) else None)

    def shift(self, by: int) -> None:
        """Move the node to another place of its group: its ranks change with it."""
        found = self._place()
        if found is None or self.moment is None:
            return
        group, index = found
        members = self.moment.session.deployment.assignment.of(group)
        if index >= len(members) or not 0 <= index + by < len(members):
            return
        if self.board_acts is not None and self.board_acts.move(members[index], index + by):
            self.draw_moment(self.moment)
            self.go(f"place/{group}/{index + by}")

    def node_at(self, key: str) -> str | None:
        """The node of a place by the key of its row; None for an empty place and for other rows."""
        kind, _, rest = key.partition("/")
        group, _, index = rest.rpartition("/")
        if kind != "place" or self.moment is None:
            return None
        members = self.moment.session.deployment.assignment.of(group)
        return members[int(index)] if int(index) < len(members) else None

    @property
    def node_here(self) -> str | None:
        """The node of the place under the cursor."""
        return self.node_at(self.current.key) if self.current else None

    @property
    def group_here(self) -> str | None:
        """The group whose row, or one of whose places, is under the cursor."""
        found = self._place()
        kind, _, rest = (self.current.key if self.current else "").partition("/")
        return found[0] if found else rest if kind == "group" else None

    def mark(self) -> None:
        """Mark the place for a swap, or take the mark away; a place without a node cannot be marked."""
        if self.current is None or self.moment is None or self.node_here is None:
            self.notify("no node at this place to mark", severity="warning", markup=False)
            return
        self.marked = None if self.marked == self.current.key else self.current.key
        self.draw_moment(self.moment)

    def swap(self) -> None:
        """Let the node of the marked place and the one under the cursor take each other's places."""
        one = self.node_at(self.marked) if self.marked else None
        other = self.node_here
        if self.board_acts is None:
            return
        if one is None or other is None or one == other:
            words = "first press space (mark) on one place, then S (swap) on another place that has a node"
            self.notify(words, severity="warning", markup=False)
            return
        if self.board_acts.swap((one, other)):
            self.marked = None
            if self.moment is not None:
                self.draw_moment(self.moment)


def _marked(line: Line, pen: Pen) -> Line:
    """The line of a place with the mark in its first cell."""
    (text, role), *rest = line
    return ((pen.marked, "key"), (text[1:], role), *rest)


def board(deployment: Deployment, snapshot: ClusterSnapshot, pen: Pen, cells: int) -> list[Row]:
    """Groups with their places; free nodes at the end. `cells` is the width that texts are broken to."""
    ranks: dict[tuple[str, str], list[Rank]] = {}
    proxy = deployment.proxy_rank()
    planned = {rank.id for rank in deployment.processes()}
    for rank in deployment.ranks():
        ranks.setdefault((rank.group, rank.node), []).append(rank)
    rows: list[Row] = []
    states = _states(deployment, snapshot, pen)
    for name, group in deployment.layout.groups.items():
        members = deployment.assignment.of(name)
        words = f"DP {group.data_parallel.size} x TP {group.tensor_parallel}, {group.places}"
        held = (f"{len(members)} of {group.nodes} nodes  ", "ok" if len(members) == group.nodes else "warn")
        rows.append(Row(f"group/{name}", ((fit(shown(name), 12) + " ", f"bold {group.role}"), held, (words, "dim"))))
        places = range(max(group.nodes, len(members)))
        for index in places:
            rows.append(_place_row(name, index, members, ranks, states, cells))
            if index < len(members):
                rows.extend(_drift_rows(name, members[index], snapshot, cells))
                rows.extend(_unplanned_rows(members[index], planned, snapshot))
    for service in deployment.service_ranks():
        where = f"on {shown(service.node)}" + (f", port {service.port}" if service.port else "")
        head = (fit(shown(service.id), 12) + " ", "bold service")
        seen = snapshot.engines.get(service.id)
        state = count_words([seen], pen) if seen is not None else ()
        rows.append(Row(f"service/{service.id}", (head, (f"{where}, starts before the engines  ", "plain"), *state)))
    if proxy is not None:
        rows.append(
            Row("proxy", ((fit("proxy", 13), "bold proxy"), (f"on {shown(proxy.node)}, port {proxy.port}", "plain")))
        )
    free = [name for name in deployment.cluster.nodes if deployment.assignment.group_of(name) is None]
    if free:
        rows.append(Row("free", ((fit("free", 13), "bold"), (", ".join(shown(name) for name in free), "plain"))))
        rows.extend(row for name in free for row in _unplanned_rows(name, planned, snapshot))
    return rows


def _place_row(
    group: str,
    index: int,
    members: tuple[str, ...],
    ranks: dict[tuple[str, str], list[Rank]],
    states: Mapping[tuple[str, str], Line],
    cells: int,
) -> Row:
    key = f"place/{group}/{index}"
    if index >= len(members):
        return Row(key, ((f"  {index}  ", "dim"), ("empty, Enter chooses a node", "warn")))
    node = members[index]
    carried = ranks.get((group, node), [])
    name = min(NAME_CELLS, max(width(shown(each)) for _, each in states)) if states else NAME_CELLS
    head: Line = ((f"  {index}  ", "dim"), (fit(shown(node), name) + "  ", "bold"))
    state = cut(states.get((group, node), ()), max(map(length, states.values()), default=0))
    words: Line = ((rank_words(carried) if carried else "no rank", "plain"),)
    gap: Line = (("  ", ""),) if length(state) else ()
    line = (*head, *state, *gap, *words)
    return Row(key, line if length(line) < cells else (*head, *states.get((group, node), ()), *gap, *words))


def _states(deployment: Deployment, snapshot: ClusterSnapshot, pen: Pen) -> dict[tuple[str, str], Line]:
    """How the engines of each place are."""
    return {
        (group, node): count_words([each for each in snapshot.engines_on(node) if each.group == group], pen)
        for group, nodes in deployment.assignment.nodes.items()
        for node in nodes
    }


def _drift_rows(group: str, node: str, snapshot: ClusterSnapshot, cells: int) -> list[Row]:
    """Engines that run differently from what the board says: a change has not reached them. Those that differ alike are one."""
    rows = []
    for lines, names in group_by_drift(each for each in snapshot.engines_on(node) if each.group == group).items():
        who = f"{names[0]} +{len(names) - 1} more run" if len(names) > 1 else f"{names[0]} runs"
        rest = f"r restarts {'it' if len(names) == 1 else 'them'} with this layout"
        text = shown(f"{who} with {'; '.join(lines)}; {rest}")
        rows += [
            Row(f"drift/{names[0]}/{at}", ((("       " if at else "     ") + piece, "warn"),))
            for at, piece in enumerate(wrap(text, max(30, cells - 8)))
        ]
    return rows


def _unplanned_rows(node: str, planned: Set[str], snapshot: ClusterSnapshot) -> list[Row]:
    """Engines that a node runs though the board names none such there: the board and the node differ."""
    return [
        Row(f"foreign/{node}/{each.id}", ((f"     runs {shown(each.id)}, which is not in this assignment", "warn"),))
        for each in snapshot.engines_on(node)
        if each.id not in planned
    ]


def finding_rows(findings: tuple[Finding, ...], cells: int) -> list[Row]:
    """Every rule that does not hold: what, where, and what to do."""
    rows: list[Row] = []
    for number, finding in enumerate(sorted(findings, key=lambda each: list(Severity).index(each.severity))):
        role = _ROLES[finding.severity]
        text = f"{finding.severity.value} {shown(finding.rule)}: {shown(finding.message)} ({shown(finding.where)})"
        rows.extend(Row(f"finding/{number}/{at}", ((piece, role),)) for at, piece in enumerate(wrap(text, cells)))
        if finding.fix:
            pieces = wrap(shown(finding.fix), cells - 3)
            rows.extend(Row(f"fix/{number}/{at}", ((f"   {piece}", "key"),)) for at, piece in enumerate(pieces))
    return rows
