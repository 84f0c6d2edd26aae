"""An imported deployment starts what its own file starts, rank by rank; what is odd is said and never crashes."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from console.cli.import_command import imported_from
from console.cli.main import main
from console.commands.serve import serve_command
from console.files import layout_text, load_document, load_layout, parse_layout, read_document
from console.model.errors import ConsoleError, FileError
from console.rules import check
from console.services.importing import build, placed, read_ci_config, read_script
from console.services.placement.edits import example
from tests.commands import tutorial
from tests.files.dumper import run_file
from tests.files.words import defaults_said, flags, servers_said
from tests.services.importing import ci_loader
from tests.shared import SHARED, needs_shared

CONFIGS = sorted((SHARED / "fixtures" / "ci-configs").glob("*.yaml"))
IPS = [f"192.0.2.{index}" for index in range(1, 9)]

OURS_TOO = {
    "VLLM_HOST_IP": "R25: each node advertises its own address",
    "ASCEND_RT_VISIBLE_DEVICES": "R2: which devices is said, also where their file leaves it out",
}
"""Variables we add to what their loader sets, and why."""

ALONE = (
    "nightly-internal-DeepSeek-V3_2-W8A8-EP",
    "nightly-internal-GLM-5.1-W8A8C8-A3_198k_function",
    "nightly-internal-GLM-5.2-W8A8C8-A3_198k_function",
    "nightly-internal-GLM5_1-W8A8-A3-dual-nodes",
    "nightly-internal-GLM5_2-W8A8-A3-dual-nodes",
    "weekly-internal-GLM-5.1-W8A8C8-A3_3.5k_1.5k_0_50",
    "weekly-internal-GLM-5.2-W8A8C8-A3_3.5k_1.5k_0_20",
    "weekly-internal-GLM-5.2-W8A8C8-A3_64k_90_50",
)
"""Files whose first node is given start rank 0, which from vLLM 0.28 on makes it serve alone."""

DOUBTED = {
    **dict.fromkeys(ALONE, ("--data-parallel-start-rank 0 is left out",)),
    "nightly-external-GLM5_1-W8A8-EP-external": ("special_dependencies", "--max-num-batched-tokens is given twice"),
    "nightly-internal-Qwen3-235B-W8A8-EPLB-mxfp0": ("_DEBUG_MARKER",),
    "weekly-external-DeepSeek_V3.1T_layerwise_PD": ("Layerwise",),
    "weekly-internal-GLM-4.7-W8A8C8-Mooncake-Layerwise": ("Layerwise",),
    "weekly-internal-GLM-5.2-W8A8C8-A3_3.5k_1.5k_0_20": ("cluster_hosts", "--data-parallel-start-rank 0 is left out"),
}
"""Files that warn when they are read, and about what. Reasons: a pip install we do not do, a flag given twice, a leftover key,
a proxy their own loader gets wrong, addresses of somebody's machines."""

FOUND = {
    "weekly-external-DeepSeek_V3.2T_MTP3_PD": {"R20"},
    "weekly-external-Minimax_m2.7_in3_5_tpot20": {"R11"},
}
"""Files whose layout a rule must object to (their own mistakes): a decode batch too small, sizes of another layout."""


@needs_shared
@pytest.mark.shared
@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_rank_gets_the_words_and_variables_its_own_loader_gives(path: Path, tmp_path: Path) -> None:
    foreign = read_ci_config(load_document(path, schema="1.1"), path.stem)
    layout = parse_layout(layout_text(build(foreign).layout).encode(), "again.yaml")
    deployment = placed(layout, foreign)
    ours = {(rank.node, rank.local_rank): rank for rank in deployment.ranks()}
    theirs = ci_loader.expanded(path, IPS)
    assert len(ours) == len(theirs)
    seen: dict[int, int] = {}
    for started in theirs:
        local = seen[started.node] = seen.get(started.node, -1) + 1
        command = serve_command(deployment, ours[f"node-{started.node}", local])
        assert command.argv[:3] == tuple(started.argv[:3])
        assert _flags(command.argv) == servers_said(_flags(started.argv))
        env = {name: _expanded(name, value) for name, value in command.env.items()}
        added = {name for name in env if name not in started.env}
        assert added <= set(OURS_TOO)
        assert {name: value for name, value in env.items() if name not in added} == started.env


def _flags(argv: list[str] | tuple[str, ...]) -> dict[str, object]:
    """Flags by name; of one given twice the last counts, as for vLLM's parser."""
    last: dict[str, int] = {}
    words = list(argv)
    for index, word in enumerate(words):
        if word.startswith("--"):
            last[word.partition("=")[0]] = index
    keep: list[str] = words[:3]
    on = False
    for index, word in enumerate(words[3:], 3):
        if word.startswith("--"):
            on = last[word.partition("=")[0]] == index
        if on:
            keep.append(word)
    return flags(keep)


def _expanded(name: str, value: str) -> str:
    """What the script makes of a search path where the environment has one already."""
    return value.replace(f"${name}", ci_loader.OS_ENV.get(name, ""))


@needs_shared
@pytest.mark.shared
@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_exactly_the_odd_files_warn(path: Path) -> None:
    warnings = imported_from(path).warnings
    expected = DOUBTED.get(path.stem, ())
    assert all(any(word in warning for warning in warnings) for word in expected)
    assert bool(warnings) == bool(expected), warnings


@needs_shared
@pytest.mark.shared
@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_an_imported_layout_can_be_planned_and_judged(path: Path) -> None:
    deployment = example(imported_from(path).layout)
    rules = {finding.rule for finding in check(deployment)}
    assert rules >= FOUND.get(path.stem, set())
    assert not rules & {"A1", "A2", "R1", "R2", "P3"}


@needs_shared
@pytest.mark.shared
def test_all_of_them_were_there() -> None:
    assert len(CONFIGS) == 42


@needs_shared
@pytest.mark.shared
def test_import_prints_a_layout_that_loads_and_saves_without_replacing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["import", str(CONFIGS[0])]) == 0
    text = capsys.readouterr().out
    target = tmp_path / "mine.yaml"
    assert main(["import", str(CONFIGS[0]), "--save", str(target)]) == 0
    assert target.read_text() == text
    assert main(["import", str(CONFIGS[0]), "--save", str(target), "--name", "other"]) == 2
    assert load_layout(str(target)).groups.keys() == {"prefill", "decode"}
    assert main(["plan", "--layout", str(target), "-o", "json"]) in (0, 1)


JUNK: list[object] = [None, "", "x", "${NOPE}", "$9", -1, 0, 10**9, True, [], {}, [{}], {"a": []}, "'", "{", 1.5]


@needs_shared
@pytest.mark.shared
@given(st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_damaged_configuration_gives_a_layout_or_a_file_error(data: st.DataObject) -> None:
    config = yaml.safe_load(data.draw(st.sampled_from(CONFIGS)).read_text())
    place = config
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = data.draw(st.sampled_from(keys))
        if isinstance(place[key], dict | list) and place[key] and data.draw(st.booleans()):
            place = place[key]
            continue
        if data.draw(st.booleans()) and isinstance(place, dict):
            del place[key]
        else:
            place[key] = data.draw(st.sampled_from(JUNK))
        break
    document = read_document(yaml.safe_dump(config).encode(), "x.yaml", schema="1.1")
    with suppress(ConsoleError, ValidationError):
        check(example(build(read_ci_config(document, "x")).layout))


SCRIPT = """\
#!/bin/bash
# engine of the lab
set -e
nic="eth9"; local_ip=10.1.2.3
export HCCL_IF_IP=$local_ip GLOO_SOCKET_IFNAME="$nic"
export NAME='it is $5' OTHER="a\\"b $nic \\$x"
export LD_LIBRARY_PATH=/x:$LD_LIBRARY_PATH
MODEL=/models/DeepSeek-V4-Pro
FLAGS=unused
nohup vllm serve ${MODEL} --port 9000 -tp 8 --data-parallel-size 4 --data-parallel-size-local 1 \\
  --data-parallel-start-rank 2 --headless --data-parallel-address 10.1.2.1 \\
  --speculative-config '{"num_speculative_tokens": 1,
     "method": "mtp"}' --model-loader-extra-config='{"num_threads": 128}' --no-enable-prefix-caching > log.txt 2>&1 &
"""


def test_a_script_becomes_the_whole_group_it_belongs_to() -> None:
    foreign = read_script(SCRIPT, "run.sh", "run")
    imported = build(foreign)
    group = imported.layout.groups["mixed"]
    assert (group.nodes, group.tensor_parallel, group.data_parallel.size, group.port) == (4, 8, 4, 9000)
    assert imported.layout.model.path == "/models/DeepSeek-V4-Pro"
    assert group.env == {"NAME": "it is $5", "OTHER": 'a"b eth9 $x', "LD_LIBRARY_PATH": "/x:$LD_LIBRARY_PATH"}
    assert group.args["model-loader-extra-config"] == {"num_threads": 128}
    assert group.args["enable-prefix-caching"] is False
    ranks = example(imported.layout).ranks()
    assert [(rank.dp_rank, rank.headless) for rank in ranks] == [(0, False), (1, True), (2, True), (3, True)]
    assert any("further node" in warning for warning in imported.warnings)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("echo hello\n", "no `vllm serve MODEL`"),
        ("vllm serve /a\nvllm serve /b\n", "x.sh:2: serves /b, x.sh:1 serves /a; a layout has one model"),
        ("vllm serve /m --port $2\n", "x.sh:1: --port: the value is the script's argument $2"),
        ("", "no `vllm serve MODEL`"),
    ],
)
def test_a_script_that_leaves_something_open_is_refused_with_the_reason(text: str, message: str) -> None:
    with pytest.raises(FileError, match=message.replace("$", r"\$")):
        read_script(text, "x.sh", "run")


def test_what_only_a_shell_can_tell_is_said() -> None:
    text = "if [ -f x ]; then export A=$(hostname); fi\nvllm serve /m --seed 1 --port 1 ${B:-2}\n"
    warnings = build(read_script(text, "run.sh", "run")).warnings
    assert "run.sh:1: x is there: taken as yes" in warnings
    assert any("run.sh:2: A=hostname: known only where the script runs" in each for each in warnings)


@given(st.text(max_size=200))
@settings(max_examples=200, deadline=None)
def test_any_text_as_a_script_gives_a_layout_or_an_error(text: str) -> None:
    for whole in (text, f"vllm serve /m {text}\n"):
        with suppress(ConsoleError, ValidationError):
            check(example(build(read_script(whole, "x.sh", "x")).layout))


@needs_shared
@pytest.mark.shared
def test_the_tutorials_template_is_imported_with_its_arguments(tmp_path: Path) -> None:
    text = tmp_path / "run_dp_template.sh"
    text.write_text(tutorial.template("a3", "decode"))
    arguments = ("0,1", "7100", "16", "0", "10.0.0.3", "12321", "2")
    said = run_file(text, tmp_path, *arguments)
    layout = imported_from(text, arguments=arguments, hardware="a3").layout
    assert layout.groups["decode"].nodes == 16
    deployment = example(layout)
    command = serve_command(deployment, deployment.ranks()[0])
    theirs = flags([word.decode() for word in said.argv])
    theirs["data-parallel-address"] = deployment.ranks()[0].dp_address
    assert flags(command.argv) == theirs


POOLED = """\
test_name: pooled
model: /m/DeepSeek-V4-Flash
num_nodes: 2
npu_per_node: 16
kv_pool: {type: memcache, meta_port: 5000}
routing: {type: disaggregated_prefill, groups: {prefiller: [0], decoder: [1]}}
config:
  - &node {node_index: 0, port_start: 7100, dp_rpc_port: 12321, dp_size: 4, dp_size_local: 4, dp_rank_start: 0, tp_size: 4,
           dp_address: "${NODE_0_IP}"}
  - {<<: *node, node_index: 1, dp_size: 8, dp_size_local: 8, tp_size: 2, dp_address: "${NODE_1_IP}"}
env_common: &common
  SERVER_PORT: ${PORT}
  META_URL: tcp://${NODE_0_IP}:5000
  LOCAL_URL: tcp://${LOCAL_IP}:${PORT}/x
  PEERS: ${NODE_0_IP},${NODE_1_IP}
  RANK_LOG: /log/rank
  FLAG: true
templates:
  - node_index: 0
    envs: {<<: *common}
    server_cmd_template: &words
      - --port
      - $SERVER_PORT
      - --data-parallel-size
      - ${DP_SIZE}
      - --data-parallel-rank
      - ${DP_RANK}
      - --data-parallel-address
      - ${DP_ADDRESS}
      - --data-parallel-rpc-port
      - ${DP_RPC_PORT}
      - --tensor-parallel-size
      - ${TP_SIZE}
      - --kv-transfer-config
      - '{"kv_connector": "MultiConnector", "kv_role": "kv_producer", "kv_connector_extra_config": {"connectors": [
          {"kv_connector": "MooncakeHybridConnector", "kv_port": "30000"}]}}'
  - node_index: 1
    envs: {<<: *common, ONLY: decode}
    server_cmd_template: *words
"""


def test_addresses_inside_other_text_follow_the_nodes_and_nested_connectors_stay(tmp_path: Path) -> None:
    path = tmp_path / "pooled.yaml"
    path.write_text(POOLED)
    foreign = read_ci_config(load_document(path, schema="1.1"), "pooled")
    imported = build(foreign)
    deployment = placed(imported.layout, foreign)
    for rank, started in zip(deployment.ranks(), ci_loader.expanded(path, IPS), strict=True):
        command = serve_command(deployment, rank)
        assert flags(command.argv) == defaults_said(flags(started.argv))
        assert started.env.items() <= command.env.items()
    prefill = imported.layout.groups["prefill"]
    assert prefill.env_from["META_URL"] in ("tcp://{address}:5000", "tcp://{dp_address}:5000")
    assert imported.layout.groups["decode"].env_from["META_URL"] == "tcp://{first_address}:5000"
    assert prefill.kv_transfer is None
    assert prefill.env_from["LOCAL_URL"] == "tcp://{address}:{port}/x"
    said = [warning.rpartition("pooled.yaml:")[2] for warning in imported.warnings]
    assert said == [
        "5: kv_pool: its KV pool server is not started, nor are the variables set that name it (MOONCAKE_…, MMC_…)"
    ]
    assert prefill.env_from["PEERS"] == "{dp_address},{address:decode/0}"
