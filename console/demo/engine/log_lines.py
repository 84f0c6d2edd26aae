"""Writes log lines the way vLLM's processes do: `(Name pid=N) LEVEL MM-DD HH:MM:SS [file.py:line] text`, each line
in one write."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass

ROOT = "/vllm-workspace/vllm/vllm"
"""Where the image keeps vLLM; only ever printed."""

Frame = tuple[str, int, str, str]
"""File below vLLM's root (or absolute), line, function, source text."""


@dataclass(frozen=True, slots=True)
class Log:
    """The log of one process. `name` is the prefix of its lines; empty for parents, which have none."""

    name: str = ""
    server_quiet: bool = False
    """Whether uvicorn's own lines of level INFO are kept back."""

    def _prefix(self) -> str:
        return f"({self.name} pid={os.getpid()}) " if self.name else ""

    def raw(self, text: str) -> None:
        """Lines as they are, each with the prefix."""
        if self.server_quiet and text.startswith("INFO:     "):
            return
        prefix = self._prefix()
        data = "".join(f"{prefix}{line}\n" for line in text.split("\n")).encode()
        while data:
            data = data[os.write(1, data) :]

    def _say(self, level: str, source: str, text: str) -> None:
        if level == "INFO" and os.environ.get("VLLM_LOGGING_LEVEL", "INFO").upper() not in ("INFO", "DEBUG"):
            return
        stamp = time.strftime("%m-%d %H:%M:%S")
        self.raw("\n".join(f"{level} {stamp} [{source}] {line}" for line in text.split("\n")))

    def info(self, source: str, text: str) -> None:
        """An INFO line; `source` is `file.py:line`."""
        self._say("INFO", source, text)

    def warning(self, source: str, text: str) -> None:
        """A WARNING line."""
        self._say("WARNING", source, text)

    def error(self, source: str, text: str) -> None:
        """ERROR lines, one per line of text."""
        self._say("ERROR", source, text)

    def progress(self, label: str, done: int, total: int, took_s: float) -> None:
        """One state of a progress bar: a carriage return after the prefix, as captured."""
        share = done * 100 // total
        rest = took_s / done * (total - done) if done else 0.0
        rate = f"{took_s / done:5.2f}s/it" if done else "?it/s"
        clock = f"{_clock(took_s)}<{_clock(rest) if done else '?'}"
        self.raw(f"\r{label} {share:3d}% Completed | {done}/{total} [{clock}, {rate}]")

    def access(self, peer: tuple[str, int], request: str, status: str) -> None:
        """uvicorn's access line."""
        self.raw(f'INFO:     {peer[0]}:{peer[1]} - "{request}" {status}')


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60:02d}:{int(seconds) % 60:02d}"


def traceback(frames: Sequence[Frame], error: str) -> str:
    """A traceback as Python prints it."""
    lines = ["Traceback (most recent call last):"]
    for file, number, function, code in frames:
        path = file if file.startswith("/") else f"{ROOT}/{file}"
        lines += [f'  File "{path}", line {number}, in {function}', f"    {code}"]
    return "\n".join([*lines, error])
