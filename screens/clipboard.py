"""Copies text out of the console: by OSC 52 to the terminal, and always to a file, because no terminal confirms OSC 52."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from console.model.counting import counted
from console.private_files import open_private

LIMIT = 74_994
"""Bytes of base64 that terminals are known to take in one OSC 52."""


def sequence(text: str, environment: Mapping[str, str]) -> str | None:
    """What to write to the terminal; None when the text is too long for it.

    Inside tmux it is sent twice: tmux takes the first itself (`set-clipboard`), the second goes through it (`allow-passthrough`).
    """
    encoded = base64.b64encode(text.encode()).decode()
    if len(encoded) > LIMIT:
        return None
    plain = f"\x1b]52;c;{encoded}\a"
    return plain + f"\x1bPtmux;\x1b{plain}\x1b\\" if environment.get("TMUX") else plain


def save(text: str, directory: Path) -> Path | None:
    """Write the text beside the console's state, for people only; None when that cannot be done."""
    path = directory / "clipboard.txt"
    try:
        descriptor = open_private(path, os.O_WRONLY | os.O_TRUNC)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text + "\n")
    except OSError:
        return None
    return path


def copy(text: str, directory: Path, write: Callable[[str], None], environment: Mapping[str, str]) -> str:
    """Send the text out and say in one sentence what was done."""
    if not text:
        return "nothing to copy here"
    lines = text.count("\n") + 1
    size = f"{counted(lines, 'line')}, {len(text.encode())} bytes"
    path = save(text, directory)
    where = f"; also in {path}" if path else "; the file could not be written"
    sent = sequence(text, environment)
    if sent is None:
        return f"too long for a terminal's clipboard ({size}){where}"
    write(sent)
    return f"sent to the terminal's clipboard: {size}{where}"
