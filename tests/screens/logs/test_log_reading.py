"""The log pane's keys for several logs, context, times, selecting, and leaving the screen to a pager."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from console.model.errors import ConsoleError
from screens.external_programs import pager_command
from screens.logs.line_drawing import short_head, span_words
from tests.screens.fakes import FakeCopy, FakeSession
from tests.screens.panes.test_log_pane import log_rows, pane, session_with_log, stamped
from tests.screens.seen import running


def ranks(directory: Path, lines: int = 20) -> FakeSession:
    """Sixteen decode ranks that write the same, but for one that stops early."""
    session = FakeSession(directory)
    for rank in range(16):
        copy = FakeCopy(directory / f"decode-{rank}.log")
        steps = lines if rank != 7 else lines - 1
        copy.append(
            b"".join(
                b"(EngineCore_DP%d pid=%d) INFO 11-24 10:15:%02d [core.py:1] step %d\n" % (rank, rank, step, step)
                for step in range(steps)
            )
        )
        session.logs.copies[f"decode-{rank}", None] = copy
    return session


async def test_m_merges_the_group_from_the_grid_and_again_shows_one_alone(tmp_path: Path) -> None:
    async with running(ranks(tmp_path), (120, 40)) as seen:
        await seen.press("8", "escape", "G", "M")
        await seen.sees("decode x16")
        await seen.sees("x15 not 7")
        assert any(line.startswith("x16 ") for line in seen.lines())
        await seen.press("z")
        await seen.sees("decode-12")
        await seen.press("z")
        await seen.sees(lambda: "decode-12 " not in seen.text())
        await seen.press("g", "slash")
        await seen.type("step 19")
        await seen.press("enter")
        await seen.sees("15/16 not 7")
        await seen.press("escape", "M")
        await seen.sees("20 lines")


def asked(client: str, path: str = "/metrics") -> bytes:
    """A line of the access log."""
    return f'(APIServer pid=1) INFO:     {client}:41130 - "GET {path} HTTP/1.1" 200 OK\n'.encode()


async def test_the_consoles_own_polling_is_hidden_and_counted_until_a_key_shows_it(tmp_path: Path) -> None:
    session = FakeSession(tmp_path)
    copy = session.logs.copies["prefill-0", None] = FakeCopy(tmp_path / "prefill-0.log")
    copy.append(asked("10.0.0.1") * 500)
    async with running(session, (120, 40)) as seen:
        await seen.press("l")
        await seen.sees("only the console's own polling so far; h shows it")
        copy.append(asked("10.0.0.9") + asked("10.0.0.1", "/version") + asked("10.0.0.1") + stamped(1))
        await seen.sees("501 polls hidden, h shows")
        assert all(each in seen.text() for each in ("10.0.0.9", "/version", "step 1"))
        assert '10.0.0.1:41130 - "GET /metrics' not in seen.text()
        pane(seen).filter("GET")
        await seen.sees("2 shown, 1 hidden")
        await seen.sees("501 polls hidden")
        await seen.press("escape", "escape", "l", "ctrl+s")
        await seen.sees(lambda: "without 501 polls of this console" in seen.toasts())
        await seen.press("h")
        await seen.sees('10.0.0.1:41130 - "GET /metrics')
        assert "hidden" not in seen.text().replace("polling is hidden", "")
        await seen.press("k", "h")
        await seen.sees("PAUSED")
        copy.append(asked("10.0.0.1") * 9 + stamped(2))
        await seen.sees("PAUSED +1 new")
        await seen.sees("510 polls hidden")
    (saved,) = (tmp_path / "saved").iterdir()
    assert saved.read_bytes() == asked("10.0.0.9") + asked("10.0.0.1", "/version") + stamped(1)


async def test_of_merged_logs_each_hides_the_polling_of_its_own_node(tmp_path: Path) -> None:
    session = ranks(tmp_path)
    for rank in (0, 8):
        session.logs.copies[f"decode-{rank}", None].append((asked("10.0.0.3") + asked("10.0.0.4")) * 3)
    async with running(session, (120, 40)) as seen:
        await seen.press("6", "escape", "G", "M")
        await seen.sees("6 polls hidden, h shows")
        for line in seen.lines():
            assert "10.0.0.3:" not in line or "decode-8" in line or "x3 8" in line, line
            assert "10.0.0.4:" not in line or "decode-0" in line, line
        assert sum("10.0.0." in line and "GET" in line for line in seen.lines()) == 6
        await seen.press("h")
        await seen.sees(lambda: "polls hidden" not in seen.text())


async def test_lines_around_what_a_filter_keeps(tmp_path: Path) -> None:
    session, _ = session_with_log(tmp_path)
    async with running(session, (120, 44)) as seen:
        await seen.press("l", "ampersand")
        await seen.type("ERROR")
        await seen.press("enter")
        await seen.sees("8 shown, 7992 hidden")
        await seen.press("C")
        await seen.sees("ERROR +-1 8 shown, 7992 hidden")
        text = [line[8:].strip() for line in log_rows(seen)]
        steps = [line.rpartition(" ")[2] for line in text if "step" in line]
        assert steps[:6] == ["699", "700", "701", "1699", "1700", "1701"]
        assert text[3] == "--"
        await seen.press("colon")
        await seen.type("context")
        await seen.press("space", "0", "enter")
        await seen.sees(lambda: "+-" not in seen.text())


async def test_hits_are_counted_and_numbered(tmp_path: Path) -> None:
    session, _ = session_with_log(tmp_path)
    async with running(session, (120, 40)) as seen:
        await seen.press("l", "g", "slash")
        await seen.type("step 1.00")
        await seen.press("enter")
        await seen.sees("/ step 1.00 1/10")
        await seen.press("n", "n")
        await seen.sees("3/10")
        await seen.press("N")
        await seen.sees("2/10")
        await seen.press("ampersand")
        await seen.type("step 1")
        await seen.press("enter")
        await seen.sees("2/10")
        await seen.press("slash")
        await seen.type("nothing like it")
        await seen.press("enter")
        await seen.sees("no hit")


async def test_heads_are_short_as_written_without_times_or_counted_from_now_or_from_the_begin(tmp_path: Path) -> None:
    session, _ = session_with_log(tmp_path)
    async with running(session, (120, 40)) as seen:
        await seen.press("l", "g", "e")
        await seen.sees("701 !10:11:40 E DP0: step 700")
        await seen.sees("702  10:11:41 I DP0: step 701")
        await seen.press("t")
        await seen.sees("(EngineCore_DP0 pid=7) INFO 11-24 10:11:41 [core.py:1]")
        await seen.press("t")
        await seen.sees("INFO [core.py:1] step 701")
        await seen.press("t", "t")
        await seen.sees("11m40s (EngineCore_DP0 pid=7) ERROR [core.py:1] step 700")
        row = next(line for line in seen.lines() if "continued" in line)
        assert row.split() == ["696", "continued", "from", "the", "line", "before"]
        await seen.press("t")
        await seen.sees("10:11:41 I DP0: step 701")


async def test_a_line_is_shown_as_written_where_a_search_finds_something_in_its_head(tmp_path: Path) -> None:
    session, _ = session_with_log(tmp_path, 20)
    async with running(session, (80, 24)) as seen:
        await seen.press("l", "g", "slash")
        await seen.type("core.py:1. step 1$")
        await seen.press("enter")
        await seen.sees("(EngineCore_DP0 pid=7) INFO 11-24 10:00:01 [core.py:1] step 1")
        await seen.sees("10:00:02 I DP0: step 2")


async def test_where_there_is_little_room_the_words_have_it(tmp_path: Path) -> None:
    session, _ = session_with_log(tmp_path)
    async with running(session, (80, 24)) as seen:
        await seen.press("l", "g", "e")
        await seen.sees("!10:11:40 E DP0: step 700")
        row = next(line for line in seen.lines() if "continued" in line)
        assert row.rstrip() == " " * 12 + "  continued from the line before"
        await seen.press("#")
        await seen.sees("701 !10:11:40 E DP0: step 700")
        await seen.press("t")
        await seen.sees("701 !(EngineCore_DP0 pid=7) ERROR 11-24 10:11:40 [core.py:1] step 700")


@pytest.mark.parametrize(
    ("line", "parts"),
    [
        ("(APIServer pid=1) INFO 11-26 03:14:10 [launcher.py:46] Route: /ping", ("03:14:10", "I", "Route: /ping")),
        ("(APIServer pid=1) INFO:     Started server process [1]", ("", "I", "Started server process [1]")),
        ("(Worker_TP3 pid=9) WARNING 11-26 03:14:10 [a.py:1] slow", ("03:14:10", "W", "TP3: slow")),
        ("INFO 11-26 03:14:10 [a.py:1] early", ("03:14:10", "I", "early")),
        ("(Worker_TP3 pid=9) ERROR 2026-11-26 03:14:10.123 [a.py:1] x", ("03:14:10", "E", "TP3: x")),
        (
            "[ERROR] APP(3,):2026-11-26-03:14:10.123.456 742 ExecFunc: x",
            ("03:14:10", "", "[ERROR] APP(3,):742 ExecFunc: x"),
        ),
        ("[rank0]:[W1126 03:14:10.123456000 a.cpp:57] x", ("03:14:10", "", "[rank0]:[a.cpp:57] x")),
        ("2026-11-26 03:14:10,123 WARNING [a.py:1] x", ("03:14:10", "W", "x")),
        ("2026-11-26 03:14:10,123 WARNING a.py:1 -- x", ("03:14:10", "", "WARNING a.py:1 -- x")),
        ("(EngineCore_DP0 pid=9) no level", ("", "", "DP0: no level")),
        ("(EngineCore pid=9) INFO 11-26 03:14:10 [a.py:1] x", ("03:14:10", "I", "EngineCore: x")),
        ("(Worker_DP1_TP3_EP3 pid=9) INFO 11-26 03:14:10 [a.py:1] x", ("03:14:10", "I", "DP1_TP3_EP3: x")),
        ("INFORMATION: not a level", ("", "", "INFORMATION: not a level")),
        ("Traceback (most recent call last):", ("", "", "Traceback (most recent call last):")),
        ("", ("", "", "")),
    ],
)
def test_a_head_is_taken_apart_only_where_it_is_one(line: str, parts: tuple[str, str, str]) -> None:
    assert short_head(line) == parts


def test_the_line_of_several_engines_has_the_ranks_inside_an_engine_alone() -> None:
    for process, words in (("EngineCore_DP7", "x"), ("Worker_DP7_TP3", "TP3: x"), ("Worker_TP3", "TP3: x")):
        assert short_head(f"({process} pid=9) INFO 11-26 03:14:10 [a.py:1] x", several=True)[2] == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "0s"), (59, "59s"), (185, "3m05s"), (7620, "2h07m"), (273_700, "3d04h"), (-12, "-12s")],
)
def test_lengths_of_time(seconds: float, words: str) -> None:
    assert span_words(seconds) == words


async def test_selected_lines_are_copied_in_full_and_the_selection_ends(tmp_path: Path) -> None:
    session, _ = session_with_log(tmp_path)
    async with running(session, (80, 24)) as seen:
        await seen.press("l", "g", "e", "v", "j", "j", "k")
        await seen.sees("selecting 2 lines; y copies, esc ends")
        await seen.press("y")
        await seen.sees(lambda: "sent to the terminal's clipboard: 2 lines" in seen.toasts())
        saved = (tmp_path / "clipboard.txt").read_text().splitlines()
        assert saved == [stamped(number).decode().rstrip() for number in (700, 701)]
        await seen.sees(lambda: "selecting" not in seen.text())
        await seen.press("v", "G")
        await seen.sees("selecting 5001 lines")
        await seen.press("y")
        await seen.sees(lambda: "too long for a terminal's clipboard (5001 lines" in seen.toasts())
        await seen.press("v", "g", "escape")
        await seen.sees(lambda: "selecting" not in seen.text())
        assert seen.app.main.focused is pane(seen)


async def test_lines_of_merged_logs_are_selected_with_the_names_of_their_ranks(tmp_path: Path) -> None:
    async with running(ranks(tmp_path), (120, 40)) as seen:
        await seen.press("G", "M", "v", "k", "k")
        await seen.sees("selecting 3 lines")
        await seen.press("y")
        await seen.sees(lambda: "3 lines" in seen.toasts())
        saved = (tmp_path / "clipboard.txt").read_text().splitlines()
        assert [line.split()[0] for line in saved] == ["x16", "x16", "x15"]
        assert saved[-1].endswith("step 19")


async def test_the_pager_is_given_a_clean_copy_at_the_line_on_top(tmp_path: Path) -> None:
    session, copy = session_with_log(tmp_path)
    copy.append(b"\x1b]0;owned\x07plain \x1b[31mred\x1b[0m\n")
    asked: list[tuple[list[str], dict[str, str], bytes]] = []

    async def run_away(words: Sequence[str], more: dict[str, str]) -> int:
        asked.append((list(words), more, Path(words[-1]).read_bytes()))
        return 0

    async with running(session, (120, 40)) as seen:
        pane(seen).extraction.run_away = run_away
        await seen.press("l", "colon", "1", "2", "3", "5", "enter")
        await seen.sees("line 1235 of 8001")
        await seen.press("o")
        await seen.sees(lambda: asked)
        words, more, data = asked.pop()
        assert words[1:-1] == ["+1235", "--"] if words[0].endswith("less") else words
        assert more["LESSSECURE"] == "1"
        assert data.splitlines()[1234] == stamped(1234).rstrip()
        assert data.splitlines()[-1] == b"plain red"
        assert not Path(words[-1]).exists()
        pane(seen).filter("ERROR")
        await seen.press("g", "o")
        await seen.sees(lambda: asked)
        assert asked.pop()[2].splitlines() == [stamped(number).rstrip() for number in range(700, 8000, 1000)]


@pytest.mark.parametrize(
    ("pager", "words"),
    [
        ("less -S", ["less", "-S", "+7", "--", "/x y"]),
        ("more", ["more", "+7", "/x y"]),
        ("cat -v", ["cat", "-v", "/x y"]),
    ],
)
def test_the_pager_of_the_environment(pager: str, words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    assert pager_command({"PAGER": pager}, Path("/x y"), 7) == (words, {"LESSSECURE": "1"})


@pytest.mark.parametrize(("pager", "said"), [("'", "No closing quotation"), ("no-such-pager -x", "no no-such-pager")])
def test_a_pager_that_is_not_there(pager: str, said: str) -> None:
    with pytest.raises(ConsoleError, match=said):
        pager_command({"PAGER": pager}, Path("x"), 1)
