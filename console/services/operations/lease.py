"""Holds the deployment's lease while a plan runs, so that a second operator is told who is at work instead of interfering.

What may run at once is decided by each run's lock on its node. A lease that cannot be had because its node is out of
reach, or its disk full, stops nobody: a stop must work then.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncIterator, Callable, Mapping

from pydantic import JsonValue

from console.model.errors import Busy, LinkLost, NodeError, UnderWay, Unreachable
from console.model.findings import Finding, Severity
from console.model.ongoing_work import OngoingPlan
from console.model.plan import Plan
from console.model.snapshot import LinkState
from console.model.start_timing import about
from console.probes.sanitize import clean
from console.remote.link import NodeLink

RENEW_S = 15.0
"""A sixth of the time after which a node takes a lease for abandoned."""
WATCH_S = 1.0
"""Between looks whether somebody has taken it over: whoever was overtaken must not start another step."""
TAKE_TRIES = 3
TAKE_AGAIN_S = 20.0
"""How long a link that was lost under the question may stay away."""
LOOK_S = 1.0
"""How long a plan that is to be shown waits for the word on who is at work."""
NAME_CHARS = 80


def keeper(nodes: tuple[str, ...], links: Mapping[str, NodeLink]) -> NodeLink | None:
    """The node that keeps the lease: the deployment's first."""
    return links.get(nodes[0]) if nodes else None


def work_of(answer: Mapping[str, JsonValue], now: float) -> OngoingPlan | None:
    """Who is at work, from a node's answer; None without a lease that counts."""
    return _work(answer, now, expired=False)


def abandoned_of(answer: Mapping[str, JsonValue], now: float) -> OngoingPlan | None:
    """Whose plan never gave its lease back, from a node's answer: its console was killed, or is cut off. None where it did."""
    return _work(answer, now, expired=True)


def _work(answer: Mapping[str, JsonValue], now: float, *, expired: bool) -> OngoingPlan | None:
    lease = answer.get("lease")
    if not isinstance(lease, dict) or not lease.get("holder") or bool(lease.get("expired")) is not expired:
        return None
    age, ends = lease.get("age_s"), lease.get("ends")
    since = now - age if isinstance(age, int | float) else now
    named = frozenset(str(each) for each in ends) if isinstance(ends, list) else frozenset[str]()
    return OngoingPlan(_plain(lease["holder"]), _plain(lease.get("verb")), since, named)


def _plain(value: object) -> str:
    """A name from a node, made safe to show."""
    return clean(str(value))[:NAME_CHARS]


def own_work(plan: Plan, who: str, now: float) -> OngoingPlan:
    """The same of a plan that runs here."""
    return OngoingPlan(who, _verb(plan), now, frozenset(_ends(plan)))


async def look(link: NodeLink | None, deployment: str, limit_s: float) -> Mapping[str, JsonValue] | None:
    """What the node that keeps the lease tells of it now; None when it does not answer in time."""
    if link is None or link.link.state is not LinkState.UP:
        return None
    try:
        async with asyncio.timeout(limit_s):
            return await link.lease(deployment, "look")
    except (NodeError, Unreachable, TimeoutError):
        return None


async def at_work(link: NodeLink | None, deployment: str) -> OngoingPlan | None:
    """Who holds the lease now; None when nobody does, or when its node does not say so at once."""
    answer = await look(link, deployment, LOOK_S)
    return None if answer is None else work_of(answer, time.time())


def warning(work: OngoingPlan, now: float) -> Finding:
    """What a plan that is only shown yet says of somebody at work."""
    message = f"{work.words()}, since {about(max(0.0, now - work.since))}"
    fix = (
        f"wait for it, or ask them; once this is confirmed, a second question asks for {work.holder}, typed, "
        "to take over from them (without the screen: --takeover)"
    )
    return Finding("LEASE", Severity.WARNING, message, "deployment", fix=fix)


def under_way(work: OngoingPlan, verb: str, now: float) -> UnderWay:
    """Why nothing can be planned beside somebody's plan that has only just started."""
    ends = verb in ("stop", "kill")
    if ends:
        now_is = "no engine of it runs yet, so there is nothing to end"
    else:
        now_is = f"all its engines run, so there is nothing to {verb} yet"
    message = f"the {work.verb} of {work.holder} is under way, since {about(max(0.0, now - work.since))}: {now_is}"
    again = f"{verb} again in a few seconds: then its plan takes over from {work.holder} and ends what was launched"
    hint = f"{again}; or ask them" if ends else f"wait for it, or ask {work.holder}"
    return UnderWay(message, hint=hint, holder=work.holder)


@contextlib.asynccontextmanager
async def held(
    link: NodeLink | None,
    plan: Plan,
    who: str,
    *,
    takeover: bool,
    tell: Callable[[str], None],
    overtaken: Callable[[str], None],
) -> AsyncIterator[None]:
    """Hold the lease for the length of the block. Raises Busy naming the holder when somebody else is at work.

    `overtaken` is called once with whoever takes it over meanwhile, `bob@jump (stop)`.
    """
    if link is None:
        yield
        return
    token = secrets.token_hex(8)
    try:
        answer = await _taken(link, plan, who, token, takeover)
    except (NodeError, Unreachable) as error:
        if isinstance(error, Unreachable) or error.kind == "os":
            tell(f"going on without the lease: {error}")
            yield
            return
        raise
    lease = answer.get("lease")
    if isinstance(lease, dict) and lease.get("taken_from"):
        tell(f"lease taken over from {clean(str(lease['taken_from']))[:NAME_CHARS]}")
    renewing = asyncio.create_task(_keep(link, plan, who, token, overtaken), name="lease")
    try:
        yield
    finally:
        renewing.cancel()
        await asyncio.gather(renewing, return_exceptions=True)
        with contextlib.suppress(NodeError, Unreachable):
            await link.lease(plan.deployment, "give-back", token=token)


async def _taken(link: NodeLink, plan: Plan, who: str, token: str, takeover: bool) -> Mapping[str, JsonValue]:
    """Take the lease. Raises Busy naming the holder.

    An answer that did not come in time is asked for again, as is one that names nobody yet: with the same token that is safe.
    A plan that ends engines does not wait for it.
    """
    tries = 1 if plan.emergency else TAKE_TRIES
    while True:
        tries -= 1
        try:
            return await link.lease(
                plan.deployment,
                "take",
                holder=who,
                verb=_verb(plan),
                token=token,
                takeover=takeover,
                ends=[*_ends(plan)],
            )
        except LinkLost:
            if not tries or not await link.wait_up(TAKE_AGAIN_S):
                raise
        except NodeError as error:
            if error.kind != "busy":
                raise
            holder = await _holder(link, plan)
            if holder or not tries:
                hint = "ask them; to take over: dsv4-console VERB --takeover"
                raise Busy(str(error), hint=hint, holder=holder) from error


async def _keep(link: NodeLink, plan: Plan, who: str, token: str, overtaken: Callable[[str], None]) -> None:
    """Renew the lease until the block ends, or until another operator has taken it over."""
    renew_at = time.monotonic() + RENEW_S
    while True:
        await asyncio.sleep(WATCH_S)
        answer = await look(link, plan.deployment, LOOK_S)
        lease = answer.get("lease") if answer else None
        if isinstance(lease, dict) and lease.get("token") not in (None, token):
            overtaken(f"{_plain(lease.get('holder'))} ({_plain(lease.get('verb'))})")
            return
        if time.monotonic() < renew_at:
            continue
        with contextlib.suppress(NodeError, Unreachable):  # `busy`: the next look tells by whom
            await link.lease(
                plan.deployment, "take", holder=who, verb=_verb(plan), token=token, takeover=False, ends=[*_ends(plan)]
            )
            renew_at = time.monotonic() + RENEW_S


async def _holder(link: NodeLink, plan: Plan) -> str:
    with contextlib.suppress(NodeError, Unreachable):
        lease = (await link.lease(plan.deployment, "look")).get("lease")
        return clean(str(lease.get("holder") or ""))[:NAME_CHARS] if isinstance(lease, dict) else ""
    return ""


def _ends(plan: Plan) -> list[str]:
    """The engines it takes down."""
    ending = (step.engines for step in plan.steps if step.act in ("stop", "kill"))
    return [*dict.fromkeys(engine for engines in ending for engine in engines)]


def _verb(plan: Plan) -> str:
    """What the others are told: nobody pressed a key for what a policy does."""
    return f"{plan.verb} by policy" if plan.restarts else plan.verb
