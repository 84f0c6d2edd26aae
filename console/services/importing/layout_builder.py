"""Makes the layout that starts an imported deployment. It leaves out what the console computes, and keeps the rest.

It builds the layout, computes its ranks as for a start, and writes only what differs from the file. So a value that the console
computes differently is kept in the layout instead of being lost.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from pydantic import JsonValue

from console.model.cluster import Cluster, Node
from console.model.deployment import Assignment, Deployment
from console.model.hardware import HARDWARE, Hardware
from console.model.layout import (
    Balance,
    DataParallel,
    Group,
    KvTransfer,
    Layout,
    Model,
    NodeChange,
    Proxy,
    ProxyKind,
    flag_name,
)
from console.services.importing.external_deployment import RPC_DEFAULT, ExternalDeployment, ExternalNode
from console.services.importing.layout_values import filled
from console.services.importing.rank_marks import NIC, LayoutPosition, address_of, marked

_HTTP_DEFAULT = 8000
_RANKS = ("node-rank", "data-parallel-rank", "data-parallel-start-rank")


@dataclass(frozen=True, slots=True)
class Imported:
    """A layout, and notes for the operator about the import."""

    layout: Layout
    warnings: tuple[str, ...]


def build(foreign: ExternalDeployment) -> Imported:
    """The layout that starts the imported deployment. Raises ValueError (of pydantic) when a layout cannot hold it."""
    warnings = list(foreign.warnings)
    members = _grouped(foreign.nodes)
    for name, nodes in members.items():
        warnings += _odd_nodes(name, nodes)
    bare = {name: _bare(nodes, foreign, warnings, name) for name, nodes in members.items()}
    layout = Layout(
        name=_plain(foreign.name),
        title=foreign.title,
        hardware=HARDWARE.get(foreign.hardware) or _hardware(foreign.devices),
        version=foreign.version,
        image=foreign.image,
        model=Model(path=foreign.model, served_name=_served(foreign.nodes)),
        groups=bare,
        services=dict(foreign.services),
        proxy=_proxy(foreign, bare, warnings),
    )
    layout = _with_transfer(layout, members)
    groups = dict(layout.groups)
    deployment = _deployment(layout, members)
    seats = _seats(members)
    for name, nodes in members.items():
        ranks = [rank for rank in deployment.ranks() if rank.group == name]
        theirs = [rank for node in nodes for rank in node.ranks]
        groups[name] = filled(deployment, name, list(zip(ranks, theirs, strict=False)), seats, warnings)
    return Imported(layout.model_copy(update={"groups": groups}), tuple(dict.fromkeys(warnings)))


def placed(layout: Layout, foreign: ExternalDeployment) -> Deployment:
    """The layout on placeholder nodes for those of the file, to compare the two."""
    return _deployment(layout, _grouped(foreign.nodes))


def _grouped(nodes: Sequence[ExternalNode]) -> dict[str, list[ExternalNode]]:
    """Nodes of one role with the same rendezvous address are a group; the second group of a role is ROLE-2."""
    found: dict[tuple[str, object], list[ExternalNode]] = {}
    for node in nodes:
        first = node.ranks[0].args
        spread = (whole(flag(first, "nnodes")) or 1) > 1
        meet = flag(first, "master-addr" if spread else "data-parallel-address")
        several = spread or (whole(flag(first, "data-parallel-size")) or 1) > local_size(node)
        key = (node.role, node.group or (str(meet) if several and meet is not None else node.index))
        found.setdefault(key, []).append(node)
    named: dict[str, list[ExternalNode]] = {}
    for (role, _), group in found.items():
        group.sort(key=_first_rank)
        same_role = sum(name.split("-")[0] == role for name in named)
        named[f"{role}-{same_role + 1}" if same_role else role] = group
    order = {"prefill": 0, "decode": 1, "mixed": 2}
    return dict(sorted(named.items(), key=lambda item: order[item[1][0].role]))


def _first_rank(node: ExternalNode) -> int:
    """The first data-parallel rank of a node; 0 when the file does not say."""
    args = node.ranks[0].args
    return next((rank for name in _RANKS if (rank := whole(flag(args, name))) is not None), 0)


def _odd_nodes(name: str, nodes: list[ExternalNode]) -> list[str]:
    """Notes on an unusual arrangement of the nodes of a group."""
    odd = []
    if [node.index for node in nodes] != sorted(node.index for node in nodes):
        order = ", ".join(str(node.index) for node in nodes)
        odd.append(f"{name}: its ranks are on the file's nodes {order} in this order; assign yours so")
    if len(sizes := {local_size(node) for node in nodes}) > 1:
        many = " and ".join(map(str, sorted(sizes)))
        odd.append(f"{name}: its nodes run {many} ranks; in a layout all nodes of a group run equally many")
    return odd


def _seats(members: Mapping[str, list[ExternalNode]]) -> dict[int, LayoutPosition]:
    first = next(iter(members.values()))[0].index
    return {
        node.index: LayoutPosition(node.index, name, position, nodes[0].index, first)
        for name, nodes in members.items()
        for position, node in enumerate(nodes)
    }


def flag(args: Mapping[str, JsonValue], name: str) -> JsonValue:
    """A flag's value however it is spelt; None when absent."""
    return next((value for key, value in args.items() if flag_name(key) == name), None)


def whole(value: JsonValue) -> int | None:
    """A whole number or None."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def local_size(node: ExternalNode) -> int:
    """The number of data-parallel ranks of a node: its processes, or the ranks of its one process."""
    first = node.ranks[0].args
    if node.local:
        return node.local
    if len(node.ranks) > 1 or flag(first, "data-parallel-rank") is not None:
        return len(node.ranks)
    return whole(flag(first, "data-parallel-size-local")) or whole(flag(first, "data-parallel-size")) or 1


def _bare(nodes: list[ExternalNode], foreign: ExternalDeployment, warnings: list[str], name: str) -> Group:
    first = nodes[0].ranks[0].args
    size = whole(flag(first, "data-parallel-size")) or 1
    local = local_size(nodes[0])
    spread = whole(flag(first, "nnodes")) or 1
    copied = max(1, size // local, spread)
    count = copied if any(node.copies for node in nodes) else len(nodes)
    spans = _spans(name, count, local, size, spread, warnings)
    width = 1
    for each in ("tensor-parallel-size", "pipeline-parallel-size", "prefill-context-parallel-size"):
        width *= whole(flag(first, each)) or 1
    used = local * -(-width // spans)
    if used < foreign.devices:
        warnings.append(f"{name}: uses {used} of the {foreign.devices} devices of a node")
    return Group(
        role=nodes[0].role,
        nodes=count,
        nodes_per_engine=spans,
        master_port=whole(flag(first, "master-port")) or Group.model_fields["master_port"].default,
        tensor_parallel=whole(flag(first, "tensor-parallel-size")) or 1,
        pipeline_parallel=whole(flag(first, "pipeline-parallel-size")) or 1,
        prefill_context_parallel=whole(flag(first, "prefill-context-parallel-size")) or 1,
        data_parallel=DataParallel(
            size=size,
            per_node=local,
            balance=_balance(nodes[0]),
            rpc_port=whole(flag(first, "data-parallel-rpc-port")) or RPC_DEFAULT,
        ),
        port=_port(nodes[0]),
        first_device=_first_device(nodes[0], used // local if len(nodes[0].ranks) > 1 else used),
        by_node={
            place: NodeChange(port=_port(node))
            for place, node in enumerate(nodes)
            if _port(node) != _port(nodes[0]) and flag(node.ranks[0].args, "headless") is None
        },
    )


def _spans(name: str, count: int, local: int, size: int, spread: int, warnings: list[str]) -> int:
    """The number of nodes that each engine of a group spans. Adds a note when ranks and nodes do not fit."""
    engines = max(1, size // local)
    if spread == 1 and count * local != size:
        warnings.append(f"{name}: {count} nodes × {local} ranks differ from the {size} ranks in the file")
    if spread > 1 and (spread != count or spread % engines):
        warnings.append(f"{name}: --nnodes {spread} does not fit {count} nodes with {engines} engines over them")
        return 1
    return spread // engines if spread > 1 else 1


def _port(node: ExternalNode) -> int:
    first = node.ranks[0]
    said = whole(flag(first.args, "port"))
    return said if said is not None else int(first.facts.get("port", _HTTP_DEFAULT))


def _first_device(node: ExternalNode, width: int) -> int:
    """The first device that the file gives the first engine of a node, when the devices are consecutive and enough."""
    words = node.ranks[0].env.get("ASCEND_RT_VISIBLE_DEVICES", "").split(",")
    devices = [int(word) for word in words if word.isascii() and word.isdecimal() and len(word) < 5]
    in_a_row = devices == list(range(devices[0], devices[0] + width)) if devices else False
    return devices[0] if in_a_row and len(devices) == len(words) else 0


def _balance(node: ExternalNode) -> Balance:
    first = node.ranks[0].args
    if flag(first, "data-parallel-rank") is not None or len(node.ranks) > 1:
        return "external"
    return "hybrid" if flag(first, "data-parallel-hybrid-lb") is True else "internal"


def _hardware(devices: int) -> Hardware:
    known = next((each for each in HARDWARE.values() if each.devices == devices), None)
    return known or Hardware(name=f"npu-{devices}", devices=devices, hbm_mib=0)


def _served(nodes: Sequence[ExternalNode]) -> str:
    names = {str(flag(rank.args, "served-model-name") or "") for node in nodes for rank in node.ranks}
    alone = names.pop() if len(names) == 1 else ""
    return alone if not alone.startswith("[") else ""


def _plain(name: str) -> str:
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-._")[:64]
    return plain or "imported"


def _proxy(foreign: ExternalDeployment, groups: Mapping[str, Group], warnings: list[str]) -> Proxy | None:
    given = foreign.proxy
    if given is None:
        return None
    connectors = {
        str(transfer.get("kv_connector"))
        for node in foreign.nodes
        if isinstance(transfer := flag(node.ranks[0].args, "kv-transfer-config"), dict)
    }
    layerwise = any("Layerwise" in connector for connector in connectors)
    if layerwise and given.kind != "layerwise":
        warnings.append("the Layerwise connector needs the layerwise proxy, so the layout starts that proxy")
    first = next(iter(groups))
    kind: ProxyKind = "layerwise" if layerwise else given.kind or "load-balance"
    if all(group.role == "mixed" for group in groups.values()):
        kind = "dp"
    same = kind == given.kind
    return Proxy(
        kind=kind,
        node=f"{first}/0",
        host=given.host,
        port=given.port,
        script=given.script if same else "",
        args=dict(given.args),
    )


def _with_transfer(layout: Layout, members: Mapping[str, list[ExternalNode]]) -> Layout:
    """The layout with a `kv_transfer` in every group whose configuration it can express exactly."""
    for name, nodes in members.items():
        written = [flag(rank.args, "kv-transfer-config") for node in nodes for rank in node.ranks[:1]]
        if any(marked(flag(rank.left_args, "kv-transfer-config")) for node in nodes for rank in node.ranks):
            continue
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


def _deployment(layout: Layout, members: Mapping[str, list[ExternalNode]]) -> Deployment:
    nodes: dict[str, Node] = {}
    assignment: dict[str, tuple[str, ...]] = {}
    taken = 1 + max(node.index for group in members.values() for node in group)
    for name, group in members.items():
        count = layout.groups[name].nodes
        indexes = [node.index for node in group]
        indexes += range(taken, taken + count - len(group))
        taken = max(taken, *(index + 1 for index in indexes))
        assignment[name] = tuple(f"node-{index}" for index in indexes)
        for index in indexes:
            host = address_of(index)
            nodes[f"node-{index}"] = Node(name=f"node-{index}", host=host, nic=NIC, hardware=layout.hardware)
    return Deployment(Cluster(name="imported", nodes=nodes), layout, Assignment(assignment))


def renamed(imported: Imported, name: str) -> Imported:
    """The same layout with another name."""
    return replace(imported, layout=imported.layout.model_copy(update={"name": _plain(name)}))
