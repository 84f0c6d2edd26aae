"""Local log copies: byte-exact by offset, resumed by size, honest about truncation and a full disk."""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.model.cluster import Cluster
from console.model.deployment import Assignment, Deployment
from console.model.errors import ConsoleError
from console.model.run import LogChunk, RunKey
from console.probes.log_time import Around, Clock, Zone, utc
from console.services.logs.copies import LogBook, LogCopy
from console.services.logs.lines import LineReader, Readers, Timing, merged, tail_offset
from console.services.logs.own_polls import own_polls
from tests.services.deployments import LAYOUT

KEY = RunKey("a3-pd", "decode-5", "20260101T000000Z-0000")


def _chunk(offset: int, data: bytes, *, restarted: str = "") -> LogChunk:
    return LogChunk(KEY, offset, data, offset + len(data), restarted)


def test_bytes_that_come_twice_are_kept_once(tmp_path: Path) -> None:
    copy = LogCopy(KEY, tmp_path / "run.log")
    assert copy.store(_chunk(0, b"hello ")) == 6
    assert copy.store(_chunk(3, b"lo world")) == 5
    assert copy.store(_chunk(0, b"hello")) == 0
    assert (tmp_path / "run.log").read_bytes() == b"hello world"


def test_a_gap_is_refused_not_papered_over(tmp_path: Path) -> None:
    copy = LogCopy(KEY, tmp_path / "run.log")
    copy.store(_chunk(0, b"abc"))
    with pytest.raises(ConsoleError, match="3–9"):
        copy.store(_chunk(9, b"xyz"))
    assert copy.size == 3


def test_a_second_console_resumes_where_the_first_stopped(tmp_path: Path) -> None:
    first = LogCopy(KEY, tmp_path / "run.log")
    first.store(_chunk(0, b"one\n"))
    second = LogCopy(KEY, tmp_path / "run.log")
    assert (second.size, second.fingerprint(), second.read(1, 2)) == (4, b"one\n", b"ne")
    second.store(_chunk(4, b"two\n"))
    first.store(_chunk(4, b"two\n"))
    assert (tmp_path / "run.log").read_bytes() == b"one\ntwo\n"


@pytest.mark.parametrize("why", ["truncated", "replaced"])
def test_a_log_that_began_anew_keeps_the_old_copy_and_says_so(tmp_path: Path, why: str) -> None:
    copy = LogCopy(KEY, tmp_path / "run.log")
    copy.store(_chunk(0, b"old old old"))
    copy.store(_chunk(0, b"new", restarted=why))
    assert (tmp_path / "run.log").read_bytes() == b"new"
    assert (tmp_path / "run.log.1").read_bytes() == b"old old old"
    assert why in copy.notes[0].text
    assert LogCopy(KEY, tmp_path / "run.log").notes == copy.notes


def test_a_full_disk_is_an_error_and_moves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = LogCopy(KEY, tmp_path / "run.log")
    copy.store(_chunk(0, b"kept"))

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        with pytest.raises(ConsoleError, match="No space left"):
            copy.store(_chunk(4, b" more"))
        assert copy.error
        assert copy.size == 4
    copy.store(_chunk(4, b" more"))
    assert not copy.error
    assert (tmp_path / "run.log").read_bytes() == b"kept more"


def test_the_copy_is_private_and_no_link_is_followed(tmp_path: Path) -> None:
    book = LogBook(tmp_path / "logs", lambda _: KEY)
    copy = book.of(KEY)
    copy.store(_chunk(0, b"x"))
    assert copy.path.stat().st_mode & 0o077 == 0
    assert book.runs("decode-5") == (KEY.run,)
    assert book.copy("decode-5", KEY.run) is copy
    target = tmp_path / "elsewhere"
    other = LogCopy(KEY, tmp_path / "link.log")
    other.path.symlink_to(target)
    with pytest.raises(ConsoleError):
        other.store(_chunk(0, b"x"))
    assert not target.exists()


def test_names_from_outside_stay_inside_the_directory(tmp_path: Path) -> None:
    book = LogBook(tmp_path / "logs", lambda _: None)
    copy = book.of(RunKey("../..", "a/b", ".."))
    assert (tmp_path / "logs").resolve() in copy.path.resolve().parents


NOW = datetime(2026, 11, 24, 12, tzinfo=UTC).timestamp()


def timing(zone: Zone = utc, ahead_s: float = 0.0, written_at: float | None = NOW) -> Timing:
    """Times of a log that was written last at noon."""
    return Timing(Clock(zone, Around.until(NOW), ahead_s=ahead_s), written_at)


LINES = st.lists(st.binary(max_size=60).map(lambda raw: raw.replace(b"\n", b".")), max_size=30)


@given(lines=LINES.filter(bool), marked=st.sets(st.integers(0, 29)), count=st.integers(0, 12), block=st.integers(1, 80))
def test_the_last_lines_are_counted_without_the_hidden_ones(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], marked: set[int], count: int, block: int
) -> None:
    hidden = re.compile(rb"POLL$")
    lines = [line + (b"POLL" if number in marked else b".") for number, line in enumerate(lines)]
    copy = LogCopy(KEY, tmp_path_factory.mktemp("log") / "run.log")
    copy.store(_chunk(0, b"\n".join(lines)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("console.services.logs.lines.BLOCK", block)
        reader = LineReader("a", copy, timing, offset=tail_offset(copy, count, hidden), hidden=hidden)
        found = [line.offset for line in reader.lines(last=True)]
    starts = [sum(len(line) + 1 for line in lines[:number]) for number in range(len(lines)) if number not in marked]
    assert found == starts[max(0, len(starts) - count) :][: count or 0]


def test_of_each_log_what_its_engine_hides_is_left_out_and_counted(tmp_path: Path) -> None:
    book = LogBook(tmp_path, lambda engine: RunKey("dep", engine, "r1"))
    hides = {"a": re.compile(rb"poll a$"), "b": None}
    for name in hides:
        book.of(RunKey("dep", name, "r1")).store(_chunk(0, b"one\npoll a\ntwo\n"))
    readers = Readers(book, ("a", "b"), lambda *_: timing(), lambda *_: None, hidden=hides.__getitem__)
    assert [(line.engine, line.text) for line in readers.lines(last=True)] == [
        *(("a", each) for each in ("one", "two")),
        *(("b", each) for each in ("one", "poll a", "two")),
    ]
    assert readers.left_out == 1


@pytest.mark.parametrize(
    ("node", "asks_from"),
    [
        ({"host": "10.0.0.1"}, "10.0.0.1"),
        ({"host": "p0.lab", "ip": "fd00:0::1"}, "fd00::1"),
        ({"host": "127.0.0.5"}, "127.0.0.1"),
        ({"host": "p0.lab"}, None),
    ],
)
def test_polling_comes_from_the_address_of_the_node(node: dict[str, str], asks_from: str | None) -> None:
    cluster = Cluster.model_validate({"name": "lab", "defaults": {"hardware": "a3"}, "nodes": {"p0": node}})
    found = own_polls(Deployment(cluster, LAYOUT, Assignment({})), "p0")
    line = f'INFO:     {asks_from}:1 - "GET /health HTTP/1.1" 200 OK'.encode()
    assert (found is not None and found.search(line) is not None) == (asks_from is not None)
    assert found is None or not found.search(line.replace(b":     ", b":     1"))


@given(lines=LINES, cuts=st.lists(st.integers(min_value=1, max_value=40), max_size=40), count=st.integers(0, 12))
def test_lines_are_the_same_however_they_arrive(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], cuts: list[int], count: int
) -> None:
    data = b"".join(line + b"\n" for line in lines)
    copy = LogCopy(KEY, tmp_path_factory.mktemp("log") / "run.log")
    reader = LineReader("decode-5", copy, timing)
    seen: list[int] = []
    position = 0
    for cut in [*cuts, len(data)]:
        piece = data[position : position + cut]
        copy.store(_chunk(position, piece))
        position += len(piece)
        seen += [line.offset for line in reader.lines()]
    expected = [sum(len(line) + 1 for line in lines[:number]) for number in range(len(lines))]
    assert seen == expected
    kept = LineReader("decode-5", copy, timing, offset=tail_offset(copy, count))
    assert [line.offset for line in kept.lines()] == expected[max(0, len(expected) - count) :][: count or 0]


def test_lines_of_nodes_whose_clocks_differ_merge_by_our_clock(tmp_path: Path) -> None:
    readers = []
    for engine, stamp, ahead_s in (("a", "11-24 10:00:05", 0.0), ("b", "11-24 11:00:02", 3600.0)):
        copy = LogCopy(KEY, tmp_path / f"{engine}.log")
        copy.store(_chunk(0, f"(APIServer pid=1) INFO {stamp} [a.py:1] {engine}\n  more of {engine}\n".encode()))
        readers.append(LineReader(engine, copy, partial(timing, ahead_s=ahead_s)))
    lines = list(merged([reader.lines() for reader in readers]))
    assert [line.text.split()[-1] for line in lines] == ["b", "b", "a", "a"]
    assert lines[2].at is not None
    assert lines[0].at == lines[2].at - 3


def test_a_log_that_is_followed_goes_on_in_the_next_run_with_nothing_of_the_last_one_lost(tmp_path: Path) -> None:
    now: dict[str, RunKey] = {}
    book = LogBook(tmp_path, now.get)
    told: list[tuple[str, str]] = []
    readers = Readers(book, ("a", "b"), lambda *_: timing(), lambda *words: told.append(words))
    assert not readers.found
    assert list(readers.lines()) == []

    def writes(engine: str, run: str, data: bytes) -> None:
        now[engine] = RunKey("dep", engine, run)
        copy = book.of(now[engine])
        copy.store(LogChunk(now[engine], copy.size, data, copy.size + len(data)))

    writes("a", "r1", b"one\ntwo\nthr")
    assert [line.text for line in readers.lines()] == ["one", "two"]
    writes("a", "r1", b"ee\nunfinished")
    writes("a", "r2", b"new\n")
    writes("b", "r1", b"other\n")
    assert sorted(line.text for line in readers.lines()) == ["new", "other", "three", "unfinished"]
    assert told == [("a", "run r2 follows")]
    earlier = Readers(book, ("a",), lambda *_: timing(), lambda *words: told.append(words), run="r1", tail=2)
    assert [line.text for line in earlier.lines(last=True)] == ["three", "unfinished"]
    assert len(told) == 1, "nothing follows an earlier run"


def test_mended_bytes_are_the_nodes_and_what_was_read_before_is_void(tmp_path: Path) -> None:
    copy = LogCopy(KEY, tmp_path / "run.log")
    copy.store(_chunk(0, b"hello world\n"))
    assert copy.revision == 0
    copy.repair(6, b"there, and more than the copy has")
    assert (tmp_path / "run.log").read_bytes() == b"hello there,"
    assert (copy.size, copy.revision, [note.offset for note in copy.notes]) == (12, 1, [6])
    copy.store(_chunk(12, b" on\n"))
    assert (tmp_path / "run.log").read_bytes() == b"hello there, on\n"
    copy.store(_chunk(0, b"anew\n", restarted="rewritten"))
    assert (copy.size, copy.revision) == (5, 2)


def test_a_log_that_begins_anew_within_a_run_is_followed_from_its_first_byte(tmp_path: Path) -> None:
    """It went on at the old offset: what came until then was never printed."""
    key = RunKey("dep", "a", "r1")
    book = LogBook(tmp_path, lambda _: key)
    copy = book.of(key)
    copy.store(LogChunk(key, 0, b"one\ntwo\nth", 10))
    told: list[tuple[str, ...]] = []
    readers = Readers(book, ("a",), lambda *_: timing(), lambda *words: told.append(words))
    assert [line.text for line in readers.lines()] == ["one", "two"]
    copy.store(LogChunk(key, 10, b"ree\n", 14))
    for _ in range(10):
        copy.store(LogChunk(key, 0, b"new, and longer than before\nmo", 30, restarted="replaced"))
    assert [line.text for line in readers.lines()][-1:] == ["new, and longer than before"]
    copy.store(LogChunk(key, 30, b"re\n", 33))
    assert [line.text for line in readers.lines()] == ["more"]
    assert told[-1][0] == "a"
    assert "replaced" in told[-1][1]
    copy.store(LogChunk(key, 33, b"last", 37))
    copy.store(LogChunk(key, 0, b"again\n", 6, restarted="shorter than what was read"))
    assert [line.text for line in readers.lines()] == ["last", "again"], "what was not read of it comes first"
    copy.repair(0, b"AGAIN")
    assert [line.text for line in readers.lines()] == []
    assert "fetched again" in told[-1][1]
