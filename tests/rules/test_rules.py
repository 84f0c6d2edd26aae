"""Every rule finds the one mistake it is about, and says nothing about a layout without mistakes."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from console.files import load_layout, parse_layout, shipped_layouts, shipped_text
from console.model.cluster import Cluster
from console.model.deployment import Assignment, Deployment
from console.model.findings import Severity
from console.model.layout import Layout
from console.rules import RULES, capacity_notes, check
from console.services.placement.edits import example
from tests.files.strategies import deployments, layouts

Data = dict[str, Any]


def _data(layout: Layout) -> Data:
    data: Data = copy.deepcopy(layout.model_dump(mode="json"))
    return data


def _errors(deployment: Deployment) -> set[str]:
    return {finding.rule for finding in check(deployment) if finding.severity is Severity.ERROR}


def _rules(deployment: Deployment) -> set[str]:
    return {finding.rule for finding in check(deployment)}


@pytest.mark.parametrize("name", shipped_layouts())
def test_nothing_is_found_in_what_we_ship(name: str) -> None:
    layout = load_layout(name)
    expected = {"V1"} if layout.version == "main" else set()  # of the development branch there are no facts
    assert _rules(example(layout)) == expected


def test_a_plain_machine_is_asked_nothing_about_hccl_and_cann() -> None:
    group = {"role": "mixed", "nodes": 2, "tensor_parallel": 1, "port": 8300}
    data: Data = {
        "name": "plain",
        "model": {"path": "/models/tiny"},
        "env": {"PYTHONPATH": "/opt/own", "HCCL_EXEC_TIMEOUT": "70"},
        "groups": {"whole": {**group, "data_parallel": {"size": 2, "per_node": 1, "balance": "internal"}}},
    }
    told = {kind: _rules(example(Layout.model_validate({**data, "hardware": kind}))) for kind in ("a2", "plain")}
    assert told["a2"] - told["plain"] >= {"R9", "R23", "E6"}
    assert told["plain"] == {"E1"}, "how long vLLM waits for its own engines is told of every machine"


@given(deployments())
@settings(max_examples=150, deadline=None)
def test_nothing_is_found_in_a_valid_layout(deployment: Deployment) -> None:
    assert check(deployment) == ()


@given(deployments())
@settings(max_examples=150, deadline=None)
def test_ranks_tile_devices_are_disjoint_and_ports_meet_nowhere(deployment: Deployment) -> None:
    for name, group in deployment.layout.groups.items():
        ranks = [rank for rank in deployment.ranks() if rank.group == name]
        covered = [one for rank in ranks for one in range(rank.dp_rank, rank.dp_rank + rank.local_size)]
        assert covered == list(range(group.data_parallel.size))
        assert len({rank.dp_address for rank in ranks}) == 1
        serving = sum(not rank.headless for rank in ranks)
        assert serving == {"internal": 1, "hybrid": group.nodes, "external": len(ranks)}[group.data_parallel.balance]
    for node in deployment.cluster.nodes:
        on_it = [rank for rank in deployment.ranks() if rank.node == node]
        devices = [device for rank in on_it for device in rank.devices]
        assert len(devices) == len(set(devices)) <= deployment.layout.hardware.devices
        ports = [rank.port for rank in on_it if rank.port is not None]
        assert len(ports) == len(set(ports))


class Mutation(NamedTuple):
    """One mistake put into a valid layout with prefill and decode groups, and the rule that must find it."""

    rule: str
    name: str
    change: Callable[[Data], object]


def _group(name: str, *path: str, value: object) -> Callable[[Data], object]:
    def change(data: Data) -> None:
        place = data["groups"][name]
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = value

    return change


def _flag(name: str, flag: str, value: object) -> Callable[[Data], object]:
    return _group(name, "args", flag, value=value)


def _env(name: str, variable: str, value: str) -> Callable[[Data], object]:
    return _group(name, "env", variable, value=value)


def _more_ranks(data: Data) -> None:
    data["groups"]["decode"]["data_parallel"]["size"] += 1


def _wide(data: Data) -> None:
    prefill, decode = data["groups"]["prefill"], data["groups"]["decode"]
    prefill["tensor_parallel"], prefill["data_parallel"]["per_node"] = 1, 1
    prefill["data_parallel"]["size"] = prefill["nodes"]
    decode["tensor_parallel"], decode["data_parallel"]["per_node"] = 2, 1
    decode["data_parallel"]["size"] = decode["nodes"]


def _pipeline(data: Data) -> None:
    decode = data["groups"]["decode"]
    decode.update(pipeline_parallel=2, tensor_parallel=1)
    decode["data_parallel"].update(per_node=1, size=decode["nodes"])


def _too_many_devices(data: Data) -> None:
    decode = data["groups"]["decode"]
    decode["first_device"] = 17


def _low_batch(data: Data) -> None:
    args = data["groups"]["decode"]["args"]
    args["max-num-batched-tokens"] = args["max-num-seqs"] * 2 - 1


def _drop(*path: str) -> Callable[[Data], object]:
    def change(data: Data) -> None:
        place = data
        for step in path[:-1]:
            place = place[step]
        place.pop(path[-1])

    return change


def _two_keys(data: Data) -> None:
    data["groups"]["prefill"]["env"]["VLLM_API_KEY"] = "sk"
    data["groups"]["decode"]["env"]["VLLM_API_KEY"] = "other"


def _speculates(**tokens: int) -> Callable[[Data], object]:
    """DSpark with so many tokens in the groups that are named, with what the layout says in others."""

    def change(data: Data) -> None:
        for group, number in tokens.items():
            data["groups"][group]["args"]["speculative-config"] = {"method": "dspark", "num_speculative_tokens": number}

    return change


MUTATIONS = (
    Mutation("R1", "one rank more than nodes carry", _more_ranks),
    Mutation("R2", "devices beyond the node's", _too_many_devices),
    Mutation("R3", "tensor parallel by hand", _flag("prefill", "tensor-parallel-size", 3)),
    Mutation("R3", "address by hand, other spelling", _flag("decode", "data_parallel_address", "10.0.0.2")),
    Mutation("R3", "rank port by hand", _flag("decode", "--data-parallel-rpc-port", 1)),
    Mutation("R3", "another quantization", _flag("decode", "quantization", "other")),
    Mutation(
        "R3",
        "decode shorter than prefill",
        lambda data: (_flag("prefill", "max-model-len", 9)(data), _flag("decode", "max-model-len", 8)(data)),
    ),
    Mutation("R3", "one node differs", _group("decode", "by_node", value={0: {"args": {"max-num-seqs": 1}}})),
    Mutation(
        "R5", "rank by hand on one node", _group("decode", "by_node", value={0: {"args": {"data-parallel-rank": 1}}})
    ),
    Mutation(
        "R3", "address left to ranks", _group("decode", "args_from", value={"data-parallel-address": "{address}"})
    ),
    Mutation("R5", "rank left to ranks", _group("decode", "args_from", value={"data-parallel-rank": "{local_rank}"})),
    Mutation(
        "R12",
        "one engine id in a connector left to ranks",
        lambda data: data["groups"]["decode"].update(
            kv_transfer=None,
            args_from={
                "kv-transfer-config": '{"kv_connector": "MooncakeHybridConnector", "kv_role": "kv_consumer", '
                '"engine_id": "0", "kv_rank": {dp_rank}}'
            },
        ),
    ),
    Mutation(
        "R9",
        "one node waits another time",
        lambda data: (
            data["groups"]["decode"].update(nodes=2, by_node={1: {"env": {"HCCL_CONNECT_TIMEOUT": "1800"}}}),
            data["groups"]["decode"]["data_parallel"].update(
                size=2 * data["groups"]["decode"]["data_parallel"]["per_node"]
            ),
        ),
    ),
    Mutation("R4", "headless by hand", _flag("decode", "headless", True)),
    Mutation("R5", "start rank by hand", _flag("decode", "data-parallel-start-rank", 1)),
    Mutation("R7", "several API servers", _flag("decode", "api-server-count", 4)),
    Mutation("R27", "an engine of more nodes than the group has", _group("decode", "nodes_per_engine", value=64)),
    Mutation("R28", "workers run by Ray", _flag("decode", "distributed-executor-backend", "ray")),
    Mutation("R8", "HCCL_IF_IP by hand", _env("decode", "HCCL_IF_IP", "10.0.0.1")),
    Mutation("R10", "decode wider than prefill", _wide),
    Mutation("R10", "decode pipeline", _pipeline),
    Mutation(
        "R11",
        "wrong sizes by hand",
        _group("decode", "kv_transfer", "extra", value={"prefill": {"dp_size": 99, "tp_size": 99}}),
    ),
    Mutation(
        "R11",
        "two transfer configurations",
        _flag("decode", "kv-transfer-config", {"kv_connector": "MooncakeHybridConnector", "kv_role": "kv_consumer"}),
    ),
    Mutation("R12", "one engine id for both", _group("decode", "kv_transfer", "engine_id", value="0")),
    Mutation("R14", "no transfer", lambda data: data["groups"]["decode"].update(kv_transfer=None)),
    Mutation("R14", "different connectors", _group("decode", "kv_transfer", "connector", value="MooncakeConnectorV1")),
    Mutation("R16", "KV ports in the ephemeral range", _group("prefill", "kv_transfer", "port", value=36000)),
    Mutation("R16", "KV ports in Mooncake's range", _group("prefill", "kv_transfer", "port", value=16000)),
    Mutation("R18", "hybrid cache off", _drop("args", "disable-hybrid-kv-cache-manager")),
    Mutation("R19", "prefill speculates three", _flag("prefill", "speculative-config", {"num_speculative_tokens": 3})),
    Mutation("R19", "decode speculates nothing", _flag("decode", "speculative-config", None)),
    Mutation("R20", "batch too small", _low_batch),
    Mutation(
        "R21", "recompute on prefill", _flag("prefill", "additional-config", {"recompute_scheduler_enable": True})
    ),
    Mutation("R22", "DSA context parallelism alone", _flag("prefill", "additional-config", {"enable_dsa_cp": True})),
    Mutation("R23", "short step timeout", _env("decode", "VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS", "300")),
    Mutation("R25", "VLLM_HOST_IP by hand", _env("decode", "VLLM_HOST_IP", "10.0.0.1")),
    Mutation("R26", "no block size", _drop("args", "block-size")),
    Mutation("R26", "odd block size", lambda data: data["args"].update({"block-size": 16})),
    Mutation(
        "R26",
        "unequal block sizes",
        lambda data: data["groups"]["decode"]["args"].update(
            {"block-size": 32 if data["args"]["block-size"] != 32 else 64}
        ),
    ),
    Mutation("E1", "short ready timeout", _env("decode", "VLLM_ENGINE_READY_TIMEOUT_S", "600")),
    Mutation("E2", "odd HCCL_EXEC_TIMEOUT", _env("decode", "HCCL_EXEC_TIMEOUT", "2000")),
    Mutation("E3", "a variable nobody reads", _env("decode", "VLLM_RPC_TIMEOUT", "1")),
    Mutation(
        "E4", "text for a boolean", _flag("decode", "model-loader-extra-config", {"enable_multithread_load": "true"})
    ),
    Mutation("E6", "own library path", _env("decode", "LD_LIBRARY_PATH", "/x")),
    Mutation("E7", "unexpanded variable", _env("decode", "FOO", "$HOME/x")),
    Mutation("E8", "served as auto", lambda data: data["model"].update(served_name="auto")),
    Mutation("E9", "a quiet log", _env("decode", "VLLM_LOGGING_LEVEL", "warning")),
    Mutation("E9", "a quiet server", _flag("decode", "uvicorn-log-level", "error")),
    Mutation(
        "K2",
        "image of another release",
        lambda data: data.update(image="quay.io/x:v0.18.0" + ("-a3" if data["hardware"]["name"] == "a3" else "")),
    ),
    Mutation(
        "K1",
        "image of other hardware",
        lambda data: data.update(image="quay.io/x:v0.21.0rc1" + ("" if data["hardware"]["name"] == "a3" else "-a3")),
    ),
    Mutation("R29", "DSpark with too few tokens", _speculates(prefill=4, decode=4)),
    Mutation("R29", "DSpark on one side", _speculates(decode=7)),
    Mutation("R29", "other blocks", _speculates(prefill=5, decode=7)),
    Mutation("R30", "an interval beside the blocks", _env("prefill", "VLLM_PREFIX_CACHE_RETENTION_INTERVAL", "130")),
    Mutation("R30", "an interval that is no number", _env("prefill", "VLLM_PREFIX_CACHE_RETENTION_INTERVAL", "4k")),
    Mutation("P2", "HTTP in the ephemeral range", _group("decode", "port", value=40000)),
    Mutation("P2", "HTTP of one node there", _group("decode", "by_node", value={0: {"port": 40000}})),
    Mutation("P3", "HTTP beyond the last port", _group("decode", "port", value=65535)),
    Mutation("P1", "rank port and HTTP meet", _group("decode", "data_parallel", "rpc_port", value=7300)),
    Mutation("H1", "weights beyond HBM", lambda data: data["model"].update(weights_gib=64.0 * 16 * 4 * 16)),
    Mutation("S1", "two keys", _two_keys),
    Mutation("S2", "a key on the command line", lambda data: data["args"].update({"api-key": ["sk"]})),
    Mutation("S3", "TLS", _flag("decode", "ssl-certfile", "/x.pem")),
    Mutation("S3", "no port", _flag("decode", "uds", "/x.sock")),
    Mutation("X1", "a layerwise proxy", lambda data: data["proxy"].update(kind="layerwise")),
    Mutation("X1", "no proxy", lambda data: data.update(proxy=None)),
)


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda each: f"{each.rule} {each.name}")
@given(layout=layouts(separated=True))
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_each_mistake_is_found_by_its_rule_and_gives_no_other_error(mutation: Mutation, layout: Layout) -> None:
    data = _data(layout)
    if mutation.rule in ("P1", "P3"):
        assume(layout.groups["decode"].data_parallel.size > 1 and layout.groups["decode"].data_parallel.per_node > 1)
    mutation.change(data)
    deployment = example(Layout.model_validate(data))
    assert mutation.rule in _rules(deployment)
    assert _errors(deployment) <= {mutation.rule}


def _mixed(**change: object) -> Data:
    data = _data(load_layout("a2-mixed"))
    data["groups"]["mixed"].update(change)
    return data


def _layout_cases() -> Iterator[tuple[str, Data]]:
    yield "R5", _mixed(by_node={0: {"args": {"data_parallel_start_rank": 0}}})
    yield "V1", {**_mixed(), "version": "v0.99.0", "image": ""}
    yield "V2", _mixed(args={"max-num-seqz": 4})
    yield "V3", _mixed(args={"max-num-seqs": "many"})
    yield "V4", _mixed(env={"VLLM_ASCEND_ENABLE_FUSED_MC3": "1"})
    yield "V5", _mixed(args={"additional-config": {"enable_dsa_pc": True}})
    yield "V6", _mixed(args={"kv-transfer-config": {"kv_connector": "MooncakeHybridConector", "kv_role": "kv_both"}})
    one = {"command": ["mooncake_master"], "port": 9500}
    yield "B1", {**_mixed(), "services": {"kv": {**one, "node": "nowhere/9"}}}
    yield "B2", {**_mixed(), "services": {"kv": {"command": ["mooncake_master"]}}}
    yield "R6", _mixed(data_parallel={"size": 4, "per_node": 1, "balance": "hybrid", "rpc_port": 29550})
    yield "R9", _mixed(env={"HCCL_CONNECT_TIMEOUT": "120"})
    yield "R21", _mixed(args={"additional-config": {"recompute_scheduler_enable": True}})
    yield (
        "E5",
        {
            **_mixed(env={"VLLM_ASCEND_ENABLE_FUSED_MC2": "1"}),
            "groups": {
                "mixed": {
                    **_mixed()["groups"]["mixed"],
                    "nodes": 8,
                    "env": {"VLLM_ASCEND_ENABLE_FUSED_MC2": "1"},
                    "data_parallel": {"size": 8, "per_node": 1},
                }
            },
        },
    )
    old = _data(load_layout("a3-pd"))
    yield "R17", {**old, "version": "v0.13.0", "image": ""}
    main = _data(load_layout("a3-pd"))
    yield "R22", {**main, "version": "main", "image": ""}
    alone = _data(load_layout("a3-pd"))
    alone["groups"].pop("decode")
    yield "R14", {**alone, "proxy": None}
    dense = _data(load_layout("a2-pd"))
    dense["model"] = {"path": "/m/Qwen3-32B", "served_name": "q"}
    dense["args"] = {}
    dense["groups"]["prefill"].update(
        tensor_parallel=4, data_parallel={"size": 8, "per_node": 2, "balance": "external"}
    )
    yield "R24", dense
    two = _data(load_layout("a3-pd"))
    two["groups"]["other"] = {
        **two["groups"]["prefill"],
        "kv_transfer": {**two["groups"]["prefill"]["kv_transfer"], "port": 31000},
    }
    yield "R13", two
    window = _data(load_layout("a3-pd"))
    window["groups"]["prefill"]["kv_transfer"]["port"] = 7090
    yield "R15", window


@pytest.mark.parametrize(("rule", "data"), _layout_cases(), ids=lambda value: value if isinstance(value, str) else "")
def test_mistakes_of_other_shapes_are_found_by_their_rule(rule: str, data: Data) -> None:
    deployment = example(Layout.model_validate(data))
    assert rule in _rules(deployment)
    assert _errors(deployment) <= {rule}


def _changed(deployment: Deployment, node: str, **change: object) -> Deployment:
    nodes = {**deployment.cluster.nodes, node: deployment.cluster.nodes[node].model_copy(update=change)}
    return replace(deployment, cluster=deployment.cluster.model_copy(update={"nodes": nodes}))


def _cluster_cases() -> Iterator[tuple[str, Deployment]]:
    made = example(load_layout("a3-pd"))
    members = dict(made.assignment.nodes)
    runtime = {"kind": "docker", "image": "quay.io/ascend/vllm-ascend:v0.21.0rc1-a3"}
    node = Cluster.model_validate({"name": "x", "nodes": {"n": {"runtime": runtime}}}).nodes["n"]
    yield "A1", replace(made, assignment=Assignment({**members, "decode": ("decode-0",)}))
    yield "A1", replace(made, assignment=Assignment({**members, "decode": ("decode-0", "nobody")}))
    yield "A2", _changed(made, "decode-1", host="192.0.2.3")
    yield "A3", _changed(made, "decode-1", hardware=made.layout.hardware.model_copy(update={"name": "a3-odd"}))
    yield "R2", _changed(made, "decode-1", hardware=made.layout.hardware.model_copy(update={"devices": 8}))
    yield "R8", _changed(made, "decode-0", host="127.0.0.1")
    yield "R8", _changed(made, "decode-0", host="d0.lab")
    yield "K1", _changed(made, "decode-0", runtime=node.runtime.model_copy(update={"image": "quay.io/x:v0.21.0rc1"}))
    yield (
        "K3",
        _changed(
            _changed(made, "decode-0", runtime=node.runtime),
            "decode-1",
            runtime=node.runtime.model_copy(update={"image": "mine:v0.21.0rc1-a3"}),
        ),
    )
    yield "K4", _changed(made, "decode-0", runtime=node.runtime.model_copy(update={"run_flags": ("--rm",)}))


@pytest.mark.parametrize(
    ("rule", "deployment"), _cluster_cases(), ids=lambda value: value if isinstance(value, str) else ""
)
def test_mistakes_of_the_cluster_are_found_by_their_rule(rule: str, deployment: Deployment) -> None:
    assert rule in _rules(deployment)
    assert _errors(deployment) <= {rule}


def test_groups_on_one_node_may_not_share_devices_or_ports() -> None:
    data = _data(load_layout("a3-pd"))
    for group in data["groups"].values():
        group.update(nodes=1, tensor_parallel=8, data_parallel={"size": 1, "per_node": 1, "balance": "external"})
    layout = Layout.model_validate(data)
    made = example(layout)
    both = Assignment({"prefill": ("prefill-0",), "decode": ("prefill-0",)})
    assert _errors(replace(made, assignment=both)) == {"R2", "P1"}
    data["groups"]["decode"].update(first_device=8, port=7200)
    assert _errors(replace(made, layout=Layout.model_validate(data), assignment=both)) == set()


def test_a_mistake_seen_from_two_sides_is_told_once() -> None:
    data = _data(load_layout("a3-pd"))
    other = {
        **data["groups"]["decode"],
        "port": 7300,
        "kv_transfer": {**data["groups"]["decode"]["kv_transfer"], "engine_id": "9"},
    }
    data["groups"]["decode-2"] = other
    data["groups"]["prefill"]["args"]["speculative-config"] = {"num_speculative_tokens": 3, "method": "mtp"}
    findings = check(example(Layout.model_validate(data)))
    assert [finding.rule for finding in findings].count("R19") == 1


def test_what_main_settles_itself_is_no_mistake_there() -> None:
    data = _data(load_layout("a3-pd"))
    data["args"].pop("disable-hybrid-kv-cache-manager")
    data["groups"]["prefill"]["args"]["speculative-config"] = {"num_speculative_tokens": 5, "method": "dspark"}
    data["groups"]["prefill"]["args"]["additional-config"] = {"enable_dsa_cp": True, "enable_flashcomm1": True}
    data["groups"]["prefill"]["env"].pop("VLLM_ASCEND_ENABLE_FLASHCOMM1", None)
    unknown = {**data, "version": "", "image": ""}
    found = {each.rule: each.severity for each in check(example(Layout.model_validate(unknown)))}
    assert found["R18"] == Severity.WARNING
    assert not {"R19", "R22"} & set(found)
    main = {**data, "version": "main", "image": ""}
    assert "R18" not in {each.rule for each in check(example(Layout.model_validate(main)))}


def test_a_finding_names_the_line_that_is_to_blame() -> None:
    text = shipped_text("a3-pd").replace("max-num-batched-tokens: 120 ", "max-num-batched-tokens: 119 ")
    findings = check(example(parse_layout(text.encode(), "mine.yaml")))
    line = next(number for number, each in enumerate(text.splitlines(), 1) if "tokens: 119" in each)
    assert [(each.rule, each.where) for each in findings] == [("R20", f"mine.yaml:{line}")]


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        (
            "a3-pd",
            (
                "prefill: estimate: weights at least 35.9 of 64 GiB per device, "
                "about 20.0 GiB left for the KV cache at utilization 0.92, after the driver's memory",
                "decode: estimate: weights at least 35.9 of 64 GiB per device, "
                "about 18.7 GiB left for the KV cache at utilization 0.9, after the driver's memory",
            ),
        ),
        ("a3-pd-flash", ()),
    ],
)
def test_what_weights_leave_of_hbm_is_told_as_an_estimate_or_not_at_all(name: str, lines: tuple[str, ...]) -> None:
    notes = capacity_notes(example(load_layout(name)))
    assert tuple(note.partition(" (")[0] for note in notes) == lines
    assert all("issue 16983" in note for note in notes)


def test_every_rule_tells_why_and_what_to_do_and_is_met_by_a_case() -> None:
    for rule in RULES.values():
        assert all((rule.title, rule.why, rule.fix, rule.source)), rule.id
    met = (
        {each.rule for each in MUTATIONS}
        | {rule for rule, _ in _layout_cases()}
        | {rule for rule, _ in _cluster_cases()}
    )
    assert met == set(RULES)


@given(st.data())
@settings(max_examples=80, deadline=None)
def test_any_assignment_is_judged_without_an_exception(data: st.DataObject) -> None:
    made = example(load_layout("a3-pd"))
    names = st.lists(st.sampled_from([*made.cluster.nodes, "nobody"]), max_size=4).map(tuple)
    assignment = Assignment(data.draw(st.dictionaries(st.sampled_from(["prefill", "decode", "gone"]), names)))
    check(replace(made, assignment=assignment))
