"""What holds a start up: silences that are longer than usual, and who waits for whom."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from console.model.durations import stepped
from console.model.plan import Step
from console.model.snapshot import EngineSnapshot, EngineState
from console.model.start_timing import StartProgress
from console.services.monitoring.stall_detection import BAR_S, USUAL_S, held_up
from console.services.operations.start_steps import progress_text

NOW = 10_000.0


def engine(
    rank: int,
    phase: str,
    progress: float,
    silent_s: float,
    text: str = "",
    state: EngineState = EngineState.STARTING,
    **more: object,
) -> EngineSnapshot:
    """A rank of decode whose log has said nothing for so long."""
    made = EngineSnapshot(f"decode-{rank}", f"d{rank}", "decode", "decode", state, log_spoke_at=NOW - silent_s)
    return replace(made, phase=phase, progress=progress, progress_text=text, **more)  # type: ignore[arg-type]


def told(*engines: EngineSnapshot, known: Mapping[str, float] | None = None) -> dict[str, str]:
    """Engine -> what holds it up."""
    found = held_up({each.id: each for each in engines}, {"decode": known or {}}, NOW)
    return {name: each.held_up for name, each in found.items()}


@pytest.mark.parametrize(
    ("alone", "known", "words"),
    [
        (engine(0, "load", 0.41, 110.0, "shard 32/64"), {}, ""),
        (engine(0, "load", 0.41, BAR_S + 5.0, "shard 32/64"), {}, "silent 2m"),
        (engine(0, "load", 0.12, 300.0), {}, ""),
        (engine(0, "load", 0.12, 420.0), {}, "silent 7m"),
        (engine(0, "load", 0.12, 300.0, "prefetch 3/64"), {}, ""),
        (engine(0, "load", 0.70, 300.0, "shard 64/64"), {}, ""),
        (engine(0, "graph", 0.80, 240.0, "graph 3/35"), {}, ""),
        (engine(0, "peers", 0.04, 300.0), {}, ""),
        (engine(0, "peers", 0.04, 335.0), {}, "silent 5m"),
        (engine(0, "load", 0.12, 70.0), {"load": 3.0}, "silent 1m"),
        (engine(0, "load", 0.12, 55.0), {"load": 3.0}, ""),
        (engine(0, "load", 0.12, 500.0), {"load": 300.0}, ""),
        (engine(0, "load", 0.12, 500.0), {"graph": 3.0}, "silent 8m"),
        (engine(0, "serving", 1.0, 5000.0), {}, ""),
        (engine(0, "load", 0.12, 5000.0, state=EngineState.READY), {}, ""),
        (engine(0, "load", 0.12, 5000.0, log_read=False), {}, ""),
    ],
)
def test_a_silence_is_told_when_it_is_clearly_longer_than_usual(
    alone: EngineSnapshot, known: dict[str, float], words: str
) -> None:
    assert told(alone, known=known) == ({"decode-0": words} if words else {})


def test_ranks_that_wait_name_the_slow_one_and_only_that_one_is_silent() -> None:
    ranks = (
        engine(0, "load", 0.70, 130.0, "shard 64/64"),
        engine(1, "load", 0.70, 130.0, "shard 64/64"),
        engine(2, "memory", 0.70, 5.0),
        engine(3, "load", 0.41, 131.0, "shard 32/64"),
    )
    found = held_up({each.id: each for each in ranks}, {}, NOW)
    assert {name: each.held_up for name, each in found.items()} == {
        "decode-0": "waits for decode-3, at load 41 %, silent 2m",
        "decode-1": "waits for decode-3, at load 41 %, silent 2m",
        "decode-3": "silent 2m",
    }
    assert [name for name, each in found.items() if each.silent_since is not None] == ["decode-3"]


def test_a_rank_that_is_only_slow_is_waited_for_without_being_called_silent() -> None:
    assert told(engine(0, "engine-ready", 0.96, 200.0), engine(1, "load", 0.30, 2.0, "shard 20/64")) == {
        "decode-0": "waits for decode-1, at load 30 %"
    }


def test_ranks_that_are_equally_far_do_not_wait_for_each_other() -> None:
    limit = USUAL_S["distributed"] + 1.0
    assert told(engine(0, "distributed", 0.08, limit), engine(1, "distributed", 0.08, limit)) == {
        "decode-0": "silent 2m",
        "decode-1": "silent 2m",
    }


@pytest.mark.parametrize(
    ("seconds", "step", "words"),
    [(45.0, 60, "40s"), (125.0, 60, "2m"), (108.0, 10, "1m40s"), (120.0, 10, "2m"), (3905.0, 60, "1h05m"), (3.0, 10, "0s")],
)  # fmt: skip
def test_times_that_went_by_change_seldom(seconds: float, step: int, words: str) -> None:
    assert stepped(seconds, step) == words


def test_the_step_of_a_start_says_how_long_it_waits_and_for_whom() -> None:
    step = Step("ready:decode", "wait-ready", "wait", "d0", ("decode-0", "decode-1"))
    ranks = (engine(0, "load", 0.70, 0.0), engine(1, "load", 0.41, 0.0, held_up="silent 2m"))
    first, words = progress_text(step, ranks, None, 108.0)
    assert words == "0/2 ready after 1m40s, slowest decode-1 41% (silent 2m)"
    moved = (ranks[0], engine(1, "load", 0.42, 0.0, held_up="silent 2m"))
    assert progress_text(step, moved, None, 109.0)[0] == first, "not told anew for each percent"
    assert progress_text(step, moved, None, 110.0)[0] != first
    ready = engine(0, "serving", 1.0, 0.0, state=EngineState.READY)
    pace = StartProgress("decode", 5.0, 40.0, 2, 60.0)
    assert progress_text(step, (ready, ranks[1]), pace, 5.0)[1] == (
        "1/2 ready, slowest decode-1 41% (silent 2m), about 40 s left (from 2 earlier starts)"
    )
    assert progress_text(step, (), None, 5.0)[1] == "0/2 ready"
    assert progress_text(step, (), pace, 5.0)[0] != progress_text(step, (), None, 5.0)[0], "told as soon as it is known"
