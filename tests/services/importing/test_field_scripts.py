"""Scripts as people post them: each is imported as it was decided before it was run, or refused with the true reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from console.cli.main import main
from console.files import layout_text, parse_layout
from console.model.layout import Group, Layout
from console.services.importing import build, read_script
from tests.shared import SHARED, needs_shared

CASES: list[dict[str, Any]] = yaml.safe_load((Path(__file__).parent / "field_scripts.yaml").read_text())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_a_script_is_what_it_means_or_refused_with_the_reason(
    case: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("x.sh").write_bytes(case["script"].encode())
    words = ["import", "x.sh"]
    for name, value in case.get("settings", {}).items():
        words += ["--set", f"{name}={value}"]
    if "hardware" in case:
        words += ["--hardware", case["hardware"]]
    if "arguments" in case:
        words += ["--", *case["arguments"]]
    code = main(words)
    said = capsys.readouterr()
    if "refused" in case:
        assert code == 2
        assert case["refused"] in said.err
        assert case.get("hint", "") in said.err
        assert "silent" not in case or case["silent"] not in said.err
        assert said.out == ""
        return
    assert code == 0, said.err
    assert "null" not in said.out
    layout = parse_layout(said.out.encode(), "x.yaml")
    _held(layout, case, said.out)
    for each in case.get("says", ()):
        assert f"note: {each}" in said.err or each in said.err


def _held(layout: Layout, case: dict[str, Any], text: str) -> None:
    assert list(layout.groups) == list(case["groups"])
    for name, wanted in case["groups"].items():
        group = layout.groups[name]
        for key, value in wanted.items():
            assert _found(group, key, value) == value, f"{name}: {key}"
    assert layout.model.path == case.get("model", layout.model.path)
    assert layout.model.served_name == case.get("served", layout.model.served_name)
    assert layout.image == case.get("image", layout.image)
    assert layout.hardware.name == case.get("hardware_is", layout.hardware.name)
    services = {name: [each.port, *each.command] for name, each in layout.services.items()}
    assert services == case.get("services", {})
    for never in case.get("never", ()):
        assert never not in text


def _found(group: Group, key: str, wanted: object) -> object:
    """What a group has under a short name of the table; of mappings only what is wanted."""
    parallel = group.data_parallel
    short = {
        "size": parallel.size,
        "per_node": parallel.per_node,
        "balance": parallel.balance,
        "tp": group.tensor_parallel,
    }
    if key in short:
        return short[key]
    value = getattr(group, key)
    return {each: value.get(each) for each in wanted} if isinstance(wanted, dict) else value


def test_the_file_of_config_is_read_where_it_is_given(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = {
        "serve.sh": "vllm serve --config=/w/serve.yaml --port 8222\n",
        "serve.yaml": "model: /m/V4\ntensor-parallel-size: 8\nport: 1\n",
        "compose.yaml": "services: {a: {image: vllm-ascend, command: [--config, /w/serve.yaml, --port, '8222']}}\n",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    for name in ("serve.sh", "compose.yaml"):
        code, out, _ = _imported(capsys, str(tmp_path / name), str(tmp_path / "serve.yaml"))
        layout = parse_layout(out.encode(), "x.yaml")
        group = layout.groups["mixed"]
        assert (code, layout.model.path, group.tensor_parallel, group.port, group.args) == (0, "/m/V4", 8, 8222, {})
    code, out, err = _imported(capsys, str(tmp_path / "serve.sh"))
    assert (code, out) == (2, "")
    assert "Give it too: import FILE /w/serve.yaml" in err


def test_what_a_script_writes_back_is_read_back() -> None:
    layout = build(read_script("vllm serve /m -tp 8\n", "x.sh", "x")).layout
    assert layout_text(parse_layout(layout_text(layout).encode(), "again.yaml")) == layout_text(layout)


FIELD = SHARED / "fixtures" / "field" / "scripts"


def _imported(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(["import", *words])
    said = capsys.readouterr()
    assert "null" not in said.out
    return code, said.out, said.err


@needs_shared
@pytest.mark.shared
@pytest.mark.parametrize("name", ["backticks-awk.sh", "command-substitution.sh"])
def test_an_address_that_only_the_node_knows_is_never_a_value(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = _imported(capsys, str(FIELD / name))
    assert code == 0
    assert not any(text in out.partition("\n")[2] for text in ("awk", "$", "`", "hostname", "host:"))
    assert f"{name}:" in err
    assert "--host {address}: left out" in err


@needs_shared
@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "held"),
    [
        ("bash-map.sh", ("port: 8100", "tensor_parallel: 8", "trust-remote-code: true", "max-model-len: 32768")),
        ("basename.sh", ("served_name: Qwen3.5-27B", "port: 9000", "tensor_parallel: 4")),
        ("leaderworkerset.yaml", ("nodes: 2", "size: 2, per_node: 1", "port: 8001", "HCCL_BUFFSIZE: '1024'")),
        ("two-commands.sh", ("port: 13700", "port: 13701", "first_device: 8", "kv_producer", "kv_consumer")),
    ],
)
def test_what_the_field_was_read_wrong_in_is_read_right(
    name: str, held: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = _imported(capsys, str(FIELD / name))
    assert code == 0
    assert all(each in out for each in held), out
    assert "$" not in out
    assert "LWS" not in out


@needs_shared
@pytest.mark.shared
def test_variables_that_say_data_parallel_become_the_layouts_own(capsys: pytest.CaptureFixture[str]) -> None:
    path = str(FIELD / "dp-by-environment.sh")
    code, out, err = _imported(capsys, path)
    assert (code, out) == (2, "")
    assert "--port: the value is the script's argument $6" in err
    assert all(f"--set {number}=…" in err for number in (1, 3, 6))
    code, out, err = _imported(capsys, "--set", "1=4", "--set", "3=13395", path, "--set", "6=9000", "--set", "7=2")
    assert code == 0
    group = parse_layout(out.encode(), "x.yaml").groups["mixed"]
    assert (group.nodes, group.port, group.tensor_parallel) == (2, 9000, 8)
    parallel = group.data_parallel
    assert (parallel.size, parallel.per_node, parallel.balance, parallel.rpc_port) == (4, 2, "external", 13395)
    assert "VLLM_DP" not in out
    assert "VLLM_DP_SIZE, VLLM_DP_RANK" in err
