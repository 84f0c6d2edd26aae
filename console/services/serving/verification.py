"""Proves a deployment by using it: streamed chats through its proxy and to every rank, and a golden comparison.

What fails is remembered of the engine, so that the verdict, the diagnosis and the alerts know of it until a verification finds
the engine right or it is started anew. Nothing on a node changes but what requests do by themselves.
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
from console.services.serving.coverage import RankProof, coverage_words, finished, reached
from console.services.serving.health import expected_model
from console.services.serving.output_comparison import OutputComparison, pair
from console.services.serving.rank_targets import RankTarget, rank_targets
from console.services.serving.request_auth import client
from console.services.serving.trial_request import odd_ones, said, send_trial, trial_fault, undecided

AT_ONCE = 16
MOST = 64
"""Chats through the proxy when their number is not given."""
ROUNDS = 3
"""How often more chats are sent to a server that does not let its ranks be addressed."""
GOLDEN_TOKENS = 16
COVERAGE = "ranks"
"""Name of the proof that every rank answered."""

_SERVES = (EngineState.READY, EngineState.DEGRADED)


@dataclass(frozen=True, slots=True)
class Proof:
    """One thing that was tried."""

    name: str
    passed: bool | None
    """None when it could not be tried or proves nothing."""
    seen: str
    """What was seen: an answer, or what was wrong with it."""
    took_s: float = 0.0
    engine: str = ""
    """The engine it is about."""
    number: int = 0
    """Of the chat; 0 when it is none."""

    @property
    def about(self) -> str:
        """`decode-1: ` before what was seen of a failure, where its name does not say of which engine."""
        return f"{self.engine}: " if self.passed is False and self.engine and self.engine not in self.name else ""


@dataclass(frozen=True, slots=True)
class Verification:
    """Everything that was tried, in order, and what became of each rank."""

    proofs: tuple[Proof, ...]
    ranks: tuple[RankProof, ...] = ()

    @property
    def failed(self) -> tuple[Proof, ...]:
        """What was tried and went wrong."""
        return tuple(each for each in self.proofs if each.passed is False)

    @property
    def passed(self) -> bool:
        """Whether nothing failed, something was answered, and every rank answered."""
        whole = all(each.answered for each in self.ranks)
        return not self.failed and any(each.passed for each in self.proofs) and whole

    @property
    def unreachable(self) -> bool:
        """Whether nothing speaks against the deployment but nodes that are out of reach."""
        missed = [each for each in self.ranks if not each.answered]
        return not self.failed and bool(missed) and all(each.unreachable for each in missed)

    @property
    def verdict(self) -> str:
        """`verified`, or `NOT verified` with the engines that failed."""
        if self.passed:
            return "verified"
        about = name_ranges(in_order(each.engine for each in self.failed if each.engine))
        return "NOT verified" + (f"; failed: {about}" if about else "")

    def words(self) -> str:
        """The verdict with the coverage of ranks, in one line."""
        chats = sum(each.number > 0 for each in self.proofs)
        coverage = [coverage_words(self.ranks)] if self.ranks else []
        return "; ".join([self.verdict, *coverage, *([f"{chats} chats"] if self.passed else [])])


@dataclass(frozen=True, slots=True)
class VerificationRequest:
    """What is tried, and how."""

    prompt: str = "Say hello."
    requests: int = 0
    """Chats through the proxy, or at least so many without one; 0 means as often as there are pairs of prefill and decode
    engines, at most MOST. Every rank gets one besides."""
    timeout_s: float = 120.0
    """Limit of each request."""
    tokens: int = 16
    hear: Callable[[int, str], None] | None = None
    """Hears the text of each chat as it comes, with the chat's number."""


@dataclass(slots=True)
class _Round:
    """One verification while it goes on."""

    ask: VerificationRequest
    notice: Callable[[Proof], None]
    proofs: list[Proof] = field(default_factory=list)
    chats: int = 0
    gate: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))

    def tell(self, proof: Proof) -> Proof:
        self.proofs.append(proof)
        self.notice(proof)
        return proof


class Verifier:
    """Asks the engines of one session."""

    def __init__(self, monitor: Monitor, links: Mapping[str, NodeLink]) -> None:
        self._monitor = monitor
        self._links = links
        self._golden = OutputComparison(monitor, links)

    async def run(self, notice: Callable[[Proof], None], ask: VerificationRequest | None = None) -> Verification:
        """Chat through the proxy and with every rank, then compare prefill alone with both; `notice` hears each proof.

        Raises UsageError for numbers that cannot be, Refused when nothing serves, Unreachable when nobody can know.
        """
        ask = ask or VerificationRequest()
        if ask.requests < 0 or ask.timeout_s <= 0:
            raise UsageError("a number of requests and a time limit are above 0")
        door = self._door()
        work = _Round(ask, notice)
        servers = [each for role in ("prefill", "decode", "mixed") for each in self._with_port(role)]
        before = await finished(self._monitor, self._links, [each for each in servers if each.state in _SERVES])
        if door.role == "proxy":
            pairs = max(1, len(self._with_port("prefill"))) * max(1, len(servers) - len(self._with_port("prefill")))
            through = [self._chat(work, door, f"through {door.id}") for _ in range(ask.requests or min(MOST, pairs))]
            await asyncio.gather(*through)
        ranks = await self._try_ranks(work, before, servers)
        words = coverage_words(ranks)
        work.tell(Proof(COVERAGE, _all(each.answered for each in ranks), words))
        if door.role == "proxy" and self._with_port("prefill") and self._with_port("decode"):
            work.tell(await self._compare(door, ask.timeout_s))
        made = Verification(tuple(work.proofs), ranks)
        self._remember(made, door)
        return made

    def _with_port(self, role: str) -> list[EngineSnapshot]:
        engines = self._monitor.snapshot.engines.values()
        return [each for each in engines if each.role == role and each.port is not None and "@" not in each.id]

    def _door(self) -> EngineSnapshot:
        """The proxy, else an engine that serves."""
        found = self._with_port("proxy") or self._with_port("mixed")
        if not found:
            raise Refused(
                "the deployment has no proxy and no engine that could answer", hint="assign nodes, then start"
            )
        door = next((each for each in found if each.state in _SERVES), found[0])
        if door.state is EngineState.UNREACHABLE:
            link = self._monitor.snapshot.nodes[door.node].link
            raise Unreachable(f"{door.id} cannot be asked: {door.node}: {link.reason or link.state}", hint=link.hint)
        if door.state not in _SERVES:
            raise Refused(f"{door.id} is {door.state}, so nothing can be verified", hint="start it first; see `status`")
        return door

    async def _chat(self, work: _Round, engine: EngineSnapshot, how: str, target: RankTarget | None = None) -> Proof:
        """One streamed chat with a server or with one rank behind it, as a proof of whom it was sent to."""
        ask, number = work.ask, work.chats + 1
        work.chats = number
        # With one prompt for all, prefix caches would spare most engines the work that is to be proven.
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
        return work.tell(Proof(f"chat {number} {how}", passed, seen, answer.took_s, about, number))

    async def _try_ranks(
        self, work: _Round, before: Mapping[str, float], servers: Sequence[EngineSnapshot]
    ) -> tuple[RankProof, ...]:
        """At least one chat for every rank whose server serves, and more where a server does not let them be addressed."""
        known = {each.id: each for each in servers if each.state in _SERVES}
        targets = rank_targets(self._monitor.deployment)
        asked = [each for each in targets if each.server in known]
        proofs = await asyncio.gather(
            *(self._chat(work, known[each.server], f"to rank {each.id}", each) for each in asked)
        )
        found = {each.id: proof for each, proof in zip(asked, proofs, strict=True)}
        if self._door().role != "proxy":
            more = [asked[at % len(asked)] for at in range(len(asked), work.ask.requests)]
            extra = (self._chat(work, known[each.server], f"to rank {each.id}", each) for each in more)
            for each, proof in zip(more, await asyncio.gather(*extra), strict=True):
                found[each.id] = proof if proof.passed is False else found[each.id]
        for proof in await self._try_alike(work, [each for each in asked if found[each.id].passed], known):
            found[proof.name.rpartition(" ")[2]] = proof
        after = await self._cover(work, asked, known, before)
        return tuple(self._outcome(each, found.get(each.id), before, after) for each in targets)

    async def _try_alike(
        self, work: _Round, asked: Sequence[RankTarget], known: Mapping[str, EngineSnapshot]
    ) -> list[Proof]:
        """The same question to every rank; what is returned are the failures, one for each rank that answered wrongly."""

        async def ask(target: RankTarget) -> HttpAnswer:
            server = known[target.server]
            async with work.gate:
                link, limit = self._links[server.node], work.ask.timeout_s
                return await send_trial(self._monitor, link, server, limit, target.headers)

        answers = dict(zip(asked, await asyncio.gather(*(ask(each) for each in asked)), strict=True))
        faults = {each: trial_fault(answer) for each, answer in answers.items()}
        words = {each.id: said(answers[each]) for each, fault in faults.items() if not fault}
        odd = odd_ones(words)
        wrong = {each: faults[each] or odd.get(each.id, "") for each in asked}
        failed = [
            work.tell(Proof(f"same question to rank {each.id}", False, words, answers[each].took_s, each.process))
            for each, words in wrong.items()
            if words
        ]
        if doubt := undecided(words):
            seen = f"they differ, and nobody can tell who is right: {doubt}"
            work.tell(Proof("same question to all ranks", False, seen))
        elif not failed and len(words) > 1:
            seen = f"{len(words)} ranks answer {next(iter(words.values()))}"
            work.tell(Proof("same question to all ranks", True, seen))
        return failed

    async def _cover(
        self,
        work: _Round,
        asked: Sequence[RankTarget],
        known: Mapping[str, EngineSnapshot],
        before: Mapping[str, float],
    ) -> dict[str, float]:
        """What ranks have finished by now, after more chats to servers some of whose ranks finished nothing."""
        for left in range(ROUNDS, -1, -1):
            after = await finished(self._monitor, self._links, [*known.values()])
            missed = [each for each in asked if each.index is not None and reached(each, before, after) is False]
            if not missed or not left:
                break
            behind = [each for each in asked if each.server in {one.server for one in missed}][:MOST]
            await asyncio.gather(*(self._chat(work, known[each.server], f"to {each.server}") for each in behind))
        return after

    def _outcome(
        self, target: RankTarget, proof: Proof | None, before: Mapping[str, float], after: Mapping[str, float]
    ) -> RankProof:
        if proof is None:
            server = self._monitor.snapshot.engines[target.server]
            gone = server.state is EngineState.UNREACHABLE
            why = f"{server.node} is out of reach" if gone else f"{target.server} is {server.state}"
            return RankProof(target.id, target.process, None, why, gone)
        if proof.passed is None:
            return RankProof(target.id, target.process, None, proof.seen, unreachable=True)
        got = True if target.index is None else reached(target, before, after)
        if got is False:
            return RankProof(target.id, target.process, None, f"{target.server} passed it no request")
        if proof.passed and got is None:
            return RankProof(target.id, target.process, None, f"{target.server} does not report which ranks it used")
        return RankProof(target.id, target.process, proof.passed, "" if proof.passed else proof.seen)

    async def _compare(self, door: EngineSnapshot, timeout_s: float) -> Proof:
        sides = pair(self._monitor.snapshot)
        found = await self._golden.compare(GOLDEN_TOKENS, timeout_s)
        name = f"golden: {sides[0].id if sides else 'prefill'} alone and through {door.id}"
        proof = Proof(name, (found.agree or False) if found.asked else None, found.seen, found.took_s, door.id)
        if found.agree is not False:
            return proof
        fix = "check block size, KV layout and quantization of both"
        return replace(proof, passed=False, seen=f"they differ (E9): {found.seen}; {fix}")

    def _remember(self, made: Verification, door: EngineSnapshot) -> None:
        """Keep of every engine what was found wrong with it, or right."""
        now = time.time()
        wrong: dict[str, str] = {}
        for rank in made.ranks:
            if rank.answered is False:
                name = "" if rank.id == rank.engine else f"rank {rank.id}: "
                wrong.setdefault(rank.engine, f"{name}{rank.why}")
        chats = [each for each in made.proofs if each.number and each.name.endswith(f" through {door.id}")]
        bad = [each for each in chats if each.passed is False]
        good = [each for each in chats if each.passed]
        blamed = {each.engine for each in made.ranks if each.answered is False}
        if bad and not blamed:
            wrong[door.id] = f"{len(bad)} of {len(chats)} chats failed: {bad[0].seen}"
        for proof in made.proofs:
            if proof.passed is False and proof.number and proof not in chats and not blamed:
                wrong.setdefault(proof.engine, proof.seen)
        right = {each.engine for each in made.ranks} - {each.engine for each in made.ranks if not each.answered}
        right |= {door.id} if good and not bad else set()
        for name in {*wrong, *right}:
            key = self._monitor.current(name)
            if key is None:
                continue
            learnt = self._monitor.learnt(key)
            learnt.proof = HealthCheck("verify", Grade.FAIL, wrong[name], now) if name in wrong else None
            if name in right and name not in wrong:
                learnt.works = HealthCheck("works", Grade.OK, "its chats were answered", now)
        self._monitor.touch()


def _all(answers: Iterable[bool | None]) -> bool | None:
    """True when all are, False when one is not, else None."""
    found = [*answers]
    return False if False in found else True if found and all(found) else None
