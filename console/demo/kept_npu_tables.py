"""Keeps the table of `npu-smi info` of every demo node ready in a file, so that the node's program can print it without an
interpreter: with one look a second and 32 nodes, interpreters alone would take more than a core.

The program (`console.demo.tools.install`) prints the file only while it is newer than what workers wrote and every process
in it lives; else it works the table out itself.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence
from pathlib import Path

from console.demo.tools.demo_node import DemoNode, holdings
from console.demo.tools.npu_smi import answer

CHECK_S = 0.5
"""Pause between two looks at what workers wrote."""
RENEW_S = 3.0
"""Age of a table, in seconds, at which temperatures and loads move on."""


def table_file(directory: Path) -> Path:
    """Where the table of the node with this state folder is kept: the pids it names in the first line, then the table."""
    return directory / "npu-smi-info"


def keep_table(node: DemoNode, now: float) -> None:
    """Write the table of a node unless it is fresh at `now` (seconds since the epoch); a node with a planted fault has none."""
    kept = table_file(node.directory)
    if (node.directory / "fail" / "npu-smi").exists():
        kept.unlink(missing_ok=True)
        return
    before = _modified(kept)
    if before is not None and before > (_modified(node.directory / "devices") or 0) and now - before < RENEW_S:
        return
    pids = " ".join(str(each.pid) for each in holdings(node.directory))
    text, _ = answer(node, ["info"])
    draft = kept.with_suffix(".new")
    draft.write_text(f"{pids}\n{text}")
    os.utime(draft, (now, now))  # a worker that wrote meanwhile is newer than the table
    draft.rename(kept)


async def keep_tables(nodes: Sequence[DemoNode]) -> None:
    """Keep the tables of these nodes fresh until cancelled."""
    while True:
        for node in nodes:
            keep_table(node, time.time())
            await asyncio.sleep(0)
        await asyncio.sleep(CHECK_S)


def _modified(path: Path) -> float | None:
    try:
        return path.stat().st_mtime
    except OSError:
        return None
