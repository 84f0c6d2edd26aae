"""The log pane by its keys: follow, pause, search, filter, places in time, marks, saving, earlier runs."""

from __future__ import annotations

import gc
import warnings
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from textual import events

from console.model.snapshot import EngineState
from console.services.logs.copies import Gap, LogNote
from screens.logs.file import LogFile
from screens.logs.patterns import ERRORS
from screens.logs.time_seek import LogTimes
from screens.logs.title import head_of_one
from screens.panes.log import LogPane
from screens.paste_guard import BURST_S
from screens.styled_lines import plain
from tests.screens.fakes import FakeCopy, FakeSession
from tests.screens.seen import LARGE, Seen, running

BEGIN = datetime(2000, 11, 24, 10, 0, 0)


def stamped(number: int) -> bytes:
    """One line a second, some without a stamp."""
    when = (BEGIN + timedelta(seconds=number)).strftime("%m-%d %H:%M:%S")
    if number % 10 == 5:
        return b"  continued from the line before\n"
    level = b"ERROR" if number % 1000 == 700 else b"WARNING" if number % 1000 == 300 else b"INFO"
    return b"(EngineCore_DP0 pid=7) %s %s [core.py:1] step %d\n" % (level, when.encode(), number)


def session_with_log(directory: Path, lines: int = 8000) -> tuple[FakeSession, FakeCopy]:
    """A session whose first engine has written so many lines."""
    session = FakeSession(directory)
    copy = FakeCopy(directory / "prefill-0.log")
    copy.append(b"".join(stamped(number) for number in range(lines)))
    session.logs.copies["prefill-0", None] = copy
    return session, copy


def pane(seen: Seen) -> LogPane:
    """The pane."""
    found = seen.app.main.panes["logs"]
    assert isinstance(found, LogPane)
    return found


def log_rows(seen: Seen) -> list[str]:
    """The rows of the pane, wherever it lies."""
    region = pane(seen).region
    return seen.lines()[region.y : region.bottom]


async def test_on_a_node_the_log_is_that_of_the_engine_that_broke_and_does_not_change_under_its_reader(
    tmp_path: Path,
) -> None:
    session, _ = session_with_log(tmp_path)
    for name in ("decode-0", "decode-3", "decode-5"):
        copy = FakeCopy(tmp_path / f"{name}.log")
        copy.append(b"this is the log of %s\n" % name.encode())
        session.logs.copies[name, None] = copy
    async with running(session, (90, 40)) as seen:
        await seen.press("j", "j")
        await seen.sees("the log of decode-0")
        session.set_state("decode-3", EngineState.FAILED)
        await seen.sees("FAIL")
        await seen.sees("the log of decode-0")
        await seen.press("k", "j")
        await seen.sees("the log of decode-3")
        session.diagnosed("decode-5")
        await seen.press("k", "j")
        await seen.sees("the log of decode-5")


async def test_follow_pause_and_the_count_of_new_lines(tmp_path: Path) -> None:
    session, copy = session_with_log(tmp_path)
    async with running(session, (90, 40)) as seen:
        await seen.press("l")
        await seen.sees("step 7999")
        await seen.sees("8000 lines following")
        await seen.press("k", "k")
        await seen.sees("PAUSED")
        shown = log_rows(seen)
        copy.append(b"".join(stamped(number) for number in range(8000, 9234)))
        await seen.sees("+1234 new")
        assert log_rows(seen) == shown
        await seen.press("G")
        await seen.sees("step 9233")
        await seen.sees("following")


async def test_search_errors_and_warnings(tmp_path: Path) -> None:
    session, _ = session_with_log(tmp_path)
    async with running(session, (80, 24)) as seen:
        await seen.press("l", "g", "e")
        await seen.sees("step 700")
        await seen.press("e")
        await seen.sees("step 1700")
        await seen.press("E")
        await seen.sees(lambda: "step 700" in seen.text())
        await seen.press("i")
        await seen.sees("step 1300")
        await seen.press("slash")
        await seen.type("step 4242")
        await seen.press("enter")
        await seen.sees("step 4242")
        await seen.press("n")
        await seen.sees(lambda: "no more step 4242 below" in seen.toasts())


async def test_filters_in_and_out_tell_what_they_hide(tmp_path: Path) -> None:
    session, _ = session_with_log(tmp_path)
    async with running(session, (90, 40)) as seen:
        await seen.press("f", "l", "ampersand")
        await seen.type("ERROR")
        await seen.press("enter")
        await seen.sees("8 shown, 7992 hidden")
        await seen.press("ampersand", "exclamation_mark")
        await seen.type("3700")
        await seen.press("enter")
        await seen.sees("7 shown, 7993 hidden")
        await seen.press("escape")
        await seen.sees("8000 lines")


@pytest.mark.parametrize(
    ("word", "first"),
    [("1m", 7939), ("5m", 7699), ("15m", 7099), ("30m", 6199), ("1h", 4399), ("90s", 7909), ("all", 0)],
)
async def test_the_command_line_goes_back_in_time(tmp_path: Path, word: str, first: int) -> None:
    session, _ = session_with_log(tmp_path)
    async with running(session, (90, 40)) as seen:
        await seen.press("colon")
        await seen.type(f"last {word}")
        await seen.press("enter")
        await seen.sees(f"step {first}")
        assert seen.app.focused is pane(seen)


async def test_a_menu_in_the_log_offers_moments_and_its_end(tmp_path: Path) -> None:
    session, _ = session_with_log(tmp_path)
    async with running(session, (90, 40)) as seen:
        await seen.press("l", "at")
        await seen.sees("the last 15 minutes")
        await seen.type("15m")
        await seen.press("enter")
        await seen.sees("step 7099")
        await seen.press("at", "enter")
        await seen.sees("step 7999")
        await seen.press("colon")
        await seen.type("last week")
        await seen.press("enter")
        assert "write :last and one of 1m 5m" in seen.toasts()


async def test_digits_mean_tabs_in_the_log_as_everywhere(tmp_path: Path) -> None:
    session, _ = session_with_log(tmp_path)
    async with running(session) as seen:
        for key, opened in (("3", "npus"), ("2", "logs"), ("6", "diagnosis"), ("2", "logs"), ("8", "plan")):
            await seen.press(key)
            assert seen.app.main.panes.opened == opened
        await seen.press("2", "1")
        assert seen.app.focused is seen.app.main.grid


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_in_the_log_the_footer_says_what_helps_there_and_q_goes_back(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    session, _ = session_with_log(tmp_path)
    async with running(session, size) as seen:
        assert " q Quit " in seen.lines()[-1]
        await seen.press("l")
        hints = " ".join(seen.lines()[-1].split())
        assert hints == "? Help q Back ] Next tab tab Grid F Follow & Filter / Find e Error M Merge"
        await seen.press("f", "q")
        assert seen.app.main.pane.has_focus, "from the full screen to both halves first"
        await seen.press("q")
        assert seen.app.is_running
        assert seen.app.main.grid.has_focus
        assert " q Quit " in seen.lines()[-1]


async def test_lines_and_times_by_command(tmp_path: Path) -> None:
    session, _ = session_with_log(tmp_path)
    async with running(session, (90, 40)) as seen:
        await seen.press("l")
        await seen.sees("8000 lines")
        await seen.press("colon", "1", "2", "3", "5", "enter")
        await seen.sees("line 1235 of 8000")
        await seen.press("colon")
        await seen.press("a", "t", "space", "1", "0", "colon", "3", "0", "enter")
        await seen.sees("line 1801 of 8000")


async def test_marks(tmp_path: Path) -> None:
    session, _ = session_with_log(tmp_path)
    async with running(session, (90, 40)) as seen:
        await seen.press("l", "g", "m", "e")
        await seen.sees("step 700")
        await seen.press("m", "G", "apostrophe")
        await seen.sees("line 1 of")
        await seen.press("apostrophe")
        await seen.sees("line 701 of")


async def test_saving_what_the_filter_keeps(tmp_path: Path) -> None:
    session, _ = session_with_log(tmp_path)
    async with running(session, (90, 40)) as seen:
        await seen.press("l")
        pane(seen).filter("ERROR")
        await seen.press("ctrl+s")
        await seen.sees(lambda: "saved to" in seen.toasts())
        (saved,) = (tmp_path / "saved").iterdir()
        assert saved.read_bytes() == b"".join(stamped(number) for number in range(700, 8000, 1000))
        assert saved.stat().st_mode & 0o777 == 0o600


async def test_earlier_runs_and_notes(tmp_path: Path) -> None:
    session, _ = session_with_log(tmp_path)
    old = FakeCopy(tmp_path / "old.log")
    old.append(b"INFO the run before\n")
    old.notes = (LogNote(0, "the log on the node was truncated"),)
    session.logs.copies["prefill-0", "run-1"] = old
    session.logs.known_runs["prefill-0"] = ("run-2", "run-1")
    async with running(session, (90, 40)) as seen:
        await seen.press("l", "p")
        await seen.sees("the run before")
        await seen.sees("-- the log on the node was truncated --")
        await seen.sees("run run-1")
        await seen.sees("to its end; esc leaves it")
        assert "following" not in seen.text()
        await seen.press("p")
        await seen.sees("step 7999")
        await seen.press("p")
        await seen.sees("the run before")
        await seen.press("escape")
        await seen.sees("step 7999")
        assert "prefill-0 8000 lines following" in " ".join(seen.text().split())


async def test_wrap_numbers_and_sideways(tmp_path: Path) -> None:
    session = FakeSession(tmp_path)
    copy = FakeCopy(tmp_path / "log")
    copy.append(b"start " + b"word " * 60 + b"the-end\n")
    session.logs.copies["prefill-0", None] = copy
    async with running(session, (80, 24)) as seen:
        await seen.press("l")
        await seen.sees("start word")
        assert "the-end" not in seen.text()
        await seen.press("w")
        await seen.sees("the-end")
        await seen.press("w", *["right"] * 16)
        await seen.sees("the-end")
        await seen.press("number_sign")


async def test_a_log_that_grows_in_the_last_line(tmp_path: Path) -> None:
    session = FakeSession(tmp_path)
    copy = FakeCopy(tmp_path / "log")
    copy.append(b"Loading shards:   0%")
    session.logs.copies["prefill-0", None] = copy
    async with running(session) as seen:
        await seen.sees("Loading shards:   0%")
        copy.append(b"\rLoading shards:  50%")
        await seen.sees("Loading shards:  50%")
        assert " 0%" not in "\n".join(seen.lines()[6:])


@pytest.mark.parametrize("seconds", [0, 1, 59, 3600, 7999, 90_000])
def test_a_moment_is_found_as_a_plain_search_finds_it(tmp_path: Path, seconds: int) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"".join(stamped(number) for number in range(8000)))
    file = LogFile(path)
    file.grow(path.stat().st_size)
    found = LogTimes(file).ago(seconds)
    assert found is not None
    wanted = max(0, 7999 - seconds)
    while wanted % 10 == 5:
        wanted += 1
    assert file.text(found)[0].endswith(b"step %d" % wanted)


@pytest.mark.parametrize("pasted", ["to $be TQP or no", "o", "Q$", "TqZo", "q", "$ rm -rf", "e e e i n E o"])
async def test_pasted_text_leaves_the_screen_to_nothing_and_begins_nothing(tmp_path: Path, pasted: str) -> None:
    session, _ = session_with_log(tmp_path)
    paged: list[object] = []

    async def run_away(words: object, _more: object) -> int:
        paged.append(words)
        return 0

    async with running(session, step=0.001) as seen:
        seen.app.main.arrangement.go("logs")
        pane(seen).extraction.run_away = run_away
        look = seen.app.interaction.look
        for char in pasted + "jjj":
            seen.app.post_message(events.Key({" ": "space", "$": "dollar_sign"}.get(char, char), char))
        await seen.sees(lambda: "too fast" in seen.toasts() or not set(pasted) & set("$TQPo"))
        await seen.pilot.pause(2 * BURST_S)
        assert seen.app.is_running
        assert (paged, seen.app.interaction.look, session.preflight.asked) == ([], look, [])
        assert "evidence" not in seen.toasts()


async def test_q_in_a_paste_over_the_grid_does_not_leave(tmp_path: Path) -> None:
    async with running(FakeSession(tmp_path), step=0.001) as seen:
        for char in "quit":
            seen.app.post_message(events.Key(char, char))
        await seen.sees(lambda: "too fast" in seen.toasts())
        assert seen.app.is_running


async def test_a_search_that_is_replaced_before_it_began_leaves_nothing_behind(tmp_path: Path) -> None:
    session, _ = session_with_log(tmp_path)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        async with running(session) as seen:
            await seen.press("l", "g")
            for _ in range(5):
                pane(seen).navigation.seek(ERRORS, forward=True)
            await seen.sees("step 700")
        gc.collect()
    assert [str(each.message) for each in said if "never awaited" in str(each.message)] == []


def test_a_run_is_called_by_when_it_was_begun() -> None:
    assert plain(head_of_one("decode-3", "20261126T144920Z-c732")) == "Log of decode-3 run 11-26 14:49Z"
    assert plain(head_of_one("decode-3", "by[hand]")) == "Log of decode-3 run by[hand]"
    assert plain(head_of_one("decode-3", None)) == "Log of decode-3"


async def test_a_log_whose_oldest_part_is_not_here_says_so_in_its_title_and_at_the_place(tmp_path: Path) -> None:
    session, copy = session_with_log(tmp_path, 100)
    data = copy.path.read_bytes()
    begin = data.index(b"step 10\n") + len(b"step 10\n")
    copy.path.write_bytes(data[:begin] + bytes(3 << 20) + data[begin:])
    copy.size = copy.path.stat().st_size
    copy.gap = Gap(begin, begin + (3 << 20))
    copy.notes = (LogNote(copy.gap.end, copy.gap.words()),)
    async with running(session, LARGE) as seen:
        await seen.press("2")
        await seen.sees("CUT: oldest 3 MiB not here")
        await seen.press("l", "g")
        await seen.sees("3 MiB of this log are not here any more")
        rows = seen.lines()
        first = next(at for at, row in enumerate(rows) if "step 10" in row)
        assert "not here any more" in "".join(rows[first : first + 3])
        assert "step 11" in "".join(rows[first + 2 : first + 6])
        assert "\u2400" not in seen.text()
