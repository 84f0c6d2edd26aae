"""Whether engines really work: a completion of a few tokens now and then to every rank, and the hang that `/health` never shows.

Traffic that moves tokens proves that ranks compute, not that they answer well, so they are asked under traffic too; an answer
that only comes late then is no failure.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from console.model.run import RunKey
from console.model.snapshot import EngineSnapshot, EngineState, Grade, HealthCheck
from console.remote.http import HttpAnswer
from console.remote.link import NodeLink
from console.services.monitoring.intervals import Intervals
from console.services.monitoring.monitor import Monitor
from console.services.monitoring.poller import Poller
from console.services.monitoring.records import RunRecord
from console.services.monitoring.service_state import doors_of
from console.services.serving.answer_checks import EMPTY_200, EMPTY_500, complaint, proxy_fact
from console.services.serving.condition_facts import BAD_ANSWERS, DISAGREE
from console.services.serving.health import unasked
from console.services.serving.output_comparison import DIFFER, OutputComparison
from console.services.serving.rank_targets import RankTarget, rank_targets
from console.services.serving.request_auth import WANTED, barred
from console.services.serving.trial_request import (
    TOKENS,
    TrialAnswer,
    odd_ones,
    one_answer,
    said,
    send_trial,
    trial_fault,
    undecided,
)

AT_ONCE = 4
RESTING_PERCENT = 10
"""AICore use below which an NPU computes nothing for requests."""
STATISTICS_S = 25.0
"""A statistics line older than this (vLLM 0.21 writes one every 10 s) says nothing about now."""
SEEN_AFTER = 1.5
"""So many cadences of the metrics after it moved a token a rank that moves some is seen to do so."""
COUNTED_S = 5.0
"""A request that was sent so long ago is counted by its engine."""
BEHIND = "is ready behind it"
NOT_ASKED = "not asked yet since engines are ready behind it"

_ASKED = frozenset({EngineState.READY, EngineState.DEGRADED})
_WORST = (Grade.FAIL, Grade.UNKNOWN, Grade.SKIPPED, Grade.OK)


class WorksWatch:
    """The highest health check of every rank and of the proxy."""

    def __init__(self, monitor: Monitor, links: Mapping[str, NodeLink], cadences: Intervals | None = None) -> None:
        self._monitor = monitor
        self._cadences = cadences or Intervals()
        step = min(0.5, self._cadences.works_first_s)
        self._rounds = Poller(monitor, links, "works", states=_ASKED, at_once=AT_ONCE, step_s=step)
        self._golden = OutputComparison(monitor, links)
        self._compared: tuple[object, float] = ((), 0.0)
        """The runs that were compared last, and when."""
        self._behind: frozenset[tuple[str, str | None]] = frozenset()
        """The runs that were ready behind the proxy when it was looked at last."""
        self._failures: Counter[tuple[RunKey, str]] = Counter()
        """Wrong answers in a row, by run and rank."""
        self._said: dict[tuple[RunKey, str], TrialAnswer] = {}
        """The last answer of each rank that was one."""
        self._agreed: TrialAnswer | None = None
        """What all ranks said when they agreed last."""

    async def run(self) -> None:
        """Watch until cancelled; leaves no question open."""
        await self._rounds.run(self._look)

    def ask_now(self) -> None:
        """Ask the doors of the deployment at once instead of when they are due."""
        for door in doors_of(self._monitor.snapshot.engines.values()):
            key = self._monitor.current(door.id)
            if key is not None:
                self._rounds.sooner(key, 0.0)

    def _look(self, engine: EngineSnapshot, key: RunKey) -> None:
        if engine.role == "service":
            return
        learnt = self._monitor.learnt(key)
        now = time.time()
        words = hang_words(learnt, self._aicore(engine), now, self._cadences) if learnt.answering else ""
        if bool(words) != (learnt.hang is not None):
            self._monitor.touch()
        learnt.hang = HealthCheck("works", Grade.FAIL, words, now) if words else None
        if engine.role == "proxy":
            self._look_behind(key)
        elif self._fell_still(learnt):
            self._rounds.sooner(key, 0.0)
        due = self._rounds.due(key, self._cadences.works_first_s)
        link = self._rounds.link(engine.node)
        if learnt.answering and due and link is not None and not words:
            self._rounds.again(key, self._cadences.works_s)
            if engine.role != "proxy":
                self._rounds.ask(key, self._try_ranks(engine, key, learnt, link))
            elif idle := self._nobody_behind():
                learnt.works = HealthCheck("works", Grade.SKIPPED, idle, now)
                self._failures.pop((key, engine.id), None)
                self._monitor.touch()
            else:
                self._rounds.ask(key, self._try_proxy(engine, key, learnt, link))

    def _fell_still(self, learnt: RunRecord) -> bool:
        """Whether others' requests moved tokens and none moves any more: they are answered, or an engine hangs.

        A worker that froze shows in no metric, so that is asked at once. What our own question moved says nothing.
        """
        metrics = learnt.metrics
        if not metrics.rests or metrics.rested_at == metrics.moved_at:
            return False
        metrics.rested_at = moved = metrics.moved_at
        answered = learnt.works.at if learnt.works is not None else None
        return moved is not None and moved - (answered or 0.0) > SEEN_AFTER * self._cadences.metrics_s

    def _look_behind(self, key: RunKey) -> None:
        """What others answered proves nothing of those that are ready now."""
        engines = self._monitor.snapshot.engines.values()
        ready = (each for each in engines if each.state is EngineState.READY and each.role != "proxy")
        behind = frozenset((each.id, each.run) for each in ready)
        if behind - self._behind:
            self._rounds.sooner(key, self._cadences.works_first_s)
            learnt = self._monitor.learnt(key)
            if learnt.works is not None and learnt.works.evidence.endswith(BEHIND) and not self._nobody_behind():
                learnt.works = HealthCheck("works", Grade.SKIPPED, NOT_ASKED, time.time())
                self._monitor.touch()
        self._behind = behind

    def _nobody_behind(self) -> str:
        """Why the proxy cannot answer and is not asked; empty when it can."""
        behind = {each.role for each in self._monitor.snapshot.engines.values() if each.state is EngineState.READY}
        wanted = {rank.role for rank in self._monitor.deployment.ranks()}
        missing = sorted(wanted - behind)
        return f"no {' and no '.join(missing)} engine {BEHIND}" if missing else ""

    async def _try_ranks(self, engine: EngineSnapshot, key: RunKey, learnt: RunRecord, link: NodeLink) -> None:
        """Every rank behind one server: its own, and those of headless processes."""
        mine = [each for each in rank_targets(self._monitor.deployment) if each.server == engine.id]
        asked, limit = time.time(), self._cadences.works_timeout_s
        answers = await asyncio.gather(*(send_trial(self._monitor, link, engine, limit, each.headers) for each in mine))
        keys = {each.process: self._monitor.current(each.process) for each in mine} | {engine.id: key}
        known = [
            (each, found, answer) for each, answer in zip(mine, answers, strict=True) if (found := keys[each.process])
        ]
        for target, run, answer in known:
            self._said.pop((run, target.id), None)
            if not barred(answer) and not trial_fault(answer):
                self._said[run, target.id] = said(answer)
        odd = self._compare_ranks(key)
        grades: dict[RunKey, list[HealthCheck]] = {}
        for target, run, answer in known:
            rung = self._judge(target, run, learnt, answer, asked, odd.get(target.id, ""))
            grades.setdefault(run, []).append(rung)
            if rung.grade not in (Grade.OK, Grade.SKIPPED):
                self._rounds.again(key, self._cadences.works_again_s)
        for run, rungs in grades.items():
            self._monitor.learnt(run).works = min(rungs, key=lambda each: _WORST.index(each.grade))
        self._monitor.touch()

    def _compare_ranks(self, key: RunKey) -> dict[str, str]:
        """Rank -> how its answer differs from what its peers say; a rank behind another server is asked again soon."""
        targets = rank_targets(self._monitor.deployment)
        runs = {each.id: self._monitor.current(each.process) for each in targets}
        answers = {name: self._said[run, name] for name, run in runs.items() if run and (run, name) in self._said}
        odd = odd_ones(answers, self._agreed)
        for each in targets:
            server = self._monitor.current(each.server) if each.id in odd else None
            run = runs[each.id]
            if server is not None and server != key and run is not None and not self._failures[run, each.id]:
                self._rounds.sooner(server, self._cadences.works_again_s)
        facts = self._monitor.learnt(key).facts
        facts.pop(DISAGREE, None)
        if words := undecided(answers, self._agreed):
            facts[DISAGREE] = words
        self._agreed = one_answer([*answers.values()]) or self._agreed
        return odd

    def _judge(
        self, target: RankTarget, run: RunKey, learnt: RunRecord, answer: HttpAnswer, asked: float, odd: str
    ) -> HealthCheck:
        """What one answer says of one rank; only the second wrong one in a row counts."""
        now, limit = time.time(), self._cadences.works_timeout_s
        name = "" if target.index is None else f"rank {target.id}: "
        failed = (run, target.id)
        if not answer.asked:
            return unasked("works", answer)
        if barred(answer):
            self._failures.pop(failed, None)
            return HealthCheck("works", Grade.SKIPPED, f"401: {WANTED}", now)
        label = target.id.rpartition("-")[2]
        moves = learnt.metrics.moves(label, now - SEEN_AFTER * self._cadences.metrics_s)
        if not answer.status and answer.took_s >= limit and moves:
            self._failures.pop(failed, None)
            return HealthCheck("works", Grade.OK, "late: requests of others move tokens", now)
        wrong = trial_fault(answer) or odd
        if not wrong:
            self._failures.pop(failed, None)
            return HealthCheck("works", Grade.OK, f"{name}{TOKENS} tokens in {answer.took_s * 1000:.0f} ms", now)
        self._failures[failed] += 1
        process = self._monitor.snapshot.engines.get(target.process)
        aicore = self._aicore(process) if process else None
        hangs = not moves and unanswered(learnt, answer, aicore, limit)
        if self._failures[failed] < 2 and not (hangs and forgotten(learnt, label, asked)):
            return HealthCheck("works", Grade.UNKNOWN, f"{name}{wrong}; asking once more", now)
        if hangs:
            return HealthCheck(
                "works", Grade.FAIL, f"hangs: {name}{wrong} to {TOKENS} tokens, while /health says 200", now
            )
        return HealthCheck("works", Grade.FAIL, name + wrong, now)

    async def _try_proxy(self, engine: EngineSnapshot, key: RunKey, learnt: RunRecord, link: NodeLink) -> None:
        answer = await send_trial(self._monitor, link, engine, self._cadences.works_timeout_s)
        now, failed = time.time(), (key, engine.id)
        for fact in (EMPTY_200, EMPTY_500, BAD_ANSWERS):
            learnt.facts.pop(fact, None)
        wrong = "" if barred(answer) else trial_fault(answer)
        spoilt = [*self._spoilt()]
        if not answer.asked:
            learnt.works = unasked("works", answer)
        elif barred(answer):
            learnt.works = HealthCheck("works", Grade.SKIPPED, f"401: {WANTED}", now)
            self._failures.pop(failed, None)
        elif not wrong:
            learnt.works = HealthCheck("works", Grade.OK, f"{TOKENS} tokens in {answer.took_s * 1000:.0f} ms", now)
            self._failures.pop(failed, None)
        elif spoilt and not complaint(answer):
            words = f"{wrong}; behind it {', '.join(spoilt)} answers wrongly"
            learnt.works = HealthCheck("works", Grade.UNKNOWN, words, now)
            self._rounds.again(key, self._cadences.works_again_s)
        else:
            self._failures[failed] += 1
            again = self._failures[failed] < 2
            grade, more = (Grade.UNKNOWN, "; asking once more") if again else (Grade.FAIL, "")
            learnt.works = HealthCheck("works", grade, wrong + more, now)
            self._rounds.again(key, self._cadences.works_again_s)
            if not again:
                learnt.facts[proxy_fact(answer) or BAD_ANSWERS] = wrong
        self._monitor.touch()
        if learnt.works.grade is Grade.OK:
            await self._compare(learnt, spoilt)

    def _spoilt(self) -> Iterator[str]:
        """Engines behind the proxy that answered wrongly once or more: what comes through it may be theirs."""
        for each in rank_targets(self._monitor.deployment):
            run = self._monitor.current(each.process)
            if run is not None and self._failures.get((run, each.id)):
                yield each.id

    async def _compare(self, proxy: RunRecord, spoilt: Sequence[str]) -> None:
        """Prefill alone against prefill and decode, when other engines serve than last time, and now and then.

        Not while a rank answers wrongly by itself: then the difference says nothing about what they share.
        """
        if spoilt:
            proxy.facts.pop(DIFFER, None)
            return
        runs = {each.run for each in self._monitor.snapshot.engines.values() if each.state is EngineState.READY}
        fresh = self._compared[0] == runs and time.monotonic() - self._compared[1] < self._cadences.golden_s
        if fresh and DIFFER not in proxy.facts:
            return
        found = await self._golden.compare(TOKENS, self._cadences.works_timeout_s)
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


def unanswered(learnt: RunRecord, answer: HttpAnswer, aicore: int | None, limit_s: float) -> bool:
    """Whether a completion got no answer though nothing was computed meanwhile: a queue would move.

    A frozen worker shows in no metric (vLLM 0.21 counts its requests neither as running nor as waiting).
    """
    return (
        not answer.status
        and answer.took_s >= limit_s
        and learnt.answering
        and (aicore is None or aicore < RESTING_PERCENT)
    )


def forgotten(learnt: RunRecord, label: str, asked: float) -> bool:
    """Whether a rank that served before counts no request at all while one waits for it: one try is enough then.

    The first request of a run may be compiled for, which takes longer than any wait.
    """
    scrape, loads = learnt.metrics.scrape, learnt.metrics.loads
    mine = [loads[label]] if label in loads else [*loads.values()]
    if scrape is None or scrape.at < asked + COUNTED_S or not mine:
        return False
    made = any(each.counters.get("generation", 0.0) > 0 for each in scrape.engines.values())
    return (made or learnt.served_at is not None) and all(each.running == each.waiting == 0 for each in mine)


def hang_words(learnt: RunRecord, aicore: int | None, now: float, cadences: Intervals) -> str:
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
    many = "1 request runs" if running == 1 else f"{running} requests run"
    return f"hangs: {many} and no token came for {silent:.0f} s ({npu}), while /health says 200"
