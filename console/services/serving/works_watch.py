"""Sends test completions to every rank and the proxy at intervals, and detects hangs that `/health` does not show.

Traffic proves that ranks compute but not that answers are right, so ranks are tested under traffic too; a late answer is then
no failure.
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
from console.services.monitoring.service_state import endpoint_engines
from console.services.serving.answer_checks import EMPTY_200, EMPTY_500, answer_fault, proxy_fact
from console.services.serving.condition_facts import BAD_ANSWERS, DISAGREE
from console.services.serving.health import unknown_check
from console.services.serving.output_comparison import DIFFER, OutputComparison
from console.services.serving.rank_targets import RankTarget, rank_targets
from console.services.serving.request_auth import KEY_WANTED, unauthorized
from console.services.serving.trial_request import (
    TOKENS,
    TrialAnswer,
    common_answer,
    disagreement,
    outliers,
    send_trial,
    trial_answer,
    trial_fault,
)

AT_ONCE = 4
IDLE_PERCENT = 10
"""AICore use below which an NPU counts as idle, in percent."""
STATISTICS_S = 25.0
"""A statistics line older than this is ignored (vLLM 0.21 writes one every 10 s)."""
SEEN_AFTER = 1.5
"""A rank that produces tokens shows them in the metrics within this many intervals."""
COUNTED_S = 5.0
"""A request older than this is counted in the engine's metrics."""
BEHIND = "is ready behind it"
NOT_ASKED = "not asked yet since engines are ready behind it"

_ASKED = frozenset({EngineState.READY, EngineState.DEGRADED})
_WORST = (Grade.FAIL, Grade.UNKNOWN, Grade.SKIPPED, Grade.OK)


class WorksWatch:
    """The `works` health check of every rank and of the proxy."""

    def __init__(self, monitor: Monitor, links: Mapping[str, NodeLink], intervals: Intervals | None = None) -> None:
        self._monitor = monitor
        self._intervals = intervals or Intervals()
        step = min(0.5, self._intervals.works_first_s)
        self._poller = Poller(monitor, links, "works", states=_ASKED, at_once=AT_ONCE, step_s=step)
        self.comparison = OutputComparison(monitor, links)
        self._compared: tuple[object, float] = ((), 0.0)
        """The runs of the last comparison, and its time."""
        self._behind: frozenset[tuple[str, str | None]] = frozenset()
        """The runs that were ready behind the proxy at the last visit."""
        self._awaited = False
        """Whether somebody waits for an answer."""
        self._failures: Counter[tuple[RunKey, str]] = Counter()
        """Consecutive wrong answers, by run and rank."""
        self._answers: dict[tuple[RunKey, str], TrialAnswer] = {}
        """The last valid answer of each rank."""
        self._agreed: TrialAnswer | None = None
        """The last answer that all ranks agreed on."""

    async def run(self) -> None:
        """Run until cancelled; cancels running requests at the end."""
        await self._poller.run(self._visit)

    def ask_now(self) -> None:
        """Test the endpoints of the deployment now instead of at their next interval."""
        self._awaited = True
        for endpoint in endpoint_engines(self._monitor.snapshot.engines.values()):
            key = self._monitor.current(endpoint.id)
            if key is not None:
                self._poller.schedule_earlier(key, 0.0)

    def _visit(self, engine: EngineSnapshot, key: RunKey) -> None:
        if engine.role == "service":
            return
        run_record = self._monitor.run_record(key)
        now = time.time()
        words = hang_text(run_record, self._aicore(engine), now, self._intervals) if run_record.http_ok else ""
        if bool(words) != (run_record.hang is not None):
            self._monitor.touch()
        run_record.hang = HealthCheck("works", Grade.FAIL, words, now) if words else None
        if engine.role == "proxy":
            self._check_new_engines(key)
        elif self._became_idle(run_record):
            self._poller.schedule_earlier(key, 0.0)
        due = self._poller.due(key, self._intervals.works_first_s)
        link = self._poller.link(engine.node)
        if run_record.http_ok and due and link is not None and not words:
            self._poller.schedule(key, self._intervals.works_s)
            if engine.role != "proxy":
                self._poller.start(key, self._try_ranks(engine, key, run_record, link))
            elif idle := self._missing_roles():
                run_record.works = HealthCheck("works", Grade.SKIPPED, idle, now)
                self._failures.pop((key, engine.id), None)
                self._monitor.touch()
            else:
                self._poller.start(key, self._try_proxy(engine, key, run_record, link))

    def _became_idle(self, run_record: RunRecord) -> bool:
        """Whether requests of users produced tokens before and produce none now: they are answered, or an engine hangs.

        A frozen worker shows in no metric, so the engine is tested at once. Tokens of own tests do not count.
        """
        metrics = run_record.metrics
        if not metrics.idle or metrics.idle_after == metrics.moved_at:
            return False
        metrics.idle_after = moved = metrics.moved_at
        answered = run_record.works.at if run_record.works is not None else None
        return moved is not None and moved - (answered or 0.0) > SEEN_AFTER * self._intervals.metrics_s

    def _check_new_engines(self, key: RunKey) -> None:
        """Test the proxy soon when new engines are ready, because earlier answers came from other engines."""
        engines = self._monitor.snapshot.engines.values()
        ready = (each for each in engines if each.state is EngineState.READY and each.role != "proxy")
        behind = frozenset((each.id, each.run) for each in ready)
        if behind - self._behind:
            self._poller.schedule_earlier(key, self._intervals.works_first_s)
            run_record = self._monitor.run_record(key)
            if (
                run_record.works is not None
                and run_record.works.evidence.endswith(BEHIND)
                and not self._missing_roles()
            ):
                run_record.works = HealthCheck("works", Grade.SKIPPED, NOT_ASKED, time.time())
                self._monitor.touch()
        self._behind = behind

    def _missing_roles(self) -> str:
        """Why the proxy cannot answer, so that it is not tested; empty when it can."""
        behind = {each.role for each in self._monitor.snapshot.engines.values() if each.state is EngineState.READY}
        wanted = {rank.role for rank in self._monitor.deployment.ranks()}
        missing = sorted(wanted - behind)
        return f"no {' and no '.join(missing)} engine {BEHIND}" if missing else ""

    async def _try_ranks(self, engine: EngineSnapshot, key: RunKey, run_record: RunRecord, link: NodeLink) -> None:
        """Test every rank behind one server: its own ranks and those of headless processes."""
        mine = [each for each in rank_targets(self._monitor.deployment) if each.server == engine.id]
        asked, limit = time.time(), self._intervals.works_timeout_s
        answers = await asyncio.gather(*(send_trial(self._monitor, link, engine, limit, each.headers) for each in mine))
        keys = {each.process: self._monitor.current(each.process) for each in mine} | {engine.id: key}
        known = [
            (each, found, answer) for each, answer in zip(mine, answers, strict=True) if (found := keys[each.process])
        ]
        for target, run, answer in known:
            self._answers.pop((run, target.id), None)
            if not unauthorized(answer.status) and not trial_fault(answer):
                self._answers[run, target.id] = trial_answer(answer)
        odd = self._compare_ranks(key)
        grades: dict[RunKey, list[HealthCheck]] = {}
        for target, run, answer in known:
            check = self._judge(target, run, run_record, answer, asked, odd.get(target.id, ""))
            grades.setdefault(run, []).append(check)
            if check.grade not in (Grade.OK, Grade.SKIPPED):
                self._poller.schedule(key, self._intervals.works_again_s)
        before = {run: self._monitor.run_record(run).works for run in grades}
        for run, checks in grades.items():
            self._monitor.run_record(run).works = min(checks, key=lambda each: _WORST.index(each.grade))
        self._publish(before)

    def _publish(self, before: Mapping[RunKey, HealthCheck | None]) -> None:
        """Publish new checks at once when a grade changed, or somebody waits."""
        grades = {run: check and check.grade for run, check in before.items()}
        after = {run: works and works.grade for run in before for works in [self._monitor.run_record(run).works]}
        if self._awaited or after != grades:
            self._awaited = False
            self._monitor.touch()
        else:
            self._monitor.touch(urgent=False)

    def _compare_ranks(self, key: RunKey) -> dict[str, str]:
        """Rank -> how its answer differs from its peers; a rank behind another server is tested again soon."""
        targets = rank_targets(self._monitor.deployment)
        runs = {each.id: self._monitor.current(each.process) for each in targets}
        answers = {name: self._answers[run, name] for name, run in runs.items() if run and (run, name) in self._answers}
        odd = outliers(answers, self._agreed)
        for each in targets:
            server = self._monitor.current(each.server) if each.id in odd else None
            run = runs[each.id]
            if server is not None and server != key and run is not None and not self._failures[run, each.id]:
                self._poller.schedule_earlier(server, self._intervals.works_again_s)
        facts = self._monitor.run_record(key).facts
        facts.pop(DISAGREE, None)
        if words := disagreement(answers, self._agreed):
            facts[DISAGREE] = words
        self._agreed = common_answer([*answers.values()]) or self._agreed
        return odd

    def _judge(
        self, target: RankTarget, run: RunKey, run_record: RunRecord, answer: HttpAnswer, asked: float, odd: str
    ) -> HealthCheck:
        """The check of one rank from its answer; a wrong answer counts only the second time in a row."""
        now, limit = time.time(), self._intervals.works_timeout_s
        name = "" if target.index is None else f"rank {target.id}: "
        failed = (run, target.id)
        if not answer.asked:
            return unknown_check("works", answer)
        if unauthorized(answer.status):
            self._failures.pop(failed, None)
            return HealthCheck("works", Grade.SKIPPED, f"401: {KEY_WANTED}", now)
        label = target.id.rpartition("-")[2]
        moves = run_record.metrics.moves(label, now - SEEN_AFTER * self._intervals.metrics_s)
        if not answer.status and answer.took_s >= limit and moves:
            self._failures.pop(failed, None)
            return HealthCheck(
                "works", Grade.OK, "no answer in time, but other requests on this rank produce tokens", now
            )
        wrong = trial_fault(answer) or odd
        if not wrong:
            self._failures.pop(failed, None)
            return HealthCheck("works", Grade.OK, f"{name}{TOKENS} tokens in {answer.took_s * 1000:.0f} ms", now)
        self._failures[failed] += 1
        process = self._monitor.snapshot.engines.get(target.process)
        aicore = self._aicore(process) if process else None
        hangs = not moves and unanswered(run_record, answer, aicore, limit)
        if self._failures[failed] < 2 and not (hangs and not_counted(run_record, label, asked)):
            return HealthCheck("works", Grade.UNKNOWN, f"{name}{wrong}; asking once more", now)
        if hangs:
            return HealthCheck(
                "works",
                Grade.FAIL,
                f"hangs: {name}a request for {TOKENS} tokens failed ({wrong}), while /health answers 200",
                now,
            )
        return HealthCheck("works", Grade.FAIL, name + wrong, now)

    async def _try_proxy(self, engine: EngineSnapshot, key: RunKey, run_record: RunRecord, link: NodeLink) -> None:
        answer = await send_trial(self._monitor, link, engine, self._intervals.works_timeout_s)
        now, failed, before = time.time(), (key, engine.id), run_record.works
        for fact in (EMPTY_200, EMPTY_500, BAD_ANSWERS):
            run_record.facts.pop(fact, None)
        wrong = "" if unauthorized(answer.status) else trial_fault(answer)
        failing = [*self._failing_ranks()]
        if not answer.asked:
            run_record.works = unknown_check("works", answer)
        elif unauthorized(answer.status):
            run_record.works = HealthCheck("works", Grade.SKIPPED, f"401: {KEY_WANTED}", now)
            self._failures.pop(failed, None)
        elif not wrong:
            run_record.works = HealthCheck("works", Grade.OK, f"{TOKENS} tokens in {answer.took_s * 1000:.0f} ms", now)
            self._failures.pop(failed, None)
        elif failing and not answer_fault(answer):
            words = f"{wrong}; wrong answers come from these engines of the proxy: {', '.join(failing)}"
            run_record.works = HealthCheck("works", Grade.UNKNOWN, words, now)
            self._poller.schedule(key, self._intervals.works_again_s)
        else:
            self._failures[failed] += 1
            again = self._failures[failed] < 2
            grade, more = (Grade.UNKNOWN, "; asking once more") if again else (Grade.FAIL, "")
            run_record.works = HealthCheck("works", grade, wrong + more, now)
            self._poller.schedule(key, self._intervals.works_again_s)
            if not again:
                run_record.facts[proxy_fact(answer) or BAD_ANSWERS] = wrong
        self._publish({key: before})
        if run_record.works.grade is Grade.OK:
            await self._compare(run_record, failing)

    def _failing_ranks(self) -> Iterator[str]:
        """Ranks behind the proxy with wrong answers, which may cause wrong answers of the proxy."""
        for each in rank_targets(self._monitor.deployment):
            run = self._monitor.current(each.process)
            if run is not None and self._failures.get((run, each.id)):
                yield each.id

    async def _compare(self, proxy: RunRecord, failing: Sequence[str]) -> None:
        """Compare prefill alone with prefill and decode, when other engines serve than last time, and at intervals.

        Not while a rank answers wrongly by itself, because a difference then has that cause.
        """
        if failing:
            proxy.facts.pop(DIFFER, None)
            return
        runs = {each.run for each in self._monitor.snapshot.engines.values() if each.state is EngineState.READY}
        fresh = self._compared[0] == runs and time.monotonic() - self._compared[1] < self._intervals.golden_s
        if fresh and DIFFER not in proxy.facts:
            return
        found = await self.comparison.compare(self._intervals.works_timeout_s)
        if found.agree is not None:
            self._compared = (runs, time.monotonic())

    def _aicore(self, engine: EngineSnapshot) -> int | None:
        """The highest AICore use of the engine's NPUs, in percent; None when unknown."""
        node = self._monitor.snapshot.nodes.get(engine.node)
        devices = node.devices if node else ()
        known = [
            each.aicore_percent for each in devices if each.id in engine.devices and each.aicore_percent is not None
        ]
        return max(known, default=None)


def unanswered(run_record: RunRecord, answer: HttpAnswer, aicore: int | None, limit_s: float) -> bool:
    """Whether a completion got no answer although the NPUs are idle; a queue would make progress.

    A frozen worker shows in no metric (vLLM 0.21 counts its requests neither as running nor as waiting).
    """
    return (
        not answer.status
        and answer.took_s >= limit_s
        and run_record.http_ok
        and (aicore is None or aicore < IDLE_PERCENT)
    )


def not_counted(run_record: RunRecord, label: str, asked: float) -> bool:
    """Whether a rank that served before does not count the waiting request; then one test is enough.

    The first request of a run may wait for compilation, longer than any limit.
    """
    scrape, loads = run_record.metrics.scrape, run_record.metrics.loads
    mine = [loads[label]] if label in loads else [*loads.values()]
    if scrape is None or scrape.at < asked + COUNTED_S or not mine:
        return False
    made = any(each.counters.get("generation", 0.0) > 0 for each in scrape.engines.values())
    return (made or run_record.served_at is not None) and all(each.running == each.waiting == 0 for each in mine)


def hang_text(run_record: RunRecord, aicore: int | None, now: float, intervals: Intervals) -> str:
    """`hangs: …` when requests run without a new token for too long, by the metrics or the log's statistics; else empty."""
    since = list(run_record.metrics.stalled_since.values())
    running = sum(
        load.running or 0
        for label, load in run_record.metrics.loads.items()
        if label in run_record.metrics.stalled_since
    )
    told = run_record.log_state.throughput
    if not since and told is not None and told.stalled_since is not None and now - told.at < STATISTICS_S:
        since, running = [told.stalled_since], told.running
    if not since:
        return ""
    silent = now - min(since)
    resting = aicore is None or aicore < IDLE_PERCENT
    if silent < (intervals.hang_s if resting else intervals.hang_busy_s):
        return ""
    npu = "AICore unknown" if aicore is None else f"AICore {aicore} %"
    many = "1 request runs" if running == 1 else f"{running} requests run"
    return f"hangs: {many} and no token came for {silent:.0f} s ({npu}), while /health says 200"
