"""A watcher that keeps everything it is told, and the links of a test with their ends."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from console.model.cluster import Cluster
from console.model.run import Hello, LogChunk, Probe, RunKey, RunState, RunVerdict, Sample
from console.model.snapshot import Link
from console.model.unmanaged_process import UnmanagedProcess
from console.remote.link import NodeLink
from console.remote.ssh import Dialer


class Seen:
    """What was told; logs are put together as a copy would."""

    def __init__(self) -> None:
        self.links: list[tuple[str, Link]] = []
        self.hellos: list[tuple[str, Hello]] = []
        self.samples: list[tuple[str, Sample]] = []
        self.runs: dict[str, dict[RunKey, RunState]] = {}
        self.lists = 0
        self.unmanaged: dict[str, tuple[UnmanagedProcess, ...]] = {}
        self.logs: dict[RunKey, bytearray] = {}
        self.restarts: list[tuple[RunKey, str]] = []
        self.log_errors: list[tuple[RunKey, str]] = []
        self.stages: list[tuple[RunKey, str]] = []
        self.remarks: list[tuple[str, str]] = []
        self.by_name: dict[str, NodeLink] = {}

    def on_link(self, node: str, link: Link) -> None:
        self.links.append((node, link))

    def on_hello(self, node: str, hello: Hello) -> None:
        self.hellos.append((node, hello))

    def on_sample(self, node: str, sample: Sample) -> None:
        self.samples.append((node, sample))

    def on_runs(
        self, node: str, runs: tuple[RunState, ...], unmanaged: tuple[UnmanagedProcess, ...], clock: float
    ) -> None:
        self.lists += 1
        self.runs[node] = {run.key: run for run in runs}
        self.unmanaged[node] = unmanaged

    def on_log(self, node: str, chunk: LogChunk) -> None:
        copy = self.logs.setdefault(chunk.key, bytearray())
        if chunk.restarted:
            self.restarts.append((chunk.key, chunk.restarted))
            copy.clear()
        assert chunk.offset == len(copy), "bytes follow each other"
        copy += chunk.data
        self.by_name[node].credit(chunk.key, len(chunk.data))

    def on_log_error(self, node: str, key: RunKey, message: str) -> None:
        self.log_errors.append((key, message))

    def on_stop(self, node: str, key: RunKey, stage: str) -> None:
        self.stages.append((key, stage))

    def on_remark(self, node: str, text: str) -> None:
        self.remarks.append((node, text))

    def verdict(self, key: RunKey) -> RunVerdict | None:
        """The newest verdict on a run, whichever node it is on."""
        return next((runs[key].verdict for runs in self.runs.values() if key in runs), None)


@contextlib.asynccontextmanager
async def linked(
    cluster: Cluster,
    state: Path,
    *,
    probes: Sequence[Probe] = (),
    up: bool = True,
    watcher: Seen | None = None,
    runs_every_s: float = 0.2,
) -> AsyncIterator[tuple[dict[str, NodeLink], Seen]]:
    """Links to all nodes of a cluster, closed at the end."""
    seen = watcher or Seen()
    dialer = Dialer(cluster, known_hosts=state / "known_hosts")
    links = {
        name: NodeLink(node, dialer=dialer, watcher=seen, probes=probes, runs_every_s=runs_every_s)
        for name, node in cluster.nodes.items()
    }
    seen.by_name = links
    for link in links.values():
        link.start()
    try:
        if up:
            for link in links.values():
                assert await link.wait_up(20), link.link
        yield links, seen
    finally:
        for link in links.values():
            await link.close()
        await dialer.close()
