"""Builds one deployment from the engines of imported files: groups, nodes, and differences by rank."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from pydantic import JsonValue

from console.model.errors import FileError
from console.model.hardware import HARDWARE
from console.model.layout import flag_name
from console.model.service_process import ServiceProcess
from console.services.importing.engines import ADDRESS, DEVICES, WIDTHS, Engine, engine_of
from console.services.importing.external_deployment import (
    ExternalDeployment,
    ExternalNode,
    ExternalProxy,
    ExternalRank,
    parse_words,
)
from console.services.importing.grouping import (
    EngineGroup,
    PlacedNode,
    grouped,
    node_label,
    place,
    refuse_alternatives,
)
from console.services.importing.rank_differences import marked_by_rank
from console.services.importing.rank_marks import NIC, address_of, mark
from console.services.importing.shell_scripts import Followed, ProxyStart, ServiceStart, fault, is_open, names

_LOCAL = "0.0.0.0"
_MEETING = ("data-parallel-address", "data-parallel-rpc-port", "data-parallel-start-rank")
"""Flags that say nothing where a group is one process."""
_SIZES = ("data-parallel-size", "data-parallel-size-local")
"""Flags that say nothing where a group is one rank."""
_SERVING = ("host", "port", "api-server-count")
"""Flags of a server, which a headless engine has none of."""


def deployed(followed: Sequence[Followed], name: str, *, hardware: str = "", version: str = "") -> ExternalDeployment:
    """One deployment of everything that the files start. Raises FileError when it is not one, or when a value is unknown."""
    engines: list[Engine] = []
    for each in followed:
        engines += _engines(each)
    notes = [note for each in followed for note in each.notes]
    groups = grouped(engines)
    refuse_alternatives(engines, [question for each in followed for question in each.questions])
    index = 0
    for group in groups:
        notes += place(group)
        for node in group.nodes:
            node.index, index = index, index + 1
    notes += [note for engine in engines for note in engine.notes]
    notes += _shared_nodes(groups)
    image = next((engine.started.image for engine in engines if engine.started.image), "")
    image = image or next((each.image for each in followed if each.image), "")
    models = list(dict.fromkeys(engine.model for engine in engines))
    if len(models) > 1:
        other = next(engine for engine in engines if engine.model != models[0])
        message = f"serves {other.model}, {engines[0].where} serves {models[0]}; a layout has one model"
        raise fault(other.started.file, other.started.line, message, hint="import the files of each model separately")
    devices = _devices(engines, groups, hardware, image)
    proxy = _proxy([start for each in followed for start in each.proxies], followed, groups, notes)
    nodes = tuple(_external_nodes(groups, _own_addresses(groups, followed)))
    services = _services([start for each in followed for start in each.services], notes)
    return ExternalDeployment(
        name,
        "",
        models[0],
        devices,
        nodes,
        tuple(dict.fromkeys(notes)),
        proxy,
        image,
        version,
        _named(hardware, image),
        services,
    )


def _engines(followed: Followed) -> list[Engine]:
    """The engines of one source. A missing value may be set in a file that was not given: the hint then says so."""
    try:
        return [engine_of(started, followed.unknowns) for started in followed.started]
    except FileError as error:
        unread = [note for note in followed.notes if "import FILE" in note]
        hint = "; ".join(filter(None, (error.hint, *unread[:1])))
        raise FileError(error.problems, hint=hint) from None


def _named(hardware: str, image: str) -> str:
    """The kind of hardware that the option or the tag of the image names."""
    suffix = re.search(r"-(a[0-9])\b", image.rpartition(":")[2])
    return hardware or (suffix[1] if suffix and suffix[1] in HARDWARE else "")


def _services(starts: Sequence[ServiceStart], notes: list[str]) -> dict[str, ServiceProcess]:
    """The services beside the engines, by name; the name of a flag tells which one is the port."""
    services: dict[str, ServiceProcess] = {}
    for start in starts:
        base = start.words[0].rpartition("/")[2].replace("_", "-")
        name = base if base not in services else f"{base}-{len(services) + 1}"
        found = re.search(r"(?:^| )--?(?:rpc[_-])?port[= ]([0-9]{1,5})(?= |$)", " ".join(start.words))
        port = int(found[1]) if found and 0 < int(found[1]) < 65536 else None
        services[name] = ServiceProcess(command=start.words, port=port)
        where = "on the first node of the first group; say another by its `node`"
        notes.append(f"{start.file}:{start.line}: becomes the service {name}, started before the engines {where}")
    return services


def _shared_nodes(groups: Sequence[EngineGroup]) -> Iterator[str]:
    """Notes on groups that the files start on one node, each on its own devices: a layout cannot say that groups share a node."""
    by_node: dict[str, dict[int, set[str]]] = {}
    for number, group in enumerate(groups):
        for node in group.nodes:
            for engine in node.engines:
                devices = {each for each in engine.env.get(DEVICES, "").split(",") if each}
                by_node.setdefault(node_label(engine), {}).setdefault(number, set()).update(devices)
    for sharing in by_node.values():
        many = [devices for devices in sharing.values() if devices]
        if len(many) > 1 and sum(map(len, many)) == len(set().union(*many)):
            places = " and ".join(groups[number].first.where for number in sharing)
            yield f"{places}: are started on one node, on devices of their own; assign it to each of their groups"


def _external_nodes(groups: Sequence[EngineGroup], own: Mapping[str, int]) -> Iterator[ExternalNode]:
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
            yield ExternalNode(node.index, group.first.role, mine, f"group-{number}", copies, local)


def _own_addresses(groups: Sequence[EngineGroup], followed: Sequence[Followed]) -> dict[str, int]:
    """Addresses and host names in the files, and the node of each."""
    found: dict[str, set[int]] = {}
    nodes = [node for group in groups for node in group.nodes]
    for node in nodes:
        if ADDRESS.fullmatch(node.label):
            found.setdefault(node.label, set()).add(node.index)
        if node.engines[0].own_address:
            found.setdefault(node.engines[0].own_address, set()).add(node.index)
    for group in groups:
        meet = group.first.flag("data-parallel-address") or group.first.flag("master-addr")
        if isinstance(meet, str) and ADDRESS.fullmatch(meet) and group.count > 1:
            found.setdefault(meet, set()).add(group.nodes[0].index)
    for each in followed:
        for text, label in each.hosts.items():
            found.setdefault(text, set()).update(node.index for node in nodes if node.label == label)
    return {text: min(indexes) for text, indexes in found.items() if indexes and not text.startswith("127.")}


def _rank(
    group: EngineGroup, node: PlacedNode, engine: Engine, local: int, head: int, own: Mapping[str, int]
) -> ExternalRank:
    """An engine as it is on its node and rank, with addresses as marks."""
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
    if engine.flag("headless") is not None:
        args = {key: value for key, value in args.items() if flag_name(key) not in _SERVING}
    if group.count == 1 and not group.external:
        silent = _MEETING if engine.number("data-parallel-size", 1) > 1 else (*_MEETING, *_SIZES)
        args = {key: value for key, value in args.items() if flag_name(key) not in silent}
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
    return ExternalRank(left, env, facts)


def _devices(engines: Sequence[Engine], groups: Sequence[EngineGroup], hardware: str, image: str) -> int:
    """The number of devices of a node: that of the named hardware, of the image's, else of the smallest kind that has enough."""
    if hardware in HARDWARE:
        return HARDWARE[hardware].devices
    wanted = 1
    for group in groups:
        width = 1
        for name in WIDTHS:
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
    starts: Sequence[ProxyStart], followed: Sequence[Followed], groups: Sequence[EngineGroup], notes: list[str]
) -> ExternalProxy | None:
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
    return ExternalProxy(port, start.kind, str(host) if local else _LOCAL, script, kept)  # type: ignore[arg-type]


def _serving(group: EngineGroup) -> int:
    """Engines of a group with a server of their own."""
    if group.external:
        return group.size
    return len(group.nodes) if group.first.flag("data-parallel-hybrid-lb") is True else 1
