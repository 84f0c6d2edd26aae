"""`start` looks before it launches: refused on a failed check, and let through by name, with a trace."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from console.cli.main import main
from console.services.readiness.preflight_gate import overrides
from tests.e2e.cluster import Lab, lab
from tests.services.readiness.inline import inline
from tests.sshd import needs_sshd

LAYOUT = """\
name: one
hardware: a3
version: v0.21.0rc1
model: {path: /root/.cache/modelscope/hub/models/vllm-ascend/DeepSeek-V4-Pro-w4a8-mtp, served_name: dsv4}
args: {enable-expert-parallel: true, block-size: 128, quantization: ascend, tokenizer-mode: deepseek_v4}
groups:
  all:
    role: mixed
    nodes: 1
    tensor_parallel: 16
    data_parallel: {size: 1, per_node: 1, balance: external, rpc_port: 12321}
    port: 7100
assign: {all: [p0]}
"""


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """One node, and the layout beside its cluster file."""
    with lab(tmp_path_factory.mktemp("start"), names=("p0",)) as made:
        made.file.with_name("one.yaml").write_text(LAYOUT)
        yield made


def begun(made: Lab) -> list[list[str]]:
    """What was overridden in each plan that started, from the journal."""
    journal: Path = next((made.state / "dsv4-console/journal").glob("*.jsonl"))
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    return [line["override"] for line in lines if line["what"] == "begin"]


@needs_sshd
@pytest.mark.sshd
@pytest.mark.timeout(200)
def test_a_failed_check_stops_the_start_until_it_is_overridden_by_name(
    one: Lab, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    console = inline(one, "one.yaml", capsys, monkeypatch)
    (one.node("p0").root / "root/dev/davinci5").unlink()
    refused = console("start", "--yes")
    assert refused.returncode == 1
    assert "check 14, device nodes in the container: missing: davinci5" in refused.stderr, refused.stderr
    assert "--override 14" in refused.stderr
    assert one.marked() == []
    other = console("start", "--yes", "--override", "37")
    assert other.returncode == 1, "an override lets only its own check through"
    done = console("start", "--yes", "--override", "14")
    assert done.returncode == 0, done.stderr
    assert "1 overridden" in done.stderr
    assert begun(one) == [[], ["37"], ["14"]]
    busy = console("preflight", "-o", "json")
    failed = [each["check"] for each in json.loads(busy.stdout)["results"] if each["verdict"] == "fail"]
    assert failed == ["14"], "engines of ours are no strangers, and their memory and ports no fault"
    last = console("preflight", "--last", "-o", "json")
    assert (last.returncode, last.stdout) == (busy.returncode, busy.stdout)
    assert console("stop", "--yes").returncode == 0
    assert one.marked() == []


@pytest.mark.parametrize("name", ["0", "46", "8", "nonsense", ""])
def test_only_checks_that_stop_a_launch_can_be_overridden(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["start", "--override", name]) == 2
    assert "these do: " in capsys.readouterr().err
    assert overrides(["37", "11"]) == {"11", "37"}
