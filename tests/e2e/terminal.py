"""A console in a real terminal: tmux runs it, keys are sent one by one, the screen is read back as text."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.e2e.cluster import Lab
from tests.waiting import until_blocking

needs_tmux = pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")
LETTERS_APART_S = 0.12
"""Longer than the guard that takes a burst of letters for a paste."""

DIALOG_OPENS_S = 0.4
"""Longer than the moment in which a dialog that has just opened hears no key."""


@dataclass(slots=True)
class Terminal:
    """One tmux server of our own with one window."""

    socket: str

    def tmux(self, *words: str) -> str:
        """Run a tmux command; gives what it printed."""
        command = ["tmux", "-L", self.socket, *words]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=10).stdout

    def screen(self) -> str:
        """What the operator sees."""
        return self.tmux("capture-pane", "-p")

    def sees(self, *patterns: str, timeout_s: float = 20.0) -> str:
        """Wait until each pattern is on the screen at once; gives the screen."""

        def shown() -> bool:
            text = self.screen()
            return all(re.search(pattern, text) for pattern in patterns)

        try:
            until_blocking(shown, timeout_s=timeout_s)
        except AssertionError:
            raise AssertionError(f"never saw {patterns} in {timeout_s:.0f} s; the screen:\n{self.screen()}") from None
        return self.screen()

    def misses(self, pattern: str, timeout_s: float = 20.0) -> None:
        """Wait until the pattern is not on the screen any more."""
        until_blocking(lambda: not re.search(pattern, self.screen()), timeout_s=timeout_s, what=f"{pattern} gone")

    def press(self, *keys: str) -> None:
        """Keys at the pace of a person."""
        for key in keys:
            self.tmux("send-keys", key)
            self.tmux("run-shell", f"sleep {LETTERS_APART_S}")

    def answer(self, *keys: str) -> None:
        """Keys into a dialog that has just opened and does not hear its first moment."""
        self.tmux("run-shell", f"sleep {DIALOG_OPENS_S}")
        self.press(*keys)

    def ended(self) -> bool:
        """Whether the console has left."""
        return not self.tmux("list-sessions")


@contextlib.contextmanager
def console_in_terminal(
    lab: Lab, *words: str, size: tuple[int, int], name: str, editor: str = "true", shell: bool = False
) -> Iterator[Terminal]:
    """The console on a lab's cluster in a terminal of `size` (columns, rows), ended at the end; `shell` has bash run it."""
    terminal = Terminal(f"dsv4-{name}-{os.getpid()}")
    command = [sys.executable, "-m", "console", "--cluster", str(lab.file), "--no-hints", *words]
    config = f"XDG_CONFIG_HOME={lab.state.parent / 'config'}"
    given = [f"XDG_STATE_HOME={lab.state}", config, f"VISUAL={editor}", "TERM=screen-256color"]
    typed = shlex.join(command)
    command = ["bash", "--norc", "-i"] if shell else command
    columns, rows = (str(number) for number in size)
    start = ["tmux", "-L", terminal.socket, "-f", "/dev/null", "new-session", "-d", "-x", columns, "-y", rows]
    subprocess.run([*start, "env", *given, *command], check=True, timeout=10)
    if shell:
        terminal.tmux("send-keys", "-l", typed)
        terminal.press("Enter")
    try:
        yield terminal
    finally:
        terminal.tmux("kill-server")
