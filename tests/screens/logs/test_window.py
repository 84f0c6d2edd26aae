"""The log viewer's arithmetic against a plain model that holds the whole file in memory."""

from __future__ import annotations

import re
import tempfile
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from console.services.logs.copies import Gap, LogNote
from screens.logs.file import LineCount, LogFile
from screens.logs.filtered import FilteredLines
from screens.logs.line_drawing import collapse, level_role, text_of
from screens.logs.patterns import ERRORS, WARNINGS, LineFilter, Pattern, pattern, prepared
from screens.logs.window import Window
from screens.styled_lines import plain

SPAN = 16
WIDE = 512
"""Longer than any line."""


def beginnings(data: bytes) -> list[int]:
    """Where lines start, by the rule of the file's docstring, the slow way."""
    cuts = {0}
    cuts |= {at + 1 for at, byte in enumerate(data) if byte == 10}
    cuts |= {end for end in range(SPAN, len(data) + 1, SPAN) if b"\n" not in data[end - SPAN : end]}
    return sorted(cut for cut in cuts if cut < len(data))


def written(data: bytes) -> LogFile:
    """A file of these bytes, in chunks small enough to matter."""
    with tempfile.NamedTemporaryFile(delete=False) as file:
        file.write(data)
    log = LogFile(Path(file.name), SPAN)
    log.grow(len(data))
    log.read(0, 1)
    Path(file.name).unlink()
    return log


LOGS = st.lists(
    st.sampled_from([b"\n", b"a", b"bc", b"error", b"ERrOR", b" " * 7, b"x" * 15, b"\n\n", b"y" * 40, b"\r"]),
    max_size=40,
).map(b"".join)


@given(LOGS)
@settings(max_examples=300, deadline=None)
def test_lines_begin_and_end_where_they_should(data: bytes) -> None:
    log = written(data)
    starts = beginnings(data)
    ends = [*starts[1:], len(data)]
    for start, end in zip(starts, ends, strict=False):
        assert log.after(start) == end
        assert log.text(start)[0] == data[start:end].removesuffix(b"\n")
        assert all(log.start_of(at) == start for at in range(start, end))
    assert [log.before(start) for start in starts] == [None, *starts[:-1]][: len(starts)]
    regions = [log.region(index) for index in range(len(data) // SPAN + 1)]
    assert b"".join(part for _, part in regions) == data
    log.close()


@given(LOGS)
@settings(max_examples=200, deadline=None)
def test_line_numbers_are_those_of_the_whole_file(data: bytes) -> None:
    log = written(data)
    count = LineCount(log)
    while count.advance():
        pass
    starts = beginnings(data)
    assert [count.number(start) for start in starts] == list(range(1, len(starts) + 1))
    assert count.total() == len(starts)
    log.close()


@given(LOGS, LOGS)
@settings(max_examples=200, deadline=None)
def test_numbers_do_not_shift_when_the_file_grows(first: bytes, more: bytes) -> None:
    log = written(first + more)
    log.size = 0
    log.grow(len(first))
    count = LineCount(log)
    while count.advance():
        pass
    before = {start: count.number(start) for start in beginnings(first)}
    log.grow(len(first) + len(more))
    while count.advance():
        pass
    assert {start: count.number(start) for start in before} == before
    assert count.total() == len(beginnings(first + more))
    log.close()


PATTERNS = st.sampled_from(
    ["error", "a", "bc", "^a", "a|bc", "r|y|E", "er+or", "\\x61", "x+", "(", "E", "\\s", "a{0,2}", "bc|"]
)


@given(LOGS, st.lists(PATTERNS, max_size=2), st.lists(PATTERNS, max_size=2), st.booleans())
@settings(max_examples=500, deadline=None)
def test_a_filter_keeps_what_a_line_by_line_search_keeps(
    data: bytes, wanted: list[str], unwanted: list[str], scanned: bool
) -> None:
    log = written(data)
    kept = FilteredLines(log, LineFilter(tuple(map(pattern, wanted)), tuple(map(pattern, unwanted))), counts=True)
    while (scanned or wanted) and kept.advance():
        pass
    starts = beginnings(data)
    texts = {
        start: data[start:end].removesuffix(b"\n") for start, end in zip(starts, [*starts[1:], len(data)], strict=False)
    }
    expected = [
        start
        for start, text in texts.items()
        if all(_has(words, text) for words in wanted) and not any(_has(words, text) for words in unwanted)
    ]
    found: list[int] = []
    at = kept.at_or_after(0)
    while at is not None:
        found.append(at)
        at = kept.at_or_after(at + 1)
    assert found == expected
    backwards: list[int] = []
    at = kept.before(len(data) + 1)
    while at is not None:
        backwards.append(at)
        at = kept.before(at)
    assert backwards == expected[::-1]
    if scanned or wanted:
        assert (kept.total(), kept.lines()) == (len(expected), len(starts))
    log.close()


def _has(words: str, text: bytes) -> bool:
    flags = re.IGNORECASE if words == words.lower() else re.NOFLAG
    try:
        return re.search(words.encode(), text, flags) is not None
    except re.error:
        return words.encode() in text


@given(LOGS, st.lists(st.integers(-30, 30), max_size=12), st.booleans(), st.integers(1, 7))
@settings(max_examples=200, deadline=None)
def test_moving_shows_neighbouring_rows_and_never_loses_one(
    data: bytes, moves: list[int], wrapped: bool, height: int
) -> None:
    log = written(data)
    window = Window(log)
    window.resize(20, height)
    window.manner = replace(window.manner, wrapped=wrapped)
    whole = Window(written(data))
    whole.resize(20, 10_000)
    whole.manner = replace(whole.manner, wrapped=wrapped)
    everything = [plain(row) for row in whole.rows()]
    for by in (0, *moves):
        window.move(by)
        rows = [plain(row) for row in window.rows()]
        assert len(rows) == min(height, len(everything))
        assert any(everything[at : at + len(rows)] == rows for at in range(len(everything) - len(rows) + 1))
    window.to_top()
    assert [plain(row) for row in window.rows()] == everything[:height]
    window.follow()
    assert [plain(row) for row in window.rows()] == everything[-height:]


def filled(path: Path, lines: int) -> Window:
    """A window on a file of numbered lines, at its end."""
    path.write_bytes(b"".join(b"INFO line %d\n" % number for number in range(1, lines + 1)))
    window = Window(LogFile(path))
    window.resize(60, 10)
    window.grow(path.stat().st_size)
    while window.work():
        pass
    return window


def shown_lines(window: Window) -> list[str]:
    """The rows without their gutters."""
    return [plain(row).split("INFO ", 1)[-1].rstrip() for row in window.rows()]


def append(window: Window, data: bytes) -> None:
    """Bytes arrive."""
    with window.file.path.open("ab") as file:
        file.write(data)
    window.grow(window.file.path.stat().st_size)
    while window.work():
        pass


def test_a_paused_reader_sees_the_same_rows_while_lines_arrive(tmp_path: Path) -> None:
    window = filled(tmp_path / "log", 100)
    assert shown_lines(window)[-1] == "line 100"
    window.move(-50)
    before = window.rows()
    append(window, b"INFO line new\n" * 5000)
    assert window.rows() == before
    assert window.new_lines() == 5000
    window.move(100_000)
    assert window.following
    assert window.new_lines() is None
    assert shown_lines(window)[-1] == "line new"


def test_a_log_that_begins_anew_is_read_anew(tmp_path: Path) -> None:
    window = filled(tmp_path / "log", 100)
    window.move(-20)
    window.file.path.write_bytes(b"INFO other\n")
    window.grow(11)
    while window.work():
        pass
    assert shown_lines(window) == ["other"]
    assert window.place() == (1, 1)


def test_search_goes_both_ways_and_stays_within_the_filter(tmp_path: Path) -> None:
    window = filled(tmp_path / "log", 3000)
    window.to_top()
    wanted = pattern("line 1.9$")

    def seek(forward: bool) -> str | None:
        for found in window.find(wanted, forward=forward):
            if found is not None:
                window.hit = found
                window.go(found)
                return window.file.text(found)[0].decode()
        return None

    assert [seek(True) for _ in range(3)] == ["INFO line 109", "INFO line 119", "INFO line 129"]
    assert seek(False) == "INFO line 119"
    window.filter(LineFilter((pattern("9$"),), (pattern("139"),)))
    while window.work():
        pass
    assert [seek(True) for _ in range(2)] == ["INFO line 129", "INFO line 149"]
    assert window.kept is not None
    assert window.kept.total() == sum(
        1 for number in range(3001) if str(number).endswith("9") and "139" not in str(number)
    )


POLL = LineFilter((), (prepared("polls", re.compile(rb"poll(?=\r?$)", re.MULTILINE)),))


@given(
    st.lists(st.sampled_from([b"poll", b"b poll", b"polled", b"an error", b"b", b""]), max_size=40), st.integers(0, 3)
)
@settings(max_examples=200, deadline=None)
def test_hidden_lines_are_nowhere_not_even_around_what_a_filter_keeps(lines: list[bytes], around: int) -> None:
    log = written(b"".join(line + b"\n" for line in lines))
    window = Window(log)
    window.resize(80, 100)
    window.filter(LineFilter(), hidden=(POLL,))
    there = [line.decode() for line in lines if not line.endswith(b"poll")]
    assert [plain(row).strip() for row in window.rows()] == there, "before any of it is scanned"
    while window.work():
        pass
    assert window.hidden_lines() == len(lines) - len(there)
    assert window.kept_lines() is None
    window.filter(LineFilter((pattern("error"),)), around)
    while window.work():
        pass
    found = [at for at, line in enumerate(there) if "error" in line]
    near = {at for hit in found for at in range(hit - around, hit + around + 1) if 0 <= at < len(there)}
    assert [text for row in window.rows() if (text := plain(row).strip()) != "--"] == [there[at] for at in sorted(near)]
    assert window.kept_lines() == (1.0, len(found), len(there) - len(found))
    assert [each for each in window.find(pattern("poll$"), forward=False) if each is not None] == []
    window.filter(LineFilter(), hidden=(LineFilter(),))
    assert [plain(row).strip() for row in window.rows()] == [line.decode() for line in lines]
    log.close()


def test_notes_are_rows_between_the_lines(tmp_path: Path) -> None:
    window = filled(tmp_path / "log", 5)
    middle = len(b"INFO line 1\n" * 2)
    window.grow(
        window.file.size, (LogNote(middle, "gap of 12 bytes"), LogNote(window.file.size, "the node was rebooted"))
    )
    rows = [plain(row).strip() for row in window.rows()]
    assert rows[2] == "-- gap of 12 bytes --"
    assert rows[-1] == "-- the node was rebooted --"
    assert len(rows) == 7


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"10%|#  |\r50%|## |\r100%|###| done", "100%|###| done"),
        (b"10%\r50%\r", "50%"),
        (b"a\tb", "a       b"),
        (b"\x1b[31mred\x1b[0m", "red"),
        (b"\x1b]0;title\x07x", "x"),
        (b"caf\xc3\xa9 \xff", "café \\xff"),
        (b"", ""),
    ],
)
def test_what_a_line_says(raw: bytes, text: str) -> None:
    assert text_of(raw, 0) == text


def test_a_giant_line_is_cut_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"a" * 90_000 + b"\nINFO after\n")
    window = Window(LogFile(path))
    window.resize(60, 4)
    window.grow(path.stat().st_size)
    window.to_top()
    assert "after" in plain(window.rows()[1])
    raw, left_out = window.file.text(0)
    assert len(raw) + left_out == 90_001
    assert text_of(raw, left_out).endswith("bytes not shown")


@pytest.mark.parametrize(
    ("line", "error"),
    [
        (b"(EngineCore_DP0 pid=12) ERROR 11-24 10:00:00 [core.py:1] x", True),
        (b"Traceback (most recent call last):", True),
        (b"torch.OutOfMemoryError: NPU out of memory", True),
        (b"(Worker_TP0 pid=1) RuntimeError: HCCL", True),
        (b"(APIServer pid=1) INFO 11-24 errors are rare", False),
        (b"INFO: 127.0.0.1 GET /health 200 OK", False),
    ],
)
def test_what_counts_as_an_error(line: bytes, error: bool) -> None:
    assert ERRORS.search(line) is error


def test_levels_have_roles() -> None:
    assert level_role("(A pid=1) WARNING 11-24") == "warn"
    assert level_role("(A pid=1) ERROR 11-24") == "fail"
    assert level_role("(A pid=1) INFO 11-24 error rate") == ""
    assert collapse(b"plain") == b"plain"


def test_an_invalid_expression_is_looked_for_as_it_is() -> None:
    found: Pattern = pattern("a[b")
    assert found.taken_literally
    assert found.search(b"xa[by")


@pytest.mark.parametrize("wanted", [ERRORS, WARNINGS], ids=["errors", "warnings"])
def test_what_is_cheap_to_look_for_first_finds_the_same_lines(wanted: Pattern) -> None:
    pieces = (b"ERROR", b"TERROR", b"ERRORS", b"WARN", b"WARNING 1", b"x", b"(A pid=1) ", b"ValueError: y", b"Errors: none",
              b" Traceback (most recent call last):", b"Traceback", b"Exception", b"a.b.Exception: z", b"FATAL", b"")  # fmt: skip
    lines = [b" ".join(each) for each in product(pieces, repeat=2)]
    data = b"\n".join(lines) + b"\n"
    plain_way = replace(wanted, hint=None)
    assert wanted.hint is not None
    found = [data.count(b"\n", 0, at) for at in wanted.lines(data, 0, len(data))]
    assert found == [number for number, line in enumerate(lines) if plain_way.search(line)]
    cut = len(data) // 3
    assert wanted.scan(data, cut, len(data) - 7, 10_000)[0] == plain_way.scan(data, cut, len(data) - 7, 10_000)[0]


def test_another_revision_of_the_file_is_read_anew_though_it_is_no_shorter(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"first\n" * 10)
    file = LogFile(path)
    assert not file.grow(60)
    assert file.text(0)[0] == b"first"
    path.rename(tmp_path / "log.1")
    path.write_bytes(b"other\n" * 20)
    file.revise(1)
    assert file.grow(120)
    assert file.text(0)[0] == b"other"
    file.revise(1)
    assert not file.grow(126)


@given(
    above=st.lists(st.binary(max_size=80), min_size=1, max_size=30),
    below=st.lists(st.binary(max_size=80), min_size=1, max_size=30),
    gone=st.integers(3 * WIDE, 9 * WIDE),
)
@example(above=[bytes(7), bytes(7)], below=[bytes(7)], gone=5 * WIDE - 23)
@settings(max_examples=60, deadline=None)
def test_lines_that_are_not_here_any_more_are_one_empty_line(above: list[bytes], below: list[bytes], gone: int) -> None:
    before = b"".join(line.replace(b"\n", b".") + b"\n" for line in above)
    after = b"".join(line.replace(b"\n", b".") + b"\n" for line in below)
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "log"
        path.write_bytes(before + bytes(gone) + after)
        file = LogFile(path, span=WIDE)
        file.let_go(Gap(len(before), len(before) + gone))
        file.grow(path.stat().st_size)
        starts, at = [], 0
        while at < file.size:
            starts.append(at)
            at = file.after(at)
        texts = [file.text(start)[0] for start in starts]
        assert texts == [*before.split(b"\n")[:-1], b"", *after.split(b"\n")[:-1]]
        at, upward = file.size, []
        while (found := file.before(at)) is not None:
            upward.append(found)
            at = found
        assert upward[::-1] == starts
        parts = b"".join(file.region(index)[1] for index in range(file.size // WIDE + 1))
        assert parts == before + after
        lent = [file.lend(index) for index in range(file.size // WIDE + 1)]
        assert sum(each.end - each.begin for each in lent) == len(before + after)
        count = LineCount(file)
        while count.advance():
            pass
        assert count.total() is None, "how many have gone nobody knows"
        file.close()
