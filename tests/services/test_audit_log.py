"""What people read of the journal: a beginning and its end are one operation, whatever is missing is left out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from console.cli.main import main
from console.journal import Journal
from console.model.ongoing_work import ObservedOperation
from console.services.audit_log import audit_entries, with_others
from console.services.xdg_paths import journal_path

BEGIN = {"at": 100.0, "who": "ann@jump", "what": "begin", "verb": "stop", "deployment": "pd", "engines": ["d-0", "d-1"]}
END = {**BEGIN, "at": 112.4, "what": "end", "outcomes": {"term": "done", "verify": "done"}, "messages": {}}


def test_an_act_and_its_end_are_one() -> None:
    (only,) = audit_entries([BEGIN, END])
    assert (only.what, only.whom, only.outcome, only.good) == ("stop of 2 engines", "d-0, d-1", "done", True)
    assert only.took_s == pytest.approx(12.4)


def test_a_start_that_was_not_waited_for_is_called_so() -> None:
    started = {"verb": "start", "awaited": False}
    (only,) = audit_entries([{**BEGIN, **started}, {**END, **started}])
    assert (only.outcome, only.good) == ("launched, not waited for", True)


def test_an_end_belongs_to_its_own_operator() -> None:
    other = {**END, "who": "bob@jump"}
    newest, oldest = audit_entries([BEGIN, other])
    assert (oldest.who, oldest.outcome, oldest.good) == ("ann@jump", "no end recorded", None)
    assert (newest.who, newest.outcome) == ("bob@jump", "done")


def test_what_failed_is_said_step_by_step() -> None:
    ended = {
        **END,
        "outcomes": {"term": "failed", "kill": "unknown", "verify": "skipped"},
        "messages": {"term": "no link"},
    }
    (only,) = audit_entries([{**BEGIN, "override": ["hbm"], "takeover": True}, ended])
    assert (only.outcome, only.good) == ("1 failed, 1 unknown", False)
    assert only.details == (
        "overridden: hbm",
        "taken over from another operator",
        "term failed: no link",
        "kill unknown",
    )


@pytest.mark.parametrize("record", [{}, {"what": 3, "engines": "x"}, {"what": "end", "outcomes": [], "at": "soon"}])
def test_records_that_are_not_ours_are_shown_as_far_as_they_go(record: dict[str, object]) -> None:
    (only,) = audit_entries([record])
    assert only.took_s is None


def test_the_command_prints_acts_oldest_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    file = tmp_path / "cluster.yaml"
    file.write_text("name: lab\nnodes:\n  p0: {host: 10.0.0.1}\n")
    words = ["journal", "--cluster", str(file)]
    assert main(words) == 0
    assert capsys.readouterr().out == ""
    journal = Journal(journal_path(tmp_path / "dsv4-console", "lab"), clock=lambda: 1_764_000_000.0)
    journal.record("begin", verb="start", engines=["d-0"])
    journal.record("accept-host-key", node="p0\x1b[2J")
    assert main(words) == 0
    head, first, second = capsys.readouterr().out.splitlines()
    assert head.split() == ["when", "who", "what", "outcome", "target"]
    assert "start of 1 engine" in first
    assert "accept host key" in second
    assert "\x1b" not in second
    assert main([*words, "--grep", "D-0", "-o", "json"]) == 0
    assert [each["whom"] for each in json.loads(capsys.readouterr().out)] == ["d-0"]
    assert main([*words, "-n", "0"]) == 2


def test_what_nodes_tell_of_others_stands_among_the_acts_and_ones_own_only_once() -> None:
    known = audit_entries([BEGIN, END])
    seen = (
        ObservedOperation(104.0, "ann@jump", "stop", ("d-0", "d-1")),
        ObservedOperation(105.0, "ann@jump (restart policy)", "start", ("d-0",)),
        ObservedOperation(90.0, "alice@jump2", "stop", ("p-0",)),
        ObservedOperation(900.0, "ann@jump", "stop", ("d-0",)),
    )
    told = with_others(known, seen)
    assert [(each.who, each.what, each.seen) for each in told] == [
        ("ann@jump", "stop of 1 engine", True),
        ("ann@jump", "stop of 2 engines", False),
        ("alice@jump2", "stop of 1 engine", True),
    ]
    assert told[-1].outcome == "seen, not done here"
