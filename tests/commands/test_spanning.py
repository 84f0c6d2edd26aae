"""An engine that spans nodes: its parts, their flags, and what the rules say of layouts with one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from console.cli.main import main
from console.commands.serve import proxy_command, serve_command
from console.model.cluster import Cluster
from console.model.deployment import Assignment, Deployment, Rank, engine_words, whole_engine
from console.model.errors import UsageError
from console.model.findings import Severity
from console.model.layout import Layout
from console.rules import check
from console.rules.ports import port_map
from console.rules.rule import RuleContext
from console.services.exporting.lws import pod_scripts
from console.services.placement.edits import auto_assign, example, resize
from console.services.serving.rank_targets import rank_targets


def _layout(**group: object) -> Layout:
    made = {
        "role": "mixed",
        "nodes": 2,
        "nodes_per_engine": 2,
        "tensor_parallel": 32,
        "data_parallel": {"size": 1, "per_node": 1},
        "port": 8900,
        **group,
    }
    return Layout.model_validate(
        {
            "name": "wide",
            "hardware": "a3",
            "version": "v0.21.0rc1",
            "model": {"path": "/models/v4", "served_name": "dsv4"},
            "env": {"HCCL_CONNECT_TIMEOUT": 1200, "VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS": 3000},
            "args": {"block-size": 128},
            "groups": {"mixed": made},
        }
    )


def _flags(deployment: Deployment, rank: Rank) -> dict[str, str]:
    words = serve_command(deployment, rank).argv[3:]
    return {
        word: words[at + 1] if at + 1 < len(words) and not words[at + 1].startswith("--") else ""
        for at, word in enumerate(words)
        if word.startswith("--")
    }


def _hits(layout: Layout) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for finding in check(example(layout)):
        found.setdefault(finding.rule, []).append(finding.message)
    return found


def test_one_engine_over_two_nodes_is_two_parts_of_which_the_first_serves() -> None:
    deployment = example(_layout())
    first, second = deployment.ranks()
    assert (first.id, second.id) == ("mixed-0", "mixed-0.1")
    assert (first.node, second.node) == ("mixed-0", "mixed-1")
    assert (first.port, first.headless, second.port, second.headless) == (8900, False, None, True)
    assert first.devices == second.devices == tuple(range(16))
    assert (first.dp_rank, second.dp_rank, second.part, second.parts) == (0, 0, 1, 2)
    meet = {"--nnodes": "2", "--master-addr": "192.0.2.1", "--master-port": "29501", "--tensor-parallel-size": "32"}
    for rank, flags in ((first, _flags(deployment, first)), (second, _flags(deployment, second))):
        assert meet.items() <= flags.items()
        assert flags["--node-rank"] == str(rank.part)
        assert "--data-parallel-size" not in flags
        assert ("--headless" in flags) is rank.headless
        assert ("--port" in flags) is not rank.headless
        assert serve_command(deployment, rank).env["VLLM_HOST_IP"] == rank.address
    assert not _hits(deployment.layout).keys() & {"R1", "R2", "R5", "R27", "P1"}


def test_data_parallel_ranks_of_two_nodes_each_count_the_nodes_of_the_whole_group() -> None:
    layout = _layout(nodes=4, pipeline_parallel=2, tensor_parallel=16, data_parallel={"size": 2, "per_node": 1})
    deployment = example(layout)
    ranks = deployment.ranks()
    assert [rank.id for rank in ranks] == ["mixed-0", "mixed-0.1", "mixed-1", "mixed-1.1"]
    assert [rank.headless for rank in ranks] == [False, True, True, True]
    flags = [_flags(deployment, rank) for rank in ranks]
    assert [each["--node-rank"] for each in flags] == ["0", "1", "2", "3"]
    assert {each["--nnodes"] for each in flags} == {"4"}
    assert {each["--data-parallel-size-local"] for each in flags} == {"1"}
    assert {each["--pipeline-parallel-size"] for each in flags} == {"2"}
    assert [each.id for each in rank_targets(deployment)] == ["mixed-0", "mixed-1"]
    assert not _hits(layout).keys() & {"R1", "R2"}
    (warned,) = [each for each in check(deployment) if each.rule == "R27"]
    assert (warned.severity, "vllm-ascend starts only the first" in warned.message) == (Severity.WARNING, True)


def test_with_external_balance_the_first_part_of_each_engine_serves() -> None:
    layout = _layout(nodes=4, data_parallel={"size": 2, "per_node": 1, "balance": "external"})
    deployment = example(layout)
    ranks = deployment.ranks()
    assert [rank.port for rank in ranks] == [8900, None, 8900, None]
    assert [_flags(deployment, rank)["--data-parallel-rank"] for rank in ranks] == ["0", "0", "1", "1"]
    proxied = replace(deployment, layout=layout.model_copy(update={"proxy": _proxy()}))
    command = proxy_command(proxied)
    assert command is not None
    assert command.argv[-6:] == ("--dp-hosts", "192.0.2.1", "192.0.2.3", "--dp-ports", "8900", "8900")


def _proxy() -> object:
    raw = {**_layout().model_dump(), "proxy": {"kind": "dp", "port": 8000}}
    return Layout.model_validate(raw).proxy


def test_ports_and_devices_are_those_of_each_part() -> None:
    layout = _layout(
        role="prefill",
        kv_transfer={"connector": "MooncakeConnectorV1", "port": 30200, "engine_id": "1"},
        first_device=0,
    )
    uses = {(use.node, use.first, use.last, use.what) for use in port_map(RuleContext(example(layout)))}
    assert uses == {
        ("mixed-0", 8900, 8900, "HTTP of mixed-0"),
        ("mixed-0", 29501, 29501, "the master port of mixed"),
        ("mixed-0", 30200, 30215, "KV handshake of mixed-0"),
        ("mixed-1", 30216, 30231, "KV handshake of mixed-0.1"),
    }


@pytest.mark.parametrize(
    ("group", "rule", "message"),
    [
        ({"nodes": 3}, "R27", "mixed: 3 nodes are not a multiple of the 2 nodes of an engine"),
        ({"tensor_parallel": 9}, "R27", "mixed: 9 devices of an engine cannot be divided evenly between 2 nodes"),
        (
            {"data_parallel": {"size": 2, "per_node": 2}},
            "R27",
            "mixed: 2 ranks per node, but each engine needs 2 nodes",
        ),
        ({"tensor_parallel": 64}, "R2", "mixed needs devices 0-31, but a3 has 16"),
        (
            {"data_parallel": {"size": 2, "per_node": 1}},
            "R1",
            "mixed: 2 nodes / 2 nodes an engine × 1 ranks give 1 ranks",
        ),
        (
            {"args": {"node-rank": 1}},
            "R5",
            "mixed: --node-rank is computed from the place of a rank; remove it from args",
        ),
        ({"args": {"distributed_executor_backend": "ray"}}, "R28", "mixed: --distributed-executor-backend ray"),
        ({"port": 29501}, "P1", "HTTP of mixed-0 and the master port of mixed both use port 29501 of mixed-0"),
    ],
)
def test_a_layout_whose_engine_cannot_span_its_nodes_is_refused(
    group: dict[str, object], rule: str, message: str
) -> None:
    assert any(each.startswith(message) for each in _hits(_layout(**group)).get(rule, []))


def test_a_group_takes_whole_engines_when_it_is_resized_and_filled() -> None:
    nodes = {f"n{at}": {"host": f"10.0.0.{at + 1}"} for at in range(6)}
    cluster = Cluster.model_validate({"name": "lab", "defaults": {"hardware": "a3"}, "nodes": nodes})
    deployment = auto_assign(Deployment(cluster, _layout(), Assignment()))
    assert deployment.assignment.of("mixed") == ("n0", "n1")
    larger = auto_assign(resize(deployment, "mixed", nodes=4))
    assert [rank.id for rank in larger.ranks()] == ["mixed-0", "mixed-0.1", "mixed-1", "mixed-1.1"]
    with pytest.raises(UsageError, match="an engine of mixed spans 2 nodes"):
        resize(deployment, "mixed", nodes=3)


def test_the_table_shows_the_parts_and_where_they_meet(tmp_path: object, capsys: pytest.CaptureFixture[str]) -> None:
    path = f"{tmp_path}/wide.yaml"
    with open(path, "w", encoding="utf-8") as file:
        file.write(_layout().model_dump_json(exclude_defaults=True))
    main(["plan", "--layout", path])
    rows = [line.split() for line in capsys.readouterr().out.splitlines() if line.startswith("mixed-0")]
    assert rows[0] == ["mixed-0", "mixed-0", "192.0.2.1", "mixed", "0.0/1", "0-15", "8900", "192.0.2.1:29501"]
    assert rows[1] == ["mixed-0.1", "mixed-1", "192.0.2.2", "mixed", "0.1/1", "0-15", "headless", "192.0.2.1:29501"]


def test_the_parts_of_one_engine_are_counted_once() -> None:
    assert whole_engine("other/mixed-0.12@n3") == "other/mixed-0@n3"
    assert whole_engine("v4.1-0") == "v4.1-0"
    assert engine_words(("mixed-0", "mixed-0.1")) == "1 engine in 2 parts"
    assert engine_words(("mixed-0", "decode-0", "decode-1")) == "3 engines"


def test_pods_of_an_engine_over_several_nodes_have_its_parts_commands() -> None:
    scripts = pod_scripts(_layout(nodes=4, data_parallel={"size": 2, "per_node": 1}), "mixed")
    assert {*scripts} == {"leader.sh", "worker.sh", "worker-1.sh", "worker-2.sh", "worker-3.sh"}
    assert '--node-rank 0 --master-addr "$leader"' in scripts["leader.sh"]
    assert "--headless" in scripts["worker-1.sh"]
    assert "--node-rank 3" in scripts["worker-3.sh"]
    assert '--data-parallel-start-rank "$((LWS_WORKER_INDEX / 2 * 1 + 0))"' in scripts["worker-3.sh"]


def test_the_places_of_ranks_are_told_in_words() -> None:
    assert _layout().groups["mixed"].places == "each over 2 nodes"
    assert _layout(nodes_per_engine=1, data_parallel={"size": 4, "per_node": 2}).groups["mixed"].places == "2 per node"
