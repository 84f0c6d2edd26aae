"""The matcher finds the same however the bytes are cut, keeps its cost in a flood, and the timeline names who broke first."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from console.diagnosis.matcher import CALM_START, LINE_BYTES, Hit, Matcher
from console.diagnosis.root_cause import RankHits, first_cause, timeline
from console.diagnosis.signatures import load_signatures
from console.probes.log_time import Around, Clock, Steps, fixed

SIGNATURES = load_signatures()
BY_ID = {each.id: each for each in SIGNATURES}
LOG = (
    b"(APIServer pid=1) INFO 11-23 20:39:21 [a.py:1] Using max model len 512\n"
    b"(Worker_TP0 pid=2) ERROR 11-23 20:39:30 [m.py:1] Traceback (most recent call last):\r\n"
    b"(Worker_TP0 pid=2) ERROR 11-23 20:39:30 [m.py:1] RuntimeError: NPU out of memory. Tried to allocate 2.00 GiB\n"
    b"\x1b[36m(Worker_TP1 pid=3)\x1b[0m RuntimeError: EI0006: Getting socket times out\n"
    b"(Worker_TP2 pid=4) ERROR 11-23 20:41:00 [m.py:1] RuntimeError: EI0006: Getting socket times out\n"
    b"(APIServer pid=1) RuntimeError: Engine core initialization failed. See root cause above.\n"
)


def _matcher(*chunks: bytes, at: float = 100.0) -> Matcher:
    matcher = Matcher(SIGNATURES)
    for chunk in chunks:
        matcher.feed(chunk, at)
    return matcher


def test_a_hit_says_where_when_by_whom_and_how_often() -> None:
    oom, socket, wrapper = _matcher(LOG).hits
    assert (oom.signature.id, oom.time, oom.process, oom.count) == ("C1", "11-23 20:39:30", "Worker_TP0", 1)
    assert LOG[oom.offset :].startswith(b"(Worker_TP0 pid=2) ERROR 11-23 20:39:30 [m.py:1] RuntimeError: NPU")
    assert (socket.signature.id, socket.count, socket.process) == ("B1", 2, "Worker_TP1")
    assert socket.time == "11-23 20:39:30", "a line without a time has that of the line before it"
    assert (wrapper.signature.id, wrapper.signature.wrapper, wrapper.time) == ("A23", True, "11-23 20:41:00")


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(0, len(LOG)), max_size=10))
def test_chunks_may_be_cut_anywhere(cuts: list[int]) -> None:
    places = [0, *sorted(cuts), len(LOG)]
    assert _matcher(*(LOG[start:end] for start, end in pairwise(places))).hits == _matcher(LOG).hits


def test_a_line_without_a_time_has_that_of_the_line_before_it_in_an_earlier_piece() -> None:
    head = b"(APIServer pid=1) INFO 11-23 20:39:21 [a.py:1] Supported tasks: ['generate']\n"
    error = b"(APIServer pid=1) OSError: [Errno 98] Address already in use\n"
    assert _matcher(head, b"chatter\n", error).hits == _matcher(head + b"chatter\n" + error).hits
    matcher = _matcher(head)
    matcher.feed(error, 101.0)
    assert matcher.hits[0].time == "11-23 20:39:21"


def test_a_line_without_a_time_that_came_much_later_is_of_its_arrival() -> None:
    matcher = _matcher(b"(APIServer pid=1) INFO 11-23 20:39:21 [a.py:1] Supported tasks: ['generate']\n")
    matcher.feed(b"(APIServer pid=1) OSError: [Errno 98] Address already in use\n", 160.0)
    assert (matcher.hits[0].time, matcher.hits[0].at) == ("", 160.0)


@given(st.lists(st.binary(max_size=120), max_size=8))
def test_any_bytes_are_taken(chunks: list[bytes]) -> None:
    matcher = _matcher(*chunks)
    assert isinstance(matcher.hits, tuple)
    assert matcher.silent(1e9) is not None


PROMPT = "Engine 000: Avg prompt throughput: %.1f tokens/s"


def test_an_engine_that_reads_long_prompts_does_not_hang() -> None:
    line = f"{PROMPT % 5000}, Avg generation throughput: 0.0 tokens/s, Running: 4 reqs\n".encode()
    assert _matcher(line * 6).hits == ()


def test_a_row_is_broken_by_a_line_that_shows_the_contrary() -> None:
    def stats(tokens: str) -> bytes:
        return f"{PROMPT % 0}, Avg generation throughput: {tokens} tokens/s, Running: 4 reqs\n".encode()

    assert _matcher(stats("0.0") * 3, stats("5.0"), stats("0.0") * 3).hits == ()
    (hang,) = _matcher(stats("0.0") * 3, stats("5.0"), stats("0.0") * 4).hits
    assert hang.signature.id == "F5"


def test_of_several_engines_in_one_log_each_has_its_own_row() -> None:
    def stats(engine: int, tokens: str) -> bytes:
        text = f"{PROMPT % 0}, Avg generation throughput: {tokens} tokens/s, Running: 4 reqs\n"
        return text.replace("Engine 000", f"Engine {engine:03d}").encode()

    at_once = b"".join(stats(engine, "0.0") for engine in range(8))
    assert _matcher(at_once).hits == (), "one interval of eight engines is not a long time"
    assert [hit.signature.id for hit in _matcher(at_once * 4).hits] == ["F5"]
    one_of_two = stats(0, "50.0") + stats(1, "0.0")
    (hang,) = _matcher(one_of_two * 4).hits
    assert hang.text.startswith("Engine 001")


CALM = b'(APIServer pid=1) INFO:     10.0.0.7:41130 - "POST /v1/completions HTTP/1.1" 200 OK\n'


def test_a_flood_hides_no_error() -> None:
    matcher = Matcher(SIGNATURES)
    block = CALM * 700
    for _ in range(2 * CALM_START // len(block)):
        matcher.feed(block, 100.0)
    matcher.feed(block + LOG + block, 100.0)
    assert [hit.signature.id for hit in matcher.hits] == ["C1", "B1", "A23"]


def test_a_flood_hides_no_error_of_torch() -> None:
    matcher = Matcher(SIGNATURES)
    block = CALM * 700
    for _ in range(2 * CALM_START // len(block)):
        matcher.feed(block, 100.0)
    line = b"[rank3]:[E1123 20:39:21.5 ProcessGroupHCCL.cpp:1] Watchdog caught collective operation timeout: WorkHCCL\n"
    matcher.feed(block + line + block, 100.0)
    assert [hit.signature.id for hit in matcher.hits] == ["B3"]


def test_an_endless_line_is_bounded() -> None:
    matcher = Matcher(SIGNATURES)
    for _ in range(50):
        matcher.feed(b"x" * 65536, 100.0)
        assert len(matcher._tail) <= 8 * LINE_BYTES
    matcher.feed(b"\n" + LOG, 100.0)
    assert [hit.signature.id for hit in matcher.hits] == ["C1", "B1", "A23"]
    assert matcher.hits[0].offset == 50 * 65536 + 1 + LOG.find(
        b"(Worker_TP0 pid=2) ERROR 11-23 20:39:30 [m.py:1] RuntimeError"
    )


NOW = 1795466400.0  # 2026-11-23 20:40:00 UTC


def _hit(id: str, time: str, at: float = NOW, offset: int = 0) -> Hit:
    return Hit(BY_ID[id], f"line of {id}", offset, time, at)


def clock(ahead: float = 0.0, east: float = 0.0, near: float = NOW) -> Clock:
    return Clock(fixed(east), Around.until(near), ahead_s=ahead)


def _cause(*logs: RankHits) -> tuple[str, str] | None:
    found = first_cause(timeline(logs))
    return (found.rank, found.hit.signature.id) if found else None


@pytest.mark.parametrize(
    ("logs", "cause"),
    [
        ([], None),
        ([RankHits("d-0", "n0", (_hit("A17", "11-23 20:39:00"),), clock())], None),
        ([RankHits("d-0", "n0", (_hit("A23", "11-23 20:39:00"),), clock())], ("d-0", "A23")),
        (
            [RankHits("d-0", "n0", (_hit("B1", "11-23 20:39:00"), _hit("A23", "11-23 20:39:00")), clock())],
            ("d-0", "B1"),
        ),
        (
            [
                RankHits("d-0", "n0", (_hit("D16", "11-23 20:39:30"), _hit("F1", "11-23 20:39:30")), clock()),
                RankHits("d-1", "n1", (_hit("F10", "11-23 20:39:30"), _hit("F1", "11-23 20:39:30")), clock()),
                RankHits("d-2", "n1", (_hit("F1", "11-23 20:39:30"),), clock()),
            ],
            ("d-0", "D16"),
        ),
        ([RankHits("d-0", "n0", (_hit("C8", "11-23 20:39:00"), _hit("B9", "11-23 20:39:01")), clock())], ("d-0", "B9")),
        (
            [RankHits("d-0", "n0", (_hit("B5", "11-23 20:39:00"), _hit("B17", "11-23 20:39:00")), clock())],
            ("d-0", "B17"),
        ),
        ([RankHits("d-0", "n0", (_hit("B5", "11-23 20:39:00"), _hit("B1", "11-23 20:39:00")), clock())], ("d-0", "B1")),
        (
            [
                RankHits("proxy", "n0", (_hit("E13", "11-23 20:39:30"),), clock()),
                RankHits("d-0", "n1", (_hit("F1", "11-23 20:39:31"),), clock()),
                RankHits("d-1", "n1", (_hit("F10", "11-23 20:39:31"), _hit("F1", "11-23 20:39:33")), clock()),
            ],
            ("d-0", "F1"),
        ),
        (
            [
                RankHits("d-0", "n0", (_hit("F10", "11-23 20:39:30"), _hit("F1", "11-23 20:39:30")), clock()),
                RankHits("d-1", "n1", (_hit("F1", "11-23 20:39:31"),), clock()),
            ],
            ("d-1", "F1"),
        ),
        (
            [
                RankHits("d-0", "n0", (_hit("B1", "11-23 20:41:00"), _hit("A23", "11-23 20:41:10")), clock()),
                RankHits("d-8", "n1", (_hit("C1", "11-23 20:39:30"), _hit("A23", "11-23 20:39:40")), clock()),
            ],
            ("d-8", "C1"),
        ),
        (
            [
                RankHits("d-0", "n0", (_hit("B1", "11-23 20:39:00"),), clock()),
                RankHits("d-8", "n1", (_hit("C1", "11-23 20:39:01"),), clock()),
            ],
            ("d-8", "C1"),
        ),
        (
            [
                RankHits("d-0", "n0", (_hit("F10", "11-23 20:39:00"), _hit("F1", "11-23 20:39:01")), clock()),
                RankHits("d-8", "n1", (_hit("C1", "11-23 20:45:00"),), clock()),
            ],
            ("d-8", "C1"),
        ),
        (
            [
                RankHits("d-0", "n0", (_hit("B24", "11-23 20:39:00"),), clock()),
                RankHits("d-8", "n1", (_hit("F1", "11-23 20:45:00"),), clock()),
            ],
            ("d-8", "F1"),
        ),
        (
            [RankHits("d-0", "n0", (_hit("D16", "11-23 20:39:00"), _hit("C8", "11-23 20:39:01")), clock())],
            ("d-0", "C8"),
        ),
        (
            [RankHits("d-0", "n0", (_hit("F2", "11-23 20:39:00"), _hit("B24", "11-23 20:39:00", offset=9)), clock())],
            ("d-0", "F2"),
        ),
        (
            [
                RankHits("d-0", "n0", (_hit("F7", "11-23 19:00:00"),), clock()),
                RankHits("d-8", "n1", (_hit("C1", "11-23 20:45:00"),), clock()),
            ],
            ("d-8", "C1"),
        ),
        ([RankHits("d-0", "n0", (_hit("F7", "11-23 19:00:00"),), clock())], ("d-0", "F7")),
        (
            [
                RankHits("d-0", "n0", (_hit("C2", "11-23 20:39:00"),), clock(ahead=120.0)),
                RankHits("d-8", "n1", (_hit("C1", "11-23 20:38:30"),), clock()),
            ],
            ("d-0", "C2"),
        ),
        (
            [
                RankHits("d-0", "n0", (_hit("C1", "11-24 04:39:00"),), clock(east=8 * 3600.0)),
                RankHits("d-8", "n1", (_hit("C2", "11-23 20:39:30"),), clock()),
            ],
            ("d-0", "C1"),
        ),
        (
            [
                RankHits("d-0", "n0", (_hit("D2", "", NOW - 100),), clock()),
                RankHits("d-8", "n1", (_hit("C2", "11-23 20:39:30"),), clock()),
            ],
            ("d-0", "D2"),
        ),
    ],
    ids=[
        "nothing",
        "advice",
        "only a wrapper",
        "an echo before the wrapper of its own rank",
        "a vague cause before a wrapper and an echo elsewhere",
        "an exact cause before a vague one of the same rank",
        "an exact cause before a vague one",
        "an echo before what is vague in its own log",
        "a wrapper before what only echoes",
        "one that only died before one that lost a peer",
        "cause before echo",
        "echo at once",
        "an echo minutes before a cause on another rank",
        "an echo before one that only died on another rank",
        "what explains a vaguer one",
        "an echo of the death in its own log",
        "what is mild before an end",
        "what is mild and alone",
        "clocks differ",
        "time zones",
        "no time in the log",
    ],
)
def test_who_broke_first(logs: list[RankHits], cause: tuple[str, str] | None) -> None:
    assert _cause(*logs) == cause


def test_a_stamp_before_the_years_end_is_of_the_year_before() -> None:
    new_year = 1798761605.0  # 2027-01-01 00:00:05 UTC
    hit = _hit("C1", "12-31 23:59:58", new_year)
    (witness,) = timeline([RankHits("p-0", "n0", (hit,), clock(near=new_year))])
    assert witness.when == new_year - 7.0
    assert witness.exact


def test_in_an_hour_that_is_repeated_a_hit_is_where_it_arrived_or_in_order() -> None:
    change = 1793523600.0  # 2026-11-01 09:00 UTC, when the clocks of California go back
    pacific = Steps(((change - 1e7, -7 * 3600.0), (change, -8 * 3600.0)))
    clock = Clock(pacific, Around.since(change - 86400.0))
    once, again = change - 1800.0, change + 1800.0
    for seen, when in ((once + 3.0, once), (again + 3.0, again)):
        (witness,) = timeline([RankHits("p-0", "n0", (_hit("C1", "11-01 01:30:00", seen),), clock)])
        assert witness.when == when, "followed: the arrival tells"
    late = change + 86400.0
    hits = (_hit("C2", "11-01 01:40:00", late), _hit("C1", "11-01 01:30:00", late, 9))
    assert [each.when for each in timeline([RankHits("p-0", "n0", hits, clock)])] == [once + 600.0, again]


def test_a_wrong_stamp_falls_back_to_the_arrival() -> None:
    (witness,) = timeline([RankHits("p-0", "n0", (_hit("C1", "13-99 99:99:99"),), clock())])
    assert (witness.when, witness.exact) == (NOW, False)


def test_of_equal_seconds_the_rank_whose_process_ended_first_is_the_cause() -> None:
    logs = [RankHits(f"d-{number}", "n0", (_hit("F1", "11-23 20:39:31"),)) for number in range(3)]
    found = first_cause(timeline(logs), {"d-2": NOW - 5.0, "d-0": NOW - 4.0})
    assert found is not None
    assert found.rank == "d-2"
    later = [*logs, RankHits("d-3", "n0", (_hit("F1", "11-23 20:39:30"),), clock())]
    found = first_cause(timeline(later), {"d-2": NOW - 5.0})
    assert found is not None
    assert found.rank == "d-3", "an earlier line counts more than an earlier end"
