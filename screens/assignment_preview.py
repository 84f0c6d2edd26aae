"""Previews an assignment: groups with free places, and the ranks that nodes would run. Changes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from console.model.deployment import Assignment, Deployment, Rank
from console.rules import check
from screens.styled_lines import Line, Row, fit, shown

TAKE_AWAY = "/take-away"
MOST_FINDINGS = 6
"""How many new findings the question about a size lists; the roles pane has all of them afterwards."""
"""Key of the choice that frees the nodes; no group can be called so."""


def group_rows(deployment: Deployment) -> list[Row]:
    """One row for each group, the last for none."""
    rows = []
    for name, group in deployment.layout.groups.items():
        held = deployment.assignment.of(name)
        line: Line = (
            (fit(shown(name), 13), f"bold {group.role}"),
            (fit(f" {len(held)} of {group.nodes} nodes ", 15), "ok" if len(held) == group.nodes else "warn"),
            (fit(", ".join(shown(node) for node in held), 24) + " ", "plain"),
            (
                f"DP {group.data_parallel.size} x TP {group.tensor_parallel}, {group.places}",
                "dim",
            ),
        )
        rows.append(Row(name, line))
    rows.append(Row(TAKE_AWAY, (("free", "bold"), ("         take the nodes out of their groups", "dim"))))
    return rows


def moved(assignment: Assignment, group: str | None, nodes: Sequence[str]) -> Assignment:
    """The assignment with these nodes taken from wherever they are and put at the end of a group."""
    members = {name: tuple(node for node in held if node not in nodes) for name, held in assignment.nodes.items()}
    if group is not None:
        members[group] = (*members.get(group, ()), *nodes)
    return replace(assignment, nodes=members)


def preview(deployment: Deployment, group: str | None, nodes: Sequence[str]) -> list[Line]:
    """What would follow for these nodes, and for the group."""
    if group is None:
        return [(("no rank runs on the nodes then", "dim"),)]
    if group not in deployment.layout.groups:
        return []
    after = replace(deployment, assignment=moved(deployment.assignment, group, nodes))
    wanted = deployment.layout.groups[group].nodes
    held = after.assignment.of(group)
    lines: list[Line] = []
    if len(held) > wanted:
        lines.append(((f"{shown(group)} has {wanted} places; {len(held)} nodes are too many", "fail"),))
    elif len(held) < wanted:
        lines.append(((f"{shown(group)} would have {len(held)} of {wanted} nodes", "warn"),))
    by_node: dict[str, list[Rank]] = {}
    for rank in after.ranks():
        if rank.group == group:
            by_node.setdefault(rank.node, []).append(rank)
    for node, ranks in by_node.items():
        lines.append(_node_line(node, ranks, new=node in nodes))
    return lines


def rank_words(ranks: Sequence[Rank]) -> str:
    """Ranks, devices and ports of one node's share of a group."""
    first, last = ranks[0], ranks[-1]
    last_rank = last.dp_rank + last.local_size - 1
    numbers = f"rank {first.dp_rank}" if last_rank == first.dp_rank else f"ranks {first.dp_rank}-{last_rank}"
    numbers += f" part {first.part} of 0-{first.parts - 1}" if first.parts > 1 else ""
    devices = f"devices {first.devices[0]}-{last.devices[-1]}" if first.devices and last.devices else "no devices"
    if first.port is None:
        return f"{numbers}, {devices}, headless"
    ports = f"port {first.port}" if first is last else f"ports {first.port}-{last.port}"
    return f"{numbers}, {devices}, {ports}"


def _node_line(node: str, ranks: Sequence[Rank], *, new: bool) -> Line:
    words = (rank_words(ranks), "plain" if new else "dim")
    return ((fit(shown(node), 12) + " ", "bold"), words, ("  new" if new else "", "ok"))


def free_rows(deployment: Deployment, group: str) -> list[Row]:
    """Nodes that could take a place of a group: the free ones first, then those of other groups."""
    names = sorted(deployment.cluster.nodes, key=lambda name: deployment.assignment.group_of(name) is not None)
    rows = []
    for name in names:
        held = deployment.assignment.group_of(name)
        if held != group:
            words = "free" if held is None else f"taken from {shown(held)}"
            hardware = deployment.cluster.nodes[name].hardware
            line: Line = (
                (fit(shown(name), 13), "bold"),
                (fit(words, 22), "ok" if held is None else "warn"),
                (f"{hardware.name}, {hardware.devices} devices", "dim"),
            )
            rows.append(Row(name, line))
    return rows


def size_words(before: Deployment, after: Deployment, group: str) -> str:
    """What a group is, what it becomes, and what each of its nodes would carry: one line each."""
    lines = [f"now:  {_shape_words(before, group)}", f"then: {_shape_words(after, group)}"]
    held = after.assignment.of(group)
    by_node: dict[str, list[Rank]] = {}
    for rank in after.ranks():
        if rank.group == group:
            by_node.setdefault(rank.node, []).append(rank)
    lines += [f"{shown(node)}: {rank_words(ranks)}" for node, ranks in by_node.items()]
    gone = [shown(node) for node in before.assignment.of(group) if node not in held]
    if gone:
        lines.append(f"taken away: {', '.join(gone)}")
    lacks = after.layout.groups[group].nodes - len(held)
    if lacks > 0:
        lines.append(f"{lacks} of its nodes still to be given (A fills)")
    return "\n".join([*lines, *_new_findings(before, after)])


def _new_findings(before: Deployment, after: Deployment) -> list[str]:
    """Rules that hold now and would not hold then, the worst first."""
    held = {(each.rule, each.message) for each in check(before)}
    found = [each for each in check(after) if (each.rule, each.message) not in held]
    lines = [f"{each.severity} {shown(each.rule)}: {shown(each.message)}" for each in found[:MOST_FINDINGS]]
    more = len(found) - MOST_FINDINGS
    return [*lines, *([f"and {more} more findings"] if more > 0 else [])]


def _shape_words(deployment: Deployment, name: str) -> str:
    group = deployment.layout.groups[name]
    parallel = group.data_parallel
    places = group.places if group.nodes_per_engine > 1 else f"{parallel.per_node} ranks"
    return (
        f"{group.nodes} nodes, DP {parallel.size} x TP {group.tensor_parallel}, "
        f"{places} and {group.devices_on_node} devices per node"
    )
