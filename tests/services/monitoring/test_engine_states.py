"""Every row of the state table, and how one dead rank degrades its group."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from console.model.ongoing_work import StopRequest
from console.model.run import RunKey, RunState, RunVerdict
from console.model.snapshot import EngineSnapshot, EngineState, Exit, Grade, HealthCheck, Link, LinkState
from console.node.processes import read_stat
from console.node.run_dirs import Key
from console.node.run_verdicts import ORPHANS, JudgedRun, reason
from console.services.monitoring.engine_states import (
    UNRECORDED,
    Evidence,
    degraded_by_stop,
    judge,
    mark_group_degraded,
    ready_by_group,
)

KEY = RunKey("a3-pd", "decode-5", "20260101T000000Z-0000")
UP = Link(LinkState.UP)
OK = (HealthCheck("http", Grade.OK), HealthCheck("model", Grade.OK))
DOWN = (HealthCheck("http", Grade.FAIL, "/health 503"),)


def _run(verdict: RunVerdict, **facts: object) -> RunState:
    return RunState(KEY, verdict, **facts)  # type: ignore[arg-type]


def _evidence(run: RunState | None, **facts: object) -> Evidence:
    given: dict[str, object] = {"link": UP, "run": run, "headless": False, **facts}
    return Evidence(**given)  # type: ignore[arg-type]


CASES: list[tuple[str, Evidence, EngineState, str]] = [
    ("nothing there", _evidence(None), EngineState.IDLE, ""),
    (
        "link lost says nothing of the engine",
        _evidence(_run(RunVerdict.RUNNING), link=Link(LinkState.LOST, reason="timed out")),
        EngineState.UNREACHABLE,
        "timed out",
    ),
    (
        "a stale link still counts",
        _evidence(_run(RunVerdict.RUNNING), link=Link(LinkState.STALE)),
        EngineState.STARTING,
        "",
    ),
    ("just prepared", _evidence(_run(RunVerdict.PREPARED)), EngineState.LAUNCHING, ""),
    (
        "prepared, its console gone",
        _evidence(_run(RunVerdict.PREPARED, abandoned=True)),
        EngineState.IDLE,
        "never launched",
    ),
    (
        "could not be executed",
        _evidence(_run(RunVerdict.PREPARED, reason="exec failed: no such file")),
        EngineState.FAILED,
        "exec failed",
    ),
    (
        "ended, and what it wrote last has not arrived",
        _evidence(_run(RunVerdict.EXITED, exit=Exit(code=1)), log_current=False),
        EngineState.FAILED,
        "its log is still being read",
    ),
    ("loading", _evidence(_run(RunVerdict.RUNNING)), EngineState.STARTING, ""),
    ("log says ready, nobody asked yet", _evidence(_run(RunVerdict.RUNNING), log_ready=True), EngineState.STARTING, ""),
    ("answers, log says ready", _evidence(_run(RunVerdict.RUNNING), log_ready=True, checks=OK), EngineState.READY, ""),
    (
        "answers, its log was told to be quiet",
        _evidence(_run(RunVerdict.RUNNING, spec={"argv": ["vllm", "--uvicorn_log_level=error"]}), checks=OK),
        EngineState.READY,
        "",
    ),
    (
        "answers, a log that should have told did not",
        _evidence(_run(RunVerdict.RUNNING, spec={"env": {"VLLM_LOGGING_LEVEL": "DEBUG"}}), checks=OK),
        EngineState.STARTING,
        "",
    ),
    (
        "answers, log not yet read",
        _evidence(_run(RunVerdict.RUNNING), log_current=False, checks=OK),
        EngineState.READY,
        "",
    ),
    ("answers, log read and not ready", _evidence(_run(RunVerdict.RUNNING), checks=OK), EngineState.STARTING, ""),
    (
        "health without the model",
        _evidence(_run(RunVerdict.RUNNING), log_ready=True, checks=OK[:1]),
        EngineState.STARTING,
        "",
    ),
    (
        "was ready, answers no more",
        _evidence(_run(RunVerdict.RUNNING), was_ready=True, checks=DOWN),
        EngineState.DEGRADED,
        "503",
    ),
    ("loading, so nobody answers yet", _evidence(_run(RunVerdict.RUNNING), checks=DOWN), EngineState.STARTING, ""),
    (
        "its log says ready, and nobody answers",
        _evidence(_run(RunVerdict.RUNNING), log_ready=True, checks=DOWN),
        EngineState.DEGRADED,
        "http: /health 503",
    ),
    (
        "dead inside",
        _evidence(_run(RunVerdict.RUNNING), log_ready=True, checks=OK, log_dead="EngineDeadError"),
        EngineState.DEGRADED,
        "EngineDeadError",
    ),
    (
        "shuts down, and who wanted that is not reported yet",
        _evidence(_run(RunVerdict.RUNNING), was_ready=True, checks=OK, log_ends_s=1.0),
        EngineState.STOPPING,
        "",
    ),
    (
        "shuts down, and nobody is known to have asked for it",
        _evidence(_run(RunVerdict.RUNNING), was_ready=True, checks=OK, log_ends_s=6.0),
        EngineState.DEGRADED,
        "without a stop request",
    ),
    (
        "headless, its cores gone while its parent lingers",
        _evidence(_run(RunVerdict.RUNNING), headless=True, log_dead="its engine cores ended", log_ends_s=0.1),
        EngineState.DEGRADED,
        "cores ended",
    ),
    (
        "headless, ended after its cores",
        _evidence(_run(RunVerdict.EXITED, exit=Exit(0)), headless=True, log_dead="its engine cores ended"),
        EngineState.FAILED,
        "cores ended",
    ),
    (
        "nobody may ask, the log says ready",
        _evidence(
            _run(RunVerdict.RUNNING), log_ready=True, checks=(HealthCheck("http", Grade.UNKNOWN, "could not be asked"),)
        ),
        EngineState.READY,
        "",
    ),
    (
        "nobody may ask, the log says nothing yet",
        _evidence(_run(RunVerdict.RUNNING), checks=(HealthCheck("http", Grade.UNKNOWN, "could not be asked"),)),
        EngineState.STARTING,
        "",
    ),
    (
        "a headless rank that answers with nothing",
        _evidence(
            _run(RunVerdict.RUNNING),
            headless=True,
            log_ready=True,
            checks=(HealthCheck("works", Grade.FAIL, "rank d-1: empty"),),
        ),
        EngineState.DEGRADED,
        "rank d-1: empty",
    ),
    ("headless loading", _evidence(_run(RunVerdict.RUNNING), headless=True), EngineState.STARTING, ""),
    (
        "headless by its own line",
        _evidence(_run(RunVerdict.RUNNING), headless=True, log_ready=True),
        EngineState.READY,
        "",
    ),
    (
        "told to stop",
        _evidence(_run(RunVerdict.RUNNING, stopping=True), log_ready=True, checks=OK),
        EngineState.STOPPING,
        "",
    ),
    (
        "stop left processes",
        _evidence(_run(RunVerdict.RUNNING, stopping=True, pids=(7, 8)), stuck=True),
        EngineState.STUCK,
        "2 processes left: 7, 8; KILL failed: kill (X) tries again; a process in state D exits when the driver returns",
    ),
    (
        "a stop whose console was killed before it could kill",
        _evidence(_run(RunVerdict.RUNNING, stopping=True, pids=(7, 8)), stop_age_s=120.0),
        EngineState.STUCK,
        "asked to stop 2 min ago, not killed; 2 processes left: 7, 8; stop again (x) kills the remaining processes",
    ),
    (
        "a stop that may still be at work",
        _evidence(_run(RunVerdict.ORPHANS, stopping=True, pids=(7, 8)), stop_age_s=40.0),
        EngineState.STOPPING,
        "",
    ),
    (
        "main gone, and its stop came to an end with workers left",
        _evidence(_run(RunVerdict.ORPHANS, exit=Exit(0), stopping=True, pids=(9,)), stuck=True),
        EngineState.STUCK,
        "main process ended (0), 1 process left: 9; KILL failed: kill (X) tries again; "
        "a process in state D exits when the driver returns",
    ),
    (
        "main gone, workers left",
        _evidence(_run(RunVerdict.ORPHANS, exit=Exit(1), pids=(9,)), first_error="OOM"),
        EngineState.STUCK,
        "main process ended (1), 1 process left: 9; its log has: OOM; stop (x) kills the remaining processes",
    ),
    (
        "main ended by itself a moment ago, its workers still end",
        _evidence(_run(RunVerdict.ORPHANS, exit=Exit(0), pids=(9,)), first_error="OOM", exit_age_s=6.0),
        EngineState.DEGRADED,
        "OOM; main process ended (0), 1 process left: 9",
    ),
    (
        "main ended, and its supervisor is about to record how",
        _evidence(_run(RunVerdict.ORPHANS, pids=(9,), reason=UNRECORDED), first_error="OOM"),
        EngineState.DEGRADED,
        "OOM; main process ended, 1 process left: 9",
    ),
    (
        "main ended, and nobody records how",
        _evidence(_run(RunVerdict.ORPHANS, pids=(9,), reason="the main process ended without a record")),
        EngineState.STUCK,
        "1 process left: 9",
    ),
    (
        "main ended by itself, its workers stay",
        _evidence(_run(RunVerdict.ORPHANS, exit=Exit(0), pids=(9,)), exit_age_s=21.0),
        EngineState.STUCK,
        "1 process left: 9",
    ),
    (
        "main killed a moment ago: what is left stays",
        _evidence(_run(RunVerdict.ORPHANS, exit=Exit(None, 9), pids=(9,)), exit_age_s=1.0),
        EngineState.STUCK,
        "1 process left: 9",
    ),
    (
        "a process halted by a signal",
        _evidence(_run(RunVerdict.RUNNING, pids=(7, 8), halted=(8,)), log_ready=True, checks=OK),
        EngineState.DEGRADED,
        "hangs: 1 of 2 processes were stopped by a signal; kill -CONT 8",
    ),
    (
        "a headless one that is halted",
        _evidence(_run(RunVerdict.RUNNING, pids=(7,), halted=(7,)), headless=True, log_ready=True),
        EngineState.DEGRADED,
        "hangs: ",
    ),
    (
        "halted and told to stop",
        _evidence(_run(RunVerdict.RUNNING, stopping=True, pids=(7,), halted=(7,))),
        EngineState.STOPPING,
        "",
    ),
    (
        "lock in foreign hands",
        _evidence(_run(RunVerdict.FOREIGN)),
        EngineState.STUCK,
        "processes of no console hold the lock",
    ),
    ("clean stop", _evidence(_run(RunVerdict.EXITED, stopping=True, exit=Exit(0))), EngineState.EXITED, ""),
    ("stop by signal", _evidence(_run(RunVerdict.EXITED, stopping=True, exit=Exit(None, 9))), EngineState.EXITED, ""),
    (
        "a stop it did not end well from",
        _evidence(_run(RunVerdict.EXITED, stopping=True, exit=Exit(1))),
        EngineState.EXITED,
        "exit 1",
    ),
    (
        "ended before it ran, by what the node says",
        _evidence(_run(RunVerdict.EXITED, exit=Exit(127), reason="exec failed: no such file"), first_error="other"),
        EngineState.FAILED,
        "exec failed",
    ),
    (
        "exit 0 nobody asked for",
        _evidence(_run(RunVerdict.EXITED, exit=Exit(0))),
        EngineState.FAILED,
        "without a stop request",
    ),
    (
        "exit 1 with its cause",
        _evidence(_run(RunVerdict.EXITED, exit=Exit(1)), first_error="ValueError: x"),
        EngineState.FAILED,
        "ValueError: x",
    ),
    ("gone without a trace", _evidence(_run(RunVerdict.LOST)), EngineState.LOST, "cause not recorded"),
    ("gone, with an error in its log", _evidence(_run(RunVerdict.LOST), first_error="OOM"), EngineState.LOST, "OOM"),
    ("rebooted", _evidence(_run(RunVerdict.LOST, reason="rebooted")), EngineState.LOST, "rebooted"),
    ("supervisor went with a stop", _evidence(_run(RunVerdict.LOST, stopping=True)), EngineState.EXITED, "unknown"),
]


@pytest.mark.parametrize(("evidence", "state", "cause"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_the_state_follows_the_evidence(evidence: Evidence, state: EngineState, cause: str) -> None:
    verdict = judge(evidence)
    assert verdict.state is state
    assert cause in verdict.cause
    assert cause or not verdict.cause


@pytest.mark.parametrize("supervised", [True, False])
def test_the_node_says_the_same_words_of_an_end_that_is_about_to_be_recorded(supervised: bool) -> None:
    keeper = read_stat(os.getpid()) if supervised else None
    judged = JudgedRun(Key("d", "e", "r"), ORPHANS, {}, {}, None, None, keeper, [], 0, None, None)
    assert (reason(judged) == UNRECORDED) is supervised


def _engine(name: str, state: EngineState, cause: str = "") -> EngineSnapshot:
    group, _, rank = name.partition("-")
    return EngineSnapshot(id=name, node=f"n{rank}", group=group, role="decode", state=state, cause=cause)


def test_one_dead_rank_condemns_its_group_and_is_named_first() -> None:
    engines = {
        each.id: each
        for each in (
            _engine("decode-0", EngineState.FAILED, "peer is gone"),
            _engine("decode-1", EngineState.FAILED, "NPU out of memory"),
            _engine("decode-2", EngineState.READY),
            _engine("decode-3", EngineState.EXITED),
            _engine("prefill-0", EngineState.READY),
        )
    }
    shown = mark_group_degraded(engines, {"decode-0": 103.2, "decode-1": 100.0})
    assert shown["decode-2"].state is EngineState.DEGRADED
    assert shown["decode-2"].cause == "decode-1 on n1 failed first, 3.2 s before decode-0: NPU out of memory"
    assert shown["decode-3"].state is EngineState.EXITED
    assert shown["prefill-0"].state is EngineState.READY
    assert shown["decode-0"].cause == "peer is gone; decode-1 on n1 failed 3.2 s before"
    assert shown["decode-1"].cause == "NPU out of memory", "the first one explains itself"
    assert [shown[f"decode-{rank}"].after for rank in range(4)] == ["decode-1", "", "decode-1", ""]


def test_engines_of_no_group_condemn_nobody() -> None:
    engines = {
        each.id: replace(each, group="")
        for each in (_engine("stray-0", EngineState.FAILED, "a"), _engine("stray-1", EngineState.READY))
    }
    assert mark_group_degraded(engines, {"stray-0": 100.0}) == engines


def test_no_order_is_claimed_where_clocks_cannot_tell() -> None:
    engines = {
        each.id: each
        for each in (
            _engine("decode-0", EngineState.FAILED, "a"),
            _engine("decode-1", EngineState.LOST, "b"),
            _engine("decode-2", EngineState.READY),
        )
    }
    unknown = mark_group_degraded(engines, {"decode-0": 100.0})
    assert unknown["decode-2"].cause == "decode-0 on n0 failed first: a"
    assert unknown["decode-1"].cause == "b"
    same = mark_group_degraded(engines, {"decode-0": 100.0, "decode-1": 100.05})
    assert same["decode-1"].cause == "b"


def test_whom_the_logs_name_is_first_although_its_server_ended_later() -> None:
    engines = {
        each.id: each
        for each in (
            _engine("decode-0", EngineState.STUCK, "peer is gone"),
            _engine("decode-1", EngineState.FAILED, "a worker died"),
            _engine("decode-2", EngineState.READY),
        )
    }
    shown = mark_group_degraded(engines, {"decode-0": 100.0, "decode-1": 101.2}, "decode-1")
    assert shown["decode-1"].cause == "a worker died"
    assert shown["decode-0"].cause == "peer is gone; decode-1 on n1 failed first, by the logs"
    assert shown["decode-2"].cause == "decode-1 on n1 failed first: a worker died"
    assert mark_group_degraded(engines, {"decode-0": 100.0}, "prefill-0")["decode-1"].cause == "a worker died"


def test_a_rank_that_died_by_its_log_is_first_though_its_process_outlives_the_one_that_followed() -> None:
    dead = replace(_engine("mixed-1", EngineState.DEGRADED, "its engine cores ended"), died_at=107.0)
    followed = replace(_engine("mixed-0", EngineState.FAILED, "Connection closed by peer"), died_at=108.0)
    third = _engine("mixed-2", EngineState.READY)
    engines = {each.id: each for each in (followed, dead, third)}
    shown = mark_group_degraded(engines, {"mixed-0": 110.1})
    assert shown["mixed-1"].cause == "its engine cores ended"
    assert shown["mixed-0"].cause == "Connection closed by peer; mixed-1 on n1 died about 1 s before"
    assert shown["mixed-2"].cause == "mixed-1 on n1 died first, about 1 s before mixed-0: its engine cores ended"
    ended = {**engines, "mixed-1": replace(dead, state=EngineState.FAILED)}
    shown = mark_group_degraded(ended, {"mixed-0": 110.1, "mixed-1": 115.0})
    assert [shown[name].after for name in ("mixed-0", "mixed-1", "mixed-2")] == ["mixed-1", "", "mixed-1"]


def test_a_group_that_serves_on_with_the_cores_of_a_killed_parent_is_not_condemned() -> None:
    stuck = _engine("mixed-1", EngineState.STUCK, "main process ended (signal 9), 2 processes left")
    engines = {each.id: each for each in (_engine("mixed-0", EngineState.READY), stuck)}
    ends = {"mixed-1": 100.0}
    for served in ({}, {"mixed-0": 99.0}, {"mixed-0": 100.5}):
        assert mark_group_degraded(engines, ends, "", served)["mixed-0"].state is EngineState.DEGRADED
    assert mark_group_degraded(engines, ends, "", {"mixed-0": 104.0}) == engines
    assert mark_group_degraded(engines, {}, "", {"mixed-0": 104.0})["mixed-0"].state is EngineState.DEGRADED
    gone = {**engines, "mixed-1": replace(stuck, state=EngineState.FAILED)}
    assert mark_group_degraded(gone, ends, "", {"mixed-0": 104.0})["mixed-0"].state is EngineState.DEGRADED


def test_a_second_of_the_logs_tells_no_order() -> None:
    engines = {
        each.id: each
        for each in (
            replace(_engine("mixed-0", EngineState.FAILED, "a"), died_at=107.0),
            replace(_engine("mixed-1", EngineState.DEGRADED, "b"), died_at=107.0),
        )
    }
    assert mark_group_degraded(engines, {"mixed-0": 108.0}) == engines
    assert (
        mark_group_degraded(engines, {"mixed-0": 108.0}, "mixed-1")["mixed-0"].cause
        == "a; mixed-1 on n1 failed first, by the logs"
    )


def test_a_rank_that_hangs_holds_its_group_up() -> None:
    engines = {
        each.id: each
        for each in (
            _engine("decode-0", EngineState.READY),
            _engine("decode-1", EngineState.DEGRADED, "hangs: 1 of 4 processes were stopped by a signal"),
            _engine("decode-2", EngineState.STARTING),
            _engine("prefill-0", EngineState.READY),
        )
    }
    shown = mark_group_degraded(engines, {})
    assert shown["decode-0"].state is EngineState.DEGRADED
    assert shown["decode-0"].cause == "waits for decode-1 on n1, which hangs: 1 of 4 processes were stopped by a signal"
    assert [shown[name] for name in ("decode-1", "decode-2", "prefill-0")] == [*engines.values()][1:]


def test_nobody_is_blamed_for_a_hang_of_which_only_the_metrics_tell() -> None:
    """The rank that counts a request may itself wait for a peer that sleeps: vLLM 0.21 with internal balance on the CPU."""
    hung = "hangs: 1 request runs and no token came for 34 s (AICore unknown), while /health says 200"
    engines = {
        each.id: each
        for each in (_engine("mixed-0", EngineState.DEGRADED, hung), _engine("mixed-1", EngineState.READY))
    }
    shown = mark_group_degraded(engines, {})["mixed-1"]
    assert (shown.state, shown.after) == (EngineState.DEGRADED, "mixed-0")
    assert shown.cause == f"its group hangs, seen at mixed-0 on n0: {hung.removeprefix('hangs: ')}"


def test_the_server_of_a_group_vouches_for_headless_ranks_that_were_told_to_be_quiet() -> None:
    head = EngineSnapshot("mixed-0", "p0", "mixed", "mixed", EngineState.READY)
    quiet, heard, other = (
        EngineSnapshot(f"{group}-{rank}", "p1", group, "mixed", EngineState.STARTING, headless=True)
        for group, rank in (("mixed", 1), ("mixed", 2), ("other", 1))
    )
    engines = {each.id: each for each in (head, quiet, heard, other)}
    found = ready_by_group(engines, {"mixed-1", "other-1"})
    assert {name: each.state for name, each in found.items()} == {"mixed-1": EngineState.READY}
    waiting = {**engines, "mixed-0": replace(head, state=EngineState.STARTING)}
    assert ready_by_group(waiting, {"mixed-1"}) == {}


def test_the_parts_of_an_engine_are_up_when_its_first_is_and_go_down_with_any_of_them() -> None:
    def part(rank: int, number: int, state: EngineState, *, headless: bool = True) -> EngineSnapshot:
        name, node = f"wide-{rank}" + (f".{number}" if number else ""), f"n{2 * rank + number}"
        return EngineSnapshot(name, node, "wide", "mixed", state, dp_rank=rank, headless=headless, part=number)

    first = part(0, 0, EngineState.READY, headless=False)
    rest = (part(0, 1, EngineState.STARTING), part(1, 0, EngineState.STARTING), part(1, 1, EngineState.STARTING))
    engines = {each.id: each for each in (first, *rest)}
    assert {*ready_by_group(engines, ())} == {"wide-0.1"}
    assert {*ready_by_group(engines, {"wide-1"})} == {"wide-0.1", "wide-1", "wide-1.1"}
    assert ready_by_group({**engines, "wide-0": replace(first, state=EngineState.STARTING)}, {"wide-1"}) == {}
    up = {**engines, **ready_by_group(engines, {"wide-1"})}
    dead = {**up, "wide-0.1": part(0, 1, EngineState.FAILED)}
    shown = mark_group_degraded(dead, {"wide-0.1": 100.0})
    assert {name for name, each in shown.items() if each.state is EngineState.DEGRADED} == {*up} - {"wide-0.1"}
    assert shown["wide-0"].cause == "wide-0.1 on n1 failed first"
    assert shown["wide-0"].after == "wide-0.1"


def test_a_part_that_was_up_is_not_called_starting_again_when_the_first_part_stops_serving() -> None:
    running = _run(RunVerdict.RUNNING)
    assert judge(_evidence(running, headless=True, part=True)).state is EngineState.STARTING
    assert judge(_evidence(running, headless=True, part=True, was_ready=True)).state is EngineState.READY
    assert judge(_evidence(running, headless=True, was_ready=True)).state is EngineState.STARTING


def test_a_whole_group_is_left_as_it_is() -> None:
    engines = {name: _engine(name, EngineState.READY) for name in ("decode-0", "decode-1")}
    assert mark_group_degraded(engines, {}) == engines


def test_a_rank_that_was_ended_alone_takes_its_group_down_once_its_end_is_no_part_of_a_stop() -> None:
    def rank(number: int, state: EngineState, group: str = "decode") -> EngineSnapshot:
        return EngineSnapshot(f"{group}-{number}", "d0", group, "decode", state, dp_rank=number)

    ended = replace(rank(1, EngineState.EXITED), asked=StopRequest("ann@jump", 100.0))
    other = rank(0, EngineState.READY, "mixed")
    engines = {each.id: each for each in (rank(0, EngineState.READY), ended, rank(2, EngineState.STARTING), other)}
    assert degraded_by_stop(engines, {"decode-1": 100.0}, 105.0) == {}
    assert degraded_by_stop(engines, {}, 500.0) == {}
    shown = degraded_by_stop(engines, {"decode-1": 100.0}, 120.0)
    assert {name: each.state for name, each in shown.items()} == {"decode-0": EngineState.DEGRADED}
    assert shown["decode-0"].after == "decode-1"
    assert shown["decode-0"].cause.startswith("decode-1 on d0 was stopped")
    assert "ann@jump" in shown["decode-0"].cause
