"""Links that are cut at the worst moments: log copies stay byte-identical, and a launch happens exactly once."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from console.model.errors import LinkLost, NodeError
from console.model.run import LogChunk, RunKey, RunState, RunVerdict
from console.model.unmanaged_process import UnmanagedProcess
from console.remote.link import NodeLink
from tests.node.driver import carriers, sweep
from tests.remote.watching import Seen, linked
from tests.sshd import SshNodes, needs_sshd, running_nodes
from tests.waiting import until

pytestmark = [pytest.mark.sshd, needs_sshd]

ENGINES = 16
LINES = 200_000
CUTTING_S = 30.0
"""How long the link is cut again and again; on a busy machine one way back takes seconds, and the rest must arrive too."""
WRITER = """#!/bin/bash
exec awk 'BEGIN {
    for (n = 1; n <= %d; n++) {
        print "line " n " of engine %d 0123456789"
        if (n %% 250 == 0) { fflush(); system("sleep 0.1") }
    }
}'
"""


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshNodes]:
    with running_nodes(tmp_path_factory.mktemp("sshd"), 1, first=50) as nodes:
        yield nodes


class Copies(Seen):
    """Copies as the console keeps them: what was stored stays, and following goes on from its end after each hello."""

    def __init__(self) -> None:
        super().__init__()
        self.following: set[RunKey] = set()

    def on_hello(self, node: str, hello: object) -> None:
        self.following.clear()

    def on_runs(
        self, node: str, runs: tuple[RunState, ...], unmanaged: tuple[UnmanagedProcess, ...], clock: float
    ) -> None:
        super().on_runs(node, runs, unmanaged, clock)
        for run in runs:
            if run.key not in self.following:
                self.following.add(run.key)
                copy = self.logs.setdefault(run.key, bytearray())
                self.by_name[node].follow(run.key, len(copy), bytes(copy[:1024]))

    def on_log(self, node: str, chunk: LogChunk) -> None:
        assert not chunk.restarted
        super().on_log(node, chunk)


async def test_random_cuts_lose_and_double_no_byte(sshd: SshNodes, tmp_path: Path) -> None:
    base = tmp_path / "base"
    keys = [RunKey("dep", f"decode-{number}", "r1") for number in range(ENGINES)]
    chance = random.Random(7)
    copies = Copies()
    cuts = 0
    try:
        async with linked(sshd.cluster(base=str(base)), tmp_path, watcher=copies) as (links, _):
            link = links["n0"]
            for number, key in enumerate(keys):
                await link.prepare(key, {}, WRITER % (LINES // ENGINES, number), None)
            await asyncio.gather(*(link.commit(key) for key in keys))
            expected = sum(_size(LINES // ENGINES, number) for number in range(ENGINES))

            def done() -> bool:
                return sum(len(copy) for copy in copies.logs.values()) >= expected

            end = time.monotonic() + CUTTING_S
            while not done() and time.monotonic() < end:
                ended = asyncio.create_task(until(done, 60))
                await asyncio.wait({ended}, timeout=chance.uniform(0.2, 0.8))
                ended.cancel()
                await asyncio.gather(ended, return_exceptions=True)
                sshd.nodes[0].cut()
                cuts += 1
                link.retry_now()
                await link.wait_up(20)
            await until(done, 30, "the rest of the logs")
        assert cuts >= 3, "the link was really cut while they wrote"
        for key in keys:
            assert bytes(copies.logs[key]) == (base / "dep" / key.engine / "runs/r1/out.log").read_bytes()
    finally:
        sweep(base)


def _size(lines: int, engine: int) -> int:
    return sum(len(f"line {number} of engine {engine} 0123456789\n") for number in range(1, lines + 1))


@pytest.mark.parametrize("delay_s", [0.0, 0.02, 0.05, 0.1, 0.2, 0.4])
async def test_a_launch_under_a_cut_link_runs_once_or_not_at_all(
    sshd: SshNodes, tmp_path: Path, delay_s: float
) -> None:
    """Cut before and after the acknowledgement; what became of it is read from the node, and a second launch runs one engine."""
    base = tmp_path / "base"
    first, second = RunKey("dep", "e", "r1"), RunKey("dep", "e", "r2")
    try:
        async with linked(sshd.cluster(base=str(base)), tmp_path) as (links, seen):
            link = links["n0"]
            await link.prepare(first, {"by": "me"}, "#!/bin/sh\nexec sleep 1000\n", None)
            launching = asyncio.create_task(link.commit(first))
            await asyncio.wait({launching}, timeout=delay_s)
            sshd.nodes[0].cut()
            outcome = (await asyncio.gather(launching, return_exceptions=True))[0]
            assert isinstance(outcome, LinkLost | RunState)
            before = seen.lists
            await until(lambda: link.connection() is None)
            link.retry_now()
            assert await link.wait_up(20)
            await until(lambda: seen.lists > before and first in seen.runs["n0"])
            said = await asyncio.gather(launch_again(link, second), return_exceptions=True)
            refused = said[0] if isinstance(said[0], NodeError) else None
            assert said[0] is None or (refused is not None and refused.kind in ("busy", "changed")), said
            await until(lambda: _living(base) == 1)
            running = RunVerdict.RUNNING
            await until(lambda: [run.verdict for run in seen.runs["n0"].values()].count(running) == 1)
    finally:
        sweep(base)


async def launch_again(link: NodeLink, key: RunKey) -> None:
    await link.prepare(key, {"by": "me"}, "#!/bin/sh\nexec sleep 1000\n", None)
    await link.commit(key)


def _living(base: Path) -> int:
    tokens = [json.loads(path.read_text())["token"] for path in base.glob("*/*/runs/*/spec.json")]
    return sum(len(carriers(token)) for token in tokens)
