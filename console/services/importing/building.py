"""From a foreign deployment to a layout that starts the same: what the console computes anyway is left out, the rest is kept.

The layout is built, its ranks are computed as for a launch, and only what differs from the file is written down. So whatever the
console computes differently shows in the layout instead of getting lost.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from pydantic import JsonValue

from console.commands.serve import computed_flags, rank_fact, serve_command
from console.model.cluster import HARDWARE, Cluster, Hardware, Node
from console.model.deployment import Assignment, Deployment, Rank
from console.model.facts import FACTS
from console.model.layout import (
    Balance,
    DataParallel,
    Group,
    KvTransfer,
    Layout,
    Model,
    NodeChange,
    Proxy,
    flag_name,
)
from console.services.importing.foreign import NIC, Foreign, ForeignNode, ForeignRank, address_of, same

_RPC_DEFAULT = 29550
_HTTP_DEFAULT = 8000
Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Imported:
    """A layout and what an operator should know about how it came to be."""

    layout: Layout
    warnings: tuple[str, ...]


def build(foreign: Foreign) -> Imported:
    """The layout that starts what the foreign file starts. ValueError (pydantic's) when no layout can hold it."""
    warnings = list(foreign.warnings)
    members = _grouped(foreign.nodes)
    bare = {name: _bare(nodes, foreign, warnings, name) for name, nodes in members.items()}
    layout = Layout(
        name=_plain(foreign.name),
        title=foreign.title,
        hardware=_hardware(foreign.devices),
        model=Model(path=foreign.model, served_name=_served(foreign.nodes)),
        groups=bare,
        proxy=_proxy(foreign, bare, warnings),
    )
    layout = _with_transfer(layout, members)
    groups = dict(layout.groups)
    deployment = _deployment(layout, members)
    for name, nodes in members.items():
        groups[name] = _filled(deployment, name, nodes, warnings)
    return Imported(layout.model_copy(update={"groups": groups}), tuple(dict.fromkeys(warnings)))


def placed(layout: Layout, foreign: Foreign) -> Deployment:
    """The layout on the made-up nodes of the file it came from, for comparing the two."""
    return _deployment(layout, _grouped(foreign.nodes))


def _grouped(nodes: Sequence[ForeignNode]) -> dict[str, list[ForeignNode]]:
    """Nodes of one role that meet at one address are a group; a second group of a role is called ROLE-2."""
    found: dict[tuple[str, object], list[ForeignNode]] = {}
    for node in nodes:
        first = node.ranks[0].args
        meet = flag(first, "data-parallel-address")
        several = (whole(flag(first, "data-parallel-size")) or 1) > local_size(node)
        key = (node.role, meet if several and meet is not None else node.index)
        found.setdefault(key, []).append(node)
    named: dict[str, list[ForeignNode]] = {}
    for (role, _), group in found.items():
        same_role = sum(name.split("-")[0] == role for name in named)
        named[f"{role}-{same_role + 1}" if same_role else role] = group
    order = {"prefill": 0, "decode": 1, "mixed": 2}
    return dict(sorted(named.items(), key=lambda item: order[item[1][0].role]))


def flag(args: Mapping[str, JsonValue], name: str) -> JsonValue:
    """A flag's value however it is spelt; None when absent."""
    return next((value for key, value in args.items() if flag_name(key) == name), None)


def whole(value: JsonValue) -> int | None:
    """A whole number or None."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def local_size(node: ForeignNode) -> int:
    """Data-parallel ranks of a node: its processes, or what its one process carries."""
    first = node.ranks[0].args
    if len(node.ranks) > 1 or flag(first, "data-parallel-rank") is not None:
        return len(node.ranks)
    return whole(flag(first, "data-parallel-size-local")) or whole(flag(first, "data-parallel-size")) or 1


def _bare(nodes: list[ForeignNode], foreign: Foreign, warnings: list[str], name: str) -> Group:
    first = nodes[0].ranks[0].args
    size = whole(flag(first, "data-parallel-size")) or 1
    local = local_size(nodes[0])
    count = max(1, size // local) if foreign.copies else len(nodes)
    if count * local != size:
        warnings.append(f"{name}: {count} nodes × {local} ranks are not the {size} ranks the file says")
    width = 1
    for each in ("tensor-parallel-size", "pipeline-parallel-size", "prefill-context-parallel-size"):
        width *= whole(flag(first, each)) or 1
    if local * width < foreign.devices:
        warnings.append(f"{name}: uses {local * width} of the {foreign.devices} devices of a node")
    return Group(
        role=nodes[0].role,
        nodes=count,
        tensor_parallel=whole(flag(first, "tensor-parallel-size")) or 1,
        pipeline_parallel=whole(flag(first, "pipeline-parallel-size")) or 1,
        prefill_context_parallel=whole(flag(first, "prefill-context-parallel-size")) or 1,
        data_parallel=DataParallel(
            size=size,
            per_node=local,
            balance=_balance(nodes[0]),
            rpc_port=whole(flag(first, "data-parallel-rpc-port")) or _RPC_DEFAULT,
        ),
        port=whole(flag(first, "port")) or _HTTP_DEFAULT,
    )


def _balance(node: ForeignNode) -> Balance:
    first = node.ranks[0].args
    if flag(first, "data-parallel-rank") is not None or len(node.ranks) > 1:
        return "external"
    return "hybrid" if flag(first, "data-parallel-hybrid-lb") is True else "internal"


def _hardware(devices: int) -> Hardware:
    known = next((each for each in HARDWARE.values() if each.devices == devices), None)
    return known or Hardware(name=f"npu-{devices}", devices=devices, hbm_mib=0)


def _served(nodes: Sequence[ForeignNode]) -> str:
    names = {str(flag(rank.args, "served-model-name") or "") for node in nodes for rank in node.ranks}
    alone = names.pop() if len(names) == 1 else ""
    return alone if not alone.startswith("[") else ""


def _plain(name: str) -> str:
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-._")[:64]
    return plain or "imported"


def _proxy(foreign: Foreign, groups: Mapping[str, Group], warnings: list[str]) -> Proxy | None:
    if foreign.proxy_port is None:
        return None
    connectors = {
        str(transfer.get("kv_connector"))
        for node in foreign.nodes
        if isinstance(transfer := flag(node.ranks[0].args, "kv-transfer-config"), dict)
    }
    layerwise = any("Layerwise" in connector for connector in connectors)
    if layerwise:
        warnings.append("the Layerwise connector needs the layerwise proxy; the layout starts that one")
    first = next(iter(groups))
    return Proxy(kind="layerwise" if layerwise else "load-balance", node=f"{first}/0", port=foreign.proxy_port)


def _with_transfer(layout: Layout, members: Mapping[str, list[ForeignNode]]) -> Layout:
    """The layout with a `kv_transfer` in every group whose written configuration one can say exactly."""
    for name, nodes in members.items():
        written = [flag(rank.args, "kv-transfer-config") for node in nodes for rank in node.ranks[:1]]
        transfer = _transfer(layout, name, written)
        if transfer is None:
            continue
        group = layout.groups[name].model_copy(update={"kv_transfer": transfer})
        trial = layout.model_copy(update={"groups": {**layout.groups, name: group}})
        if all(trial.kv_transfer_config(name, place) == each for place, each in enumerate(written)):
            layout = trial
    return layout


def _transfer(layout: Layout, name: str, written: list[JsonValue]) -> KvTransfer | None:
    first = written[0]
    if not isinstance(first, dict) or not all(isinstance(each, dict) for each in written):
        return None
    port = first.get("kv_port")
    connector = first.get("kv_connector")
    number = int(port) if isinstance(port, str) and port.isdecimal() else whole(port)
    if number is None or not 0 < number < 65536 or not isinstance(connector, str):
        return None
    ids = [each.get("engine_id") for each in written if isinstance(each, dict)]
    engine_id = None
    if all(isinstance(each, str) for each in ids):
        texts = tuple(str(each) for each in ids)
        engine_id = texts[0] if len(set(texts)) == 1 else texts
    plain = KvTransfer(connector=connector, port=number, engine_id=engine_id)
    group = layout.groups[name].model_copy(update={"kv_transfer": plain})
    computed = layout.model_copy(update={"groups": {**layout.groups, name: group}}).kv_transfer_config(name) or {}
    sizes = computed.get("kv_connector_extra_config")
    extra = first.get("kv_connector_extra_config")
    extra = extra if isinstance(extra, dict) else {}
    sizes = sizes if isinstance(sizes, dict) else {}
    own = ("kv_connector", "kv_connector_extra_config", "engine_id")
    return plain.model_copy(
        update={
            "extra": {key: value for key, value in extra.items() if sizes.get(key) != value},
            "further": {key: value for key, value in first.items() if key not in own and computed.get(key) != value},
        }
    )


def _deployment(layout: Layout, members: Mapping[str, list[ForeignNode]]) -> Deployment:
    nodes: dict[str, Node] = {}
    assignment: dict[str, tuple[str, ...]] = {}
    for name, group in members.items():
        count = layout.groups[name].nodes
        indexes = [node.index for node in group] if len(group) == count else list(range(count))
        assignment[name] = tuple(f"node-{index}" for index in indexes)
        for index in indexes:
            host = address_of(index)
            nodes[f"node-{index}"] = Node(name=f"node-{index}", host=host, nic=NIC, hardware=layout.hardware)
    first = min(nodes, key=lambda name: int(name.split("-")[1]))
    assert first
    return Deployment(Cluster(name="imported", nodes=nodes), layout, Assignment(assignment))


def _filled(deployment: Deployment, name: str, nodes: list[ForeignNode], warnings: list[str]) -> Group:
    group = deployment.layout.groups[name]
    ranks = [rank for rank in deployment.ranks() if rank.group == name]
    theirs = [rank for node in nodes for rank in node.ranks]
    pairs = list(zip(ranks, theirs, strict=False))
    args: dict[int, dict[str, JsonValue]] = {}
    for rank, foreign in pairs:
        own = _kept_args(deployment, rank, foreign)
        if args.setdefault(rank.position, own) != own:
            warnings.append(
                f"{name}: the engines of node {rank.position} have different flags; the first one's are taken"
            )
    env_from = dict(_facts(deployment, pairs))
    env: dict[int, dict[str, str]] = {}
    for rank, foreign in pairs:
        variables = _kept_env(deployment, rank, foreign, env_from, warnings)
        if env.setdefault(rank.position, variables) != variables:
            warnings.append(
                f"{name}: the engines of node {rank.position} have different variables; the first one's are taken"
            )
    common_args, args_by = _shared(args)
    common_env, env_by = _shared(env)
    by_node = {
        place: NodeChange(env=env_by.get(place, {}), args=args_by.get(place, {}))
        for place in sorted({*args_by, *env_by})
    }
    warnings += [
        f"{name}: {what} holds a made-up address; write the real one" for what in _leaks(args, env, {0: env_from})
    ]
    filled: dict[str, object] = {"args": common_args, "env": common_env, "env_from": env_from, "by_node": by_node}
    return group.model_copy(update=filled)


def _leaks(args: Mapping[int, Mapping[str, JsonValue]], *env: Mapping[int, Mapping[str, str]]) -> Iterator[str]:
    """What would carry an address of ours, made up for reading the file, into the layout."""
    for written in (*args.values(), *(one for each in env for one in each.values())):
        for key, value in written.items():
            if re.search(r"192\.0\.2\.\d", str(value)):
                yield key


def _kept_args(deployment: Deployment, rank: Rank, foreign: ForeignRank) -> dict[str, JsonValue]:
    computed = computed_flags(deployment, rank)
    kept = {
        key: value
        for key, value in foreign.args.items()
        if flag_name(key) not in computed or not same(value, computed[flag_name(key)])
    }
    present = {flag_name(key) for key in foreign.args}
    return {**kept, **{key: None for key in computed if key not in present}}


def _facts(deployment: Deployment, pairs: Sequence[tuple[Rank, ForeignRank]]) -> Iterator[tuple[str, str]]:
    """Variables that were written with a placeholder → the fact, or the text with facts, that gives every rank its value."""
    for name in dict.fromkeys(name for _, foreign in pairs for name in foreign.env):
        if name in serve_command(deployment, pairs[0][0]).env or not all(
            name in foreign.templated for _, foreign in pairs
        ):
            continue
        for text in _candidates(deployment, pairs[0][0], pairs[0][1].env[name]):
            if all(rank_fact(deployment, rank, text) == foreign.env.get(name) for rank, foreign in pairs):
                yield name, text
                break


def _candidates(deployment: Deployment, rank: Rank, value: str) -> Iterator[str]:
    """The facts themselves, then the value with an address, an address and the port, or the port put back as facts."""
    yield from FACTS
    port = rank_fact(deployment, rank, "port") or "\0"
    for fact in FACTS[:4]:
        known = rank_fact(deployment, rank, fact)
        if known and known in value:
            text = value.replace(known, f"{{{fact}}}")
            yield text
            yield text.replace(port, "{port}")
    if port in value:
        yield value.replace(port, "{port}")


def _kept_env(
    deployment: Deployment, rank: Rank, foreign: ForeignRank, filled: Mapping[str, str], warnings: list[str]
) -> dict[str, str]:
    computed = serve_command(deployment, rank).env
    kept: dict[str, str] = {}
    for name, value in foreign.env.items():
        if name in computed and computed[name] != value:
            warnings.append(f"{rank.group}: {name} is computed as {computed[name]}; the file's {value!r} is not taken")
        elif name not in computed and name not in filled:
            kept[name] = value
    return kept


def _shared(by_node: Mapping[int, Mapping[str, Value]]) -> tuple[dict[str, Value], dict[int, dict[str, Value]]]:
    """What every node has, with the value most of them have, and per node what is there besides or has another value."""
    first = next(iter(by_node.values()))
    common: dict[str, Value] = {}
    for name in first:
        values = [values[name] for values in by_node.values() if name in values]
        if len(values) == len(by_node):
            usual = Counter(map(repr, values)).most_common(1)[0][0]
            common[name] = next(value for value in values if repr(value) == usual)
    different = {
        place: {key: value for key, value in own.items() if key not in common or common[key] != value}
        for place, own in by_node.items()
    }
    return common, {place: change for place, change in different.items() if change}


def renamed(imported: Imported, name: str) -> Imported:
    """The same under another name."""
    return replace(imported, layout=imported.layout.model_copy(update={"name": _plain(name)}))
