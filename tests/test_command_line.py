"""The command line as a program from outside meets it: where options may stand, odd streams, odd locales, completion."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from console.cli.main import main

LAB = "name: lab\nnodes: {p0: {host: 10.0.0.1}, p1: {host: 10.0.0.2}, d0: {host: 10.0.0.3}, d1: {host: 10.0.0.4}}\n"


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("DSV4_CLUSTER", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lab.yaml").write_text(LAB)


@pytest.mark.parametrize(
    "words",
    [
        ("--cluster", "lab.yaml", "--layout", "a3-pd", "plan", "-o", "json"),
        ("--layout=a3-pd", "-c", "lab.yaml", "--readonly", "plan", "-o", "json"),
        ("--layout", "a3-pd", "plan", "-o", "json", "--cluster", "lab.yaml"),
        ("plan", "--cluster", "lab.yaml", "--layout", "a3-pd", "-o", "json"),
    ],
)
def test_shared_options_may_stand_before_or_behind_the_command(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    roles = ("--assign", "prefill=p0,p1", "--assign", "decode=d0,d1")
    for placed in ((*words, *roles), (*roles, *words)):
        assert main(placed) == 0
        assert len(json.loads(capsys.readouterr().out)["ranks"]) == 18


def test_what_is_behind_the_command_wins_and_a_wrong_command_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--layout", "a2-pd", "plan", "--layout", "a3-pd", "-o", "json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["ranks"]) == 18
    assert main(["--layout", "plan", "plna"]) == 2
    assert "did you mean plan?" in capsys.readouterr().err
