"""Several logs by time, against a plain model that sorts all their lines at once; and how ranks' equal lines are folded."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from console.probes.log_time import Around, Clock, find, utc
from console.services.logs.copies import LogNote
from screens.logs.file import LogFile
from screens.logs.folding import Names, Spot, key_of
from screens.logs.merge import Merge
from screens.logs.merge_member import MergeMember
from screens.logs.merged import Merged
from screens.logs.patterns import LineFilter, pattern
from screens.logs.time_seek import LogTimes
from screens.styled_lines import plain

SPAN = 512
Log = Sequence[tuple[int | None, str]]
"""Lines: the second each is stamped with, or none, and its text."""


BEGIN = datetime(2026, 2, 10, tzinfo=UTC)


def stamp(second: float, form: str = "%m-%d %H:%M:%S") -> str:
    """As vLLM writes it."""
    return (BEGIN + timedelta(seconds=second)).strftime(form)


def clock(ahead_s: float, _head: bytes) -> Clock:
    """Of a node that is ahead."""
    return Clock(utc, Around.since(BEGIN.timestamp()), ahead_s=ahead_s)


FINE = "%Y-%m-%d %H:%M:%S.%f"


def written(rank: int, log: Log, *, fine: bool = False) -> bytes:
    """The bytes of a rank's log; `fine` takes the seconds for ten-thousandths and stamps them so."""
    form, unit = (FINE, 1e-4) if fine else ("%m-%d %H:%M:%S", 1)
    lines = [
        f"(EngineCore_DP{rank} pid={100 + rank}) INFO {stamp(second * unit, form)} [a.py:1] {text}"
        if second is not None
        else text
        for second, text in log
    ]
    return "".join(line + "\n" for line in lines).encode()


def files(directory: Path, logs: Sequence[bytes], ahead: Sequence[float] = ()) -> list[MergeMember]:
    """Members over these logs, in chunks small enough to matter."""
    made = []
    for rank, data in enumerate(logs):
        path = directory / f"decode-{rank}.log"
        path.write_bytes(data)
        file = LogFile(path, SPAN)
        file.grow(len(data))
        times = LogTimes(file, partial(clock, ahead[rank] if ahead else 0.0))
        made.append(MergeMember(f"decode-{rank}", file, times))
    return made


def text(merge: Merge, spot: Spot) -> bytes:
    """A line."""
    return merge.members[spot[0]].file.text(spot[1])[0]


def spots(merge: Merge) -> list[Spot]:
    """All lines of a stretch that is not folded."""
    return [entry.spots[0] for entry in merge.entries]


def expected(members: Sequence[MergeMember]) -> list[Spot]:
    """All lines of all logs, sorted at once: by time, then by rank; a line without a time has that of the one before."""
    found: list[tuple[float, int, int]] = []
    for index, member in enumerate(members):
        data = member.file.read(0, member.file.size)
        when: float | None = None
        starts: list[tuple[float | None, int]] = []
        at = 0
        for line in data.splitlines(keepends=True):
            own = member.times.clock.at(line)
            when = when if own is None else own
            starts.append((when, at))
            at += len(line)
        first = next((when for when, _ in starts if when is not None), 0.0)
        found += [(first if when is None else when, index, start) for when, start in starts]
    return [(index, start) for _, index, start in sorted(found)]


TEXTS = st.sampled_from(["load", "ready", "step", "error: lost", "x" * 50])
LOG = st.lists(st.tuples(st.integers(0, 3) | st.none(), TEXTS), max_size=14).map(
    lambda steps: [
        (None if gap is None else sum(each or 0 for each, _ in steps[: index + 1]), words)
        for index, (gap, words) in enumerate(steps)
    ]
)


@given(st.lists(LOG, min_size=1, max_size=4), st.lists(st.integers(-3, 3), min_size=4, max_size=4), st.booleans())
@settings(max_examples=200)
def test_both_ways_give_what_sorting_everything_gives(logs: list[Log], ahead: list[int], fine: bool) -> None:
    with tempfile.TemporaryDirectory() as place:
        members = files(Path(place), [written(rank, log, fine=fine) for rank, log in enumerate(logs)], ahead)
        wanted = expected(members)
        merge = Merge(members)
        merge.folded = False
        while merge.down(3):
            pass
        assert spots(merge) == wanted
        merge.begin_at_end()
        while merge.up(3):
            pass
        assert spots(merge) == wanted
        for spot in wanted:
            found = merge.reach(spot)
            assert found is not None
            assert spots(merge)[found] == spot
        for member in members:
            member.file.close()


@given(st.lists(LOG, min_size=2, max_size=4))
@settings(max_examples=100)
def test_folding_loses_no_line_and_puts_no_two_of_one_rank_together(logs: list[Log]) -> None:
    with tempfile.TemporaryDirectory() as place:
        members = files(Path(place), [written(rank, log) for rank, log in enumerate(logs)])
        merge = Merge(members)
        while merge.down(5):
            pass
        everything = sorted(expected(members))
        assert sorted(spot for entry in merge.entries for spot in entry.spots) == everything
        merge.begin_at_end()
        while merge.up(5):
            pass
        assert sorted(spot for entry in merge.entries for spot in entry.spots) == everything
        for entry in merge.entries:
            ranks = [rank for rank, _ in entry.spots]
            assert len(set(ranks)) == len(ranks)
            assert len({key_of(text(merge, spot)) for spot in entry.spots}) == 1
        for member in members:
            member.file.close()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (b"(W_TP0 pid=1) INFO 11-24 10:00:00 [a.py:1] x", b"(W_TP1 pid=2) INFO 11-24 10:00:01 [a.py:1] x"),
        (b"(W_TP0 pid=1) INFO 2026-11-24 10:00:00.123 [a.py:1] x", b"INFO 2026-11-24 10:00:00.124 [a.py:1] x"),
        (b"[rank0]:[W1124 10:00:00.123456 a.cpp:57] x", b"[rank1]:[W1124 10:00:00.123457 a.cpp:57] x"),
        (b"(W_TP0 pid=1) no stamp", b"(W_TP1 pid=2) no stamp"),
    ],
)
def test_lines_that_differ_in_process_and_time_alone_are_equal(one: bytes, other: bytes) -> None:
    assert key_of(one) == key_of(other)
    assert key_of(one) != key_of(other.replace(b"INFO", b"ERROR").replace(b"W1124", b"E1124").replace(b"no", b"a"))


def view(members: list[MergeMember], height: int = 12) -> Merged:
    """A view of them, with lines as they are written."""
    made = Merged(members)
    made.manner = replace(made.manner, stamps="written")
    made.resize(100, height)
    made.grow([member.file.size for member in members])
    return made


def rows(window: Merged) -> list[str]:
    """What is seen."""
    return [plain(row).rstrip() for row in window.rows()]


def append(window: Merged, rank: int, data: bytes) -> None:
    """Bytes arrive in one log."""
    file = window.merge.members[rank].file
    with file.path.open("ab") as out:
        out.write(data)
    window.grow(
        [each.file.size + (len(data) if index == rank else 0) for index, each in enumerate(window.merge.members)]
    )


def test_equal_lines_of_sixteen_ranks_are_one_and_the_odd_rank_is_named(tmp_path: Path) -> None:
    logs = [[(0, "loading"), (1, "ready")] if rank != 7 else [(0, "loading"), (19, "stuck")] for rank in range(16)]
    seen = rows(view(files(tmp_path, [written(rank, log) for rank, log in enumerate(logs)])))
    assert [line.split("(")[0].strip(" !") for line in seen] == ["x16", "x15 not 7", "decode-7"]
    assert seen[1].endswith("ready")
    assert seen[2].endswith("stuck")


def test_a_group_is_whole_wherever_the_stretch_was_taken_up(tmp_path: Path) -> None:
    logs = [written(rank, [(step, f"step {step}") for step in range(100)]) for rank in range(7)]
    merge = Merge(files(tmp_path, logs))
    merge.begin_at_end()
    while merge.up(10):
        pass
    assert [len(entry.spots) for entry in merge.entries] == [7] * 100


def test_tracebacks_fold_line_by_line_also_where_a_line_repeats(tmp_path: Path) -> None:
    trace: Log = [(3, "failed"), (None, "  return f()"), (None, "  return f()"), (None, "ValueError: x")]
    seen = rows(view(files(tmp_path, [written(rank, trace) for rank in range(3)])))
    assert [line.split()[0] for line in seen] == ["x3"] * 4
    assert [line.split()[-1] for line in seen][1:] == ["f()", "f()", "x"]


def test_clocks_that_differ_are_corrected(tmp_path: Path) -> None:
    logs = [written(0, [(0, "a"), (10, "c")]), written(1, [(3605, "b")])]
    assert [line[-1] for line in rows(view(files(tmp_path, logs, [0.0, 3600.0])))] == ["a", "b", "c"]


def test_lines_that_arrive_join_their_group_and_a_paused_reader_stays(tmp_path: Path) -> None:
    window = view(files(tmp_path, [written(rank, [(0, "loading")]) for rank in range(3)]), height=4)
    append(window, 0, written(0, [(5, "ready")]))
    assert [line.split()[0] for line in rows(window)] == ["x3", "decode-0"]
    append(window, 2, written(2, [(6, "ready")]))
    assert [line.split("(")[0].strip() for line in rows(window)] == ["x3", "x2 not 1"]
    window.pause()
    before = rows(window)
    for second in range(10, 30):
        append(window, 1, written(1, [(second, f"step {second}")]))
    assert window.fresh == 20
    assert rows(window)[: len(before)] == before
    window.follow()
    assert rows(window)[-1].endswith("step 29")


def test_a_line_that_is_being_written_waits_for_its_end_unless_the_run_is_over(tmp_path: Path) -> None:
    members = files(tmp_path, [written(0, [(0, "whole")]) + b"half of a li", written(1, [(1, "other")])])
    window = view(members)
    assert [line.split()[-1] for line in rows(window)] == ["whole", "other"]
    append(window, 0, b"ne\n")
    assert [line.split()[-1] for line in rows(window)] == ["whole", "other", "line"]
    append(window, 1, b"last words")
    members[1].ended = True
    window.follow()
    assert [line.split()[-1] for line in rows(window)][-1] == "words"


def test_the_reader_moves_over_all_of_it_and_back(tmp_path: Path) -> None:
    logs = [written(rank, [(3 * step + rank, f"step {step}-{rank}") for step in range(1500)]) for rank in range(3)]
    window = view(files(tmp_path, logs), height=10)
    everything = [f"step {step}-{rank}" for step in range(1500) for rank in range(3)]

    def shown() -> list[str]:
        return [line.split("] ")[-1] for line in rows(window)]

    assert shown() == everything[-10:]
    window.move(-2000)
    assert shown() == everything[-2010:-2000]
    window.to_top()
    assert shown() == everything[:10]
    window.move(700)
    assert shown() == everything[700:710]
    window.move(100_000)
    assert window.following
    assert shown() == everything[-10:]
    spot = window.moment("00:20:00")
    assert spot is not None
    assert window.text(spot).endswith("step 400-0")
    spot = window.ago(60)
    assert spot is not None
    assert window.text(spot).endswith("step 1479-2")


def test_a_search_goes_by_time_over_all_logs_and_does_not_stop_twice_on_one_group(tmp_path: Path) -> None:
    logs = [
        [(0, "begin"), (4, "error: both"), (9, "error: zero"), (20, "end")],
        [(0, "begin"), (4, "error: both"), (6, "error: one"), (20, "end")],
    ]
    window = view(files(tmp_path, [written(rank, log) for rank, log in enumerate(logs)]))
    window.to_top()
    window.search(pattern("error"))

    def seek(forward: bool) -> str | None:
        for found in window.find(pattern("error"), forward=forward):
            if found is not None:
                window.hit = found
                window.go(found)
                return window.text(found).split()[-1]
        return None

    assert [seek(True) for _ in range(4)] == ["both", "one", "zero", None]
    assert [seek(False) for _ in range(3)] == ["one", "both", None]
    while window.work():
        pass
    assert window.hits() == (None, 4)


def test_a_filter_keeps_lines_of_all_logs_and_counts_what_it_hides(tmp_path: Path) -> None:
    logs = [[(step, f"step {step}") for step in range(200)] + [(300, f"odd {rank}")] for rank in range(4)]
    window = view(files(tmp_path, [written(rank, log) for rank, log in enumerate(logs)]))
    window.filter(LineFilter((pattern("step 1.7$|odd"),)))
    while window.work():
        pass
    assert window.kept_lines() == (1.0, 44, 4 * 201 - 44)
    assert [line.split()[-1] for line in rows(window)] == [*(f"1{each}7" for each in range(2, 10)), "0", "1", "2", "3"]
    window.filter(LineFilter((pattern("odd 2"),)), 1)
    while window.work():
        pass
    assert [line.split("]")[-1].strip() for line in rows(window)] == ["step 199", "odd 2"]
    window.filter(LineFilter())
    assert len(rows(window)) == 12


def test_a_log_that_begins_anew_is_read_anew(tmp_path: Path) -> None:
    window = view(files(tmp_path, [written(0, [(0, "old"), (1, "older")]), written(1, [(0, "other")])]))
    assert len(rows(window)) == 3
    member = window.merge.members[0]
    member.file.path.write_bytes(written(0, [(2, "new")]))
    window.grow([member.file.path.stat().st_size, window.merge.members[1].file.size])
    assert [line.split()[-1] for line in rows(window)] == ["other", "new"]


def test_names_of_engines_of_several_groups_are_written_in_full(tmp_path: Path) -> None:
    names = Names.of(["prefill-0", "decode-0", "decode-1"])
    members = files(tmp_path, [written(rank, [(0, "same")] if rank != 1 else []) for rank in range(3)])
    merge = Merge(members)
    merge.down(10)
    assert names.label(merge.entries[0]) == ("x2/3", "warn")
    assert names.words(merge.entries[0]) == "2/3 not decode-0"


def test_gaps_of_a_log_are_said_where_they_are(tmp_path: Path) -> None:
    first = written(0, [(0, "a"), (2, "c")])
    window = view(files(tmp_path, [first, written(1, [(1, "b")])]))
    window.grow([member.file.size for member in window.merge.members], [(LogNote(len(first) // 2, "a gap"),), ()])
    assert [line.split("]")[-1].strip() for line in rows(window)] == ["a", "b", "-- decode-0: a gap --", "c"]


@pytest.mark.parametrize("way", ["down", "up"])
def test_the_stamp_of_a_line_is_looked_for_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    looked: list[bytes] = []

    def counted(line: bytes) -> re.Match[bytes] | None:
        looked.append(line)
        return find(line)

    monkeypatch.setattr("screens.logs.time_seek.find", counted)
    monkeypatch.setattr("screens.logs.folding.find", counted)
    logs = [written(rank, [(second, f"step {second}") for second in range(50)]) for rank in range(3)]
    merge = Merge(files(tmp_path, logs))
    if way == "down":
        merge.begin([0, 0, 0])
        merge.down(1000)
    else:
        merge.begin_at_end()
        merge.up(1000)
    assert [len(entry.spots) for entry in merge.entries] == [3] * 50
    assert sorted(looked) == sorted(b"".join(logs).splitlines())
