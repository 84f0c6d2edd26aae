"""Changes assignments: pure operations on a deployment. Reads no files and asks no nodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from console.model.cluster import Cluster, Node
from console.model.deployment import Assignment, Deployment
from console.model.errors import Refused, UsageError
from console.model.layout import MOST, Group, Layout, Shape

PLACEHOLDER = "placeholder"
"""Tag of a made-up cluster that shows a layout."""


def example(layout: Layout) -> Deployment:
    """The layout with its present group sizes on made-up nodes `GROUP-0`, `GROUP-1` …, to show it without a cluster.

    Addresses are 192.0.2.N (then 198.51.100.N, 203.0.113.N, 198.18.N.N), which RFC 5737 and 2544 reserve for examples.
    """
    layout = layout.shaped() if layout.written is None else layout.model_copy(update={"written": None})
    assignment = {
        name: tuple(f"{name}-{index}" for index in range(group.nodes)) for name, group in layout.groups.items()
    }
    names = [node for nodes in assignment.values() for node in nodes]
    nodes = {
        name: Node(name=name, host=example_address(index), hardware=layout.hardware) for index, name in enumerate(names)
    }
    return Deployment(Cluster(name="example", nodes=nodes, tags=(PLACEHOLDER,)), layout, Assignment(assignment))


def example_address(index: int) -> str:
    """The `index`-th address reserved for examples."""
    blocks = ("192.0.2", "198.51.100", "203.0.113")
    block, last = divmod(index, 254)
    if block < len(blocks):
        return f"{blocks[block]}.{last + 1}"
    high, low = divmod(index - 254 * len(blocks), 254)
    return f"198.{18 + high // 256}.{high % 256}.{low + 1}"


def assign(deployment: Deployment, group: str, nodes: Sequence[str], *, at: int | None = None) -> Deployment:
    """Assign nodes to a group, at a position or after its present nodes; removes them from their old groups.

    Raises UsageError for unknown names, Refused when the group would have too many nodes.
    """
    wanted = _group(deployment, group)
    new = tuple(dict.fromkeys(_node(deployment, node) for node in nodes))
    members = {
        name: tuple(each for each in deployment.assignment.of(name) if each not in new) for name in _names(deployment)
    }
    place = len(members[group]) if at is None else max(0, at)
    members[group] = (*members[group][:place], *new, *members[group][place:])
    if len(members[group]) > wanted.nodes:
        message = f"{group} needs {wanted.nodes} nodes and would have {len(members[group])}"
        raise Refused(message, hint="remove a node first, or make the group larger")
    return _with(deployment, members)


def unassign(deployment: Deployment, nodes: Sequence[str]) -> Deployment:
    """Remove nodes from their groups; the ranks after them move up. Raises UsageError for unknown names."""
    gone = {_node(deployment, node) for node in nodes}
    return _with(
        deployment,
        {
            name: tuple(each for each in deployment.assignment.of(name) if each not in gone)
            for name in _names(deployment)
        },
    )


def move(deployment: Deployment, node: str, at: int) -> Deployment:
    """Move a node to another position in its group; position 0 runs rank 0. Raises UsageError when it is in no group."""
    group = deployment.assignment.group_of(_node(deployment, node))
    if group is None or group not in deployment.layout.groups:
        raise UsageError(f"{node} is in no group", hint="assign it first")
    return assign(deployment, group, (node,), at=at)


def swap(deployment: Deployment, one: str, other: str) -> Deployment:
    """Exchange the positions of two nodes; one of them may be unassigned. Raises UsageError for unknown names."""
    exchange = {_node(deployment, one): _node(deployment, other), other: one}
    return _with(
        deployment,
        {
            name: tuple(exchange.get(each, each) for each in deployment.assignment.of(name))
            for name in _names(deployment)
        },
    )


def auto_assign(deployment: Deployment, free: Mapping[str, int] | None = None) -> Deployment:
    """Assign free nodes to every incomplete group, in layout order, rank 0 first; assigned nodes stay.

    Uses nodes of the layout's hardware with enough devices, in the order of the cluster file. `free` is the number of unused
    devices by node; nodes not in `free` are unknown and used last. Groups may stay incomplete; a rule reports that.
    """
    taken = {node for name in _names(deployment) for node in deployment.assignment.of(name)}
    members = {name: deployment.assignment.of(name)[: group.nodes] for name, group in deployment.layout.groups.items()}
    for name, group in deployment.layout.groups.items():
        wanted = group.first_device + group.devices_on_node
        fitting = [
            node
            for node in deployment.cluster.nodes.values()
            if node.name not in taken
            and node.hardware.name == deployment.layout.hardware.name
            and (node.hardware.devices >= wanted or node.hardware.devices == 0)
            and (free is None or free.get(node.name, wanted) >= wanted or node.hardware.devices == 0)
        ]
        fitting.sort(key=lambda node: free is not None and node.name not in free)
        chosen = tuple(node.name for node in fitting[: group.nodes - len(members[name])])
        members[name] += chosen
        taken.update(chosen)
    return _with(deployment, members)


def resize(
    deployment: Deployment,
    group: str,
    *,
    nodes: int | None = None,
    per_node: int | None = None,
    tensor_parallel: int | None = None,
) -> Deployment:
    """Change the nodes of a group, the ranks per node or the tensor parallel size; the group's data parallel size follows.

    With only `tensor_parallel` the ranks per node change so that the same devices are used. Surplus nodes are removed from
    the end. Raises UsageError for an unknown group or a number below 1.
    """
    old = _group(deployment, _no_copy(deployment, group))
    parallel = old.data_parallel
    for number in (nodes, per_node, tensor_parallel):
        if number is not None and not 1 <= number <= MOST:
            raise UsageError(f"{group}: {number} is not a valid size", hint=f"give a whole number from 1 to {MOST}")
    width = tensor_parallel or old.tensor_parallel
    ranks = per_node or max(1, parallel.per_node * old.tensor_parallel // width)
    count = nodes or old.nodes
    if count % old.nodes_per_engine:
        hint = f"give a multiple of {old.nodes_per_engine} nodes"
        raise UsageError(f"an engine of {group} spans {old.nodes_per_engine} nodes", hint=hint)
    if count * ranks > MOST:
        raise UsageError(f"{group} would have {count * ranks} ranks", hint=f"at most {MOST} are planned")
    size = count // old.nodes_per_engine * ranks
    shape = Shape(nodes=count, size=size, per_node=ranks, tensor_parallel=width)
    members = {name: deployment.assignment.of(name) for name in _names(deployment)}
    members |= {name: members[name][:count] for name in family(deployment, group)}
    return _with(deployment, members, {**deployment.assignment.shapes, group: shape})


def reset_shape(deployment: Deployment, group: str) -> Deployment:
    """Reset a group to the size in its layout. Raises UsageError for an unknown group."""
    _group(deployment, _no_copy(deployment, group))
    shapes = {name: shape for name, shape in deployment.assignment.shapes.items() if name != group}
    written = (deployment.layout.written or deployment.layout).groups[group]
    members = {name: deployment.assignment.of(name) for name in _names(deployment)}
    members |= {name: members[name][: written.nodes] for name in family(deployment, group)}
    return _with(deployment, members, shapes)


def family(deployment: Deployment, group: str) -> tuple[str, ...]:
    """A group of the layout and its copies, the group first. Raises UsageError for an unknown group or a copy."""
    _group(deployment, _no_copy(deployment, group))
    return (group, *(name for name in deployment.layout.groups if deployment.copies.get(name) == group))


def add_copy(deployment: Deployment, group: str, nodes: Sequence[str]) -> tuple[Deployment, str]:
    """The deployment with a copy of `group` on these nodes, and the name of the copy (`decode2`).

    Raises UsageError for unknown names, Refused for a wrong number of nodes or an assigned node.
    """
    wanted = _group(deployment, _no_copy(deployment, group)).nodes
    chosen = tuple(dict.fromkeys(_node(deployment, node) for node in nodes))
    if len(chosen) != wanted:
        raise Refused(f"a group like {group} needs {wanted} nodes, not {len(chosen)}", hint=f"name {wanted} free nodes")
    for node in chosen:
        if (held := deployment.assignment.group_of(node)) is not None:
            raise Refused(
                f"{node} is assigned to {held}", hint="name free nodes; `assign` shows which node runs which group"
            )
    name = next(f"{group}{at}" for at in range(2, MOST) if f"{group}{at}" not in deployment.layout.groups)
    now = deployment.assignment
    added = replace(now, nodes={**now.nodes, name: chosen}, copies={**now.copies, name: group})
    return replace(deployment, assignment=added), name


def spare_nodes(
    deployment: Deployment, group: str, count: int, free: Mapping[str, int] | None = None
) -> tuple[str, ...]:
    """Up to `count` unassigned nodes that fit a group like `group`, nodes known to be free first.

    `free` is the number of unused devices by node. Raises UsageError for an unknown group.
    """
    like = _group(deployment, group)
    one = like.model_copy(update={"nodes": count})
    held = {node for name in _names(deployment) for node in deployment.assignment.of(name)}
    cluster = {name: node for name, node in deployment.cluster.nodes.items() if name not in held}
    layout = (deployment.layout.written or deployment.layout).model_copy(
        update={"groups": {group: one}, "written": None}
    )
    bare = Deployment(deployment.cluster.model_copy(update={"nodes": cluster}), layout, Assignment())
    return auto_assign(bare, free).assignment.of(group)


def drop_copy(deployment: Deployment, name: str) -> Deployment:
    """The deployment without a copy; its nodes become free. Raises UsageError when the group is not a copy."""
    now = deployment.assignment
    if name not in now.copies:
        raise UsageError(f"{name} is not an added group", hint=f"added: {', '.join(now.copies) or 'none'}")
    kept = {each: members for each, members in now.nodes.items() if each != name}
    copies = {each: like for each, like in now.copies.items() if each != name}
    return replace(deployment, assignment=replace(now, nodes=kept, copies=copies))


def _no_copy(deployment: Deployment, group: str) -> str:
    like = deployment.copies.get(group)
    if like is not None:
        raise UsageError(f"{group} is a copy of {like} and has its size", hint=f"name {like}")
    return group


@dataclass(frozen=True, slots=True)
class AssignmentHistory:
    """The assignment with its undo and redo history; immutable."""

    now: Assignment
    past: tuple[Assignment, ...] = ()
    future: tuple[Assignment, ...] = ()

    def changed(self, assignment: Assignment, depth: int = 100) -> AssignmentHistory:
        """The history after a change; clears redo. The same assignment is no change."""
        if assignment == self.now:
            return self
        return AssignmentHistory(assignment, (*self.past, self.now)[-depth:])

    def undone(self) -> AssignmentHistory:
        """The history one change back; unchanged without an earlier one."""
        if not self.past:
            return self
        return AssignmentHistory(self.past[-1], self.past[:-1], (self.now, *self.future))

    def redone(self) -> AssignmentHistory:
        """The history one change forward; unchanged without a later one."""
        if not self.future:
            return self
        return AssignmentHistory(self.future[0], (*self.past, self.now), self.future[1:])


def _names(deployment: Deployment) -> tuple[str, ...]:
    return tuple(deployment.layout.groups)


def _group(deployment: Deployment, name: str) -> Group:
    found = deployment.layout.groups.get(name)
    if found is None:
        raise UsageError(f"the layout has no group {name!r}", hint=f"groups: {', '.join(deployment.layout.groups)}")
    return found


def _node(deployment: Deployment, name: str) -> str:
    if name not in deployment.cluster.nodes:
        raise UsageError(f"the cluster has no node {name!r}", hint=f"nodes: {', '.join(deployment.cluster.nodes)}")
    return name


def _with(
    deployment: Deployment, members: Mapping[str, tuple[str, ...]], shapes: Mapping[str, Shape] | None = None
) -> Deployment:
    kept = deployment.assignment.shapes if shapes is None else shapes
    return replace(deployment, assignment=replace(deployment.assignment, nodes=members, shapes=kept))
