"""The evaluation pane: what runs and what was measured, every view, and every way in which nothing must be started."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from console.commands.evaluation import AccuracyLoad, BenchLoad
from console.evaluation.progress import Progress
from console.evaluation.records import Ending, Kind, NpuSample, NpuUse, TimePoint, Tool
from console.model.errors import ConsoleError
from console.model.findings import Finding, Severity
from console.model.run import RunKey
from console.model.snapshot import Task
from console.services.evaluation.plans import EvaluationRequest
from screens.options import Options
from tests.evaluation.figures import numbers, record
from tests.screens.fakes import FakeCopy, FakeSession
from tests.screens.seen import LARGE, SMALL, Seen, running

SIZES = pytest.mark.parametrize("size", [SMALL, LARGE], ids=["80x24", "120x40"])
BENCH = EvaluationRequest(Tool.VLLM_BENCH, BenchLoad(1000, 250, 20, 4))


def with_results(directory: Path) -> FakeSession:
    """Three runs of a sweep, a failed one, an accuracy."""
    session = FakeSession(directory)
    store = session.evaluator.store
    use = NpuUse(
        40.0, 50.0, 61000, None, 0.5, tuple(NpuSample(5.0 * at, "p0", 30.0 + at, 61000, None) for at in range(3))
    )
    timeline = tuple(TimePoint(float(second), 10.0 * second, 2) for second in range(12))
    for index, (throughput, latency) in enumerate(((100.0, 900.0), (300.0, 1000.0), (310.0, 4000.0))):
        figures = numbers(output_throughput=throughput, e2el_mean=latency)
        figures |= numbers(ttft_mean=100.0, ttft_p50=90.0, ttft_p90=120.0, ttft_p99=150.0)
        load = {"concurrency": 2**index, "input_tokens": 1000, "output_tokens": 250}
        begun = 1000.0 * index
        store.add(
            record(f"sweep-{index}", numbers=figures, parameters=load, npu=use, timeline=timeline, started_at=begun)
        )
    store.add(record("part", failed_requests=7, started_at=4000.0))
    store.add(record("bad", numbers={}, ending=Ending.FAILED, error="the tool exited with 3", started_at=5000.0))
    store.add(
        record(
            "score", tool=Tool.AISBENCH, kind=Kind.ACCURACY, subject="gsm8k", numbers=numbers(accuracy=91.0), parameters={},
            reference=96.21,
            started_at=6000.0, empty_answers=0,
        )
    )  # fmt: skip
    return session


async def opened(seen: Seen) -> None:
    """The pane, with its results read."""
    await seen.press("B")
    await seen.sees("RESULT")
    await seen.sees("6 kept")


@SIZES
async def test_failures_stand_before_every_result(tmp_path: Path, size: tuple[int, int]) -> None:
    async with running(with_results(tmp_path), size) as seen:
        await opened(seen)
        await seen.press("f")
        await seen.sees("sweep-0" if size == LARGE else "100 token/s")
        head = next(line for line in seen.lines() if "RESULT" in line)
        part = next(line for line in seen.lines() if line.lstrip().startswith("7 "))
        assert head.index("FAILED") < head.index("RESULT")
        assert "400 token/s" in part
        assert "the tool exited" in seen.text()


@SIZES
async def test_a_running_evaluation_shows_how_far_it_is_before_all_others(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    session = with_results(tmp_path)
    async with running(session, size) as seen:
        key = RunKey("a3-pd", "bench-vllm", "20261123T204010Z-ab12")
        session.evaluator.begin(key, "p0", BENCH)
        session.evaluator.watch.far[key] = Progress(45, 100, 1.6, 34.0, 3)
        await opened(seen)
        line = next(at for at, text in enumerate(seen.lines()) if "45% 45/100 1.6/s 34s left" in text)
        assert "RESULT" in seen.lines()[line - 1]
        assert seen.lines()[line].split()[0] == "3"
        assert "1 running, 6 kept" in seen.text()
        await seen.press("enter", "f")
        await seen.sees("FAILED REQUESTS so far  3")
        await seen.sees("it continues when this console ends")


@SIZES
async def test_one_run_has_its_percentiles_and_throughput_above_npu_use(tmp_path: Path, size: tuple[int, int]) -> None:
    async with running(with_results(tmp_path), size) as seen:
        await opened(seen)
        await seen.press("G", "enter", "f")
        await seen.sees("failed requests          0 of 20")
        await seen.sees("full to p50")
        assert any(line.split()[:5] == ["ttft", "100", "90", "120", "150"] for line in seen.lines())
        await seen.press("G")
        await seen.sees("AICore 40 % mean")
        if size == LARGE:
            assert seen.text().index("output token/s, over the seconds") < seen.text().index("AICore %")
        await seen.press("escape", "escape")
        await seen.sees("6 kept")


async def test_two_marked_runs_are_compared_with_what_matters_first(tmp_path: Path) -> None:
    async with running(with_results(tmp_path)) as seen:
        await opened(seen)
        await seen.press("equals_sign")
        assert "mark two finished runs" in seen.toasts()
        await seen.press("G", "space", "k", "k", "space")
        await seen.sees("2 marked")
        await seen.press("equals_sign", "f")
        await seen.sees("two runs compared")
        await seen.sees("parameter concurrency differs")
        await seen.sees("+ better")
        matters = next(at for at, line in enumerate(seen.lines()) if "+ better" in line)
        assert matters < next(at for at, line in enumerate(seen.lines()) if line.startswith(" ttft_mean"))


@SIZES
async def test_a_sweep_is_made_of_runs_that_differ_only_in_their_load(tmp_path: Path, size: tuple[int, int]) -> None:
    async with running(with_results(tmp_path), size) as seen:
        await opened(seen)
        await seen.press("G", "w", "f")
        await seen.sees("knee at concurrency 2")
        assert "part" not in seen.text()
        await seen.press("G")
        await seen.sees("X")


async def test_accuracies_stand_against_the_figure_of_their_model_and_throughputs_against_the_marked_run(
    tmp_path: Path,
) -> None:
    async with running(with_results(tmp_path), LARGE) as seen:
        await opened(seen)
        await seen.press("t")
        await seen.sees("figures to reach")
        gsm8k = next(line for line in seen.lines() if line.startswith(" gsm8k"))
        assert gsm8k.split()[1:5] == ["96.21", "91.00", "-5.21", "FAILED"]
        assert "not measured yet: eval gpqa" in seen.text()
        await seen.press("escape", "G", "k", "space", "t")
        await seen.sees("baseline sweep-1")
        lines = seen.text().splitlines()
        assert any("sweep-2" in line and "passed" in line for line in lines)
        assert any("sweep-0" in line and "FAILED" in line for line in lines)


@SIZES
async def test_a_typed_bench_is_planned_confirmed_and_shown(tmp_path: Path, size: tuple[int, int]) -> None:
    session = FakeSession(tmp_path)
    async with running(session, size) as seen:
        await seen.press("colon")
        await seen.type("bench --concurrency 16")
        await seen.press("enter")
        await seen.sees("PERFORMANCE vllm-bench random 1024/256")
        await seen.sees("vllm bench serve --backend")
        assert seen.app.focused is not None
        assert seen.app.focused.id == "body"
        await seen.press("enter", "enter")
        await seen.pilot.pause()
        assert session.evaluator.started == [], "Enter only unfolds"
        await seen.press("y")
        await seen.sees(lambda: session.evaluator.started)
        await seen.sees("no progress yet")
        assert session.evaluator.asked[0].load == BenchLoad(1024, 256, 100, 16)


@pytest.mark.parametrize("key", ["enter", "escape", "n", "x", "space", "Y", "q"])
async def test_other_keys_in_the_dialog_measure_nothing(tmp_path: Path, key: str) -> None:
    session = FakeSession(tmp_path)
    async with running(session) as seen:
        await seen.command("eval gsm8k")
        await seen.sees("ACCURACY aisbench gsm8k")
        await seen.sees("ais_bench --models")
        await seen.press(key)
        await seen.pilot.pause()
        assert session.evaluator.started == []


async def test_what_a_check_found_blocks_the_run(tmp_path: Path) -> None:
    session = FakeSession(tmp_path)
    session.evaluator.findings = (
        Finding("EVAL-TOOL", Severity.ERROR, "vllm is not installed on p0", "p0", fix="use d0"),
    )
    async with running(session) as seen:
        await seen.command("bench")
        await seen.sees("vllm is not installed on p0")
        await seen.press("y", "enter")
        await seen.pilot.pause()
        assert session.evaluator.started == []


async def test_words_that_cannot_be_meant_are_answered_and_open_nothing(tmp_path: Path) -> None:
    session = FakeSession(tmp_path)
    async with running(session) as seen:
        await seen.press("colon")
        await seen.type("bench --sweep 1,x")
        await seen.press("enter")
        await seen.sees(lambda: "not a list of numbers" in seen.toasts())
        assert session.evaluator.asked == []


async def test_a_choice_of_n_is_typed_into_the_command_line_to_be_changed(tmp_path: Path) -> None:
    session = FakeSession(tmp_path)
    async with running(session) as seen:
        await seen.press("B", "n")
        await seen.sees("What to measure?")
        await seen.type("gpqa")
        await seen.press("enter")
        await seen.sees(": eval gpqa")
        assert session.evaluator.asked == []


async def test_a_sweep_goes_on_by_itself_and_ends_when_a_run_ends_badly(tmp_path: Path) -> None:
    session = FakeSession(tmp_path)
    evaluator = session.evaluator
    async with running(session) as seen:
        await seen.command("bench --sweep 1,2,4")
        await seen.sees("3 runs")
        await seen.sees("3, one after the other, as long as this console is open")
        await seen.press("y")
        await seen.sees(lambda: len(evaluator.started) == 1)
        evaluator.end(evaluator.started[0])
        await seen.sees(lambda: len(evaluator.started) == 2)
        evaluator.end(evaluator.started[1], failed_requests=3)
        await seen.sees(lambda: "the sweep ends here" in seen.toasts())
        assert len(evaluator.asked) == 2


async def test_a_running_one_is_cancelled_after_a_question_only(tmp_path: Path) -> None:
    session = FakeSession(tmp_path)
    key = RunKey("a3-pd", "eval-gsm8k", "20261123T204010Z-ab12")
    async with running(session) as seen:
        session.evaluator.begin(key, "d0", EvaluationRequest(Tool.AISBENCH, AccuracyLoad("gsm8k")))
        await seen.press("B")
        await seen.sees("no progress yet")
        await seen.press("C")
        await seen.sees("Cancel eval-gsm8k?")
        await seen.press("enter")
        assert session.evaluator.cancelled == []
        await seen.press("C")
        await seen.sees("Cancel eval-gsm8k?")
        await seen.press("y")
        await seen.sees(lambda: session.evaluator.cancelled == [(key, "d0")])
        await seen.sees(lambda: "eval-gsm8k on d0: stopped" in seen.toasts())


async def test_the_built_in_generator_is_shown_cancelled_and_asked_about_when_one_leaves(tmp_path: Path) -> None:
    session = FakeSession(tmp_path)
    async with running(session) as seen:
        await seen.command("bench --tool built-in")
        await seen.sees("this machine")
        await seen.press("y")
        await seen.sees(lambda: session.evaluator.local)
        session.publish()
        await seen.sees("8% 3/40 2/s 18s left")
        await seen.press("q", "q")
        await seen.sees("built-in load generator is measuring")
        await seen.press("n", "tab")
        await seen.press("C")
        await seen.sees("Cancel bench-built-in?")
        await seen.press("y")
        await seen.sees(lambda: not session.evaluator.local)


async def test_the_log_of_a_run_is_shown_until_the_cursor_moves(tmp_path: Path) -> None:
    session = with_results(tmp_path)
    copy = FakeCopy(tmp_path / "bench.log")
    copy.append(b"============ Serving Benchmark Result ============\n")
    session.logs.copies["bench-vllm", "sweep-0"] = copy
    async with running(session) as seen:
        await opened(seen)
        await seen.press("G", "L")
        await seen.sees("Serving Benchmark Result")
        await seen.sees("bench-vllm")
        await seen.press("tab", "j")
        await seen.sees(lambda: "Serving Benchmark Result" not in seen.text())


async def test_the_first_line_says_that_something_loads_the_cluster(tmp_path: Path) -> None:
    session = FakeSession(tmp_path)
    async with running(session) as seen:
        assert "bench-vllm" not in seen.header()
        task = Task("p0", "a3-pd", "bench-vllm", "evaluation", "r1")
        session.snapshot = replace(session.snapshot, tasks=(task, replace(task, node="p1")))
        seen.app.main.draw()
        await seen.sees(lambda: seen.header().count("bench-vllm") == 1)


async def test_a_run_of_the_built_in_generator_has_no_log_and_says_so(tmp_path: Path) -> None:
    session = FakeSession(tmp_path)
    session.evaluator.store.add(record("mine", tool=Tool.BUILT_IN))
    async with running(session) as seen:
        await seen.press("B")
        await seen.sees("1 kept")
        await seen.press("L")
        await seen.sees(lambda: "no log" in seen.toasts())
        assert "RESULT" in seen.text()


async def test_read_only_begins_and_cancels_nothing(tmp_path: Path) -> None:
    session = FakeSession(tmp_path, read_only=True)
    async with running(session) as seen:
        for line in ("bench", "eval gsm8k"):
            await seen.press("colon")
            await seen.type(line)
            await seen.press("enter")
            await seen.sees(lambda: "read-only" in seen.toasts())
        assert session.evaluator.asked == []


async def test_a_broken_file_of_results_says_so_and_the_pane_lives(tmp_path: Path) -> None:
    session = FakeSession(tmp_path)
    (tmp_path / "results.sqlite").write_text("this is no database, whatever its name says " * 20)
    async with running(session, LARGE) as seen:
        await seen.press("B")
        await seen.sees("cannot be used")


async def test_a_refusal_at_the_start_is_told(tmp_path: Path) -> None:
    session = FakeSession(tmp_path)
    session.evaluator.refusal = ConsoleError("p0 has another run", hint="look at it")
    async with running(session) as seen:
        await seen.command("bench")
        await seen.sees("y start")
        await seen.press("y")
        await seen.sees("p0 has another run")


async def test_every_view_is_ascii_where_that_is_asked_for(tmp_path: Path) -> None:
    async with running(with_results(tmp_path), LARGE, options=Options(ascii=True)) as seen:
        await opened(seen)
        for keys in (("G", "enter"), ("escape", "G", "w"), ("escape", "t"), ("escape",)):
            await seen.press(*keys)
            await seen.pilot.pause()
            assert seen.text().isascii()
