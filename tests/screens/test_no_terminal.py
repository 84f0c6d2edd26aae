"""Without a terminal the screen says so and leaves, instead of waiting for keys that cannot come."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize("words", [(), ("demo",)], ids=["the screen", "the demo"])
def test_without_a_terminal_the_screen_is_refused_with_what_to_use_instead(words: tuple[str, ...]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "console", *words],
        check=False,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert "needs a terminal" in done.stderr
    assert "status" in done.stderr
    assert done.stdout == ""
