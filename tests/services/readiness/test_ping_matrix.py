"""The NPUs' own network: which ways are pinged, what the matrix says, and a broken device found on real nodes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from console.probes.check_types import NodeRequirements
from console.probes.hccn import DeviceNet, Ping
from console.services.readiness.ping_matrix import PingResults, PingRoute, ping_routes
from tests.e2e.cluster import lab
from tests.services.readiness.inline import inline
from tests.sshd import needs_sshd

A2 = NodeRequirements("n0", "a2", 2, 1)
WANTED = {"n0": A2, "n1": replace(A2, node="n1"), "x0": NodeRequirements("x0", "a3", 2)}
SURVEYS = {
    name: {
        device: DeviceNet(device, address=f"29.1.{place}.{device}", vnic_address=f"192.168.{place}.{device}")
        for device in range(2)
    }
    for place, name in enumerate(WANTED)
}


def test_sparse_pings_the_same_device_and_full_pings_every_one_never_across_kinds_of_hardware() -> None:
    sparse = list(ping_routes(WANTED, SURVEYS, full=False))
    assert {(each.node, each.peer) for each in sparse} == {("n0", "n1"), ("n1", "n0")}
    assert [(each.device, each.address) for each in sparse if each.node == "n0"] == [(0, "29.1.1.0"), (1, "29.1.1.1")]
    assert len(list(ping_routes(WANTED, SURVEYS, full=True))) == 8
    a3 = {name: replace(WANTED["x0"], node=name) for name in ("n0", "n1")}
    plane = [each.address for each in ping_routes(a3, {name: SURVEYS[name] for name in a3}, full=False)]
    assert plane == ["192.168.1.0", "192.168.1.1", "192.168.0.0", "192.168.0.1"]


def test_a_device_without_an_address_is_not_pinged() -> None:
    lame = {**SURVEYS, "n1": {0: SURVEYS["n1"][0], 1: DeviceNet(1)}}
    assert sum(each.peer == "n1" for each in ping_routes(WANTED, lame, full=False)) == 1


@pytest.mark.parametrize(
    ("pings", "cell"),
    [
        ([Ping(0, "a", 3, 3), Ping(1, "b", 3, 3)], "2/2"),
        ([Ping(0, "a", 3, 3), Ping(1, "b", 3, 2)], "1/2"),
        ([Ping(0, "a", 3, 3), Ping(1, "b", failure="no answer in time")], "1/2?"),
        ([], "."),
    ],
)
def test_the_matrix_counts_what_came_back_and_marks_what_did_not_say(pings: list[Ping], cell: str) -> None:
    made = tuple((PingRoute("n0", each.device or 0, "n1", 0, each.peer), each) for each in pings)
    assert PingResults(("n0", "n1"), made, ()).matrix() == (
        ("from \\ to", "n0", "n1"),
        ("n0", "-", cell),
        ("n1", ".", "-"),
    )


LAYOUT = """\
name: two
hardware: a2
model: {path: /root/.cache/modelscope/hub/models/vllm-ascend/DeepSeek-V4-Pro-w4a8-mtp, served_name: dsv4}
groups:
  all:
    role: mixed
    nodes: 2
    tensor_parallel: 8
    data_parallel: {size: 2, per_node: 1, balance: external, rpc_port: 12321}
    port: 7100
assign: {all: [p0, p1]}
"""


@needs_sshd
@pytest.mark.sshd
@pytest.mark.timeout(200)
def test_a_dead_link_is_named_by_the_survey_and_by_the_pings_of_both_sides(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with lab(tmp_path, hardware="a2", names=("p0", "p1")) as made:
        made.file.with_name("two.yaml").write_text(LAYOUT)
        made.fail("p1", "hccn_tool", "down 3")
        host = made.node("p1").host.rpartition(".")[2]
        made.fail("p0", "hccn_tool", f"lost 29.1.{host}.13")
        done = inline(made, "two.yaml", capsys, monkeypatch)("preflight", "--network", "-o", "json")
        assert done.stdout, done.stderr
        document = json.loads(done.stdout)
        bad = {(each["check"], each["node"]) for each in document["results"] if each["verdict"] != "pass"}
        assert bad == {("2", "p1"), ("3", "p1"), ("8", "p0"), ("8", "p1")}
        assert document["matrix"] == [["from \\ to", "p0", "p1"], ["p0", "-", "7/8"], ["p1", "7/8", "-"]]
        assert done.returncode == 1
        assert "16 of 16 pings" in done.stderr
