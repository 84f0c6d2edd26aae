"""The app in a real pseudo-terminal: what happens to the terminal at its end, and what bad bytes do to the app."""

from __future__ import annotations

import re
import signal
import sys
from pathlib import Path

import pytest

from screens.driver import TolerantDecoder
from screens.paste_guard import CALM_S
from screens.themes import LOOKS
from tests.screens.terminal import Terminal
from tests.waiting import until_blocking

DEMO = "tests.screens.demo"


def restored(terminal: Terminal) -> None:
    """The terminal is as it was: normal screen, cursor seen, line mode, no mouse, no paste brackets."""
    out = bytes(terminal.received)
    assert out.rindex(b"\x1b[?1049l") > out.rindex(b"\x1b[?1049h")
    assert out.rindex(b"\x1b[?25h") > out.rindex(b"\x1b[?25l")
    assert out.rindex(b"\x1b[?2004l") > out.rindex(b"\x1b[?2004h")
    assert terminal.attributes() == list(terminal.before)


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)], ids=["TERM", "HUP", "INT"]
)
def test_signals_leave_the_terminal_as_it_was(number: signal.Signals, code: int) -> None:
    with Terminal.of_module(DEMO) as terminal:
        terminal.sees("RW")
        terminal.signal(number)
        assert terminal.ended() == code
        restored(terminal)


@pytest.mark.parametrize(("module", "code"), [(DEMO, 129), ("tests.screens.busy", 0)], ids=["calm", "in a flood"])
def test_a_terminal_that_goes_away_ends_the_console_and_leaves_no_process(module: str, code: int) -> None:
    with Terminal.of_module(module) as terminal:
        terminal.sees("RW")
        terminal.hang_up()
        assert terminal.process.wait(timeout=60) == code


def test_q_leaves_and_restores_and_the_mouse_was_never_taken() -> None:
    with Terminal.of_module(DEMO) as terminal:
        terminal.sees("? Help  q Quit")
        terminal.send("\x03\x03")
        terminal.sees("q quits; engines keep running")
        terminal.send("q")
        assert terminal.ended() == 0
        restored(terminal)
        assert b"\x1b[?1003h" not in terminal.received


def test_x10_mouse_reports_and_bytes_that_are_no_text_do_nothing() -> None:
    with Terminal.of_module(DEMO) as terminal:
        terminal.sees("RW")
        for garbage in (b"\x1b[M\xa0\xf1\xc3", b"\x1b[M xq", b"\x1b[M sy", b"\xff\xfe\x80\x9b", b"\x1b[M\x20"):
            terminal.send(garbage)
            terminal.pump(0.2)
        terminal.send(b"xy")
        terminal.send("9")
        terminal.sees("decode-3 failed while loading")
        assert terminal.process.poll() is None
        assert "STOP" not in terminal.text()


def test_ctrl_z_gives_the_shell_back_and_fg_returns() -> None:
    with Terminal.of_module(DEMO) as terminal:
        terminal.sees("RW")
        terminal.send("\x1a")
        terminal.sees(lambda: b"\x1b[?1049l" in terminal.received)
        terminal.received.clear()
        terminal.signal(signal.SIGCONT)
        terminal.sees(lambda: b"\x1b[?1049h" in terminal.received)
        terminal.sees("RW")
        terminal.send("q")
        assert terminal.ended() == 0


SGR = re.compile(rb"\x1b\[([0-9;:]*)m")
COLOURS = {*range(30, 39), *range(40, 49), *range(90, 98), *range(100, 108)}
"""The codes of SGR that choose a colour; 39 and 49 choose the terminal's own."""
PANES = "234567890BJY"


def coloured(data: bytes) -> list[bytes]:
    """The sequences among these bytes that choose a colour."""
    codes = ((found[0], found[1].replace(b":", b";").split(b";")) for found in SGR.finditer(data))
    return [whole for whole, parts in codes if any(int(each or 0) in COLOURS for each in parts)]


def walk(terminal: Terminal) -> None:
    """Open every pane, a list, a prompt and a plan, and close them."""
    for key in PANES:
        terminal.send(key)
        terminal.pump(0.1)
    for key, words in (
        ("?", "type to search"),
        (":", "an action, node NAME"),
        ("x", "Cancel"),
        ("\x03", "q quits"),
    ):
        terminal.send("\x1b")
        terminal.pump(CALM_S + 0.3)  # a key right behind an escape would be alt and that key
        terminal.sees("RW")
        terminal.send(key)
        terminal.sees(words)
    terminal.send("\x1b")
    terminal.pump(CALM_S + 0.3)
    terminal.sees("RW")


def test_no_color_takes_every_colour_away_for_as_long_as_the_console_runs() -> None:
    assert coloured(b"\x1b[1;31m \x1b[0;7m \x1b[97m \x1b[38;2;1;2;3m") == [
        b"\x1b[1;31m",
        b"\x1b[97m",
        b"\x1b[38;2;1;2;3m",
    ]
    with Terminal.of_module(DEMO, NO_COLOR="1") as terminal:
        terminal.sees("RW")
        walk(terminal)
        for _ in LOOKS:
            terminal.pump(CALM_S + 0.1)
            terminal.send("T")
            terminal.sees("NO_COLOR is set")
        assert coloured(bytes(terminal.received)) == []


def test_a_terminal_that_reports_no_size_gets_one_layout_and_can_be_left() -> None:
    with Terminal([sys.executable, "-m", DEMO], size=(80, 25), reported=(0, 0)) as terminal:
        terminal.sees("no log of prefill-0")
        terminal.pump(0.3)
        terminal.received.clear()
        terminal.pump(1.0)
        assert len(terminal.received) < 20_000, "it is not drawn again and again"
        terminal.send("q")
        assert terminal.ended() == 0


@pytest.mark.parametrize("before", ["", "?"], ids=["main screen", "dialog"])
def test_ctrl_l_draws_every_row_anew_as_everywhere_in_a_terminal(before: str) -> None:
    with Terminal.of_module(DEMO) as terminal:
        terminal.sees("no log of prefill-0")
        terminal.send(before)
        terminal.sees("type to search" if before else "? Help")
        terminal.pump(0.3)
        was = terminal.text()
        terminal.screen.erase_in_display(2)
        terminal.send("\x0c")
        terminal.sees(lambda: terminal.text() == was)


@pytest.mark.parametrize("cut", range(1, 8))
def test_a_report_cut_anywhere_is_still_no_key(cut: int) -> None:
    data = b"a\x1b[M\xa0x\xffb"
    decoder = TolerantDecoder()
    text = decoder.decode(data[:cut]) + decoder.decode(data[cut:])
    assert text.replace("\x1b[", "").replace("\x1b", "") == "ab"


def test_a_pager_has_the_terminal_to_itself_and_the_console_comes_back(tmp_path: Path) -> None:
    pager = tmp_path / "pager"
    pager.write_text('#!/bin/sh\nhead -n 1 "$1"\necho "PAGED $LESSSECURE"\nread answer\n')
    pager.chmod(0o700)
    with Terminal.of_module(DEMO, PAGER=str(pager)) as terminal:
        terminal.sees("RW")
        terminal.send(":")
        terminal.sees("an action, node NAME")
        terminal.send("log decode-3\r")
        terminal.sees("TP0: torch.OutOfMemoryError")
        begun = len(terminal.received)

        def since() -> str:
            return bytes(terminal.received[begun:]).decode(errors="replace")

        terminal.pump(CALM_S + 0.1)  # a whole line sent at once counts as a paste
        terminal.send("o")
        terminal.sees(lambda: "PAGED 1" in since())
        away = since().rpartition("\x1b[?1049l")[2]
        assert "step 0 is done" in away
        terminal.send("\x03")
        terminal.pump(0.5)
        assert terminal.process.poll() is None
        assert "\x1b[?1049h" not in since()
        terminal.send("\n")
        terminal.sees(lambda: "\x1b[?1049h" in since())
        terminal.sees(lambda: "TP0: torch" in since().rpartition("\x1b[?1049h")[2])
        terminal.send('"')
        terminal.sees(lambda: "Enter returns to the console" in since())
        assert "Worker_TP0 pid=99" in since().rpartition("\x1b[?1049l")[2]
        terminal.send("\n")
        terminal.sees(lambda: since().count("\x1b[?1049h") == 2 and "Help" in since().rpartition("\x1b[?1049h")[2])
        terminal.send("qq")
        assert terminal.ended() == 0
        restored(terminal)


def test_a_terminal_that_does_not_read_holds_nothing_up_and_gets_a_whole_picture_afterwards(tmp_path: Path) -> None:
    beat = tmp_path / "beat"
    words = ("--lines-per-s", "2000", "--beat", str(beat))
    with Terminal.of_module("tests.screens.busy", *words, size=(160, 50)) as terminal:
        terminal.sees("RW")
        terminal.send("2f")
        terminal.sees(lambda: "generation throughput" in terminal.text() and "n22 " not in terminal.text())
        until_blocking(terminal.is_full, 60.0, "the terminal takes no more")
        before = int(beat.read_text())
        until_blocking(lambda: int(beat.read_text()) > before + 3, 30.0, "the console lives on though nobody reads")
        terminal.send("\x1b")
        terminal.sees("n22 ")
        terminal.send("\x1b")
        terminal.sees("enter Open")
        terminal.send("8")
        terminal.sees("no plan has run")
        terminal.sees(lambda: "generation throughput" not in terminal.text())


def test_a_signal_ends_the_console_though_its_terminal_does_not_read() -> None:
    with Terminal.of_module("tests.screens.busy", "--lines-per-s", "2000", size=(160, 50)) as terminal:
        terminal.sees("RW")
        terminal.send("2f")
        terminal.sees(lambda: "generation throughput" in terminal.text() and "n22 " not in terminal.text())
        until_blocking(terminal.is_full, 60.0, "the terminal takes no more")
        terminal.signal(signal.SIGTERM)
        assert terminal.process.wait(timeout=30) == 143


@pytest.mark.parametrize(("column", "ascii"), [(2, False), (3, True)], ids=["one cell", "two cells"])
def test_a_terminal_that_draws_ambiguous_signs_in_two_cells_gets_ascii(column: int, ascii: bool) -> None:
    with Terminal.of_module(DEMO) as terminal:
        terminal.sees(lambda: b"\x1b[6n" in terminal.received)
        terminal.send(f"\x1b[1;{column}R")
        terminal.sees("RW")
        terminal.sees("draws some signs in two cells" if ascii else "decode")
        assert ascii is all(sign.isascii() for sign in terminal.text())


def test_a_shell_has_the_terminal_to_itself_and_the_console_comes_back_and_says_when_ssh_failed() -> None:
    with Terminal.of_module(DEMO) as terminal:
        terminal.sees("RW")
        begun = len(terminal.received)

        def since() -> str:
            return bytes(terminal.received[begun:]).decode(errors="replace")

        terminal.send("$")
        terminal.sees(lambda: "SHELL p0 -" in since())
        terminal.send("255\n")
        terminal.sees("ssh to p0 ended with 255")
        terminal.sees("RW")
        terminal.send("q")
        assert terminal.ended() == 0
        restored(terminal)


def test_the_size_is_the_terminals_own_whatever_a_shell_exported() -> None:
    with Terminal.of_module(DEMO, size=(120, 40), COLUMNS="60", LINES="16") as terminal:
        terminal.sees("RW")
        terminal.sees(lambda: "? Help" in terminal.screen.display[39])
