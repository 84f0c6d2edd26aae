"""The whole path by key presses in a real terminal: roles, start, ready, logs, NPUs, stop, nothing left."""

from __future__ import annotations

import re

import pytest

from tests.e2e.cluster import Lab
from tests.e2e.terminal import Terminal, console_in_terminal, needs_tmux
from tests.sshd import needs_sshd
from tests.waiting import until_blocking

pytestmark = [needs_sshd, needs_tmux, pytest.mark.sshd, pytest.mark.tmux, pytest.mark.timeout(300)]


def test_from_key_presses_to_a_serving_cluster_and_back(a3: Lab) -> None:
    with console_in_terminal(a3, "--layout", "a3-pd", size=(80, 24), name="path") as seen:
        seen.sees("4/4 nodes", r"p0 +free", r"d1 +free")
        seen.press("g", "Space", "Space")
        seen.sees("2 marked")
        seen.press("a")
        seen.sees(r"p1 +rank 1, devices 0-15, port 7100")
        seen.answer("Enter")
        seen.sees(r"p0 +prefill +0 ", r"p1 +prefill +1 ")
        seen.press("G", "k", "Space", "Space")
        seen.sees("2 marked")
        seen.press("a")
        seen.sees("Give d0, d1 to which group")
        seen.answer("Down")
        seen.sees(r"d1 +ranks 8-15, devices 0-15, ports 7100-7107")
        seen.answer("Enter")
        seen.sees(r"d0 +decode +0-7 ", r"d1 +decode +8-15 ", "19 idle")

        seen.press("*")
        seen.sees("4 marked")
        seen.press("s")
        seen.sees("START 19 engines", "y start +Enter unfold")
        seen.answer("y")
        seen.sees("start runs|[0-9]+/18 steps")
        seen.sees("19 ready", timeout_s=120.0)

        seen.press("-", "g", "l")
        seen.sees("prefill-0", "startup complete|GET /health", "following")
        seen.press("Escape")
        seen.press("3")
        seen.sees("AICORE", "all 16 devices healthy", r" 0 . .* 9\d% .* prefill-0 ")
        seen.press("4")
        seen.sees("all 19 engines are ready", "checks pass")

        seen.press("Escape", "*")
        seen.sees("4 marked")
        seen.press("x")
        seen.sees("STOP 19 engines", "cluster lab|cluster's name|type")
        seen.answer("Tab", "l", "a", "b", "Enter")
        seen.sees("19 exited", timeout_s=90.0)
        until_blocking(lambda: a3.marked() == [], timeout_s=10.0)
        seen.sees(r"p0 .* 0/16 +\S+ +[0-9]% ", r"d1 .* 0/16 +\S+ +[0-9]% ", timeout_s=20.0)

        seen.misses("stop runs", timeout_s=60.0)
        seen.press("q")
        until_blocking(seen.ended, timeout_s=20.0)


def test_a_lost_node_keeps_its_age_while_the_others_go_on_and_comes_back(a3: Lab) -> None:
    words = ("--layout", "a3-pd", "--assign", "prefill=p0,p1", "--assign", "decode=d0,d1")
    with console_in_terminal(a3, *words, size=(120, 40), name="lost") as seen:
        seen.sees("4/4 nodes", r"p1 +prefill +1 ")
        a3.node("p1").stop()
        try:
            seen.sees("3/4 nodes", r"p1 .*(no link|unreach|lost|refused)", timeout_s=60.0)
            seen.press("9")
            seen.sees("unreachable")
        finally:
            a3.node("p1").start()
        seen.sees("4/4 nodes", timeout_s=60.0)


def confirm(seen: Terminal, heading: str) -> None:
    """Type what a plan's dialog asks for."""
    typed = re.search(r"type (\S+) to", seen.sees(heading, r"type \S+ to|y +(re)?start"))
    if typed:
        seen.answer("Tab", *typed[1], "Enter")
    else:
        seen.answer("y")


def test_a_planted_failure_is_found_copied_and_its_group_restarted_and_stopped(a3: Lab) -> None:
    words = ("--layout", "a3-pd", "--assign", "prefill=p0,p1", "--assign", "decode=d0,d1")
    a3.fail("p1", "prefill-1", "memory")
    lower = "sed -i s/gpu-memory-utilization:.0.92/gpu-memory-utilization:\\ 0.85/"
    with console_in_terminal(a3, *words, size=(120, 40), name="failure", editor=lower) as seen:
        seen.tmux("set-option", "-s", "set-clipboard", "on")
        seen.sees("4/4 nodes", r"p1 +prefill +1 ")
        seen.press("V", "g", "s")
        confirm(seen, "START 2 engines")
        seen.sees("FAILED", "out of memory", timeout_s=90.0)

        seen.press("M")
        seen.sees(r"prefill x2 .*following", timeout_s=30.0)
        seen.press("g", "e")
        error = seen.sees(r"prefill-1 +!\d\d:\d\d:\d\d E ", "PAUSED")
        seen.press("y")
        seen.sees("sent to the terminal's clipboard: 1 line", "prefill-1")
        until_blocking(
            lambda: "prefill-1" in seen.tmux("show-buffer"), timeout_s=10.0, what="the line in the clipboard"
        )
        copied = seen.tmux("show-buffer")
        assert " ERROR " in copied, "copied as written, not as shortened on the screen"
        message = copied.rpartition("] ")[2].strip()
        assert message
        assert f": {message[:30]}" in error

        seen.press("Escape", "6")
        seen.sees(
            r"remedy +Lower gpu-memory-utilization", r"where +prefill in a3-pd \(shipped\)", "ctrl-e opens the file"
        )
        seen.press("C-e")
        seen.sees("a3-pd is shipped and stays as it is")
        seen.answer("y")
        seen.sees(r"where +prefill in /\S+", "gpu-memory-utilization 0.85", timeout_s=60.0)

        (a3.node("p1").root / "fail" / "prefill-1").unlink()
        seen.press("Escape", "r")
        seen.sees(
            r"Changed +prefill changed since the last run: --gpu-memory-utilization 0.92, planned 0.85",
            "failed with C1",
        )
        confirm(seen, "RESTART 2 engines")
        seen.sees("2 ready", timeout_s=90.0)
        seen.misses("restart runs", timeout_s=60.0)
        seen.press("x")
        confirm(seen, "STOP 2 engines")
        seen.sees("2 exited", timeout_s=90.0)
        until_blocking(lambda: a3.marked() == [], timeout_s=10.0)
        seen.misses("stop runs", timeout_s=60.0)
        seen.press("q")
        until_blocking(seen.ended, timeout_s=20.0)


def test_the_screen_is_whole_again_after_the_shell_had_the_terminal(a3: Lab) -> None:
    with console_in_terminal(a3, "--layout", "a3-pd", size=(80, 24), name="stopped", shell=True) as seen:
        seen.sees("4/4 nodes", "STATE", "2 Logs", r"\? Help")
        seen.press("C-z")
        seen.misses("4/4 nodes")
        seen.press("f", "g", "Enter")
        seen.sees("4/4 nodes", "STATE", "2 Logs", r"\? Help")
