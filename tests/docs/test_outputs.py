"""What `-o json` and `-o jsonl` print is what docs/schemas/outputs says; tests/e2e/test_json_output.py asks nodes too."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from console.cli.main import COMMANDS, main
from console.journal import Journal
from console.services.xdg_paths import journal_path, state_home
from tests.diagnosis.field_logs import field_logs
from tests.docs.generate import parser_of
from tests.docs.outputs import OUTPUTS, must_fit

FORMS = ("json", "jsonl")
SPANNING = """\
name: wide
hardware: a3
version: v0.21.0rc1
model: {path: /models/v4, served_name: dsv4}
groups:
  mixed: {role: mixed, nodes: 2, nodes_per_engine: 2, tensor_parallel: 32, data_parallel: {size: 1, per_node: 1}, port: 8900}
services:
  kv-master: {command: [mooncake_master, --port, 9500], node: mixed/0, port: 9500, env: {LEVEL: 2}}
"""
FILES = {
    "lab.yaml": "name: lab\nnodes: {p0: {host: 10.0.0.1}, p1: {host: 10.0.0.1}}\n",
    "gone.yaml": "name: gone\nnodes: {p0: {host: 127.0.0.1, port: 9}}\n",
    "misspelled.yaml": "name: lab\nnods: {p0: {host: 10.0.0.1}}\nnodes: {}\n",
    "wide.yaml": SPANNING,
    "torch.log": next(each.text for each in field_logs() if each.name == "hbm-torch"),
}


def _offered(command: str) -> set[str]:
    """The forms for programs that a command's `-o` takes."""
    outputs = (each for each in parser_of(command)._actions if "-o" in each.option_strings)
    return {form for each in outputs for form in each.choices or () if form in FORMS}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_form_for_programs_has_a_schema(command: str) -> None:
    assert {form for each in OUTPUTS.get(command, ()) for form in each.schemas()} == _offered(command)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("layouts", 0),
        ("validate a3-pd lab.yaml misspelled.yaml", 2),
        ("plan --layout a3-pd", 0),
        ("plan --layout wide.yaml", 0),
        ("upgrade --to v0.25.1rc1 a3-pd", 0),
        ("keys", 0),
        ("diagnose torch.log", 0),
        ("journal -c lab.yaml", 0),
        ("weights -c gone.yaml --layout a3-mixed", 3),
    ],
)
def test_real_output_fits_its_schema(
    words: str, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)
    for name, text in FILES.items():
        Path(name).write_text(text)
    journal = Journal(journal_path(state_home(), "lab"))
    journal.record("begin", verb="start", engines=["d-0"], override=["C3"])
    journal.record("end", verb="start", engines=["d-0"], outcomes={"s1": "failed"}, messages={"s1": "no HBM"})
    journal.record("begin", verb="stop", engines=["d-0"])
    for form in _offered(words.split()[0]):
        assert main([*words.split(), "-o", form]) == code
        text = capsys.readouterr().out
        assert text.strip()
        must_fit([*words.split(), "-o", form], text)


def test_a_key_that_no_schema_has_and_a_missing_one_are_found() -> None:
    key: dict[str, object] = {"where": "grid", "keys": "q", "id": "quit", "label": "Quit", "help": "leave"}
    must_fit(["keys", "-o", "json"], json.dumps([key]))
    for wrong in ({**key, "more": 1}, {**key, "keys": None}, {name: key[name] for name in list(key)[1:]}):
        with pytest.raises(AssertionError, match="docs/schemas/outputs"):
            must_fit(["keys", "-o", "json"], json.dumps([key, wrong]))
