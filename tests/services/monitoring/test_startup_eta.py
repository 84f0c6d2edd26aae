"""What is left of a start, by the starts that were watched before it."""

from __future__ import annotations

from pathlib import Path

import pytest

from console.model.durations import about
from console.model.snapshot import EngineSnapshot, EngineState
from console.model.start_timing import StartProgress, skew_of
from console.services.monitoring.startup_eta import (
    CurrentStart,
    FinishedStart,
    StartHistory,
    longest_log_gaps,
    shape,
    start_progress,
)
from tests.services.deployments import deployment

PHASES = {"config": 5.0, "load": 60.0, "memory": 360.0, "graph": 400.0, "serving": 470.0}
KNOWN = [FinishedStart(f"r{number}", 480.0 + 10 * number, PHASES) for number in range(3)]


def _engine(phase: str, progress: float, state: EngineState = EngineState.STARTING) -> EngineSnapshot:
    return EngineSnapshot(
        id="decode-0", node="d0", group="decode", role="decode", state=state, phase=phase, progress=progress, run="r9"
    )


def _pace(
    elapsed_s: float, phases: dict[str, float], *engines: EngineSnapshot, known: list[FinishedStart] = KNOWN
) -> StartProgress:
    return start_progress("decode", known, engines, CurrentStart(frozenset({"r9"}), True, elapsed_s, phases))


def test_without_an_earlier_start_nobody_knows() -> None:
    unknown = _pace(30.0, {}, _engine("config", 0.02), known=[])
    assert unknown.left_s is None
    assert "no estimate" in unknown.words()


def test_a_start_that_goes_like_the_others_is_left_with_the_rest_of_them() -> None:
    left = _pace(20.0, {"config": 5.0}, _engine("config", 0.02))
    assert left.left_s == pytest.approx(470.0)
    assert left.words() == "about 8 min left (from 3 earlier starts)"


def test_time_lost_in_a_phase_that_is_over_is_not_counted_off() -> None:
    late = _pace(500.0, {"config": 5.0, "memory": 480.0}, _engine("memory", 0.70))
    assert late.left_s == pytest.approx(490.0 - 360.0 - 20.0)


def test_bars_of_the_log_say_how_much_of_loading_is_done() -> None:
    half = _pace(1000.0, {"load": 60.0}, _engine("load", 0.12 + 0.58 / 2))
    assert half.left_s == pytest.approx(150.0 + 490.0 - 360.0), "however long the first half took"


def test_the_slowest_rank_counts() -> None:
    ready = _engine("serving", 1.0, EngineState.READY)
    both = _pace(410.0, {}, ready, _engine("graph", 0.78))
    assert both.left_s == pytest.approx(490.0 - 410.0)


def test_a_console_that_came_later_takes_the_phase_for_a_clock() -> None:
    assert _pace(2000.0, {}, _engine("graph", 0.78)).left_s == pytest.approx(490.0 - 470.0)
    assert _pace(10.0, {}, _engine("memory", 0.70)).left_s == pytest.approx(490.0 - 360.0)


def test_longer_than_all_before_is_said() -> None:
    over = _pace(900.0, {"config": 5.0}, _engine("config", 0.02))
    assert over.left_s == 0.0
    assert over.words() == "longer than usual: 8 min in 3 earlier starts"


def test_the_book_keeps_each_start_once_and_only_the_newest(tmp_path: Path) -> None:
    path = tmp_path / "starts" / "lab" / "pd.json"
    book = StartHistory(path)
    for number in range(12):
        book.keep("decode", FinishedStart(f"r{number}", 100.0 + number, {"load": 10.0}))
        StartHistory(path).keep("decode", FinishedStart(f"r{number}", 999.0, {}))
    again = StartHistory(path).of("decode")
    assert [each.run for each in again] == [f"r{number}" for number in range(4, 12)]
    assert again[-1] == FinishedStart("r11", 111.0, {"load": 10.0})
    assert StartHistory(path).of("prefill") == []


def test_the_longest_silence_of_each_phase_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "pd.json"
    for number, silence in enumerate((4.0, 9.0, 2.0)):
        StartHistory(path).keep(
            "decode", FinishedStart(f"r{number}", 100.0, {"load": 10.0}, {"load": silence, "graph": 1.0})
        )
    assert longest_log_gaps(StartHistory(path).of("decode")) == {"load": 9.0, "graph": 1.0}
    path.write_text('{"decode": [{"run": "r", "ready_s": 100.0, "phases": {"load": 10.0}}]}')
    assert longest_log_gaps(StartHistory(path).of("decode")) == {}, "of starts that were kept without it"


@pytest.mark.parametrize("rubbish", ["", "[]", '{"decode": 3}', '{"decode": [{"run": 1}]}', "\x00"])
def test_a_broken_book_is_an_empty_one(tmp_path: Path, rubbish: str) -> None:
    path = tmp_path / "pd.json"
    path.write_text(rubbish)
    assert StartHistory(path).of("decode") == []
    StartHistory(path).keep("decode", KNOWN[0])
    assert len(StartHistory(path).of("decode")) == 1


def test_another_size_is_another_start() -> None:
    assert shape(deployment(), "decode") != shape(deployment(), "prefill")


@pytest.mark.parametrize(
    ("seconds", "words"), [(2.0, "5 s"), (42.0, "40 s"), (70.0, "75 s"), (118.0, "2 min"), (4210.0, "1 h 10 min")]
)
def test_times_are_rounded_as_a_person_would(seconds: float, words: str) -> None:
    assert about(seconds) == words


def test_a_start_skew_is_compared_with_what_engines_and_hccl_wait() -> None:
    began = {"decode-0": 100.0, "decode-1": 102.5, "decode-2": 101.0}
    skew = skew_of("decode", began, {"HCCL_CONNECT_TIMEOUT": "1200"})
    assert skew is not None
    assert (skew.seconds, skew.last, skew.limit_s, skew.late) == (2.5, "decode-1", 300.0, False)
    assert "engines wait 300 s for each other, HCCL 1200 s" in skew.words()
    unset = skew_of("decode", {**began, "decode-1": 221.0}, {})
    assert unset is not None
    assert unset.late
    assert unset.words().startswith("TOO LATE: 121.0 s between the first rank and decode-1; ")
    assert skew_of("decode", {"decode-0": 100.0}, {}) is None
