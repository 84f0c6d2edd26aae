"""Leaving the screen to something else for a while: a pager, an editor, or plain text. Links to nodes are kept meanwhile.

What runs is the operator's own program with a file name behind it; no shell is asked, and nothing of a node becomes a word of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import shutil
import signal
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

from textual.app import App, SuspendNotSupported

from console.model.errors import ConsoleError

FALLBACK = ("less", "more")
EDITORS = ("sensible-editor", "nano", "vim", "vi")
"""Asked for in this order where neither VISUAL nor EDITOR is set."""
_GOES_TO_LINE = ("vim", "vi", "nvim", "nano", "emacs", "micro", "joe", "kak", "ed", "sensible-editor")
"""Editors that take `+LINE` before the file."""


def pager_command(environment: Mapping[str, str], path: Path, line: int) -> tuple[list[str], dict[str, str]]:
    """The operator's pager on a file: its words, and what is set for it. Raises ConsoleError when there is none.

    `less` and its kin are told the line, and forbidden to run a shell, because the file is what a node wrote.
    """
    words = _program(environment, ("PAGER",), FALLBACK)
    name = Path(words[0]).name
    at_line = [f"+{line}"] if name in ("less", "more", "most", "vim", "view", "nvim") and line > 1 else []
    return [*words, *at_line, "--", str(path)] if name == "less" else [*words, *at_line, str(path)], {"LESSSECURE": "1"}


def editor_command(environment: Mapping[str, str], path: Path, line: int) -> list[str]:
    """The operator's editor on a file of theirs, at a line where it can be told one. Raises ConsoleError when there is none."""
    words = _program(environment, ("VISUAL", "EDITOR"), EDITORS)
    at_line = [f"+{line}"] if line > 1 and Path(words[0]).name in _GOES_TO_LINE else []
    return [*words, *at_line, str(path)]


def _program(environment: Mapping[str, str], variables: Sequence[str], fallback: Sequence[str]) -> list[str]:
    """The words of the first variable that is set, else the first program that is installed. Raises ConsoleError."""
    variable = next((name for name in variables if environment.get(name, "").strip()), variables[-1])
    hint = f"set {variable} to a program that is installed, for example {fallback[0]}"
    try:
        words = shlex.split(environment.get(variable, ""))
    except ValueError as error:
        raise ConsoleError(f"{variable}={environment.get(variable)}: {error}", hint=hint) from error
    if not words:
        words = [found for name in fallback if (found := shutil.which(name))][:1]
    if not words or shutil.which(words[0]) is None:
        wanted = words[0] if words else " or ".join(fallback)
        raise ConsoleError(f"no {wanted} on this machine", hint=hint)
    return words


@contextlib.asynccontextmanager
async def away(app: App[int]) -> AsyncIterator[None]:
    """The terminal as it was before the app; the loop goes on, so nodes are heard. Raises ConsoleError when it cannot be left."""
    try:
        with app.suspend():
            before = signal.signal(signal.SIGINT, signal.SIG_IGN)
            try:
                yield
            finally:
                signal.signal(signal.SIGINT, before)
    except SuspendNotSupported as error:
        raise ConsoleError("this terminal cannot be left and entered again") from error


async def run_away(app: App[int], words: Sequence[str], more: Mapping[str, str]) -> int:
    """Run a program in the terminal until it ends; gives its exit code. Raises ConsoleError."""
    async with away(app):
        try:
            process = await asyncio.create_subprocess_exec(*words, env={**os.environ, **more})
        except OSError as error:
            raise ConsoleError(f"{words[0]}: {error.strerror}") from error
        try:
            return await process.wait()
        finally:
            if process.returncode is None:
                process.terminate()


async def show_away(app: App[int], text: str) -> None:
    """Print text to the normal screen and wait for Enter. Raises ConsoleError."""
    loop = asyncio.get_running_loop()
    async with away(app):
        os.write(1, f"\n{text}\n\n-- Enter returns to the console; engines keep running --\n".encode())
        pressed = asyncio.Event()
        loop.add_reader(0, pressed.set)
        try:
            await pressed.wait()
            os.read(0, 1024)
        finally:
            loop.remove_reader(0)
