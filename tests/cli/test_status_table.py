"""The table of `status`: unknown and not there are different words."""

from __future__ import annotations

from dataclasses import replace

import pytest

from console.cli.status import _print_table
from console.cli.status_data import status_data
from console.cli.tables import cells
from console.model.ongoing_work import StopRequest
from console.model.service import Service, ServiceState
from console.model.snapshot import (
    ClusterSnapshot,
    Diagnosis,
    EngineSnapshot,
    EngineState,
    Link,
    LinkState,
    NodeSnapshot,
)


def test_a_node_without_devices_shows_none_and_one_that_is_silent_about_them_shows_unknown(
    capsys: pytest.CaptureFixture[str],
) -> None:
    up = Link(LinkState.UP)
    nodes = {
        "plain": NodeSnapshot("plain", "10.0.0.1", "plain", 0, up),
        "silent": NodeSnapshot("silent", "10.0.0.2", "a2", 8, up, devices_error="npu-smi hangs"),
        "shut": NodeSnapshot("shut", "10.0.0.3", "a2", 8, Link(LinkState.BLOCKED, reason="refused", hint="ssh-add it")),
    }
    _print_table(ClusterSnapshot(at=100.0, cluster="lab", deployment="x", nodes=nodes))
    rows = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line}
    assert "none" in rows["plain"]
    assert "?" not in rows["plain"]
    assert "?/8" in rows["silent"]
    assert rows["silent"].endswith("npu-smi hangs")
    assert rows["shut"].endswith("refused — ssh-add it")


def test_the_first_line_says_whether_it_serves(capsys: pytest.CaptureFixture[str]) -> None:
    service = Service(ServiceState.PART, "http://10.0.0.1:8000", "dsv4\x1b[2J", "14 of 16 decode")
    picture = ClusterSnapshot(at=100.0, cluster="lab", deployment="x", service=service)
    _print_table(picture)
    first = capsys.readouterr().out.splitlines()[0]
    assert first == "lab  x  PART: 14 of 16 decode http://10.0.0.1:8000 dsv4"
    assert status_data(picture)["service"] == {
        "state": "PART",
        "endpoint": "http://10.0.0.1:8000",
        "model": "dsv4\x1b[2J",
        "reason": "14 of 16 decode",
    }
    assert status_data(replace(picture, service=None))["service"] is None
    unknown = status_data(replace(picture, service=Service(ServiceState.UP, "http://10.0.0.1:8000", "")))["service"]
    assert unknown == {"state": "UP", "endpoint": "http://10.0.0.1:8000", "model": None, "reason": None}


def test_who_stopped_an_engine_and_what_holds_another_up_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    stopped = EngineSnapshot(
        "decode-0", "d0", "decode", "decode", EngineState.EXITED, asked=StopRequest("alice@jump2", 60.0)
    )
    slow = EngineSnapshot("decode-1", "d0", "decode", "decode", EngineState.STARTING, held_up="silent 2m")
    picture = ClusterSnapshot(
        at=100.0, cluster="lab", deployment="x", engines={each.id: each for each in (stopped, slow)}
    )
    _print_table(picture)
    rows = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line}
    assert rows["decode-0"].endswith("stopped by alice@jump2, 40 s ago")
    assert rows["decode-1"].endswith("silent 2m")
    engines = status_data(picture)["engines"]
    assert (engines[0]["stop_request"], engines[0]["cause"]) == ({"by": "alice@jump2", "at": 60.0}, None)
    assert (engines[1]["stop_request"], engines[1]["held_up"]) == (None, "silent 2m")


def test_the_first_cause_is_shown_with_its_remedy_and_what_followed_from_it_in_one_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    first = Diagnosis(
        "C1", "fatal", "HBM is full", "", "Lower it.", "", "decode-3", "d0", "x\x1b[2J", 90.0, True, first=True,
        where="decode in mine.yaml: gpu-memory-utilization 0.9 (line 7)",
    )  # fmt: skip
    later = replace(first, signature="A23", title="a core did not start", first=False, consequence=True)
    peers = tuple(
        replace(later, signature="A2", title="a peer is gone", engine=f"decode-{at}") for at in (9, 10, 11, 12, 14)
    )
    port = replace(first, signature="A11", title="a port is taken", engine="prefill-0", first=False, remedy="Free it.")
    picture = ClusterSnapshot(at=100.0, cluster="lab", deployment="x", diagnoses=(later, first, *peers, port))
    _print_table(picture)
    told = capsys.readouterr().out
    assert "\ndecode-3 on d0 failed first: HBM is full (C1)\n  remedy: Lower it.\n  where: decode in mine.yaml" in told
    after = "2 consequences: a core did not start (A23) on decode-3; a peer is gone (A2) on decode-9..12, decode-14\n"
    assert f"\n  {after}" in told
    assert "\nnot explained by the first failure: a port is taken (A11) on prefill-0\n  remedy: Free it." in told
    causes = status_data(picture)["causes"]
    assert [each["consequence"] for each in causes] == [True, False, *[True] * 5, False]
    picture = replace(picture, diagnoses=(later, first))
    causes = status_data(picture)["causes"]
    assert [(each["signature"], each["first"]) for each in causes] == [("A23", False), ("C1", True)]
    assert causes[0]["seen"] == "x"
    _print_table(replace(picture, diagnoses=()))
    assert "failed first" not in capsys.readouterr().out


def test_what_a_restart_would_change_is_told_once_for_engines_that_differ_alike(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines = ("--max-num-seqs 60, planned 30",)
    states = [EngineState.READY, EngineState.READY, EngineState.FAILED, EngineState.READY]
    engines = {
        f"decode-{at}": EngineSnapshot(f"decode-{at}", "d0", "decode", "decode", state, drift=lines if at < 3 else ())
        for at, state in enumerate(states)
    }
    picture = ClusterSnapshot(at=100.0, cluster="lab", deployment="x", engines=engines)
    _print_table(picture)
    told = [line for line in capsys.readouterr().out.splitlines() if "until a restart" in line]
    assert told == [
        "settings that differ from the layout until a restart, of decode-0 +1 more: --max-num-seqs 60, planned 30"
    ]
    assert [each["differs"] for each in status_data(picture)["engines"]] == [[*lines]] * 3 + [[]]


def test_an_unproven_service_names_the_command_that_proves_it(capsys: pytest.CaptureFixture[str]) -> None:
    service = Service(ServiceState.UNPROVEN, "http://10.0.0.1:8000", "dsv4", "this console has not seen an answer yet")
    _print_table(ClusterSnapshot(at=100.0, cluster="lab", deployment="x", service=service))
    assert capsys.readouterr().out.rstrip().endswith("dsv4-console status --prove, or dsv4-console verify")


def test_a_ready_engine_shows_no_phase_of_its_start(capsys: pytest.CaptureFixture[str]) -> None:
    """A headless rank never writes the last line of a start, so its progress stays below 100 %."""
    loading = EngineSnapshot("mixed-0", "n0", "mixed", "mixed", EngineState.STARTING, phase="weights", progress=0.4)
    ready = replace(loading, id="mixed-1", state=EngineState.READY, phase="engine-ready", progress=0.96)
    engines = {each.id: each for each in (loading, ready)}
    _print_table(ClusterSnapshot(at=100.0, cluster="lab", deployment="x", engines=engines))
    rows = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line}
    assert "weights 40%" in rows["mixed-0"]
    assert "%" not in rows["mixed-1"]


@pytest.mark.parametrize("room", [60, 80, 120])
def test_on_a_terminal_every_line_fits_and_only_causes_are_cut(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    monkeypatch.setattr("console.cli.tables.terminal_cells", lambda stream: room)
    monkeypatch.setattr("console.cli.status.terminal_cells", lambda stream: room)
    name = "rack-17-node-with-a-long-name-42"
    up, down = Link(LinkState.UP), Link(LinkState.LOST, reason="connection refused " * 4, hint="ssh it")
    nodes = {
        name: NodeSnapshot(name, "10.0.0.1", "a3", 16, down),
        "节点九": NodeSnapshot("节点九", "10.0.0.2", "a3", 0, up),
    }
    why = "RuntimeError: NPU out of memory. Tried to allocate 1.31 GiB of 60.97 GiB"
    engine = EngineSnapshot("decode-15", name, "decode", "decode", EngineState.FAILED, cause=why, port=7100)
    picture = ClusterSnapshot(at=1.0, cluster="lab", deployment="x", nodes=nodes, engines={engine.id: engine})
    _print_table(picture)
    told = capsys.readouterr().out
    assert all(cells(line) <= room for line in told.splitlines()), told
    assert all(word in told.replace("\n", " ") for word in ("Runtime", "decode-15", "7100", "节点九", "refused"))
    assert "…" in told
    assert "EXIT" not in told or room > 80, "what no engine has needs no column where room is short"


def test_in_a_pipe_each_row_is_one_line_with_all_columns(capsys: pytest.CaptureFixture[str]) -> None:
    engine = EngineSnapshot("decode-15", "d1", "decode", "decode", EngineState.READY, port=7100)
    _print_table(ClusterSnapshot(at=1.0, cluster="lab", deployment="x", engines={engine.id: engine}))
    head, row = capsys.readouterr().out.splitlines()[-2:]
    assert head.split() == ["ENGINE", "NODE", "STATE", "PHASE", "PORT", "EXIT", "CAUSE"]
    assert row.split() == ["decode-15", "d1", "ready", "7100", "-"]
    assert head.index("PORT") + 4 == row.index("7100") + 4, "figures stand at the right of their column"
