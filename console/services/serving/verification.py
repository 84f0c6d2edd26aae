"""Verifies a deployment with real requests: streamed chats through its proxy and to every rank, and a comparison of outputs.

A failure stays recorded for its engine until a verification passes or the engine is restarted, so that state, diagnosis and
alerts include it. Changes nothing on nodes.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from console.model.errors import Refused, Unreachable, UsageError
from console.model.name_ranges import in_order, name_ranges
from console.model.snapshot import NOT_ASKED, EngineSnapshot, EngineState, Grade, HealthCheck
from console.probes.sanitize import clean
from console.remote.http import HttpAnswer
from console.remote.link import NodeLink
from console.services.monitoring.monitor import Monitor
from console.services.serving.answer_checks import ChatStream
from console.services.serving.coverage import RankProof, coverage_words, finished_requests, was_reached
from console.services.serving.health import expected_model
from console.services.serving.output_comparison import OutputComparison, comparison_pair
from console.services.serving.rank_targets import RankTarget, rank_targets
from console.services.serving.request_auth import client
from console.services.serving.trial_request import disagreement, outliers, send_trial, trial_answer, trial_fault

AT_ONCE = 16
MOST = 64
"""Maximum number of chats through the proxy when no number is given."""
ROUNDS = 3
"""How often to send more chats to a server whose ranks cannot be addressed."""
COVERAGE = "ranks"
"""Name of the proof that every rank answered."""

_SERVES = (EngineState.READY, EngineState.DEGRADED)


@dataclass(frozen=True, slots=True)
class Proof:
    """The result of one request or comparison."""

    name: str
    passed: bool | None
    """None when it could not run or proves nothing."""
    seen: str
    """What was seen: an answer, or what was wrong with it."""
    took_s: float = 0.0
    engine: str = ""
    """The engine it is about."""
    number: int = 0
    """Number of the chat; 0 for other results."""

    @property
    def about(self) -> str:
        """`decode-1: ` before what was seen of a failure, where its name does not say of which engine."""
        return f"{self.engine}: " if self.passed is False and self.engine and self.engine not in self.name else ""


@dataclass(frozen=True, slots=True)
class Verification:
    """All results in order, and the result of each rank."""

    proofs: tuple[Proof, ...]
    ranks: tuple[RankProof, ...] = ()

    @property
    def failed(self) -> tuple[Proof, ...]:
        """The failed results."""
        return tuple(each for each in self.proofs if each.passed is False)

    @property
    def passed(self) -> bool:
        """Whether nothing failed, at least one result passed, and every rank answered."""
        whole = all(each.answered for each in self.ranks)
        return not self.failed and any(each.passed for each in self.proofs) and whole

    @property
    def unreachable(self) -> bool:
        """Whether only unreachable nodes prevent a pass."""
        missed = [each for each in self.ranks if not each.answered]
        return not self.failed and bool(missed) and all(each.unreachable for each in missed)

    @property
    def verdict(self) -> str:
        """`verified`, or `NOT verified` with the engines that failed."""
        if self.passed:
            return "verified"
        wrong = {each.engine for each in self.ranks if each.answered is False}
        about = name_ranges(in_order({each.engine for each in self.failed if each.engine} | wrong))
        return "NOT verified" + (f"; checks of {about} failed" if about else "")

    def words(self) -> str:
        """The verdict with the coverage of ranks, in one line."""
        chats = sum(each.number > 0 for each in self.proofs)
        coverage = [coverage_words(self.ranks)] if self.ranks else []
        return "; ".join([self.verdict, *coverage, *([f"{chats} chats"] if self.passed else [])])


@dataclass(frozen=True, slots=True)
class VerificationRequest:
    """The settings of a verification."""

    prompt: str = "Say hello."
    requests: int = 0
    """Number of chats through the proxy, or the minimum without a proxy; 0: one per pair of prefill and decode engines, at
    most MOST. In addition every rank gets one chat."""
    timeout_s: float = 120.0
    """Limit of each request."""
    tokens: int = 16
    hear: Callable[[int, str], None] | None = None
    """Receives the text of each chat while it arrives, with the number of the chat."""


@dataclass(slots=True)
class _Run:
    """A running verification."""

    ask: VerificationRequest
    notice: Callable[[Proof], None]
    proofs: list[Proof] = field(default_factory=list)
    chats: int = 0
    gate: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))

    def add(self, proof: Proof) -> Proof:
        self.proofs.append(proof)
        self.notice(proof)
        return proof


class Verifier:
    """Verifies the deployment of one session."""

    def __init__(self, monitor: Monitor, links: Mapping[str, NodeLink], comparison: OutputComparison) -> None:
        self._monitor = monitor
        self._links = links
        self._comparison = comparison

    async def run(self, notice: Callable[[Proof], None], ask: VerificationRequest | None = None) -> Verification:
        """Chat through the proxy and with every rank, then compare prefill alone with both; `notice` gets each result.

        Raises UsageError for invalid numbers, Refused when nothing serves, Unreachable when that is unknown.
        """
        ask = ask or VerificationRequest()
        if ask.requests < 0 or ask.timeout_s <= 0:
            raise UsageError("the number of requests must be 0 or more, and the time limit more than 0 s")
        endpoint = self._endpoint()
        work = _Run(ask, notice)
        servers = [each for role in ("prefill", "decode", "mixed") for each in self._with_port(role)]
        before = await finished_requests(
            self._monitor, self._links, [each for each in servers if each.state in _SERVES]
        )
        if endpoint.role == "proxy":
            pairs = max(1, len(self._with_port("prefill"))) * max(1, len(servers) - len(self._with_port("prefill")))
            through = [
                self._chat(work, endpoint, f"through {endpoint.id}") for _ in range(ask.requests or min(MOST, pairs))
            ]
            await asyncio.gather(*through)
        ranks = await self._try_ranks(work, before, servers)
        if endpoint.role == "proxy" and self._with_port("prefill") and self._with_port("decode"):
            ranks = await self._compare(work, endpoint, ranks)
        work.add(Proof(COVERAGE, _all(each.answered for each in ranks), coverage_words(ranks)))
        made = Verification(tuple(work.proofs), ranks)
        self._remember(made, endpoint)
        return made

    def _with_port(self, role: str) -> list[EngineSnapshot]:
        engines = self._monitor.snapshot.engines.values()
        return [each for each in engines if each.role == role and each.port is not None and "@" not in each.id]

    def _endpoint(self) -> EngineSnapshot:
        """The endpoint for user requests: the proxy, else an engine that serves."""
        found = self._with_port("proxy") or self._with_port("mixed")
        if not found:
            raise Refused(
                "the deployment has neither a proxy nor a mixed engine with an HTTP port",
                hint="assign nodes, then start",
            )
        endpoint = next((each for each in found if each.state in _SERVES), found[0])
        if endpoint.state is EngineState.UNREACHABLE:
            link = self._monitor.snapshot.nodes[endpoint.node].link
            raise Unreachable(
                f"{endpoint.id} cannot be asked: {endpoint.node}: {link.reason or link.state}", hint=link.hint
            )
        if endpoint.state not in _SERVES:
            raise Refused(
                f"{endpoint.id} is {endpoint.state}, so nothing can be verified", hint="start it first; see `status`"
            )
        return endpoint

    async def _chat(self, work: _Run, engine: EngineSnapshot, how: str, target: RankTarget | None = None) -> Proof:
        """Send one streamed chat to a server, or to one rank behind it."""
        ask, number = work.ask, work.chats + 1
        work.chats = number
        # Each prompt differs, because prefix caches would answer an equal prompt without the work to verify.
        messages = [{"role": "user", "content": f"{ask.prompt} (request {number})"}]
        body = {"messages": messages, "max_tokens": ask.tokens, "temperature": 0, "stream": True}
        full = {"model": expected_model(self._monitor.deployment), **body, "stream_options": {"include_usage": True}}
        stream = ChatStream(ask.tokens)

        def hear(data: bytes) -> None:
            if (text := stream.feed(data)) and ask.hear is not None:
                ask.hear(number, clean(text))

        address = self._monitor.deployment.address(engine.node) or "127.0.0.1"
        http = client(self._links[engine.node], self._monitor.deployment.layout, engine.group)
        headers = target.headers if target else {}
        async with work.gate:
            answer = await http.post_json(
                address, engine.port or 0, "/v1/chat/completions", full, ask.timeout_s, hear, headers
            )
        passed, seen = stream.verdict(answer) if answer.asked else (None, f"{NOT_ASKED}: {clean(answer.error)}")
        about = target.process if target else engine.id
        return work.add(Proof(f"chat {number} {how}", passed, seen, answer.took_s, about, number))

    async def _try_ranks(
        self, work: _Run, before: Mapping[str, float], servers: Sequence[EngineSnapshot]
    ) -> tuple[RankProof, ...]:
        """Send at least one chat to every rank with a serving server, and more where ranks cannot be addressed."""
        known = {each.id: each for each in servers if each.state in _SERVES}
        targets = rank_targets(self._monitor.deployment)
        asked = [each for each in targets if each.server in known]
        proofs = await asyncio.gather(
            *(self._chat(work, known[each.server], f"to rank {each.id}", each) for each in asked)
        )
        found = {each.id: proof for each, proof in zip(asked, proofs, strict=True)}
        if self._endpoint().role != "proxy":
            more = [asked[at % len(asked)] for at in range(len(asked), work.ask.requests)]
            extra = (self._chat(work, known[each.server], f"to rank {each.id}", each) for each in more)
            for each, proof in zip(more, await asyncio.gather(*extra), strict=True):
                found[each.id] = proof if proof.passed is False else found[each.id]
        for proof in await self._compare_ranks(work, [each for each in asked if found[each.id].passed], known):
            found[proof.name.rpartition(" ")[2]] = proof
        after = await self._cover_ranks(work, asked, known, before)
        return tuple(self._rank_proof(each, found.get(each.id), before, after) for each in targets)

    async def _compare_ranks(
        self, work: _Run, asked: Sequence[RankTarget], known: Mapping[str, EngineSnapshot]
    ) -> list[Proof]:
        """Send the same prompt to every rank. Gives the failures, one for each rank with a wrong answer."""

        async def ask(target: RankTarget) -> HttpAnswer:
            server = known[target.server]
            async with work.gate:
                link, limit = self._links[server.node], work.ask.timeout_s
                return await send_trial(self._monitor, link, server, limit, target.headers)

        answers = dict(zip(asked, await asyncio.gather(*(ask(each) for each in asked)), strict=True))
        faults = {each: trial_fault(answer) for each, answer in answers.items()}
        words = {each.id: trial_answer(answers[each]) for each, fault in faults.items() if not fault}
        odd = outliers(words)
        wrong = {each: faults[each] or odd.get(each.id, "") for each in asked}
        failed = [
            work.add(Proof(f"same question to rank {each.id}", False, words, answers[each].took_s, each.process))
            for each, words in wrong.items()
            if words
        ]
        if doubt := disagreement(words):
            seen = f"the answers differ, and the right one is unknown: {doubt}"
            work.add(Proof("same question to all ranks", False, seen))
        elif not failed and len(words) > 1:
            seen = f"{len(words)} ranks answer {next(iter(words.values()))}"
            work.add(Proof("same question to all ranks", True, seen))
        return failed

    async def _cover_ranks(
        self,
        work: _Run,
        asked: Sequence[RankTarget],
        known: Mapping[str, EngineSnapshot],
        before: Mapping[str, float],
    ) -> dict[str, float]:
        """The finished requests of ranks, after more chats to servers with ranks that finished none."""
        for left in range(ROUNDS, -1, -1):
            after = await finished_requests(self._monitor, self._links, [*known.values()])
            missed = [each for each in asked if each.index is not None and was_reached(each, before, after) is False]
            if not missed or not left:
                break
            behind = [each for each in asked if each.server in {one.server for one in missed}][:MOST]
            await asyncio.gather(*(self._chat(work, known[each.server], f"to {each.server}") for each in behind))
        return after

    def _rank_proof(
        self, target: RankTarget, proof: Proof | None, before: Mapping[str, float], after: Mapping[str, float]
    ) -> RankProof:
        if proof is None:
            server = self._monitor.snapshot.engines[target.server]
            gone = server.state is EngineState.UNREACHABLE
            why = f"{server.node} is unreachable" if gone else f"{target.server} is {server.state}"
            return RankProof(target.id, target.process, None, why, gone)
        if proof.passed is None:
            return RankProof(target.id, target.process, None, proof.seen, unreachable=True)
        got = True if target.index is None else was_reached(target, before, after)
        if got is False:
            return RankProof(target.id, target.process, None, f"{target.server} passed it no request")
        if proof.passed and got is None:
            return RankProof(target.id, target.process, None, f"{target.server} does not report which ranks it used")
        return RankProof(target.id, target.process, proof.passed, "" if proof.passed else proof.seen)

    async def _compare(
        self, work: _Run, endpoint: EngineSnapshot, ranks: tuple[RankProof, ...]
    ) -> tuple[RankProof, ...]:
        """Compare prefill alone with answers through the proxy. Gives the ranks, where those whose answers differ failed."""
        sides = comparison_pair(self._monitor.snapshot)
        found = await self._comparison.compare(work.ask.timeout_s, work.ask.requests)
        name = f"comparison: {sides[0].id if sides else 'prefill'} alone and through {endpoint.id}"
        about = {each.engine for each in ranks if each.id in found.ranks} or {endpoint.id}
        engine = next(iter(about)) if len(about) == 1 else ""
        proof = Proof(name, (found.agree or False) if found.asked else None, found.seen, found.took_s, engine)
        if found.agree is not False:
            work.add(proof)
            return ranks
        fix = "check block size, KV layout and quantization of both"
        work.add(replace(proof, passed=False, seen=f"they differ (failure E9): {found.seen}; {fix}"))
        why = "through the proxy it answers otherwise than prefill alone (failure E9)"
        return tuple(
            replace(each, answered=False, why=why) if each.id in found.ranks and each.answered is not False else each
            for each in ranks
        )

    def _remember(self, made: Verification, endpoint: EngineSnapshot) -> None:
        """Record for every engine what failed or passed."""
        now = time.time()
        wrong: dict[str, str] = {}
        for rank in made.ranks:
            if rank.answered is False:
                name = "" if rank.id == rank.engine else f"rank {rank.id}: "
                wrong.setdefault(rank.engine, f"{name}{rank.why}")
        chats = [each for each in made.proofs if each.number and each.name.endswith(f" through {endpoint.id}")]
        bad = [each for each in chats if each.passed is False]
        good = [each for each in chats if each.passed]
        blamed = {each.engine for each in made.ranks if each.answered is False}
        if bad and not blamed:
            wrong[endpoint.id] = f"{len(bad)} of {len(chats)} chats failed: {bad[0].seen}"
        for proof in made.proofs:
            if proof.passed is False and proof.number and proof not in chats and not blamed:
                wrong.setdefault(proof.engine, proof.seen)
        right = {each.engine for each in made.ranks} - {each.engine for each in made.ranks if not each.answered}
        right |= {endpoint.id} if good and not bad else set()
        for name in {*wrong, *right}:
            key = self._monitor.current(name)
            if key is None:
                continue
            run_record = self._monitor.run_record(key)
            run_record.proof = HealthCheck("verify", Grade.FAIL, wrong[name], now) if name in wrong else None
            if name in right and name not in wrong:
                run_record.works = HealthCheck("works", Grade.OK, "its chats were answered", now)
        self._monitor.touch()


def _all(answers: Iterable[bool | None]) -> bool | None:
    """True when all are true, False when one is false, else None."""
    found = [*answers]
    return False if False in found else True if found and all(found) else None
