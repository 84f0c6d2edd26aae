"""The whole preflight of four nodes beside its slowest single command: run `python -m tests.bench.bench_preflight [SECONDS]`.

The nodes share this machine's cores, which real ones do not; so npu-smi is made to take SECONDS (10 unless given) on every node,
as a busy driver does, and the ratio is to the slowest command when it runs alone on one node.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

from console.files import load_cluster, load_layout
from console.model.deployment import Assignment
from console.model.run import Sample
from console.probes.command_batch import jobs
from console.probes.preflight_checks import asked
from console.remote.link import NodeLink
from console.services.readiness.node_requirements import requirements_of
from console.services.session import Session
from tests.e2e.cluster import NAMES, lab
from tests.waiting import until

BAR = 1.5


async def slowest(session: Session, node: str) -> tuple[str, float]:
    """The command of a node's preflight that takes longest when each runs alone, and how long, seconds."""
    wanted = requirements_of(session.deployment, node, session.snapshot)
    took: dict[str, float] = {}
    for job in jobs(asked(wanted), wanted):
        begin = time.perf_counter()
        await session._links[node].run_command(job.argv, job.timeout_s + 30.0)
        took[job.name] = time.perf_counter() - begin
    name = max(took, key=lambda each: took[each])
    return name, took[name]


def counted(session: Session) -> dict[str, int]:
    """Counts the requests to each node from now on."""
    requests = dict.fromkeys(NAMES, 0)

    def wrap(link: NodeLink) -> None:
        real = link.run_command

        async def run(
            argv: Iterable[str], timeout_s: float, stdin: bytes = b"", max_bytes: int = 1024 * 1024
        ) -> Sample:
            requests[link.node.name] += 1
            return await real(argv, timeout_s, stdin, max_bytes)

        link.run_command = run  # type: ignore[method-assign]

    for link in session._links.values():
        wrap(link)
    return requests


async def measure(file: Path, state: Path) -> bool:
    """Print the figures; gives whether the bar is met."""
    groups = {"prefill": NAMES[:2], "decode": NAMES[2:]}
    session = Session(load_cluster(file), load_layout("a3-pd"), Assignment(groups), read_only=True, state_dir=state)
    await session.open()
    try:
        await until(lambda: all(session.first_sample_complete(name) for name in NAMES), timeout_s=60.0)
        name, alone = await slowest(session, NAMES[0])
        requests = counted(session)
        begin = time.perf_counter()
        report = await session.preflight.run()
        whole = time.perf_counter() - begin
    finally:
        await session.close()
    print(f"slowest command alone: {name} {alone:.1f} s; 4 nodes, {len(report.results)} results: {whole:.1f} s")
    print(f"ratio {whole / alone:.2f} (bar {BAR}); requests a node: {requests}")
    return whole / alone <= BAR and set(requests.values()) == {1}


def main() -> None:
    """Exit 1 when the bar is missed."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 10.0
    with tempfile.TemporaryDirectory() as folder, lab(Path(folder)) as made:
        for name in NAMES:
            made.fail(name, "npu-smi", f"hang {seconds - 1.0:g}")
        raise SystemExit(0 if asyncio.run(measure(made.file, Path(folder) / "state")) else 1)


if __name__ == "__main__":
    main()
