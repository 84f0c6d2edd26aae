"""Files of runs that somebody else wrote: the helper goes on, and tells of them what makes sense."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from console.node.frames import MAX_RUNS
from console.remote import frame_decoding
from tests.node.driver import helper
from tests.waiting import until_blocking

NEST = "[" * 100_000 + "]" * 100_000
FORGED = {
    "no number": '{"code": NaN, "at": Infinity}',
    "numbers too large": f'{{"code": 1{"0" * 400}, "signal": 1{"0" * 30}, "at": 1e400}}',
    "deep": f'{{"code": 0, "at": {NEST}}}',
    "not so deep": f'{{"code": 0, "oom": {{"group": {"[" * 500 + "]" * 500}}}}}',
    "half a character": r'{"code": 0, "error": "\ud800"}',
    "other types": '{"code": "x", "signal": [], "at": {}, "error": [1, 2], "oom": 5}',
    "long": json.dumps({"code": 0, "error": "x" * 3_000_000}),
    "no object": "[]",
}


@pytest.mark.parametrize("name", ["exit.json", "run.json", "stop.json", "spec.json"])
@pytest.mark.parametrize("forged", FORGED)
def test_a_forged_file_of_one_run_costs_no_other_and_not_the_helper(tmp_path: Path, name: str, forged: str) -> None:
    base = tmp_path / "base"
    with helper(base) as node:
        for each in ("r1", "r2"):
            node.prepare(("dep", "e" + each, each), "true")
        node.until(("dep", "er2", "r2"), "prepared")
        run = base / "dep/er1/runs/r1"
        written = (run / "spec.json").read_bytes()
        if name != "run.json":
            (run / "run.json").write_text('{"pid": 1, "start": 1}')
        (run / name).write_text(FORGED[forged])
        seen = len(node.pushes)
        until_blocking(lambda: len(node.pushes) > seen + 2 or node.process.poll() is not None, 15)
        node.ask("ping")
        said = [each for each in node.pushes if each["push"] == "runs"][-1]
        assert {tuple(each["key"]) for each in said["runs"]} == {("dep", "er1", "r1"), ("dep", "er2", "r2")}
        assert not frame_decoding.runs(said).error
        (run / "spec.json").write_bytes(written)


def test_of_more_runs_than_fit_the_living_and_newest_are_told_and_the_rest_is_counted(tmp_path: Path) -> None:
    base = tmp_path / "base"
    with helper(base) as node:
        node.launch(("dep", "a", "r1"), "exec sleep 1000")
        for number in range(MAX_RUNS + 88):
            run = base / "dep/a/runs" / f"r0-{number:05}"
            run.mkdir(mode=0o700)
            (run / "spec.json").write_text(json.dumps({"token": f"t{number}", "spec": {"big": "x" * 3000}}))
            (run / "run.json").write_text("{}")
        until_blocking(lambda: len(node.runs) == MAX_RUNS, 20)
        until_blocking(lambda: node.pushes[-1].get("left_runs") == 89, 20)
        said = node.pushes[-1]
        assert len(said["runs"]) == MAX_RUNS
        assert node.verdict(("dep", "a", "r1")) == "running"
        assert [each["key"] for each in said["runs"]] == sorted(each["key"] for each in said["runs"])
        assert "89 more runs" in frame_decoding.runs(said).remark
