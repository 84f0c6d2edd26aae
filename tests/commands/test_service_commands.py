"""Services beside the engines in a layout: what is read, planned, exported, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from console.cli.main import main
from console.commands.launch_scripts import rank_command, rank_script
from console.files import layout_text, parse_layout
from console.model.errors import UsageError
from console.model.layout import Layout
from console.rules import check
from console.services.exporting.lws import lws_manifests
from console.services.exporting.shell_folders import shell_folders
from console.services.exporting.systemd import systemd_units
from console.services.placement.edits import example

TEXT = """\
name: pool
hardware: a3
version: v0.21.0rc1
image: quay.io/ascend/vllm-ascend:v0.21.0rc1-a3
model: {path: /models/v4, served_name: dsv4}
args: {block-size: 128}
groups:
  mixed:
    role: mixed
    nodes: 1
    tensor_parallel: 16
    data_parallel: {size: 1, per_node: 1}
    port: 8900
    env_from: {MC_MASTER: "{address:mixed/0}:9500"}
services:
  kv-master:
    command: [mooncake_master, --port, 9500, "--rpc_address={address}"]
    node: mixed/0
    port: 9500
    env: {MC_BASE: "http://{address:mixed/0}/", LEVEL: 2}
"""


def _layout(old: str = "", new: str = "") -> Layout:
    assert old in TEXT
    return parse_layout(TEXT.replace(old, new).encode(), "pool.yaml")


def test_a_service_is_a_process_of_its_node_with_a_command_of_its_own() -> None:
    deployment = example(_layout())
    assert [rank.id for rank in deployment.processes()] == ["kv-master", "mixed-0"]
    (service,) = deployment.service_ranks()
    assert (service.node, service.group, service.role, service.port) == ("mixed-0", "kv-master", "service", 9500)
    command = rank_command(deployment, service)
    assert command.argv == ("mooncake_master", "--port", "9500", "--rpc_address=192.0.2.1")
    assert command.env == {"MC_BASE": "http://192.0.2.1/", "LEVEL": "2"}
    assert "exec mooncake_master \\\n  --port 9500" in rank_script(deployment, service)
    assert not {each.rule for each in check(deployment)} & {"B1", "B2", "P1"}


def test_what_is_written_is_read_again() -> None:
    layout = _layout()
    assert parse_layout(layout_text(layout).encode(), "x.yaml").services == layout.services


def test_the_plan_lists_services_before_the_engines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "pool.yaml"
    path.write_text(TEXT)
    main(["plan", "--layout", str(path), "-o", "json"])
    plan = json.loads(capsys.readouterr().out)
    assert list(plan) == ["ranks", "services", "proxy", "findings"]
    assert [each["id"] for each in plan["ranks"]] == ["mixed-0"]
    assert plan["services"][0]["argv"][:3] == ["mooncake_master", "--port", "9500"]
    main(["plan", "--layout", str(path), "-o", "jsonl"])
    assert [json.loads(line)["id"] for line in capsys.readouterr().out.splitlines()] == ["kv-master", "mixed-0"]
    main(["plan", "--layout", str(path)])
    row = next(line.split() for line in capsys.readouterr().out.splitlines() if line.startswith("kv-master"))
    assert row == ["kv-master", "mixed-0", "192.0.2.1", "service", "-", "-", "9500", "-"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("kv-master:", "mixed:", "cannot have the name 'mixed'"),
        ("kv-master:", "mixed-0.1:", "cannot have the name 'mixed-0.1'"),
        ("kv-master:", "proxy:", "cannot have the name 'proxy'"),
        ("kv-master:", "a/b:", "not a valid name"),
        ('[mooncake_master, --port, 9500, "--rpc_address={address}"]', "mooncake_master", "as a list of words"),
        ('[mooncake_master, --port, 9500, "--rpc_address={address}"]', "[]", "command"),
        ("    port: 9500\n", "    health: {path: metrics}\n", "not a path"),
    ],
)
def test_a_service_that_cannot_be_is_refused(old: str, new: str, message: str) -> None:
    with pytest.raises((ValidationError, Exception), match=message):
        _layout(old, new)


@pytest.mark.parametrize(
    ("old", "new", "rule", "message"),
    [
        ("node: mixed/0", "node: mixed/3", "B1", "kv-master: its node 'mixed/3' is neither a node nor GROUP/INDEX"),
        ("    port: 9500\n", "", "B2", "kv-master has no port"),
        ("    port: 9500\n", "    port: 8900\n", "P1", "both use port 8900 of mixed-0"),
    ],
)
def test_rules_look_at_services(old: str, new: str, rule: str, message: str) -> None:
    found = [each for each in check(example(_layout(old, new))) if each.rule == rule]
    assert any(message in each.message for each in found)
    assert all(each.where.startswith("pool.yaml:") for each in found)


def test_exports_hold_services_or_say_that_they_do_not() -> None:
    deployment = example(_layout())
    folders = {each.path for each in shell_folders(deployment)}
    assert {"mixed-0/kv-master/cmd.sh", "mixed-0/start-services.sh", "mixed-0/start.sh"} <= folders
    assert any(each.path.endswith("dsv4-pool-kv-master.service") for each in systemd_units(deployment))
    with pytest.raises(UsageError, match="no services beside the engines \\(kv-master\\)"):
        lws_manifests(deployment)
