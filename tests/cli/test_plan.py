"""`plan`, `validate` and `layouts` on the command line: what they print is a contract."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from console.cli.main import main
from console.files import load_layout, shipped_layouts, shipped_text
from console.model.snapshot import ClusterSnapshot
from console.releases.facts import facts_of, names, release_name
from console.rules import RULES
from console.services.operations.plan_maker import PlanMaker
from console.services.placement.edits import example
from tests.files.dumper import run_script

FAMILIES = ("-Flash", "-Pro", ".1-Flash")
RANK_KEYS = ["id", "node", "group", "role", "dp_rank", "local_rank", "devices", "port", "headless", "env", "argv"]


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("DSV4_CLUSTER", raising=False)
    monkeypatch.chdir(tmp_path)


def _lab(tmp_path: Path, names: str, hardware: str) -> str:
    path = tmp_path / "lab.yaml"
    nodes = ", ".join(f"{name}: {{host: 10.0.0.{i}, nic: eth{i}}}" for i, name in enumerate(names.split(), 1))
    path.write_text(f"name: lab\ndefaults: {{hardware: {hardware}}}\nnodes: {{{nodes}}}\n")
    return str(path)


def _plan(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> dict[str, Any]:
    assert main(["plan", *words, "-o", "json"]) == code
    document = json.loads(capsys.readouterr().out)
    assert isinstance(document, dict)
    return document


def test_the_separated_layout_has_eighteen_ranks_where_they_belong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lab = _lab(tmp_path, "p0 p1 d0 d1", "a3")
    plan = _plan(capsys, "--cluster", lab, "--layout", "a3-pd", "--assign", "prefill=p0,p1", "--assign", "decode=d0,d1")
    assert list(plan) == ["ranks", "proxy", "findings"]
    assert plan["findings"] == []
    assert all(list(rank) == RANK_KEYS for rank in plan["ranks"])
    shown = [(rank["id"], rank["node"], rank["dp_rank"], rank["local_rank"], rank["port"]) for rank in plan["ranks"]]
    prefill = [("prefill-0", "p0", 0, 0, 7100), ("prefill-1", "p1", 1, 0, 7100)]
    assert shown == prefill + [(f"decode-{i}", f"d{i // 8}", i, i % 8, 7100 + i % 8) for i in range(16)]
    assert [rank["devices"] for rank in plan["ranks"][2:]] == [[2 * (i % 8), 2 * (i % 8) + 1] for i in range(16)]
    assert plan["ranks"][0]["devices"] == list(range(16))
    last = plan["ranks"][-1]
    assert (last["env"]["HCCL_IF_IP"], last["env"]["HCCL_SOCKET_IFNAME"], last["env"]["ASCEND_RT_VISIBLE_DEVICES"]) == (
        "10.0.0.4",
        "eth4",
        "14,15",
    )
    words = last["argv"]
    assert words[:2] == ["vllm", "serve"]
    assert words[words.index("--data-parallel-address") + 1] == "10.0.0.3"
    assert plan["proxy"]["node"] == "p0"
    assert plan["proxy"]["port"] == 8000
    assert plan["proxy"]["argv"][0] == "python"


def test_the_mixed_layout_has_four_ranks_of_which_one_serves(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lab = _lab(tmp_path, "n0 n1 n2 n3", "a2")
    plan = _plan(capsys, "--cluster", lab, "--layout", "a2-mixed", "--assign", "mixed=n0,n1,n2,n3")
    shown = [(rank["dp_rank"], rank["port"], rank["headless"], len(rank["devices"])) for rank in plan["ranks"]]
    assert shown == [(0, 10010, False, 8), (1, None, True, 8), (2, None, True, 8), (3, None, True, 8)]
    assert plan["proxy"] is None


def test_an_incomplete_plan_is_printed_with_its_finding_and_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lab = _lab(tmp_path, "p0 p1 d0 d1", "a3")
    plan = _plan(capsys, "--cluster", lab, "--layout", "a3-pd", "--assign", "prefill=p0,p1", code=1)
    assert len(plan["ranks"]) == 2
    assert plan["findings"] == [
        {"rule": "A1", "severity": "error", "message": "decode has 0 of 2 nodes", "where": "group decode"}
    ]


def test_a_layout_can_be_read_without_a_cluster(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--layout", "a3-pd"]) == 0
    shown = capsys.readouterr()
    assert "are examples" in shown.err
    assert "192.0.2.3:12321" in shown.out
    assert "estimate" in shown.out
    assert main(["plan"]) == 2


def test_the_shell_form_of_one_engine_is_its_script(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = _plan(capsys, "--layout", "a3-pd")
    assert main(["plan", "--layout", "a3-pd", "-o", "sh", "decode-9"]) == 0
    one = run_script(capsys.readouterr().out, tmp_path)
    assert [word.decode() for word in one.argv] == plan["ranks"][11]["argv"]
    assert main(["plan", "--layout", "a3-pd", "-o", "sh"]) == 0
    every = capsys.readouterr().out
    assert run_script(every, tmp_path, "decode-9").argv == one.argv
    assert run_script(every, tmp_path, "proxy").argv[0] == b"python"


@pytest.mark.parametrize(
    ("words", "count"),
    [(["all"], 19), (["prefill"], 2), (["decode-3", "decode"], 16), (["proxy", "prefill", "proxy"], 3), ([], 0)],
)
def test_engines_are_named_by_id_by_group_or_all_at_once(words: list[str], count: int) -> None:
    deployment = example(load_layout("a3-pd"))
    every = [*(rank.id for rank in deployment.ranks()), "proxy"]
    named = deployment.engines_named(words, every)
    assert len(named) == len({*named}) == count
    taken_in = PlanMaker(deployment, ClusterSnapshot(0.0, "x", "a3-pd")).chosen("start", words)
    assert {*taken_in} == {*(named if words else every)}


def test_a_group_that_is_called_all_is_meant_by_its_name() -> None:
    layout = load_layout("a3-mixed")
    deployment = example(layout.model_copy(update={"groups": {"all": next(iter(layout.groups.values()))}}))
    assert all(each.startswith("all-") for each in deployment.engines_named(["all"], ["elsewhere-0"]))


def test_engines_that_do_not_exist_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--layout", "a3-pd", "decode-99"]) == 2
    said = capsys.readouterr().err
    assert "no engine 'decode-99'" in said
    assert "groups: prefill, decode; or `all`" in said
    assert main(["plan", "--layout", "a3-pb"]) == 2
    assert "did you mean a3-pd?" in capsys.readouterr().err


KEYED = """name: mine
hardware: a3
model: {path: /model, served_name: dsv4}
args: {api-key: sk-only-for-clients}
groups:
  mixed: {role: mixed, nodes: 1, tensor_parallel: 16, data_parallel: {size: 1, per_node: 1, balance: external}, port: 7100}
"""


@pytest.mark.parametrize("output", ["json", "jsonl", "sh"])
def test_what_is_to_be_run_holds_its_secrets_and_the_help_says_so(
    output: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.yaml").write_text(KEYED)
    main(["plan", "--layout", "mine.yaml", "-o", output])
    assert "sk-only-for-clients" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["plan", "--help"])
    assert "json, jsonl and sh print secrets such as API keys unmasked" in " ".join(capsys.readouterr().out.split())
    assert main(["export", "--layout", "mine.yaml", "--save", "out", "--force"]) == 0
    files = [each for each in (tmp_path / "out").rglob("*") if each.is_file()]
    assert any("sk-only-for-clients" in each.read_text() for each in files)
    assert {each.stat().st_mode & 0o077 for each in files} == {0}


def test_one_line_per_rank_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--layout", "a3-pd", "-o", "jsonl"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["id"] for line in lines][-2:] == ["decode-15", "proxy"]


@pytest.mark.parametrize("name", shipped_layouts())
def test_every_flag_we_write_is_one_that_the_layouts_release_knows(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    release = facts_of(release_name(load_layout(name).version)) or facts_of(names()[-1])
    assert release is not None
    known = {f"--{flag}" for flag in release.flags} | {f"--no-{flag}" for flag in release.flags}
    for rank in _plan(capsys, "--layout", name)["ranks"]:
        assert {word for word in rank["argv"] if word.startswith("--")} <= known


@pytest.mark.parametrize("name", shipped_layouts())
def test_shipped_layouts_validate_and_can_be_taken_as_a_start(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["layouts", name]) == 0
    text = capsys.readouterr().out
    assert text == shipped_text(name)
    (tmp_path / "mine.yaml").write_text(text)
    assert main(["validate", name, "mine.yaml"]) == 0
    assert load_layout("mine.yaml").groups == load_layout(name).groups


def test_layouts_are_listed_by_model_with_their_nodes_and_hardware(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["layouts", "-o", "json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert {each["name"]: (each["nodes"], each["hardware"]) for each in listed} == {
        "a2-flash": (1, "a2"),
        "a2-flash-dspark": (1, "a2"),
        "a2-pd-flash": (8, "a2"),
        "a3-flash": (1, "a3"),
        "a3-flash-dspark": (1, "a3"),
        "a3-pd-flash": (2, "a3"),
        "a3-pd-flash-dspark": (2, "a3"),
        "a2-mixed": (4, "a2"),
        "a2-pd": (8, "a2"),
        "a3-mixed": (2, "a3"),
        "a3-pd": (4, "a3"),
        "a3-pd-1m": (4, "a3"),
        "a2-v41-flash": (4, "a2"),
        "a3-v41-flash": (2, "a3"),
        "a3-v41-flash-offload": (1, "a3"),
    }
    models = [each["model"] for each in listed]
    assert list(dict.fromkeys(models)) == sorted(set(models)) == [f"DeepSeek-V4{more}" for more in FAMILIES]
    assert all(each["source"] == f"Eco-Tech/{each['source'].partition('/')[2]}" for each in listed)
    assert main(["layouts"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if not line.startswith(" ")] == [f"DeepSeek-V4{more}" for more in FAMILIES]
    assert "4 × prefill DP8×TP1, decode DP32×TP1" in next(line for line in lines if "a2-pd-flash" in line)


def test_every_rule_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    for rule in RULES:
        assert main(["validate", "--explain", rule.lower()]) == 0
        shown = capsys.readouterr().out
        assert all(word in shown for word in (rule, "why:", "fix:", "source:"))
    assert main(["validate", "--explain", "all"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(RULES)
    assert main(["validate", "--explain", "R99"]) == 2


def test_validate_names_file_line_and_fix_and_the_worst_decides(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = shipped_text("a3-pd").replace("tensor_parallel: 16", "tensor_parallel: 1")
    (tmp_path / "wide.yaml").write_text(bad)
    assert main(["validate", "a3-pd", "wide.yaml"]) == 1
    shown = capsys.readouterr().out
    line = next(number for number, text in enumerate(bad.splitlines(), 1) if "tensor_parallel: 2" in text)
    assert (
        f"error R10: tensor_parallel of prefill is 1, less than 2 of decode; prefill needs at least as much [wide.yaml:{line}]"
        in shown
    )
    (tmp_path / "broken.yaml").write_text("groups: [\n")
    assert main(["validate", "wide.yaml", "broken.yaml", "missing.yaml"]) == 2
    assert main(["validate"]) == 2


def test_a_title_cannot_steer_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.yaml").write_text(
        shipped_text("a3-pd")
        .replace("title: DeepSeek", 'title: "\\e[2J\\u202e DeepSeek')
        .replace("separated\nhard", 'separated"\nhard')
    )
    assert main(["plan", "--layout", "mine.yaml"]) == 0
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert "\u202e" not in shown


CONTAINERS = """\
name: lab
defaults:
  hardware: a3
  runtime: {kind: docker, image: "quay.io/ascend/vllm-ascend:v0.21.0rc1"}
nodes:
  a: {host: 10.0.0.1}
  b:
    host: 10.0.0.1
    runtime: {image: "quay.io/ascend/vllm-ascend:v0.21.0rc1-a3", run_flags: [--rm]}
"""


def test_a_cluster_file_is_judged_by_the_rules_about_nodes_with_its_lines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "lab.yaml").write_text(CONTAINERS)
    assert main(["validate", "lab.yaml", "-o", "json"]) == 1
    [report] = json.loads(capsys.readouterr().out)
    assert [(each["rule"], each["where"]) for each in report["findings"]] == [
        ("A2", "lab.yaml:7"),
        ("K1", "lab.yaml:4"),
        ("K4", "lab.yaml:9"),
    ]
    words = ("--cluster", "lab.yaml", "--layout", "a3-mixed", "--assign", "mixed=a,b")
    found = {each["rule"]: each["where"] for each in _plan(capsys, *words, code=1)["findings"]}
    assert {rule: found[rule] for rule in ("A2", "K1", "K3", "K4")} == {
        "A2": "lab.yaml:7",
        "K1": "lab.yaml:4",
        "K3": "lab.yaml:9",
        "K4": "lab.yaml:9",
    }
