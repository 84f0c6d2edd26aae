"""A program that stands in for `vllm` and `python` and writes down exactly what it was given."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

_PROGRAM = """#!/bin/sh
printf '%s\\0' "$(basename "$0")" "$@" > "$DSV4_DUMP.argv"
exec env -0 > "$DSV4_DUMP.env"
"""


@dataclass(frozen=True)
class Seen:
    """Words and variables as the process got them, as bytes."""

    argv: list[bytes]
    env: dict[bytes, bytes]


def run_script(script: str, directory: Path, *args: str, name: str = "cmd.sh") -> Seen:
    """Run a script by bash with the stand-ins on PATH and say what the process it became was given."""
    path = directory / name
    path.write_bytes(script.encode())
    return run_file(path, directory, *args)


def run_file(path: Path, directory: Path, *args: str) -> Seen:
    """The same for a script that is already there."""
    tools = directory / "tools"
    if not tools.exists():
        tools.mkdir()
        for tool in ("vllm", "python"):
            (tools / tool).write_text(_PROGRAM)
            (tools / tool).chmod(0o755)
    dump = directory / "dump"
    for old in directory.glob("dump.*"):
        old.unlink()
    env = {"PATH": f"{tools}:{os.environ['PATH']}", "DSV4_DUMP": str(dump), "HOME": str(directory)}
    done = subprocess.run(["bash", str(path), *args], env=env, capture_output=True, check=False, cwd=directory)
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    argv = dump.with_suffix(".argv").read_bytes().split(b"\0")[:-1]
    pairs = dump.with_suffix(".env").read_bytes().split(b"\0")[:-1]
    return Seen(argv, dict(_pair(pair) for pair in pairs))


def _pair(item: bytes) -> tuple[bytes, bytes]:
    name, _, value = item.partition(b"=")
    return name, value
