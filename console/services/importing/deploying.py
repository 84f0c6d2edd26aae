"""From the engines that files start to one deployment: which belong together, on which nodes, and what differs by rank."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from pydantic import JsonValue

from console.model.hardware import HARDWARE
from console.model.layout import flag_name
from console.services.importing.engines import DEVICES, Engine, engine_of
from console.services.importing.foreign import Foreign, ForeignNode, ForeignProxy, ForeignRank, parse_words
from console.services.importing.marks import NIC, address_of, mark
from console.services.importing.ranking import marked_by_rank
from console.services.importing.shell import Followed, ProxyStart, Question, fault, is_open, names

_LOCAL = "0.0.0.0"
_ADDRESS = re.compile(r"[0-9]{1,3}(\.[0-9]{1,3}){3}|[0-9a-fA-F]*:[0-9a-fA-F:]+")
_MEETING = ("data-parallel-address", "data-parallel-rpc-port", "data-parallel-start-rank")
"""Flags that say nothing where a group is one process."""
_WIDTHS = ("tensor-parallel-size", "pipeline-parallel-size", "prefill-context-parallel-size")


@dataclass(slots=True)
class _Node:
    """Engines of one group on one node."""

    place: int | None
    """Of its first engine in the group; None where that is open."""
    engines: list[Engine]
    index: int = 0

    @property
    def label(self) -> str:
        """What tells it from other nodes."""
        return self.engines[0].started.node


@dataclass(slots=True)
class _Group:
    """Engines that meet."""

    nodes: list[_Node] = field(default_factory=list)

    @property
    def first(self) -> Engine:
        """The engine that speaks for the group."""
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
        """By how much the place of one node differs from the next one's."""
        return 1 if self.spans > 1 else self.local

    @property
    def count(self) -> int:
        """Nodes it must have."""
        return self.spans if self.spans > 1 else max(1, self.size // self.local)


def deployed(followed: Sequence[Followed], name: str, *, hardware: str = "", version: str = "") -> Foreign:
    """One deployment of everything that was started. Raises FileError where it is none, or something is left open."""
    engines: list[Engine] = []
    for each in followed:
        engines += [engine_of(started, each.unknowns) for started in each.started]
    notes = [note for each in followed for note in each.notes]
    groups = _grouped(engines)
    _refuse_alternatives(engines, [question for each in followed for question in each.questions])
    index = 0
    for group in groups:
        notes += _placed(group)
        for node in group.nodes:
            node.index, index = index, index + 1
    notes += [note for engine in engines for note in engine.notes]
    image = next((engine.started.image for engine in engines if engine.started.image), "")
    image = image or next((each.image for each in followed if each.image), "")
    models = list(dict.fromkeys(engine.model for engine in engines))
    if len(models) > 1:
        other = next(engine for engine in engines if engine.model != models[0])
        message = f"serves {other.model}, {engines[0].where} serves {models[0]}; a layout has one model"
        raise fault(other.started.file, other.started.line, message, hint="import what serves each of them on its own")
    devices = _devices(engines, groups, hardware, image)
    proxy = _proxy([start for each in followed for start in each.proxies], followed, groups, notes)
    nodes = tuple(_foreign_nodes(groups, _own_addresses(groups, followed)))
    notes = list(dict.fromkeys(notes))
    return Foreign(name, "", models[0], devices, nodes, tuple(notes), proxy, image, version)


def _spread(engine: Engine) -> bool:
    """Whether it is one of several processes of a group."""
    several = engine.number("data-parallel-size", 1) > 1
    alone = engine.number("data-parallel-size-local", 0) == engine.number("data-parallel-size", 1)
    return engine.number("nnodes", 1) > 1 or engine.flag("data-parallel-rank") is not None or (several and not alone)


def _key(engine: Engine) -> tuple[object, ...]:
    meet = engine.flag("data-parallel-address") or engine.flag("master-addr")
    sizes = tuple(engine.number(each, 1) for each in ("data-parallel-size", "nnodes", *_WIDTHS))
    transfer = engine.flag("kv-transfer-config")
    engine_id = transfer.get("engine_id") if isinstance(transfer, dict) else None
    return (engine.role, *sizes, repr(meet), repr(engine_id) if isinstance(meet, str) and is_open(meet) else "")


def _grouped(engines: Sequence[Engine]) -> list[_Group]:
    """Engines that meet at one address are a group, by nodes; one that meets nobody is a group of its own."""
    groups: dict[object, _Group] = {}
    by_node: dict[object, _Node] = {}
    for at, engine in enumerate(engines):
        key: object = _key(engine) if _spread(engine) else at
        if (
            isinstance(key, tuple)
            and engine.flag("data-parallel-address") is None
            and engine.flag("master-addr") is None
        ):
            meeting = (each for each in groups if isinstance(each, tuple) and each[: len(key) - 2] == key[:-2])
            key = next(meeting, key)
        group = groups.setdefault(key, _Group())
        node = engine.started.node or f"{engine.started.file}#{engine.started.way}"
        external = engine.flag("data-parallel-rank") is not None
        found = by_node.get((key, node)) if external else None
        if found is None or _collides(engine, found):
            found = by_node[key, node] = _Node(engine.place, [])
            group.nodes.append(found)
        found.engines.append(engine)
    order = {"prefill": 0, "decode": 1, "mixed": 2}
    return sorted(groups.values(), key=lambda group: order[group.first.role])


def _collides(engine: Engine, node: _Node) -> bool:
    """Whether an engine must be on another node than these: its devices, or without any said its port, are theirs."""
    mine = {each for each in engine.env.get(DEVICES, "").split(",") if each}
    for other in node.engines:
        theirs = {each for each in other.env.get(DEVICES, "").split(",") if each}
        if mine & theirs or (not mine and not theirs and engine.flag("port") == other.flag("port")):
            return True
    return False


def _refuse_alternatives(engines: Sequence[Engine], questions: Sequence[Question]) -> None:
    """Engines that one script starts one or the other of must be parts of one deployment. Raises FileError."""
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


def _placed(group: _Group) -> list[str]:
    """Put a group's nodes in order, and make up those that a script stands for. Raises FileError for two at one place."""
    notes: list[str] = []
    for node in group.nodes:
        node.engines.sort(key=lambda engine: engine.place or 0)
        node.place = node.engines[0].place
    step, count = group.step, group.count
    taken: dict[int, _Node] = {}
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
            notes.append(f"{last.engines[0].where}: is for a further node of its group; the layout is the whole group")
        elif not group.external:
            further = (
                "the second node of its group is" if count == 2 else f"the {count - 1} further nodes of its group are"
            )
            notes.append(f"{last.engines[0].where}: {further} made like it")
        else:
            notes.append(f"{last.engines[0].where}: one engine stands for all {count * group.local} of its group")
    else:
        for at in missing:
            taken[at] = _Node(at * step, last.engines)
        if missing and (missing != [0] or not open_nodes):
            listed = ", ".join(map(str, missing))
            notes.append(f"{last.engines[0].where}: nodes {listed} of its group are made like it")
    group.nodes = [taken[at] for at in sorted(taken)]
    for at, node in zip(sorted(taken), group.nodes, strict=True):
        node.place = at * step
    return notes


def _foreign_nodes(groups: Sequence[_Group], own: Mapping[str, int]) -> Iterator[ForeignNode]:
    for number, group in enumerate(groups):
        copies = len(group.nodes) == 1 and group.count > 1
        head = group.nodes[0].index
        rows = [
            _rank(group, node, engine, local, head, own)
            for node in group.nodes
            for local, engine in enumerate(node.engines)
        ]
        ranks = marked_by_rank(rows)
        for node in group.nodes:
            mine, ranks = tuple(ranks[: len(node.engines)]), ranks[len(node.engines) :]
            local = group.first.local or (group.local if group.external else 0)
            yield ForeignNode(node.index, group.first.role, mine, f"group-{number}", copies, local)


def _own_addresses(groups: Sequence[_Group], followed: Sequence[Followed]) -> dict[str, int]:
    """Addresses and host names that stand in the files, and the node each belongs to."""
    found: dict[str, set[int]] = {}
    nodes = [node for group in groups for node in group.nodes]
    for node in nodes:
        if _ADDRESS.fullmatch(node.label):
            found.setdefault(node.label, set()).add(node.index)
    for group in groups:
        for node in group.nodes:
            env = node.engines[0].started.env
            for name in ("HCCL_IF_IP", "VLLM_HOST_IP"):
                if _ADDRESS.fullmatch(text := env.get(name, "")):
                    found.setdefault(text, set()).add(node.index)
        meet = group.first.flag("data-parallel-address") or group.first.flag("master-addr")
        if isinstance(meet, str) and _ADDRESS.fullmatch(meet) and group.count > 1:
            found.setdefault(meet, set()).add(group.nodes[0].index)
    for each in followed:
        for text, label in each.hosts.items():
            found.setdefault(text, set()).update(node.index for node in nodes if node.label == label)
    return {text: min(indexes) for text, indexes in found.items() if indexes and not text.startswith("127.")}


def _rank(group: _Group, node: _Node, engine: Engine, local: int, head: int, own: Mapping[str, int]) -> ForeignRank:
    """An engine as its node and rank have it, addresses as marks."""
    args = dict(engine.args)
    place = (node.place or 0) + (local if group.external else 0)

    def put(name: str, value: JsonValue) -> None:
        for key in [key for key in args if flag_name(key) == name]:
            args[key] = value

    for name in ("data-parallel-rank", "data-parallel-start-rank"):
        put(name, place)
    put("node-rank", place)
    put("data-parallel-address", mark("node", head))
    put("master-addr", mark("node", head))
    if group.count == 1 and not group.external:
        args = {key: value for key, value in args.items() if flag_name(key) not in _MEETING}
    facts = {
        "address": address_of(node.index),
        "dp_address": address_of(head),
        "nic": NIC,
        "port": str(engine.number("port", 8000)),
        "dp_rank": str(place),
        "local_rank": str(local),
        "devices": engine.env.get(DEVICES, ""),
    }

    def addressed(value: JsonValue) -> JsonValue:
        if isinstance(value, dict):
            return {key: addressed(item) for key, item in value.items()}
        if isinstance(value, list):
            return [addressed(item) for item in value]
        if not isinstance(value, str):
            return value
        for text, index in own.items():
            name = "local" if index == node.index else "node"
            value = re.sub(rf"(?<![\w.-]){re.escape(text)}(?![\w.-])", lambda _, i=index, n=name: mark(n, i), value)  # type: ignore[misc]
        return value

    left = {key: addressed(value) for key, value in args.items()}
    env = {key: str(addressed(value)) for key, value in engine.env.items()}
    return ForeignRank(left, env, facts)


def _devices(engines: Sequence[Engine], groups: Sequence[_Group], hardware: str, image: str) -> int:
    """Devices of a node: of the named hardware, of the image's, else of the smallest that has enough."""
    if hardware in HARDWARE:
        return HARDWARE[hardware].devices
    wanted = 1
    for group in groups:
        width = 1
        for name in _WIDTHS:
            width *= group.first.number(name, 1)
        engines_on_node = max(group.local, 1)
        wanted = max(wanted, width * engines_on_node // (group.spans if group.size == 1 else 1))
    for engine in engines:
        visible = engine.env.get(DEVICES, "").split(",")
        wanted = max(
            wanted, 1 + max((int(each) for each in visible if re.fullmatch(r"\s*[0-9]{1,3}\s*", each)), default=0)
        )
    suffix = re.search(r"-(a[0-9])\b", image.rpartition(":")[2])
    if suffix and suffix[1] in HARDWARE and HARDWARE[suffix[1]].devices >= wanted:
        return HARDWARE[suffix[1]].devices
    return next((each.devices for each in HARDWARE.values() if each.devices >= wanted), wanted)


def _proxy(
    starts: Sequence[ProxyStart], followed: Sequence[Followed], groups: Sequence[_Group], notes: list[str]
) -> ForeignProxy | None:
    """The proxy that the files start; its lists are computed, and compared with what is started."""
    if not starts:
        return None
    start = starts[0]
    notes += [f"{each.file}:{each.line}: a second proxy is left out; a layout has one" for each in starts[1:]]
    args, doubts = parse_words(start.words)
    notes += [f"{start.file}:{start.line}: {doubt}" for doubt in doubts]
    unknowns = followed[0].unknowns
    for side, role in (("prefiller", "prefill"), ("decoder", "decode"), ("dp", "mixed")):
        hosts, _ = args.pop(f"{side}-hosts", None), args.pop(f"{side}-ports", None)
        extra = [key for key in (f"{side}-hosts-num", f"{side}-ports-inc") if args.pop(key, None) is not None]
        listed = len(hosts) if isinstance(hosts, list) else 0 if hosts is None else 1
        serving = sum(_serving(group) for group in groups if group.first.role == role)
        if listed and not extra and serving and listed != serving:
            message = (
                f"its --{side}-hosts lists {listed} engines, {serving} are started; the layout's proxy lists those"
            )
            notes.append(f"{start.file}:{start.line}: {message}")
    port, host = args.pop("port", 8000), args.pop("host", "localhost")
    if not isinstance(port, int):
        inner = unknowns.within(str(port))
        hint = f"give it: {names(inner)}" if inner else ""
        raise fault(start.file, start.line, f"the proxy's port is {unknowns.shown(str(port))}", "--port", hint)
    local = isinstance(host, str) and host in ("localhost", "127.0.0.1", "::1")
    kept = {key: value for key, value in args.items() if not is_open(str(value))}
    notes += [
        f"{start.file}:{start.line}: --{key} {unknowns.shown(str(value))}: not known here; left out"
        for key, value in args.items()
        if key not in kept
    ]
    script = start.script if start.script.startswith("/") and not is_open(start.script) else ""
    return ForeignProxy(port, start.kind, str(host) if local else _LOCAL, script, kept)  # type: ignore[arg-type]


def _serving(group: _Group) -> int:
    """Engines of a group with a server of their own."""
    if group.external:
        return group.size
    return len(group.nodes) if group.first.flag("data-parallel-hybrid-lb") is True else 1
