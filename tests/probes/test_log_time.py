"""Every form of stamp gives its instant, in any zone, over the year's end and daylight saving; lines without one are bounded."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from console.probes.log_time import (
    CARRY_BYTES,
    CARRY_LINES,
    CARRY_RECORDS,
    Around,
    Clock,
    LineTimes,
    Steps,
    Zone,
    before,
    find,
    fixed,
    newest_date,
    span,
    utc,
    written,
    zone_of,
)

HOUR = 3600.0
MOMENT = datetime(2026, 11, 20, 8, 10, 15, tzinfo=UTC).timestamp()
FORMS = {
    "vllm": "(Worker_TP0 pid=300) ERROR 11-20 08:10:15 [core.py:1138] x",
    "vllm bare": "INFO 11-20 08:10:15 [__init__.py:217] x",
    "vllm coloured": "\x1b[0;36m(EngineCore_DP0 pid=276)\x1b[0;0m INFO 11-20 08:10:15 [core.py:1] x",
    "vllm iso": "(Worker_DP0_TP8_EP8 pid=844) ERROR 2026-11-20 08:10:15.272 [a.py:597] x",
    "python logging": "2026-11-20 08:10:15,272 WARNING [load_balance_proxy.py:1] x",
    "ray": "(RayWorkerWrapper pid=30, ip=10.0.0.7) 2026-11-20 08:10:15,272\tINFO worker.py:1752 -- x",
    "iso t": "2026-11-20T08:10:15.272 x",
    "iso utc": "2026-11-20T08:10:15.272000000Z stdout F x",
    "iso zone": "2026-11-20T16:10:15.272+08:00 x",
    "iso zone spaced": "[2026-11-20 01:10:15.272 -0700] [info] x",
    "cann": "[ERROR] RUNTIME(300,python3):2026-11-20-08:10:15.272.200 [api_c_memory.cc:210] x",
    "cann no name": "[ERROR] APP(300,):2026-11-20-08:10:15.272.837 742 ExecFunc:OpParamMaker.cpp:359: x",
    "torch_npu": "[ERROR] 2026-11-20-08:10:15 (PID:1191, Device:0, RankID:-1) ERR00100 PTA call acl api failed",
    "cann detail": "[PID: 300] 2026-11-20-08:10:15.272.925 AclNN_Runtime_Error(EZ9903): Assert failed",
    "glog": "E1120 08:10:15.272416 12345 transfer_engine.cpp:1] x",
    "glog year": "E20261120 08:10:15.272416 12345 transfer_engine.cpp:1] x",
    "c10d": "[E1120 08:10:15.272416000 ProcessGroupHCCL.cpp:1] x",
    "c10d rank": "[rank0]:[W1120 08:10:15.272416000 compiler_depend.ts:57] Warning: x",
    "bar before": "Loading safetensors: 50%\rLoading safetensors: 100%\r(Worker pid=3) INFO 11-20 08:10:15 [a.py:1] x\r",
}
STAMPLESS = (
    '(APIServer pid=100) INFO:     10.0.0.7:41130 - "POST /v1/completions HTTP/1.1" 200 OK',
    "(APIServer pid=100) INFO:     Started at 2026-11-20 08:10:15",
    "RuntimeError: a request of 2026-11-20 08:10:15 failed",
    '  File "a.py", line 11, in run  # since 11-20 08:10:15',
    "non-default args: {'since': '2026-11-20 08:10:15'}",
    "[08:10:15] health: 200",
    "10.0.0.7:7100 8:10:15",
    "ERROR 13-45 08:10:75 x",
    "",
    "INFO",
)


def _clock(zone: Zone = utc, *, ahead_s: float = 0.0, around: Around | None = None) -> Clock:
    return Clock(zone, around or Around.until(MOMENT + HOUR), ahead_s=ahead_s)


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_read(form: str) -> None:
    line = FORMS[form].encode()
    fraction = 0.272 if b".272" in line or b",272" in line else 0.0
    assert _clock().at(line) == pytest.approx(MOMENT + fraction, abs=0.001)
    stamp = written(line)
    assert _clock().read(stamp) == _clock().at(line), "a stamp handed on says the same"
    text = FORMS[form].rpartition("Loading safetensors: 100%\r")[2]
    place = span(text)
    assert place is not None
    assert text[slice(*place)] == stamp
    ours = form.startswith("iso ") and form != "iso t"
    shifted = _clock(fixed(8 * HOUR), ahead_s=60.0).at(line)
    assert shifted == pytest.approx(MOMENT + fraction - 60.0 - (0.0 if ours else 8 * HOUR), abs=0.001)


@pytest.mark.parametrize("line", STAMPLESS)
def test_a_line_without_a_stamp_has_none_whatever_its_words_say(line: str) -> None:
    assert _clock().at(line.encode()) is None
    assert _clock().at(line.encode() + b"\n") is None


def test_a_date_that_does_not_exist_is_no_time() -> None:
    assert _clock().at(b"INFO 02-31 08:10:15 [a.py:1] x") is None
    assert _clock().at(b"INFO 02-29 08:10:15 [a.py:1] x") is None, "2026 is no leap year"


def test_long_heads_cost_no_more_than_their_bytes() -> None:
    for line in (b"[" * 9000, b"(a)" * 3000, b"ERROR " * 2000, b" " * 9000, b"A(1," * 3000):
        assert find(line) is None


ZONES: dict[str, Zone] = {"+8": fixed(8 * HOUR), "0": utc, "-7": fixed(-7 * HOUR), "+5:45": fixed(5.75 * HOUR)}


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize(
    ("begun", "stamped"),
    [
        (datetime(2026, 12, 31, 23, 59, 50), datetime(2026, 12, 31, 23, 59, 58)),
        (datetime(2026, 12, 31, 23, 59, 50), datetime(2027, 1, 1, 0, 0, 3)),
        (datetime(2027, 1, 1, 0, 0, 5), datetime(2026, 12, 31, 23, 59, 59)),
        (datetime(2026, 12, 1), datetime(2027, 10, 1)),
        (datetime(2028, 2, 1), datetime(2028, 2, 29, 12)),
    ],
)
def test_the_year_is_the_one_of_the_run_in_both_directions(zone: str, begun: datetime, stamped: datetime) -> None:
    east = ZONES[zone]
    started = begun.replace(tzinfo=UTC).timestamp() - east(0.0)
    want = stamped.replace(tzinfo=UTC).timestamp() - east(0.0)
    line = f"INFO {stamped:%m-%d %H:%M:%S} [a.py:1] x".encode()
    assert Clock(east, Around.since(started)).at(line) == want
    if abs(want - started) < 30 * 86400:
        assert Clock(east, Around.until(started)).at(line) == want


@settings(max_examples=200, deadline=None)
@given(
    at=st.datetimes(datetime(2001, 1, 1), datetime(2060, 1, 1)),
    later_s=st.floats(-86400.0 * 20, 86400.0 * 300),
    east_q=st.integers(-56, 56),
    ahead_s=st.floats(-4e8, 4e8).map(round),
)
def test_what_a_clock_shows_it_reads_again(at: datetime, later_s: float, east_q: int, ahead_s: int) -> None:
    """Whatever the zone, and however wrong the clock is, if only that was measured."""
    instant = float(round(at.replace(tzinfo=UTC).timestamp()))
    for around in (Around.until(instant + max(0.0, later_s)), Around.since(instant - max(0.0, later_s))):
        clock = Clock(fixed(east_q * 900.0), around, ahead_s=ahead_s)
        shown = clock.wall(instant)
        for form in ("%m-%d %H:%M:%S", "%Y-%m-%d %H:%M:%S.000", "%Y-%m-%d-%H:%M:%S.000.000"):
            assert clock.at(f"ERROR {shown.strftime(form)} [a.py:1] x".encode()) == instant
        assert clock.at(f"[E{shown:%m%d %H:%M:%S}.000000 a.cpp:1] x".encode()) == instant
        assert clock.instant(shown) == instant


def _steps(name: str, year: int = 2026) -> Steps:
    """The steps of a real zone, as a node tells them."""
    zone = ZoneInfo(name)
    steps: list[tuple[float, float]] = []
    for hour in range(366 * 24):
        at = datetime(year, 1, 1, tzinfo=UTC) + timedelta(hours=hour)
        east = (at.astimezone(zone).utcoffset() or timedelta()).total_seconds()
        if not steps or steps[-1][1] != east:
            steps.append((at.timestamp(), east))
    return Steps(tuple(steps))


@pytest.mark.parametrize("name", ["America/Los_Angeles", "Europe/Berlin", "Australia/Lord_Howe", "Asia/Shanghai"])
def test_a_log_over_daylight_saving_keeps_its_order_and_its_instants(name: str) -> None:
    zone = _steps(name)
    assert len(zone.table) == (1 if name == "Asia/Shanghai" else 3)
    for change, _ in zone.table[1:] or ((MOMENT, 0.0),):
        clock = Clock(zone, Around.since(change - 86400.0))
        reader = LineTimes(clock)
        for second in range(-3 * 3600, 3 * 3600, 97):
            line = f"INFO {clock.wall(change + second):%m-%d %H:%M:%S} [a.py:1] x".encode()
            assert reader.take(line) == change + second


def test_an_hour_that_was_left_out_is_read_as_if_it_had_not_been() -> None:
    zone = _steps("Europe/Berlin")
    change = zone.table[1][0]
    clock = Clock(zone, Around.since(change - 86400.0))
    shown = clock.wall(change - 60) + timedelta(minutes=10)
    assert clock.at(f"INFO {shown:%m-%d %H:%M:%S} [a.py:1] x".encode()) == change - 60 + 600


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("delay_s", [-0.5, 3.0, 700.0])
@pytest.mark.parametrize("told_h", [None, 8.0, -7.0])
@pytest.mark.parametrize("begun", [datetime(2026, 12, 31, 20), datetime(2027, 1, 1, 3), datetime(2026, 7, 1)])
def test_the_zone_is_that_of_the_log_whatever_the_node_says(
    zone: str, delay_s: float, told_h: float | None, begun: datetime
) -> None:
    started = begun.replace(tzinfo=UTC).timestamp()
    shown = datetime.fromtimestamp(int(started + delay_s) + ZONES[zone](0.0), UTC)
    told = None if told_h is None else fixed(told_h * HOUR)
    found = zone_of(f"INFO {shown:%m-%d %H:%M:%S} [a.py:1] x".encode(), started, told)
    assert found is not None
    assert found(started) == ZONES[zone](0.0)


def test_a_zone_that_cannot_be_is_not_taken() -> None:
    line = b"INFO 06-20 08:10:15 [a.py:1] x"
    assert zone_of(line, MOMENT) is None
    assert zone_of(line, MOMENT, utc) is utc
    assert zone_of(b"no stamp", MOMENT, utc) is utc


STAMPED = b"(Worker_TP0 pid=3) ERROR 11-20 08:10:15 [a.py:1] WorkerProc hit an exception."
ACCESS = b'(APIServer pid=1) INFO:     10.0.0.7:41130 - "GET /health HTTP/1.1" 200 OK'


@pytest.mark.parametrize(
    ("between", "most"),
    [(b"  File a.py", CARRY_LINES), (b"x" * 1023, CARRY_BYTES // 1024), (ACCESS, CARRY_RECORDS)],
    ids=["lines", "bytes", "records"],
)
def test_a_line_takes_the_time_of_one_before_it_only_within_the_bound(between: bytes, most: int) -> None:
    for count, taken in ((0, True), (most - 1, True), (most, False), (3 * most, False)):
        reader = LineTimes(_clock())
        assert reader.take(STAMPED) == MOMENT
        for _ in range(count):
            reader.take(between)
        assert reader.take(b"RuntimeError: x") == (MOMENT if taken else None)
        assert reader.last == MOMENT
        block = b"\n".join([STAMPED, *[between] * count, b"RuntimeError: x"])
        stamp = before(block, block.rfind(b"\n") + 1)
        assert stamp == ("11-20 08:10:15" if taken else ""), "backwards the same bound holds"


def test_a_log_that_begins_without_a_stamp_has_no_time_until_one_comes() -> None:
    reader = LineTimes(_clock())
    assert reader.take(b"RuntimeError: x") is None
    assert reader.last is None
    assert before(b"RuntimeError: x\n", 16) == ""
    assert before(b"", 0) == ""


def test_the_newest_full_date_of_a_log_tells_its_year() -> None:
    lines = [b"INFO 11-20 08:00:00 [a.py:1] x", FORMS["cann"].encode(), b"2025-01-01 00:00:00 x", b"x"]
    assert newest_date(lines) == MOMENT
    assert newest_date(lines[:1]) is None
