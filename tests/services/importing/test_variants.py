"""Every way a CI configuration can leave something to its ranks: on nodes of one's own an import starts what the loader would."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from console.cli.import_command import imported_from
from console.commands.serve import serve_command
from console.files import layout_text, parse_layout
from console.model.cluster import Cluster
from console.model.deployment import Assignment, Deployment
from console.services.importing import Imported
from tests.files.words import defaults_said, flags, servers_said
from tests.services.importing import ci_loader

IPS = [f"10.77.{index}.9" for index in range(8)]
Config = dict[str, Any]
Change = Callable[[Config], object]


def _words(*more: object) -> list[object]:
    return [
        "--port",
        "$SERVER_PORT",
        "--data-parallel-size",
        "${DP_SIZE}",
        "--data-parallel-rank",
        "${DP_RANK}",
        "--data-parallel-address",
        "${DP_ADDRESS}",
        "--data-parallel-rpc-port",
        "${DP_RPC_PORT}",
        "--tensor-parallel-size",
        "${TP_SIZE}",
        *more,
    ]


def _external() -> Config:
    """Two prefill and two decode nodes, four and eight engines on each."""
    config, templates = [], []
    for index in range(4):
        size, tensor = (8, 4) if index < 2 else (16, 2)
        config.append(
            {
                "node_index": index,
                "port_start": 7100,
                "dp_rpc_port": 12321,
                "dp_size": size,
                "dp_size_local": size // 2,
                "dp_rank_start": index % 2 * size // 2,
                "tp_size": tensor,
                "dp_address": f"${{NODE_{index - index % 2}_IP}}",
            }
        )
        envs = {"SERVER_PORT": "${PORT}", "ASCEND_RT_VISIBLE_DEVICES": "${VISIBLE_DEVICES}"}
        templates.append({"node_index": index, "envs": envs, "server_cmd_template": _words()})
    routing = {"type": "disaggregated_prefill", "groups": {"prefiller": [0, 1], "decoder": [2, 3]}}
    return {
        "model": "/m/x",
        "num_nodes": 4,
        "npu_per_node": 16,
        "routing": routing,
        "config": config,
        "templates": templates,
    }


def _internal() -> Config:
    """One group on two nodes, then the same again for decode."""
    nodes = []
    for index in range(4):
        role = "" if index % 2 == 0 else "--headless --data-parallel-start-rank 2"
        command = f"vllm serve /m/x --port $SERVER_PORT --data-parallel-size 4 --data-parallel-size-local 2 {role} "
        command += "--data-parallel-address $MASTER_IP --data-parallel-rpc-port 13389 --tensor-parallel-size 8"
        nodes.append({"envs": {"SERVER_PORT": 8080, "FLAG": True}, "server_cmd": command})
    split = {"enabled": True, "prefiller_host_index": [0, 1], "decoder_host_index": [2, 3]}
    return {"model": "/m/x", "num_nodes": 4, "npu_per_node": 16, "disaggregated_prefill": split, "deployment": nodes}


def _env(**variables: object) -> Change:
    return lambda config: [each["envs"].update(variables) for each in config["templates"]]


def _first(**variables: object) -> Change:
    return lambda config: [each.update(envs={**variables, **each["envs"]}) for each in config["templates"]]


def _args(*words: object) -> Change:
    return lambda config: [each["server_cmd_template"].extend(words) for each in config["templates"]]


def _each(change: Callable[[int, Config], object]) -> Change:
    return lambda config: [change(index, each) for index, each in enumerate(config["config"])]


def _typed(more: str) -> Change:
    return lambda config: [each.update(server_cmd=f"{each['server_cmd']} {more}") for each in config["deployment"]]


def _reordered(config: Config) -> None:
    for key in ("config", "templates"):
        config[key] = [{**each, "node_index": index} for index, each in enumerate(config[key][2:] + config[key][:2])]
    for index, each in enumerate(config["config"]):
        each["dp_address"] = f"${{NODE_{index - index % 2}_IP}}"
    config["routing"]["groups"] = {"prefiller": [2, 3], "decoder": [0, 1]}


KV = '{"kv_connector": "MooncakeConnectorV1", "kv_role": "kv_producer", "kv_port": "30000", %s}'
EXTERNAL: dict[str, Change] = {
    "nothing": lambda config: None,
    "addresses of all nodes": _env(
        ALL="${NODE_0_IP},${NODE_3_IP}", URL="http://${NODE_2_IP}:${PORT}/x", ME="${LOCAL_IP}"
    ),
    "numbers of the rank": _env(
        LOG="/log/${DP_RANK}-${LOCAL_RANK}", BOTH="${DP_RANK}${LOCAL_RANK}", NODE="n${NODE_INDEX}p${PORT}"
    ),
    "variables before and behind": _first(A="a", B="$A/${PORT}", C="$LATER-x", D="$B.$A", E="$$A", LATER="1"),
    "placeholders without braces": _env(A="$DP_RANK", B="$LOCAL_IP", C="$NOPE/x"),
    "the loader's own names": _first(
        LOCAL_IP="9.9.9.9", USED="$LOCAL_IP", NIC_NAME="bond0", ALSO="${LOCAL_IP}", N="$NIC_NAME"
    ),
    "types of values": _env(A=1, B=True, C=1.5, D=None, E="1e5", F="010", G="a\nb", H=" x ", I="{port}"),
    "texts a YAML reader could take for numbers": _args(
        "--a", "1e5", "--b", "1.5e3", "--c", "007", "--d", "0.90", "--e", "null"
    ),
    "addresses in flags": _args("--master-addr", "${MASTER_IP}", "--me", "${LOCAL_IP}:${PORT}", "--bare", "$LOCAL_IP"),
    "numbers in flags": _args("--log-dir", "/log/${DP_RANK}", "--seed", "${LOCAL_RANK}"),
    "host of one's own": _args("--host", "${LOCAL_IP}"),
    "host of the node's entry": lambda config: (
        _each(lambda _, each: each.update(host="0.0.0.0", dp_group="g"))(config),
        _args("--host", "${HOST}")(config),
    ),
    "address and rank in the connector": _args(
        "--kv-transfer-config", KV % '"kv_ip": "${LOCAL_IP}", "kv_rank": "${DP_RANK}"'
    ),
    "a bare number in the connector": _args("--kv-transfer-config", KV % '"kv_rank": ${DP_RANK}'),
    "what JSON cannot say": _args("--hf-overrides", '{"a": NaN, "b": 1e400}'),
    "numbers as text": _each(lambda _, each: each.update({key: str(value) for key, value in each.items()})),
    "context and pipeline": _each(lambda _, each: each.update(tp_size=each["tp_size"] // 2, pp_size=2)),
    "another first port on each node": _each(lambda index, each: each.update(port_start=7100 + 100 * index)),
    "groups that meet at a node of another": _each(lambda _, each: each.update(dp_address="${NODE_0_IP}")),
    "decode nodes first": _reordered,
    "decode on two groups": _each(
        lambda index, each: each.update(dp_size=8, dp_rank_start=0, dp_address="${LOCAL_IP}") if index > 1 else None
    ),
    "the upper half of the devices": lambda config: (
        _each(lambda index, each: each.update(dp_size=2, dp_size_local=1, dp_rank_start=index % 2, tp_size=8))(config),
        _env(ASCEND_RT_VISIBLE_DEVICES="8,9,10,11,12,13,14,15")(config),
    ),
}
INTERNAL: dict[str, Change] = {
    "nothing": lambda config: None,
    "addresses and interface": _typed("--a tcp://$LOCAL_IP:5 --b ${MASTER_IP} --nic $NIC_NAME"),
    "quotes": _typed("""--hf-overrides '{"a": "it'"'"'s"}' --b "a b" --c 1e5"""),
    "decoders in another order": lambda config: (
        config["disaggregated_prefill"].update(decoder_host_index=[3, 2]),
        config["deployment"].reverse(),
        config["disaggregated_prefill"].update(prefiller_host_index=[1, 0], decoder_host_index=[3, 2]),
    ),
    "a switch nobody reads": lambda config: config["disaggregated_prefill"].update(enabled=False),
    "a port on each node": lambda config: [
        each.update(server_cmd=each["server_cmd"].replace("$SERVER_PORT", str(9000 + index)))
        for index, each in enumerate(config["deployment"])
    ],
}
EXTERNAL["context and pipeline"] = lambda config, base=EXTERNAL["context and pipeline"]: (  # type: ignore[misc]
    base(config),
    _args("--pipeline-parallel-size", "${PP_SIZE}")(config),
)


def _placed(imported: Imported, config: Config) -> Deployment:
    """The layout as it was saved, on nodes with addresses of their own, in the order the import names."""
    layout = parse_layout(layout_text(imported.layout).encode(), "again.yaml")
    nodes = {f"n{index}": {"host": ip, "nic": ci_loader.NIC} for index, ip in enumerate(IPS[:4])}
    cluster = Cluster.model_validate({"name": "lab", "nodes": nodes})
    split = config.get("disaggregated_prefill") or {}
    named = config["routing"]["groups"] if "routing" in config else {}
    free = {
        "prefill": sorted(named.get("prefiller", split.get("prefiller_host_index", []))),
        "decode": sorted(named.get("decoder", split.get("decoder_host_index", []))),
        "mixed": list(range(4)),
    }
    for warning in imported.warnings:
        if " in this order" in warning:
            role, _, rest = warning.partition(": its ranks are on the file's nodes ")
            free[role] = [int(word) for word in rest.partition(" in")[0].split(", ")]
    members = {
        name: tuple(f"n{free[group.role].pop(0)}" for _ in range(group.nodes)) for name, group in layout.groups.items()
    }
    return Deployment(cluster, layout, Assignment(members))


def _compared(config: Config, path: Path) -> Imported:
    path.write_text(yaml.safe_dump(config, sort_keys=False, allow_unicode=True))
    imported = imported_from(path)
    deployment = _placed(imported, config)
    ours = {(rank.node, rank.local_rank): rank for rank in deployment.ranks()}
    theirs = ci_loader.expanded(path, IPS[:4])
    assert len(ours) == len(theirs)
    seen: dict[int, int] = {}
    for started in theirs:
        local = seen[started.node] = seen.get(started.node, -1) + 1
        rank = ours[f"n{started.node}", local]
        command = serve_command(deployment, rank)
        assert _compact(flags(command.argv)) == _compact(defaults_said(servers_said(flags(started.argv))))
        assert started.env.items() <= command.env.items()
        assert set(command.env) - set(started.env) <= {"VLLM_HOST_IP", "ASCEND_RT_VISIBLE_DEVICES"}
        port = flags(command.argv).get("port")
        assert rank.headless or str(rank.port) == port
    return imported


def _compact(words: dict[str, object]) -> dict[str, object]:
    return {name: repr(value) for name, value in words.items()}


@pytest.mark.parametrize("name", EXTERNAL)
def test_engines_of_an_external_configuration(name: str, tmp_path: Path) -> None:
    config = copy.deepcopy(_external())
    EXTERNAL[name](config)
    imported = _compared(config, tmp_path / "x.yaml")
    assert not [warning for warning in imported.warnings if "made-up" in warning or "first one's" in warning]


@pytest.mark.parametrize("name", INTERNAL)
def test_engines_of_an_internal_configuration(name: str, tmp_path: Path) -> None:
    config = copy.deepcopy(_internal())
    INTERNAL[name](config)
    _compared(config, tmp_path / "x.yaml")


def test_engines_that_take_any_request_get_the_proxy_of_their_kind(tmp_path: Path) -> None:
    config = _external()
    config["routing"] = {"type": "generic_dp", "groups": {"worker": [0, 1, 2, 3]}}
    (tmp_path / "x.yaml").write_text(yaml.safe_dump(config))
    layout = imported_from(tmp_path / "x.yaml").layout
    assert {group.role for group in layout.groups.values()} == {"mixed"}
    assert layout.proxy is not None
    assert (layout.proxy.kind, layout.proxy.port) == ("dp", 1999)


def test_sequence_parallel_ranks_see_as_many_devices_as_their_loader_gives(tmp_path: Path) -> None:
    config = _external()
    _each(lambda _, each: each.update(tp_size=each["tp_size"] // 2, sp_size=2))(config)
    (tmp_path / "x.yaml").write_text(yaml.safe_dump(config))
    assert any("'0,1,2,3' of the file is ignored" in warning for warning in imported_from(tmp_path / "x.yaml").warnings)


def test_what_tests_ask_of_the_service_is_no_doubt(tmp_path: Path) -> None:
    config = _external()
    config |= {"test_content": ["x"], "acceptance_rate": {"baseline": 0.5}, "config_common": {}, "chat_prompts": []}
    (tmp_path / "x.yaml").write_text(yaml.safe_dump(config))
    assert not imported_from(tmp_path / "x.yaml").warnings


def test_an_engine_over_several_nodes_is_one_engine_in_parts(tmp_path: Path) -> None:
    config = _internal()
    del config["disaggregated_prefill"]
    for index, each in enumerate(config["deployment"]):
        part = "" if index == 0 else "--headless "
        each["server_cmd"] = f"vllm serve /m/x --port $SERVER_PORT --tensor-parallel-size 64 --nnodes 4 {part}"
        each["server_cmd"] += f"--node-rank {index} --master-addr $MASTER_IP --master-port 29600"
    imported = _compared(config, tmp_path / "x.yaml")
    group = imported.layout.groups["mixed"]
    assert (group.nodes, group.nodes_per_engine, group.devices_on_node, group.master_port) == (4, 4, 16, 29600)
    assert not imported.warnings


def test_parts_that_do_not_make_whole_engines_are_told(tmp_path: Path) -> None:
    config = _internal()
    for index, each in enumerate(config["deployment"]):
        each["server_cmd"] += f" --nnodes 3 --node-rank {index} --master-addr $MASTER_IP"
    (tmp_path / "x.yaml").write_text(yaml.safe_dump(config))
    warnings = imported_from(tmp_path / "x.yaml").warnings
    assert any("--nnodes 3 does not fit 2 nodes" in warning for warning in warnings)


def test_a_node_in_both_lists_is_what_its_engine_says(tmp_path: Path) -> None:
    config = _internal()
    config["deployment"] = [config["deployment"][0], copy.deepcopy(config["deployment"][0])]
    config |= {"num_nodes": 1, "disaggregated_prefill": {"prefiller_host_index": [0], "decoder_host_index": [0]}}
    for node, role in zip(config["deployment"], ("kv_producer", "kv_consumer"), strict=True):
        transfer = (KV % '"kv_rank": 0').replace("kv_producer", role)
        node["server_cmd"] += f" --kv-transfer-config '{transfer}'"
    (tmp_path / "x.yaml").write_text(yaml.safe_dump(config))
    imported = imported_from(tmp_path / "x.yaml")
    assert set(imported.layout.groups) == {"prefill", "decode"}
    assert any("nodes 0 are in both lists" in warning for warning in imported.warnings)
    assert any("num_nodes: is 1, but the file describes 2" in warning for warning in imported.warnings)


def test_names_no_shell_exports_are_left_out_and_said(tmp_path: Path) -> None:
    config = _external()
    _env(**{"my.var": "x", "2X": "y", "UID": "5", "FINE": "z"})(config)
    (tmp_path / "x.yaml").write_text(yaml.safe_dump(config))
    imported = imported_from(tmp_path / "x.yaml")
    assert set(imported.layout.groups["decode"].env) == {"FINE"}
    left_out = [warning for warning in imported.warnings if warning.startswith("decode") and "left out" in warning]
    assert len(left_out) == 3
    parse_layout(layout_text(imported.layout).encode(), "again.yaml")


def test_nodes_with_unequal_numbers_of_ranks_are_told(tmp_path: Path) -> None:
    config = _external()
    config["config"][3].update(dp_size_local=7)
    (tmp_path / "x.yaml").write_text(yaml.safe_dump(config))
    assert any("run 7 and 8 ranks" in warning for warning in imported_from(tmp_path / "x.yaml").warnings)


@pytest.mark.parametrize("text", ["a: 1\n", "name: x\nnodes: {a: {}}\n", "config: []\n"])
def test_another_file_is_named_as_such(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from console.cli.main import main

    (tmp_path / "x.yaml").write_text(text)
    assert main(["import", str(tmp_path / "x.yaml")]) == 2
    assert "is no multi-node configuration of vllm-ascend's CI" in capsys.readouterr().err


def test_an_address_in_several_words_is_no_crash(tmp_path: Path) -> None:
    config = _external()
    for each in config["templates"]:
        words = each["server_cmd_template"]
        words.insert(words.index("${DP_ADDRESS}"), "10.1.1.1")
    (tmp_path / "x.yaml").write_text(yaml.safe_dump(config))
    assert imported_from(tmp_path / "x.yaml").layout.groups
