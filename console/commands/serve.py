"""The environment and argv of engines, services and the proxy of a deployment.

All values that depend on the assignment are computed here only. `script` makes the shell script.
"""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import JsonValue

from console.commands.flags import flag_words, json_text
from console.model.api_keys import CLIENT_KEY, proxy_key
from console.model.deployment import Command, Deployment, Rank, is_address
from console.model.layout import Group, Layout, NodeChange, flag_name
from console.model.polling import ENGINE_POLLS
from console.model.rank_facts import FACTS, filled
from console.releases.facts import release_of

INTERFACE_NAMES = ("HCCL_SOCKET_IFNAME", "GLOO_SOCKET_IFNAME", "TP_SOCKET_IFNAME")
"""Variables that name the interface of the service address (the tutorial, section 5.1)."""

_QUIET = "disable-access-log-for-endpoints"
_EXAMPLES = "/vllm-workspace/vllm-ascend/examples"
PROXY_SCRIPTS: Mapping[str, str] = {
    "load-balance": f"{_EXAMPLES}/disaggregated_prefill_v1/load_balance_proxy_server_example.py",
    "layerwise": f"{_EXAMPLES}/disaggregated_prefill_v1/load_balance_proxy_layerwise_server_example.py",
    "dp": f"{_EXAMPLES}/external_online_dp/dp_load_balance_proxy_server.py",
}
"""The example proxies in the vllm-ascend image."""


def serve_command(deployment: Deployment, rank: Rank) -> Command:
    """The environment and argv of an engine; `argv[0]` is `vllm`. Raises KeyError when the layout does not have the group."""
    layout = deployment.layout
    group = layout.groups[rank.group]
    change = group.by_node.get(rank.position, NodeChange())
    left = {key: rank_value(deployment, rank, value) for key, value in {**group.args_from, **change.args_from}.items()}
    args = _merged(layout.args, group.args, change.args, left)
    owned = _owned_flags(deployment, rank, group)
    if rank.headless:  # it starts no API servers, and vLLM refuses a number of them
        args = {key: value for key, value in args.items() if flag_name(key) != "api-server-count"}
    names = {flag_name(key) for key in args}
    computed = {key: value for key, value in owned.items() if key not in names}
    transfer = computed.pop("kv-transfer-config", None)
    words = ["vllm", "serve", layout.model.path, *flag_words(computed), *flag_words(args)]
    if transfer is not None:
        words += ["--kv-transfer-config", json_text(transfer)]
    return Command(_environment(deployment, rank, group, change), tuple(words))


def _merged(*levels: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """The flags of all levels; the last level that has a flag wins, in any spelling."""
    merged: dict[str, JsonValue] = {}
    for level in levels:
        names = {flag_name(key) for key in level if key not in merged}
        merged = {key: value for key, value in merged.items() if key in level or flag_name(key) not in names}
        merged |= level
    return merged


def computed_flags(deployment: Deployment, rank: Rank) -> Mapping[str, JsonValue]:
    """The flags that are computed from assignment and release: name without dashes → value. A flag in `args` replaces it."""
    return _owned_flags(deployment, rank, deployment.layout.groups[rank.group])


def service_command(deployment: Deployment, rank: Rank) -> Command:
    """The environment and argv of a service beside the engines; unknown facts stay in braces.

    Raises KeyError when the layout does not have the service.
    """
    service = deployment.layout.services[rank.id]

    def word(text: str) -> str:
        value = rank_value(deployment, rank, text)
        return value if isinstance(value, str) else text

    return Command({name: word(value) for name, value in service.env.items()}, tuple(map(word, service.command)))


def proxy_command(deployment: Deployment) -> Command | None:
    """The environment and argv of the proxy; None without a proxy, without its node, or without engines behind it."""
    proxy = deployment.layout.proxy
    place = deployment.proxy_rank()
    if proxy is None or place is None:
        return None
    serving = [rank for rank in deployment.ranks() if rank.port is not None]
    lists: dict[str, JsonValue] = {}
    if proxy.kind == "dp":
        lists |= _endpoints("dp", serving)
    else:
        lists |= _endpoints("prefiller", [rank for rank in serving if rank.role == "prefill"])
        lists |= _endpoints("decoder", [rank for rank in serving if rank.role == "decode"])
    if not all(lists.values()):
        return None
    host = proxy.host
    if proxy.kind == "layerwise" and host in ("0.0.0.0", "::"):
        host = place.address
    script = proxy.script or PROXY_SCRIPTS[proxy.kind]
    args: dict[str, JsonValue] = {"host": host, "port": proxy.port, **lists, **proxy.args}
    key = proxy_key(deployment.layout)
    return Command({CLIENT_KEY: key} if key else {}, ("python", script, *flag_words(args)))


def _endpoints(side: str, ranks: list[Rank]) -> dict[str, JsonValue]:
    return {f"{side}-hosts": [rank.address for rank in ranks], f"{side}-ports": [str(rank.port) for rank in ranks]}


def _owned_flags(deployment: Deployment, rank: Rank, group: Group) -> dict[str, JsonValue]:
    layout = deployment.layout
    flags: dict[str, JsonValue] = {}
    if rank.headless:
        flags["headless"] = True
    else:
        flags |= {"host": "0.0.0.0", "port": rank.port, **_quiet_polls(layout)}
    flags |= _data_parallel(rank, group)
    if rank.parts > 1:
        flags |= _spanning(rank, group)
    flags["tensor-parallel-size"] = group.tensor_parallel
    if group.pipeline_parallel > 1:
        flags["pipeline-parallel-size"] = group.pipeline_parallel
    if group.prefill_context_parallel > 1:
        flags["prefill-context-parallel-size"] = group.prefill_context_parallel
    if layout.model.served_name:
        flags["served-model-name"] = layout.model.served_name
    transfer = layout.kv_transfer_config(rank.group, rank.position)
    if transfer is not None:
        flags["kv-transfer-config"] = transfer
    return flags


def _quiet_polls(layout: Layout) -> dict[str, JsonValue]:
    """The flag that hides the polling of the console in the log of the engine, when the release has it with a text value."""
    release = release_of(layout)
    spec = release.flags.get(_QUIET) if release else None
    return {_QUIET: ",".join(ENGINE_POLLS)} if spec is not None and spec.takes == "text" else {}


def _data_parallel(rank: Rank, group: Group) -> dict[str, JsonValue]:
    """The data-parallel flags of an engine (vLLM 0.21 and 0.28, engine/arg_utils.py and entrypoints/cli/serve.py).

    From 0.28 on a start rank on the serving engine, even 0, makes it serve its own node only, which does not fit the headless
    engines. Without a start rank vLLM starts one API server per rank of the group, so with several nodes the number is set to 1.
    """
    parallel = group.data_parallel
    if parallel.size == 1:  # vLLM 0.21 config/parallel.py: external and hybrid balance are refused for a single rank
        return {}
    meeting: dict[str, JsonValue] = {
        "data-parallel-address": rank.dp_address,
        "data-parallel-rpc-port": rank.rpc_port,
    }
    if parallel.balance == "external":
        return {"data-parallel-size": parallel.size, "data-parallel-rank": rank.dp_rank, **meeting}
    flags: dict[str, JsonValue] = {"data-parallel-size": parallel.size, "data-parallel-size-local": rank.local_size}
    if parallel.balance == "hybrid":
        flags["data-parallel-hybrid-lb"] = True
    if parallel.balance == "hybrid" or rank.headless:
        flags["data-parallel-start-rank"] = rank.dp_rank
    elif group.nodes > 1:
        flags["api-server-count"] = 1
    if parallel.balance == "internal" and group.nodes == 1:  # one process has all ranks, which connect by local sockets
        return flags
    return {**flags, **meeting}


def _spanning(rank: Rank, group: Group) -> dict[str, JsonValue]:
    """The flags of an engine that spans nodes; its workers connect by torch.distributed, not by Ray.

    vLLM 0.21 engine/arg_utils.py and v1/executor/multiproc_executor.py: `--nnodes` and the node rank count the nodes of all
    data-parallel ranks. The parts after the first part of an engine start workers only. `--distributed-executor-backend mp` is
    the default without Ray.
    """
    return {
        "nnodes": group.nodes,
        "node-rank": rank.position,
        "master-addr": rank.dp_address,
        "master-port": group.master_port,
    }


def _environment(deployment: Deployment, rank: Rank, group: Group, change: NodeChange) -> dict[str, str]:
    node = deployment.cluster.nodes.get(rank.node)
    nic = node.nic if node else None
    own: dict[str, str] = {}
    if is_address(rank.address):
        own["VLLM_HOST_IP"] = rank.address
        if rank.devices:
            own["HCCL_IF_IP"] = rank.address
    if rank.devices:
        own["ASCEND_RT_VISIBLE_DEVICES"] = _listed(rank.devices)
    left = {name: rank_fact(deployment, rank, text) for name, text in group.env_from.items()}
    left_here = {name: rank_fact(deployment, rank, text) for name, text in change.env_from.items()}
    written = {**deployment.layout.env, **group.env, **left, **change.env, **left_here}
    interfaces = {name: nic for name in INTERFACE_NAMES if nic and (rank.devices or not name.startswith("HCCL"))}
    every = {**interfaces, **written, **own}
    return {name: value for name, value in every.items() if value is not None}


def rank_fact(deployment: Deployment, rank: Rank, text: str) -> str | None:
    """The value of a variable of `env_from` for a rank; None when a fact in it is unknown."""
    value = rank_value(deployment, rank, f"{{{text}}}" if text in FACTS else text)
    return value if isinstance(value, str) else None


def rank_value(deployment: Deployment, rank: Rank, value: JsonValue) -> JsonValue:
    """A value of `args_from` with the facts of a rank filled in; None when a fact is unknown."""
    node = deployment.cluster.nodes.get(rank.node)
    facts: dict[str, str | None] = {
        "address": rank.address,
        "dp_address": rank.dp_address,
        "first_address": _address_at(deployment, next(iter(deployment.layout.groups)), 0),
        "nic": node.nic if node else None,
        "port": None if rank.port is None else str(rank.port),
        "dp_rank": str(rank.dp_rank),
        "local_rank": str(rank.local_rank),
        "devices": _listed(rank.devices),
    }

    def fact(name: str) -> str | None:
        if name in facts:
            return facts[name]
        group, _, index = name.removeprefix("address:").partition("/")
        return _address_at(deployment, group, int(index))

    return filled(value, fact)


def _address_at(deployment: Deployment, group: str, position: int) -> str | None:
    members = deployment.assignment.of(group)
    return deployment.address(members[position]) if position < len(members) else None


def _listed(devices: tuple[int, ...]) -> str:
    return ",".join(str(device) for device in devices)
