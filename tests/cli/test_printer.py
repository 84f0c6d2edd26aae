"""What the command line prints: no text of a node acts on the terminal, and JSON stays exact."""

from __future__ import annotations

import json

import pytest

from console.cli.printer import print_coloured, print_json, print_line, print_lines, print_message

CLIPBOARD = "\x1b]52;c;aGFjaw==\x07"
HOSTILE = f"down {CLIPBOARD}\x1b[2J\x9b31m\u202eevil\u2066 a\rb\nnode2 up"


def _safe(text: str) -> bool:
    return not any(ord(char) < 0x20 or 0x7F <= ord(char) < 0xA0 or char in "\u202e\u2066" for char in text)


def test_a_line_holds_no_terminal_control_and_stays_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    print_line(HOSTILE)
    print_message(HOSTILE)
    print_coloured(HOSTILE, 36, HOSTILE)
    out, err = capsys.readouterr()
    first, second = out.splitlines()
    assert _safe(first)
    assert "evil" in first
    assert "node2 up" in first
    assert second.startswith("\x1b[36m")
    assert _safe(second.removeprefix("\x1b[36m").replace("\x1b[0m", "", 1))
    assert _safe(err.removesuffix("\n"))


def test_lines_are_lines_of_their_own(capsys: pytest.CaptureFixture[str]) -> None:
    print_lines(["a", HOSTILE, "b"])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert all(map(_safe, lines))


@pytest.mark.parametrize("text", [HOSTILE, "\ud800 lone", "网卡 ✓", "\u2028\x7f\ufeff"])
def test_json_is_exact_and_acts_on_no_terminal(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"cause": text})
    out = capsys.readouterr().out.removesuffix("\n")
    assert _safe(out)
    assert json.loads(out) == {"cause": text}
    assert "网卡 ✓" not in text or "网卡 ✓" in out
