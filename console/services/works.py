"""Whether engines really work: a one-token completion now and then, and the hang that `/health` never shows.

Real traffic that moves tokens proves more than a question of ours, so none is asked while it does.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping

from console.model.run import RunKey
from console.model.snapshot import EngineSnapshot, EngineState, Grade, LinkState, Rung
from console.probes.sanitize import clean
from console.remote.http import HttpAnswer
from console.remote.link import NodeLink
from console.services.cadences import Cadences
from console.services.health import expected_model
from console.services.monitor import Monitor
from console.services.records import RunRecord

AT_ONCE = 4
RESTING_PERCENT = 10
"""AICore use below which an NPU computes nothing for requests."""
STATISTICS_S = 25.0
"""A statistics line older than this (vLLM 0.21 writes one every 10 s) says nothing about now."""

EMPTY_200 = "empty-200"
EMPTY_500 = "proxy-500-no-body"
_ASKED = (EngineState.READY, EngineState.DEGRADED)


class WorksWatch:
    """The highest rung of every API server and of the proxy."""

    def __init__(self, monitor: Monitor, links: Mapping[str, NodeLink], cadences: Cadences | None = None) -> None:
        self._monitor = monitor
        self._links = links
        self._cadences = cadences or Cadences()
        self._due: dict[RunKey, float] = {}
        self._busy: dict[RunKey, asyncio.Task[None]] = {}
        self._gate = asyncio.Semaphore(AT_ONCE)

    async def run(self) -> None:
        """Watch until cancelled; leaves no question open."""
        try:
            while True:
                for engine in self._monitor.snapshot.engines.values():
                    self._look(engine)
                await asyncio.sleep(min(0.5, self._cadences.works_first_s))
        finally:
            for task in self._busy.values():
                task.cancel()
            await asyncio.gather(*self._busy.values(), return_exceptions=True)

    def _look(self, engine: EngineSnapshot) -> None:
        key = self._monitor.current(engine.id)
        if key is None or engine.headless or engine.port is None or engine.state not in _ASKED:
            return
        learnt = self._monitor.learnt(key)
        now = time.time()
        words = hang_words(learnt, self._aicore(engine), now, self._cadences) if learnt.answering else ""
        if bool(words) != (learnt.hang is not None):
            self._monitor.touch()
        learnt.hang = Rung("works", Grade.FAIL, words, now) if words else None
        due = self._due.setdefault(key, time.monotonic() + self._cadences.works_first_s)
        if not learnt.answering or key in self._busy or time.monotonic() < due:
            return
        link = self._links[engine.node]
        if link.link.state is LinkState.UP and not words:
            self._begin(engine, key, learnt, link, now)

    def _begin(self, engine: EngineSnapshot, key: RunKey, learnt: RunRecord, link: NodeLink, now: float) -> None:
        idle = self._reason_to_skip(engine, learnt, now)
        self._due[key] = time.monotonic() + self._cadences.works_s
        if idle:
            learnt.works, learnt.works_failures = Rung("works", Grade.SKIPPED, idle, now), 0
            self._monitor.touch()
            return
        task = asyncio.create_task(self._complete(engine, key, learnt, link), name=f"works {engine.id}")
        self._busy[key] = task
        task.add_done_callback(lambda _: self._busy.pop(key, None))

    def _reason_to_skip(self, engine: EngineSnapshot, learnt: RunRecord, now: float) -> str:
        if engine.role == "proxy":
            behind = {each.role for each in self._monitor.snapshot.engines.values() if each.state is EngineState.READY}
            wanted = {rank.role for rank in self._monitor.deployment.ranks()}
            missing = sorted(wanted - behind)
            return f"no {' and no '.join(missing)} engine is ready behind it" if missing else ""
        moved = learnt.metrics.moved_at
        if moved is not None and now - moved <= 2 * self._cadences.metrics_s:
            return f"requests move tokens, seen {max(0.0, now - moved):.0f} s ago"
        return ""

    async def _complete(self, engine: EngineSnapshot, key: RunKey, learnt: RunRecord, link: NodeLink) -> None:
        deployment = self._monitor.deployment
        address = deployment.address(engine.node) or "127.0.0.1"
        ask = {"model": expected_model(deployment), "prompt": "1", "max_tokens": 1, "temperature": 0}
        limit = self._cadences.works_timeout_s
        async with self._gate:
            answer = await link.http().post_json(address, engine.port or 0, "/v1/completions", ask, limit)
        wrong = complaint(answer)
        now = time.time()
        for fact in (EMPTY_200, EMPTY_500):
            learnt.facts.pop(fact, None)
        if not wrong:
            words = f"one token in {answer.took_s * 1000:.0f} ms"
            learnt.works, learnt.works_failures = Rung("works", Grade.OK, words, now), 0
        else:
            learnt.works_failures += 1
            again = learnt.works_failures < 2
            grade, more = (Grade.UNKNOWN, "; asking once more") if again else (Grade.FAIL, "")
            learnt.works = Rung("works", grade, wrong + more, now)
            self._due[key] = time.monotonic() + self._cadences.works_again_s
            if engine.role == "proxy" and not again and (fact := proxy_fact(answer)):
                learnt.facts[fact] = wrong
        self._monitor.touch()

    def _aicore(self, engine: EngineSnapshot) -> int | None:
        """The busiest of the engine's NPUs, percent; None where it cannot be told."""
        node = self._monitor.snapshot.nodes.get(engine.node)
        devices = node.devices if node else ()
        known = [
            each.aicore_percent for each in devices if each.id in engine.devices and each.aicore_percent is not None
        ]
        return max(known, default=None)


def hang_words(learnt: RunRecord, aicore: int | None, now: float, cadences: Cadences) -> str:
    """`hangs: …` while requests run and no token moves for too long, by the metrics or by the log's statistics; else empty."""
    since = list(learnt.metrics.stalled_since.values())
    running = sum(
        load.running or 0 for label, load in learnt.metrics.loads.items() if label in learnt.metrics.stalled_since
    )
    told = learnt.log_state.throughput
    if not since and told is not None and told.stalled_since is not None and now - told.at < STATISTICS_S:
        since, running = [told.stalled_since], told.running
    if not since:
        return ""
    silent = now - min(since)
    resting = aicore is None or aicore < RESTING_PERCENT
    if silent < (cadences.hang_s if resting else cadences.hang_busy_s):
        return ""
    npu = "AICore unknown" if aicore is None else f"AICore {aicore} %"
    return f"hangs: {running} requests run and no token came for {silent:.0f} s ({npu}), while /health says 200"


def complaint(answer: HttpAnswer) -> str:
    """What is wrong with the answer to a completion; empty when it is one."""
    if not answer.status:
        return clean(answer.error) or "no answer"
    said = clean(answer.body[:300].decode("utf-8", "replace")).strip()
    if answer.status != 200:
        return f"completion {answer.status}: {said or 'without a body'}"
    if answer.error:
        return f"completion 200, but {clean(answer.error)}"
    if not answer.body.strip():
        return "completion 200 with nothing in it"
    try:
        choices = json.loads(answer.body)["choices"]
    except (ValueError, KeyError, TypeError):
        return f"completion 200, but no choices in it: {said[:120]}"
    return "" if isinstance(choices, list) and choices else "completion 200 with no choice in it"


def proxy_fact(answer: HttpAnswer) -> str:
    """The fact of the table of signatures that a proxy's answer shows, or nothing."""
    if answer.error or answer.body.strip():
        return ""
    return {200: EMPTY_200, 500: EMPTY_500}.get(answer.status, "")
