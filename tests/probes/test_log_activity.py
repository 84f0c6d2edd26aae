"""Lines by which an engine only says that it still waits are no activity, for whoever saw them come and for a later console."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from console.diagnosis.matcher import Matcher
from console.diagnosis.signatures import load_signatures, waiting_words
from console.model.cluster import Node
from console.model.run import RunKey, RunState, RunVerdict
from console.model.snapshot import ClusterSnapshot, EngineSnapshot, EngineState
from console.probes.engine_log import LaunchLog
from console.probes.log_activity import Activity
from console.services.monitoring.health_checks import log_active_at, log_grew_at
from console.services.monitoring.records import NodeRecord, RunRecord
from console.services.monitoring.stall_detection import held_up
from console.services.serving.alerts import AlertBook

SIGNATURES = load_signatures()
WAITING = waiting_words(SIGNATURES)
LOADS = b"(Worker_TP0 pid=9) INFO 12-31 23:58:30 [gpu_model_runner.py:4841] Starting to load model /w...\n"
BAR = b"Loading safetensors checkpoint shards:  50% Completed | 32/64 [00:30<00:30,  1.0it/s]\r"
WAIT = (
    b"(EngineCore pid=7) INFO %s [shm_broadcast.py:705] No available shared memory broadcast block found in 60 seconds. "
    b"This typically happens when some processes are hanging or doing some time-consuming work "
    b"(e.g. compilation, weight/kv cache quantization).\n"
)
LOADS_AT = 1_798_761_510.0
"""2026-12-31 23:58:30 UTC, as `LOADS` is stamped."""
KEY = RunKey("real", "mixed-0", "20261231T235800Z-0000")


def read(*pieces: tuple[bytes, float]) -> LaunchLog:
    log = LaunchLog(Activity(WAITING))
    for data, at in pieces:
        log.feed(data, at)
    return log


def test_the_clock_of_silence_runs_on_over_lines_that_only_wait() -> None:
    log = read((LOADS, 10.0), (WAIT % b"12-31 23:59:30", 70.0), (WAIT % b"01-01 00:00:30", 130.0))
    assert (log.state.spoke_at, log.state.waited_s) == (10.0, 120.0)
    log.feed(LOADS, 140.0)
    assert (log.state.spoke_at, log.state.waited_s) == (140.0, None)


def test_what_comes_with_such_a_line_in_one_piece_counts() -> None:
    assert read((WAIT % b"01-01 00:00:30" + LOADS, 5.0)).state.waited_s is None
    assert read((LOADS + WAIT % b"01-01 00:00:30", 5.0)).state.waited_s == 120.0


def test_a_bar_that_moves_is_activity_and_has_no_stamp_to_count_from() -> None:
    log = read((LOADS, 10.0), (BAR, 60.0))
    assert log.state.spoke_at == 60.0
    log.feed(b"\n" + WAIT % b"01-01 00:00:30" + WAIT % b"01-01 00:01:30", 121.0)
    assert (log.state.spoke_at, log.state.waited_s) == (60.0, 60.0)


def test_without_words_of_waiting_every_line_counts() -> None:
    log = LaunchLog()
    log.feed(WAIT % b"01-01 00:00:30", 5.0)
    assert (log.state.spoke_at, log.state.waited_s) == (5.0, None)


@pytest.mark.parametrize(
    "line",
    [
        WAIT % b"12-31 23:59:30",
        b"(APIServer pid=1) DEBUG 12-31 23:59:30 [utils.py:1178] Waiting for 1 local, 1 remote core engine proc(s) to start.\n",
        b"(APIServer pid=1) DEBUG 12-31 23:59:30 [utils.py:1173] Waiting for 0 local, 1 remote core engine proc(s) to connect.\n",
        b"INFO 12-31 23:59:30 [ray_utils.py:465] Waiting for creating a placement group of specs for 20 seconds. specs=[]\n",
    ],
)
def test_each_line_of_waiting_is_known(line: bytes) -> None:
    assert read((LOADS, 10.0), (line, 70.0)).state.waited_s == 60.0


def test_a_line_that_must_be_the_last_one_stays_it_while_the_engine_only_waits() -> None:
    matcher = Matcher(SIGNATURES)
    last = b"(APIServer pid=1) INFO 12-31 23:58:30 [utils.py:854] Started DP Coordinator process (PID: 9)\n"
    matcher.feed(LOADS + last, 0.0)
    matcher.feed(WAIT % b"12-31 23:59:30", 60.0)
    assert [(hit.signature.id, hit.offset) for hit in matcher.silent(200.0)] == [("A5", len(LOADS))]
    matcher.feed(LOADS, 210.0)
    assert matcher.silent(1000.0) == ()


def _seen(log: LaunchLog, arrived: float, written: float) -> tuple[float | None, float | None]:
    """(when the log grew, when it said something) for a file that changed last at `written`."""
    record = NodeRecord(Node(name="n0", host="10.0.0.1"))
    run = RunState(KEY, RunVerdict.RUNNING, log_size=10, log_at=written)
    run_record = RunRecord(KEY, log, log_line_at=arrived)
    return log_grew_at(record, run, run_record), log_active_at(record, run, run_record)


def test_a_console_that_is_opened_later_knows_how_long_it_has_been_silent() -> None:
    pieces = LOADS + WAIT % b"12-31 23:59:30" + WAIT % b"01-01 00:00:30"
    assert _seen(read((pieces, 1000.0)), 1000.0, 950.0) == (950.0, 830.0)
    live = read((LOADS, 830.5), (WAIT % b"12-31 23:59:30", 890.2), (WAIT % b"01-01 00:00:30", 950.2))
    assert _seen(live, 950.2, 950.0) == (950.2, 830.5)


def test_an_alert_of_a_load_that_hangs_holds_while_the_engine_says_every_minute_that_it_waits() -> None:
    """As vLLM 0.21 does it: a line every 60 s, of which each started the silence anew."""
    book, log, told = AlertBook(), read((LOADS, 0.0)), []
    for at in range(0, 900, 5):
        if at and at % 60 == 0:
            stamp = time.strftime("%m-%d %H:%M:%S", time.gmtime(LOADS_AT + at))
            log.feed(WAIT % stamp.encode(), float(at))
        _, spoke = _seen(log, at // 60 * 60.0, at // 60 * 60.0)
        engine = EngineSnapshot("mixed-0", "n0", "mixed", "mixed", EngineState.STARTING, log_spoke_at=spoke)
        engine = replace(engine, phase="kv", run=KEY.run)
        engines = {"mixed-0": engine} | held_up({"mixed-0": engine}, {}, float(at))
        book.update(ClusterSnapshot(float(at), "lab", "real", engines=engines))
        told += [(at, each.key) for each in book.active]
    assert {key for _, key in told} == {"silent/mixed"}
    assert [at for at, _ in told] == list(range(305, 900, 5)), "from 5 s after 300 s of silence on, without a break"
