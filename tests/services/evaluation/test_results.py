"""From a run's log and the samples of the NPUs to a record; and what the command line shows of records."""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

import pytest

from console.cli import results
from console.evaluation.records import Ending, NpuSample, NpuUse, Record, ServedSample, TimePoint
from console.evaluation.result_store import ResultStore
from console.model.errors import UsageError
from console.model.run import RunKey, RunState, RunVerdict
from console.model.snapshot import Device, Exit, NodeSnapshot
from console.services.evaluation.results import npu_use, record_of, spec_of
from console.services.evaluation.watch import npu_sample
from tests.evaluation.figures import BENCH_BLOCK, bench_json, numbers, record

SPEC = {
    "token": "t1",
    "tool": "vllm-bench",
    "kind": "performance",
    "subject": "random 1000/250",
    "endpoint": "10.0.0.1:8000",
    "model": "dsv4",
    "cluster": "lab",
    "layout_hash": "0123456789ab",
}


def state(verdict: RunVerdict = RunVerdict.EXITED, code: int | None = 0, *, stopping: bool = False) -> RunState:
    ended = None if verdict is RunVerdict.LOST else Exit(code, None if code is not None else 9, 2010.0)
    key = RunKey("pd", "bench-vllm", "r1")
    return RunState(key, verdict, started_at=2000.0, exit=ended, stopping=stopping, spec={"evaluation": dict(SPEC)})


def frame(name: str, text: str) -> bytes:
    data = text.encode()
    return f"dsv4-result t1 {name} {len(data)} {hashlib.sha256(data).hexdigest()}\n".encode() + data + b"\n"


def made(log: bytes, of: RunState | None = None) -> Record:
    run = of or state()
    spec = spec_of(run)
    assert spec is not None
    return record_of(run, spec, "p0", log, [], 1000.0)


def test_a_result_in_the_log_becomes_a_record_on_our_clock() -> None:
    found = made(b"noise\n" + frame("bench.json", bench_json()) + b"dsv4-fact t1 exit 0\n")
    assert (found.started_at, found.ended_at) == (1000.0, 1010.0)
    assert found.number("output_throughput") == 400.0
    assert found.clean


def test_a_tool_without_times_of_its_own_has_the_timeline_of_the_engines_logs() -> None:
    run = state()
    spec = spec_of(run)
    assert spec is not None
    served = [ServedSample(at, 100.0 + at, 3) for at in (990.0, 1004.0, 1009.0, 1100.0)]
    found = record_of(run, spec, "p0", frame("bench.json", bench_json()), [], 1000.0, served)
    assert [(point.at_s, point.tokens) for point in found.timeline] == [(4.0, 1104.0), (9.0, 1109.0)]


def test_without_the_file_the_printed_block_is_read() -> None:
    found = made(BENCH_BLOCK.encode() + b"dsv4-fact t1 exit 0\n")
    assert (found.failed_requests, found.number("ttft_mean")) == (1, 210.5)
    assert not found.clean


@pytest.mark.parametrize(
    ("run", "ending", "words"),
    [
        (state(code=1), Ending.FAILED, "exited with 1"),
        (state(code=None), Ending.FAILED, "signal 9"),
        (state(RunVerdict.LOST), Ending.FAILED, "cause not recorded"),
        (state(code=143, stopping=True), Ending.CANCELLED, "cancelled"),
    ],
)
def test_a_run_that_did_not_end_by_itself_has_no_number_whatever_it_left(
    run: RunState, ending: Ending, words: str
) -> None:
    found = made(frame("bench.json", bench_json()), run)
    assert (found.ending, found.numbers) == (ending, {})
    assert words in found.error


def test_the_first_error_of_the_tool_explains() -> None:
    found = made(b"fine\n\x1b[31m[ERROR] connection refused\x1b[0m\n[ERROR] later\n", state(code=1))
    assert found.error == "the tool exited with 1: [ERROR] connection refused"


@pytest.mark.parametrize("evaluation", [None, "text", {}, {**SPEC, "tool": "other"}])
def test_what_is_no_evaluation_is_none(evaluation: object) -> None:
    run = RunState(RunKey("pd", "decode-0", "r"), RunVerdict.EXITED, spec={"evaluation": evaluation})  # type: ignore[dict-item]
    assert spec_of(run) is None


def test_npu_use_is_of_the_time_of_the_run_and_says_how_much_was_watched() -> None:
    samples = [
        NpuSample(90.0, "p0", 99.0, 1, 1.0),
        NpuSample(105.0, "p0", 40.0, 60000, 300.0),
        NpuSample(105.0, "d0", 60.0, 61000, 100.0),
        NpuSample(110.0, "p0", None, None, 500.0),
    ]
    found = npu_use(samples, 100.0, 200.0)
    assert found is not None
    assert (found.aicore_percent_mean, found.aicore_percent_max, found.hbm_used_mib_max) == (50.0, 60.0, 61000)
    assert found.power_w_mean == 500.0
    assert found.watched_share == pytest.approx((5 + 5 + 15) / 100)


def test_nobody_watching_is_none_and_unknown_power_stays_unknown() -> None:
    assert npu_use([NpuSample(90.0, "p0", 99.0, 1, 1.0)], 100.0, 200.0) is None
    found = npu_use([NpuSample(101.0, "p0", 1.0, 1, None), NpuSample(101.0, "d0", 1.0, 1, 5.0)], 100.0, None)
    assert found is not None
    assert (found.power_w_mean, found.watched_share) == (None, None)


def test_a_sample_of_a_node_keeps_what_devices_do_not_report_unknown() -> None:
    devices = (Device(0, 0, aicore_percent=50, hbm_used_mib=10), Device(1, 0, hbm_used_mib=30, power_w=None))
    assert npu_sample(NodeSnapshot("p0", "h", "a3", 2, devices=devices), 7.0) == NpuSample(7.0, "p0", 50.0, 30, None)


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ResultStore:
    """A store with three runs where the command line looks."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    store = ResultStore(tmp_path / "dsv4-console" / "results.sqlite")
    use = NpuUse(40.0, 50.0, 61000, None, 0.5, (NpuSample(1795466398.0, "p0", 40.0, 61000, None),))
    timeline = tuple(TimePoint(float(second), 10.0 * second, 2) for second in range(12))
    for index, (throughput, latency) in enumerate(((100.0, 900.0), (300.0, 1000.0), (310.0, 4000.0))):
        figures = numbers(output_throughput=throughput, e2el_mean=latency, ttft_mean=100.0, ttft_p99=150.0)
        load = {"concurrency": 2**index}
        store.add(
            record(
                f"run-{index}", numbers=figures, parameters=load, npu=use, timeline=timeline, started_at=float(index)
            )
        )
    store.add(record("bad", numbers={}, ending=Ending.FAILED, error="half\x1b[2Jwritten", failed_requests=7))
    return store


def shown(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    parser = argparse.ArgumentParser()
    results.add_parser(parser.add_subparsers())
    args = parser.parse_args(["results", *words])
    assert args.run(args) == 0
    return capsys.readouterr().out


def test_the_list_names_every_run_with_its_failures_and_headline(
    kept: ResultStore, capsys: pytest.CaptureFixture[str]
) -> None:
    text = shown(capsys)
    assert [line.split()[0] for line in text.splitlines()] == ["RUN", "bad", "run-2", "run-1", "run-0"]
    assert "310 token/s" in text
    assert "\x1b" not in text


def test_one_run_has_failures_before_figures_and_plots(kept: ResultStore, capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, "run-1")
    assert text.splitlines()[0] == "clean: 300 token/s, no request of 20 failed"
    assert text.index("failed requests          0 of 20") < text.index("output_throughput")
    assert any(line.split()[:2] == ["ttft", "100"] for line in text.splitlines())
    assert text.index("output token/s, over the seconds") < text.index("AICore 40 % mean")
    assert "AICore 40 % mean" in text
    bad = shown(capsys, "bad")
    assert bad.splitlines()[0] == "failed: halfwritten; 7 of 20 requests failed"
    assert "FAILED REQUESTS          7 of 20" in bad


def test_a_sweep_shows_its_curve_and_knee(kept: ResultStore, capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, "run-0", "run-1", "run-2", "--sweep", "concurrency")
    assert "knee at concurrency 2" in text
    assert text.count("X") == 1


def test_a_comparison_marks_what_matters(kept: ResultStore, capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(capsys, "run-0", "run-1", "--compare").splitlines()
    assert lines[0] == "! parameter concurrency differs: 1 and 2"
    assert lines[1] == "after is worse: e2el_mean +11.1%; better: output_throughput +200.0%"
    matters = next(line for line in lines if line.endswith("+ better"))
    assert matters.split() == ["output_throughput", "token/s", "100.00", "300.00", "+200.0%", "+", "better"]
    assert lines.index(matters) < next(at for at, line in enumerate(lines) if line.startswith("ttft_mean"))
    with pytest.raises(UsageError):
        shown(capsys, "run-0", "--compare")


def test_targets_say_what_was_never_measured_and_judge_throughputs_by_a_run(
    kept: ResultStore, capsys: pytest.CaptureFixture[str]
) -> None:
    text = shown(capsys, "--targets")
    assert "not measured yet: eval gpqa" in text
    assert "passed" not in text
    lines = shown(capsys, "run-1", "--targets").splitlines()
    assert [line.split()[1] for line in lines if line.startswith("run-")] == ["passed", "FAILED"]


@pytest.mark.parametrize(("form", "begin"), [("csv", "run,started"), ("json", "["), ("md", "| |")])
def test_exports_go_to_stdout(kept: ResultStore, capsys: pytest.CaptureFixture[str], form: str, begin: str) -> None:
    assert shown(capsys, "run-0", "--export", form).startswith(begin)


def test_a_result_is_removed_only_by_name(kept: ResultStore, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UsageError):
        shown(capsys, "--remove")
    shown(capsys, "run-0", "--remove")
    assert not kept.has("run-0")
