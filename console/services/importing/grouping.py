"""Groups imported engines, and assigns them to nodes of their groups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from pydantic import JsonValue

from console.services.importing.engines import DEVICES, WIDTHS, Engine
from console.services.importing.rank_marks import marked
from console.services.importing.shell_scripts import Question, fault, is_open, names


@dataclass(slots=True)
class PlacedNode:
    """Engines of one group on one node."""

    place: int | None
    """Of its first engine in the group; None where that is open."""
    engines: list[Engine]
    index: int = 0

    @property
    def label(self) -> str:
        """What identifies the node."""
        return self.engines[0].started.node


@dataclass(slots=True)
class EngineGroup:
    """A group of engines that share an address."""

    nodes: list[PlacedNode] = field(default_factory=list)
    meet: str | None = None
    """Rendezvous address of the group; None when no file contains it."""

    @property
    def first(self) -> Engine:
        """The engine whose settings apply to the group."""
        return self.nodes[0].engines[0]

    @property
    def size(self) -> int:
        return self.first.number("data-parallel-size", 1)

    @property
    def spans(self) -> int:
        """Nodes of all its engines, where one engine spans several."""
        return self.first.number("nnodes", 1)

    @property
    def external(self) -> bool:
        return self.first.flag("data-parallel-rank") is not None or any(len(node.engines) > 1 for node in self.nodes)

    @property
    def local(self) -> int:
        """Ranks of a node."""
        if self.first.local:
            return self.first.local
        if self.external:
            return len(self.nodes[0].engines)
        return self.first.number("data-parallel-size-local", 0) or self.size

    @property
    def step(self) -> int:
        """The difference between the places of two successive nodes."""
        return 1 if self.spans > 1 else self.local

    @property
    def count(self) -> int:
        """Nodes it must have."""
        return self.spans if self.spans > 1 else max(1, self.size // self.local)


def _spread(engine: Engine) -> bool:
    """Whether it is one of several processes of a group."""
    several = engine.number("data-parallel-size", 1) > 1
    alone = engine.number("data-parallel-size-local", 0) == engine.number("data-parallel-size", 1)
    return engine.number("nnodes", 1) > 1 or engine.flag("data-parallel-rank") is not None or (several and not alone)


def _sizes(engine: Engine) -> tuple[object, ...]:
    """What the engines of one group have in common, apart from their rendezvous address."""
    return (engine.role, *(engine.number(each, 1) for each in ("data-parallel-size", "nnodes", *WIDTHS)))


def _meeting(engine: Engine) -> str | None:
    """Its rendezvous address, or the name of the group in its file; None when only the node knows it."""
    said = engine.started.group or engine.flag("data-parallel-address") or engine.flag("master-addr")
    return said if isinstance(said, str) and not is_open(said) and not marked(said) else None


def _engine_id(engine: Engine) -> JsonValue:
    transfer = engine.flag("kv-transfer-config")
    return transfer.get("engine_id") if isinstance(transfer, dict) else None


def grouped(engines: Sequence[Engine]) -> list[EngineGroup]:
    """Engines with the same rendezvous address are a group, by nodes; an engine without one is a group of its own."""
    groups: list[EngineGroup] = []
    for engine in engines:
        group = _group_of(engine, groups) if _spread(engine) else None
        if group is None:
            group = EngineGroup(meet=_meeting(engine))
            groups.append(group)
        group.meet = group.meet or _meeting(engine)
        label = node_label(engine)
        external = engine.flag("data-parallel-rank") is not None
        found = next((node for node in reversed(group.nodes) if node_label(node.engines[0]) == label), None)
        if found is None or not external or _collides(engine, found):
            found = PlacedNode(engine.place, [])
            group.nodes.append(found)
        found.engines.append(engine)
    order = {"prefill": 0, "decode": 1, "mixed": 2}
    return sorted(groups, key=lambda group: order[group.first.role])


def node_label(engine: Engine) -> str:
    """What identifies its node: the name in the file, the node's own address, else the file."""
    return engine.started.node or engine.own_address or f"{engine.started.file}#{engine.started.way}"


def _group_of(engine: Engine, groups: Sequence[EngineGroup]) -> EngineGroup | None:
    """The group of an engine: the group with its address, else a group with its sizes in which its place is free."""
    meet = _meeting(engine)
    alike = [each for each in groups if _spread(each.first) and _sizes(each.first) == _sizes(engine)]
    exact = next((each for each in alike if meet is not None and each.meet == meet), None)
    if exact is not None:
        return exact
    for group in alike:
        taken = {other.place for node in group.nodes for other in node.engines}
        loose = group.meet is None or meet is None
        if (
            loose
            and (engine.place is None or engine.place not in taken)
            and _engine_id(group.first) == _engine_id(engine)
        ):
            return group
    return None


def _collides(engine: Engine, node: PlacedNode) -> bool:
    """Whether an engine must be on another node than these: they use its devices, or, without given devices, its port."""
    mine = {each for each in engine.env.get(DEVICES, "").split(",") if each}
    for other in node.engines:
        theirs = {each for each in other.env.get(DEVICES, "").split(",") if each}
        if mine & theirs or (not mine and not theirs and engine.flag("port") == other.flag("port")):
            return True
    return False


def refuse_alternatives(engines: Sequence[Engine], questions: Sequence[Question]) -> None:
    """Raise FileError when a script chooses between engines that are not parts of one deployment."""
    if not questions:
        return
    seen: dict[object, Engine] = {}
    for engine in engines:
        spread = _spread(engine)
        place = engine.place if spread else "alone"
        other = seen.setdefault((engine.started.file, engine.role, place), engine)
        roles = {each.role for each in engines if each.started.file == engine.started.file}
        clash = other.started.way != engine.started.way or ("mixed" in roles and len(roles) > 1)
        if clash:
            first = questions[0]
            asked = [unknown for question in questions for unknown in question.unknowns]
            how = names(asked)
            message = f"what is started depends on this condition, which the script does not decide: {first.text}"
            hint = f"decide it: {how}" if how else "keep the branch that your nodes take, and import again"
            raise fault(first.file, first.line, message, hint=hint)


def place(group: EngineGroup) -> list[str]:
    """Sort the nodes of a group, and add nodes for a script that runs on several. Raises FileError for two at one place."""
    notes: list[str] = []
    for node in group.nodes:
        node.engines.sort(key=lambda engine: engine.place or 0)
        node.place = node.engines[0].place
    step, count = group.step, group.count
    taken: dict[int, PlacedNode] = {}
    for node in [each for each in group.nodes if each.place is not None]:
        at = (node.place or 0) // step
        if at in taken and len(group.nodes) > 1:
            one, other = taken[at].engines[0], node.engines[0]
            raise fault(
                other.started.file,
                other.started.line,
                f"starts rank {node.place} of its group, as {one.where} does",
                hint="give each node its own rank, or import the engines of one group at a time",
            )
        taken[at] = node
    open_nodes = [each for each in group.nodes if each.place is None]
    for node in open_nodes[1:] if len(group.nodes) <= count else []:
        taken[next(at for at in range(count + len(open_nodes)) if at not in taken)] = node
    last = open_nodes[0] if open_nodes else group.nodes[-1]
    missing = [at for at in range(count) if at not in taken]
    if len(group.nodes) == 1 and count > 1:
        taken = {0: last}
        if last.place != 0:
            _serves(last.engines)
            notes.append(f"{last.engines[0].where}: is for a further node of its group; the layout is the whole group")
        elif not group.external:
            further = (
                "the second node of its group is" if count == 2 else f"the {count - 1} further nodes of its group are"
            )
            notes.append(f"{last.engines[0].where}: {further} made like it")
        else:
            every = f"all {count * group.local} of its group, {group.local} on each node"
            notes.append(f"{last.engines[0].where}: one engine stands for {every}")
    else:
        for at in missing:
            taken[at] = PlacedNode(at * step, last.engines)
        made = missing[bool(open_nodes) :]
        if made:
            every = ", ".join(map(str, made))
            listed = f"node {every} of its group is" if len(made) == 1 else f"nodes {every} of its group are"
            notes.append(f"{last.engines[0].where}: {listed} made like it")
    group.nodes = [taken[at] for at in sorted(taken)]
    for at, node in zip(sorted(taken), group.nodes, strict=True):
        node.place = at * step
    return notes


def _serves(engines: Sequence[Engine]) -> None:
    """When only the file of a headless node was given, derive the settings of the serving node from it."""
    for engine in engines:
        for name in ("headless", "data-parallel-start-rank", "api-server-count"):
            engine.put(name, None)
        if engine.flag("data-parallel-rank") is None and engine.number("nnodes", 1) == 1:
            engine.put("api-server-count", 1)
