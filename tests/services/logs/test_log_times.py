"""Logs of nodes in different zones, with clocks that are wrong, by our clock: merged, since a moment, whatever zone is ours."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from console.model.cluster import Node
from console.model.run import LogChunk, RunKey
from console.model.snapshot import ClusterSnapshot, EngineSnapshot, EngineState, Host, NodeSnapshot
from console.services.logs.clocks import began, run_clock
from console.services.logs.copies import LogBook, LogCopy
from console.services.logs.lines import LineReader, LogLine, Readers, Timing
from console.services.monitoring.records import NodeRecord
from tests.shared import SHARED, needs_shared

HOUR = 3600.0
NOW = datetime(2027, 1, 1, 2, 30, tzinfo=UTC).timestamp()
STARTED = NOW - 4 * HOUR
RUN = "20261231T222958Z-0001"
ACCESS = '(APIServer pid=1) INFO:     10.0.0.7:41130 - "GET /health HTTP/1.1" 200 OK'


@pytest.fixture(params=["UTC", "Asia/Shanghai", "America/Los_Angeles"])
def _ours(request: pytest.FixtureRequest) -> Iterator[None]:
    """The zone of the jump host, which must not matter."""
    before = os.environ.get("TZ")
    os.environ["TZ"] = request.param
    time.tzset()
    yield
    if before is None:
        del os.environ["TZ"]
    else:
        os.environ["TZ"] = before
    time.tzset()


def snapshot(zones: dict[str, tuple[float, float]], *, told: bool) -> ClusterSnapshot:
    """Engines `a`, `b` … each on a node with a zone and a clock that is ahead, both in seconds."""
    nodes, engines = {}, {}
    for name, (east, ahead) in zones.items():
        nodes[name] = NodeSnapshot(name, name, "a3", 16, system=Host(clock_offset_s=ahead))
        zone = ((0.0, east),) if told else ()
        engines[name] = EngineSnapshot(
            name, name, "g", "mixed", EngineState.READY, run=RUN, started_at=STARTED + ahead, zone=zone
        )
    return ClusterSnapshot(NOW, "c", "d", nodes=nodes, engines=engines)


def store(book: LogBook, engine: str, data: bytes) -> LogCopy:
    """Bytes as they come from the node."""
    key = RunKey("dep", engine, RUN)
    book.of(key).store(LogChunk(key, 0, data, len(data)))
    return book.of(key)


def read(
    tmp_path: Path,
    logs: dict[str, bytes],
    seen: ClusterSnapshot,
    *,
    since: float | None = None,
    grown: float | None = NOW,
) -> list[LogLine]:
    """As the command line reads them."""
    book = LogBook(tmp_path, lambda engine: RunKey("dep", engine, RUN))
    for engine, data in logs.items():
        store(book, engine, data)

    def timing(engine: str, copy: LogCopy) -> Timing:
        return Timing(run_clock(seen, engine, copy.key.run, copy.read(0, 65536), NOW), grown)

    readers = Readers(book, tuple(logs), timing, lambda *_: None, since=since)
    return list(readers.lines(last=True))


@pytest.mark.usefixtures("_ours")
@pytest.mark.parametrize("told", [True, False], ids=["told", "untold"])
@pytest.mark.parametrize("form", ["%m-%d %H:%M:%S [a.py:1]", "%Y-%m-%d %H:%M:%S.000 [a.py:1]"])
def test_ranks_of_three_zones_and_wrong_clocks_merge_and_are_cut_by_our_clock(
    tmp_path: Path, form: str, told: bool
) -> None:
    """Over the year's end: each zone changes the year at another hour."""
    zones = {"a": (8 * HOUR, 0.0), "b": (0.0, 90.0), "c": (-7 * HOUR, -7200.0)}
    minutes = {"a": range(0, 240, 3), "b": range(1, 240, 3), "c": range(2, 240, 3)}
    logs = {}
    for name, (east, ahead) in zones.items():
        shown = [datetime.fromtimestamp(STARTED + 60 * minute + east + ahead, UTC) for minute in minutes[name]]
        lines = [f"INFO {at.strftime(form)} {minute}" for at, minute in zip(shown, minutes[name], strict=True)]
        logs[name] = "".join(f"{line}\n  more\n" for line in lines).encode()
    lines_of = read(tmp_path, logs, snapshot(zones, told=told))
    stamped = [line for line in lines_of if "more" not in line.text]
    assert [line.text.split()[-1] for line in stamped] == [str(minute) for minute in range(240)]
    assert [line.at for line in stamped] == [STARTED + 60 * minute for minute in range(240)]
    assert [line.at for line in lines_of[1::2]] == [line.at for line in stamped], "a line below has the time of its own"

    late = read(tmp_path, logs, snapshot(zones, told=told), since=NOW - 15 * 60)
    assert [line.text.split()[-1] for line in late if "more" not in line.text] == [
        str(each) for each in range(225, 240)
    ]


def test_an_earlier_run_is_read_by_its_name(tmp_path: Path) -> None:
    seen = snapshot({"a": (8 * HOUR, 60.0)}, told=True)
    head = b"INFO 07-01 09:00:10 [a.py:1] x\n"
    clock = run_clock(seen, "a", "20260701T005905Z-0000", head, NOW)
    want = datetime(2026, 7, 1, 0, 59, 10, tzinfo=UTC).timestamp()
    assert clock.at(head) == want, "09:00:10 at +8 on a clock a minute ahead"
    assert began("20260701T005905Z-0000") == want - 5.0
    assert began("evaluation") is None


def test_since_leaves_out_nothing_whose_time_is_not_known(tmp_path: Path) -> None:
    seen = snapshot({"a": (0.0, 0.0)}, told=True)

    def stamped(minutes: int) -> str:
        return f"INFO {datetime.fromtimestamp(NOW - 60 * minutes, UTC):%m-%d %H:%M:%S} [a.py:1] {minutes}\n"

    before, since = stamped(239) + stamped(20), NOW - 15 * 60
    access = "".join(f"{ACCESS} {number}\n" for number in range(50))
    lines = read(tmp_path / "1", {"a": (before + access + stamped(5)).encode()}, seen, since=since)
    assert [line.at for line in lines] == [None] * 42 + [NOW - 300], "eight records still belong to the stamp before"
    assert [line.text for line in read(tmp_path / "2", {"a": (before + access).encode()}, seen, since=since)] == [
        f"{ACCESS} {number}" for number in range(8, 50)
    ], "at the end of the log nothing says that they are old"
    assert read(tmp_path / "3", {"a": (before + access).encode()}, seen, since=since, grown=NOW - 1000) == []
    assert read(tmp_path / "4", {"a": before.encode()}, seen, since=since) == []
    assert len(read(tmp_path / "5", {"a": access.encode()}, seen, since=since)) == 50


def test_what_comes_later_is_printed_whatever_since_left_out(tmp_path: Path) -> None:
    seen = snapshot({"a": (0.0, 0.0)}, told=True)
    book = LogBook(tmp_path, lambda engine: RunKey("dep", engine, RUN))
    old = f"INFO {datetime.fromtimestamp(NOW - HOUR, UTC):%m-%d %H:%M:%S} [a.py:1] old\n".encode()
    copy = store(book, "a", old)
    reader = LineReader(
        "a", copy, lambda: Timing(run_clock(seen, "a", RUN, copy.read(0, 4096), NOW), NOW), since=NOW - 60
    )
    assert list(reader.lines()) == []
    copy.store(LogChunk(copy.key, len(old), b"new\n", len(old) + 4))
    assert [(line.text, line.offset) for line in reader.lines()] == [("new", len(old))]


@needs_shared
def test_the_two_ranks_of_a_report_merge_with_the_stamp_of_another_form_in_its_place(tmp_path: Path) -> None:
    folder = SHARED / "fixtures/field/logs/two-ranks"
    logs = {name: (folder / f"{name}.log").read_bytes() for name in ("mixed-0", "mixed-1")}
    started = datetime(2026, 11, 30, 6, 0, tzinfo=UTC).timestamp()
    nodes = {name: NodeSnapshot(name, name, "a3", 16) for name in logs}
    engines = {
        name: EngineSnapshot(name, name, "mixed", "mixed", EngineState.FAILED, run=RUN, started_at=started)
        for name in logs
    }
    lines = read(tmp_path, logs, ClusterSnapshot(NOW, "c", "d", nodes=nodes, engines=engines))
    errors = [(line.engine, line.at) for line in lines if "ERROR" in line.text]
    assert errors == sorted(errors, key=lambda error: error[1] or 0.0)
    first, cann = errors[0], next(line for line in lines if "APP(300,)" in line.text)
    assert first == ("mixed-0", started + 90)
    assert cann.engine == "mixed-1"
    assert cann.at == pytest.approx(started + 160.127837)


def test_a_day_passes_between_the_lines(tmp_path: Path) -> None:
    """What a stamp means does not depend on the day on which it is read."""
    seen = snapshot({"a": (8 * HOUR, 0.0)}, told=True)
    days = [datetime.fromtimestamp(STARTED + 8 * HOUR, UTC) + timedelta(days=day) for day in range(300)]
    data = "".join(f"INFO {day:%m-%d %H:%M:%S} [a.py:1] x\n" for day in days).encode()
    lines = read(tmp_path, {"a": data}, seen)
    assert [line.at for line in lines] == [STARTED + 86400 * day for day in range(300)]


def test_lines_of_one_second_keep_their_order_whatever_the_clocks_measured(tmp_path: Path) -> None:
    """A message takes a moment to come, another one each time: that made clocks differ by milliseconds, to and fro."""
    stamps = [f"{datetime.fromtimestamp(at, UTC):%m-%d %H:%M:%S}" for at in (STARTED + 10, NOW - 60)]
    line = "".join(f"INFO {stamp} [a.py:1] x\n" for stamp in stamps).encode()
    for number, (first, second) in enumerate([(0.001, -0.002), (-0.003, 0.001), (0.0, 0.0), (-0.04, -0.001)]):
        seen = snapshot({"a": (0.0, first), "b": (0.0, second), "c": (0.0, 5.0 + first)}, told=True)
        lines = read(tmp_path / str(number), {"b": line, "a": line, "c": line}, seen)
        assert [each.engine for each in lines] == ["c", "b", "a"] * 2, (
            "by the clocks where these differ, else as asked for"
        )
        assert [each.at for each in lines[3:]] == [NOW - 65, NOW - 60, NOW - 60]


def test_a_late_message_does_not_make_a_clock_slow() -> None:
    record = NodeRecord(Node(name="n0", host="n0"))
    for now, late in ((0.0, 0.0), (1.0, 0.8), (2.0, 0.1), (29.0, 3.0)):
        record.measure_clock(now + 5.0 - late, now)
        assert record.clock_offset_s == 5.0
    record.measure_clock(40.0 + 2.0, 40.0)
    record.measure_clock(70.0 + 2.0, 70.0)
    assert record.clock_offset_s == 2.0, "a clock that was set is followed"
