"""Makes records of evaluations that ended while no console was open, from the files on their nodes.

A node lists earlier runs without their spec, so the spec and the end of the log are read here once. `watch` handles running
evaluations and the newest run of each name.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import replace

from console.model.errors import ConsoleError, LinkLost, Unreachable
from console.model.run import RunKey, RunState, RunVerdict
from console.model.snapshot import ClusterSnapshot, EventLevel, LinkState
from console.remote.link import NodeLink
from console.services.evaluation.results import record_of, spec_of
from console.services.evaluation.watch import EvaluationWatch
from console.services.monitoring.monitor import Monitor

NAMES = ("bench-", "eval-")
"""Prefixes of the names of evaluations; the spec decides about other runs with such names."""
SPEC_BYTES = 256 * 1024
LOG_BYTES = 8 * 1024 * 1024
"""Bytes read from the end of a log, where results are printed."""


class PastRuns:
    """The earlier evaluations of one session's nodes."""

    def __init__(self, monitor: Monitor, links: Mapping[str, NodeLink], watch: EvaluationWatch) -> None:
        self._monitor = monitor
        self._links = links
        self._watch = watch
        self._seen: set[RunKey] = set()
        self._work: asyncio.Task[None] | None = None

    def update(self, _snapshot: ClusterSnapshot) -> None:
        """Start reading the next unknown run, unless one is being read. Called with each snapshot."""
        if self._work is not None and not self._work.done():
            return
        found = self._next()
        if found is not None:
            self._seen.add(found[1].key)
            self._work = asyncio.create_task(self._keep(*found), name="past evaluation")

    def _next(self) -> tuple[str, RunState] | None:
        for name, record in self._monitor.nodes.items():
            if self._links[name].link.state is not LinkState.UP:
                continue
            for key, state in record.runs.items():
                ended = state.verdict in (RunVerdict.EXITED, RunVerdict.LOST)
                if ended and not state.spec and key not in self._seen and key.engine.startswith(NAMES):
                    return name, state
        return None

    async def _keep(self, node: str, state: RunState) -> None:
        try:
            if not self._watch.store.has(state.key.run):
                await self._make(node, state)
        except (LinkLost, Unreachable):
            self._seen.discard(state.key)
        except ConsoleError as error:
            self._monitor.note(EventLevel.WARNING, f"{state.key.engine} {state.key.run}: {error}", node=node)

    async def _make(self, node: str, state: RunState) -> None:
        link, key, store = self._links[node], state.key, self._watch.store
        written = await link.read(f"{key.deployment}/{key.engine}/runs/{key.run}/spec.json", 0, SPEC_BYTES)
        try:
            document = json.loads(written)
        except ValueError:
            raise ConsoleError("its spec cannot be read") from None
        spec = document.get("spec") if isinstance(document, dict) else None
        whole = replace(state, spec=spec if isinstance(spec, dict) else {})
        evaluation = spec_of(whole)
        if evaluation is None:
            return
        log = await link.read(key, max(0, state.log_size - LOG_BYTES), LOG_BYTES)
        offset = self._monitor.nodes[node].clock_offset_s or 0.0
        self._watch.keep(record_of(whole, evaluation, node, log, store.samples(key.run), offset, store.served(key.run)))
