"""Whether engines really work: a one-token completion now and then, and the hang that `/health` never shows.

Real traffic that moves tokens proves more than a question of ours, so none is asked while it does.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

from console.model.run import RunKey
from console.model.snapshot import EngineSnapshot, EngineState, Grade, Rung
from console.remote.http import HttpAnswer
from console.remote.link import NodeLink
from console.services.monitoring.cadences import Cadences
from console.services.monitoring.monitor import Monitor
from console.services.monitoring.records import RunRecord
from console.services.monitoring.rounds import Rounds
from console.services.serving.access import WANTED, barred, client
from console.services.serving.answers import EMPTY_200, EMPTY_500, complaint, proxy_fact
from console.services.serving.golden import Golden
from console.services.serving.health import expected_model

AT_ONCE = 4
RESTING_PERCENT = 10
"""AICore use below which an NPU computes nothing for requests."""
STATISTICS_S = 25.0
"""A statistics line older than this (vLLM 0.21 writes one every 10 s) says nothing about now."""

GOLDEN_TOKENS = 4
"""Few: after more, kernels of other sizes may rightly disagree on what is nearly as likely."""

_ASKED = frozenset({EngineState.READY, EngineState.DEGRADED})


class WorksWatch:
    """The highest rung of every API server and of the proxy."""

    def __init__(self, monitor: Monitor, links: Mapping[str, NodeLink], cadences: Cadences | None = None) -> None:
        self._monitor = monitor
        self._cadences = cadences or Cadences()
        step = min(0.5, self._cadences.works_first_s)
        self._rounds = Rounds(monitor, links, "works", states=_ASKED, at_once=AT_ONCE, step_s=step)
        self._golden = Golden(monitor, links)
        self._compared: tuple[object, float] = ((), 0.0)
        """The runs that were compared last, and when."""
        self._behind: frozenset[str | None] = frozenset()
        """The runs that were ready behind the proxy when it was looked at last."""

    async def run(self) -> None:
        """Watch until cancelled; leaves no question open."""
        await self._rounds.run(self._look)

    def _look(self, engine: EngineSnapshot, key: RunKey) -> None:
        learnt = self._monitor.learnt(key)
        now = time.time()
        words = hang_words(learnt, self._aicore(engine), now, self._cadences) if learnt.answering else ""
        if bool(words) != (learnt.hang is not None):
            self._monitor.touch()
        learnt.hang = Rung("works", Grade.FAIL, words, now) if words else None
        if engine.role == "proxy":
            self._look_behind(key)
        due = self._rounds.due(key, self._cadences.works_first_s)
        link = self._rounds.link(engine.node)
        if learnt.answering and due and link is not None and not words:
            self._begin(engine, key, learnt, link, now)

    def _look_behind(self, key: RunKey) -> None:
        """What others answered proves nothing of those that are ready now."""
        engines = self._monitor.snapshot.engines.values()
        behind = frozenset(each.run for each in engines if each.state is EngineState.READY and each.role != "proxy")
        if behind - self._behind:
            self._rounds.sooner(key, self._cadences.works_first_s)
        self._behind = behind

    def _begin(self, engine: EngineSnapshot, key: RunKey, learnt: RunRecord, link: NodeLink, now: float) -> None:
        idle = self._reason_to_skip(engine, learnt, now)
        self._rounds.again(key, self._cadences.works_s)
        if idle:
            learnt.works, learnt.works_failures = Rung("works", Grade.SKIPPED, idle, now), 0
            self._monitor.touch()
            return
        self._rounds.ask(key, self._complete(engine, key, learnt, link))

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
        asked = time.time()
        http = client(link, deployment.layout, engine.group)
        answer = await http.post_json(address, engine.port or 0, "/v1/completions", ask, limit)
        if barred(answer):
            learnt.works, learnt.works_failures = Rung("works", Grade.SKIPPED, f"401: {WANTED}", time.time()), 0
            self._monitor.touch()
            return
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
            if not again and engine.role != "proxy" and unanswered(learnt, answer, self._aicore(engine), asked, limit):
                wrong = f"hangs: {wrong} to a completion of one token, while /health says 200"
            grade, more = (Grade.UNKNOWN, "; asking once more") if again else (Grade.FAIL, "")
            learnt.works = Rung("works", grade, wrong + more, now)
            self._rounds.again(key, self._cadences.works_again_s)
            if engine.role == "proxy" and not again and (fact := proxy_fact(answer)):
                learnt.facts[fact] = wrong
        self._monitor.touch()
        if engine.role == "proxy" and not wrong:
            await self._compare()

    async def _compare(self) -> None:
        """Prefill alone against prefill and decode, when other engines serve than last time, and now and then."""
        runs = {each.run for each in self._monitor.snapshot.engines.values() if each.state is EngineState.READY}
        if self._compared[0] == runs and time.monotonic() - self._compared[1] < self._cadences.golden_s:
            return
        found = await self._golden.compare(GOLDEN_TOKENS, self._cadences.works_timeout_s)
        if found.agree is not None:
            self._compared = (runs, time.monotonic())

    def _aicore(self, engine: EngineSnapshot) -> int | None:
        """The busiest of the engine's NPUs, percent; None where it cannot be told."""
        node = self._monitor.snapshot.nodes.get(engine.node)
        devices = node.devices if node else ()
        known = [
            each.aicore_percent for each in devices if each.id in engine.devices and each.aicore_percent is not None
        ]
        return max(known, default=None)


def unanswered(learnt: RunRecord, answer: HttpAnswer, aicore: int | None, asked: float, limit_s: float) -> bool:
    """Whether a completion got no answer though nothing else was served or computed meanwhile: a queue would move.

    A frozen worker shows in no metric (vLLM 0.21 counts its requests neither as running nor as waiting).
    """
    if answer.status or answer.took_s < limit_s or not learnt.answering:
        return False
    moved = learnt.metrics.moved_at
    return (moved is None or moved <= asked) and (aicore is None or aicore < RESTING_PERCENT)


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
