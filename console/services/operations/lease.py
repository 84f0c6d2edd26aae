"""Holds the deployment's lease while a plan runs, so that a second operator sees who is at work and does not interfere.

The lock of each run on its node decides what may run at once. A plan also runs without a lease when the lease's node is
unreachable or its disk is full, because a stop must work then.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncIterator, Callable, Mapping

from pydantic import JsonValue

from console.model.durations import about
from console.model.errors import Busy, LinkLost, NodeError, UnderWay, Unreachable
from console.model.findings import Finding, Severity
from console.model.ongoing_work import OngoingPlan
from console.model.plan import Plan
from console.model.snapshot import LinkState
from console.probes.sanitize import clean
from console.remote.link import NodeLink

RENEW_S = 15.0
"""A sixth of the time after which a node takes a lease for abandoned."""
WATCH_S = 1.0
"""Time between two checks for a takeover. A console whose lease was taken over starts no further step."""
TAKE_TRIES = 3
LINK_RETURN_S = 20.0
"""How long to wait for a link that was lost while the lease was requested."""
READ_S = 1.0
"""How long the preparation of a plan waits for the node that keeps the lease."""
NAME_CHARS = 80


def lease_link(nodes: tuple[str, ...], links: Mapping[str, NodeLink]) -> NodeLink | None:
    """The link to the node that keeps the lease: the first node of the deployment."""
    return links.get(nodes[0]) if nodes else None


def ongoing_plan(answer: Mapping[str, JsonValue], now: float) -> OngoingPlan | None:
    """The plan that runs, from a node's answer; None without a valid lease."""
    return _work(answer, now, expired=False)


def abandoned_plan(answer: Mapping[str, JsonValue], now: float) -> OngoingPlan | None:
    """The plan whose lease expired without being returned: its console was killed or lost the node. None without such a lease."""
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


def own_plan(plan: Plan, who: str, now: float) -> OngoingPlan:
    """A plan of this console, described as other consoles see it."""
    return OngoingPlan(who, _verb(plan), now, frozenset(_stopped_engines(plan)))


async def read_lease(link: NodeLink | None, deployment: str, limit_s: float) -> Mapping[str, JsonValue] | None:
    """The lease as its node reports it now; None when the node does not answer within `limit_s`."""
    if link is None or link.link.state is not LinkState.UP:
        return None
    try:
        async with asyncio.timeout(limit_s):
            return await link.lease(deployment, "look")
    except (NodeError, Unreachable, TimeoutError):
        return None


async def lease_plan(link: NodeLink | None, deployment: str) -> OngoingPlan | None:
    """The plan that holds the lease now; None when no plan does, or when the node does not answer at once."""
    answer = await read_lease(link, deployment, READ_S)
    return None if answer is None else ongoing_plan(answer, time.time())


def lease_warning(work: OngoingPlan, now: float) -> Finding:
    """The finding of a new plan while another operator's plan runs."""
    message = f"{work.words()}, since {about(max(0.0, now - work.since))}"
    fix = (
        f"wait for it, or ask them; to take over, confirm this plan and then type {work.holder} "
        "(on the command line: --takeover)"
    )
    return Finding("LEASE", Severity.WARNING, message, "deployment", fix=fix)


def under_way_error(work: OngoingPlan, verb: str, now: float) -> UnderWay:
    """The error when another operator's plan has just started and leaves nothing to do for this verb."""
    stops = verb in ("stop", "kill")
    if stops:
        state = "none of its engines runs yet, so there is nothing to stop"
    else:
        state = f"all its engines run, so there is nothing to {verb} yet"
    message = f"a {work.verb} by {work.holder} has been running for {about(max(0.0, now - work.since))}: {state}"
    again = f"{verb} again in a few seconds: that plan takes over from {work.holder} and stops what was launched"
    hint = f"{again}; or ask them" if stops else f"wait for it, or ask {work.holder}"
    return UnderWay(message, hint=hint, holder=work.holder)


@contextlib.asynccontextmanager
async def hold_lease(
    link: NodeLink | None,
    plan: Plan,
    who: str,
    *,
    takeover: bool,
    report: Callable[[str], None],
    overtaken: Callable[[str], None],
) -> AsyncIterator[None]:
    """Hold the lease for the length of the block. Raises Busy, with the holder, when another operator's plan runs.

    `overtaken` is called once when another operator takes the lease over, with for example `bob@jump (stop)`.
    """
    if link is None:
        yield
        return
    token = secrets.token_hex(8)
    try:
        answer = await _take(link, plan, who, token, takeover)
    except (NodeError, Unreachable) as error:
        if isinstance(error, Unreachable) or error.kind == "os":
            report(f"continuing without the lease: {error}")
            yield
            return
        raise
    lease = answer.get("lease")
    if isinstance(lease, dict) and lease.get("taken_from"):
        report(f"lease taken over from {clean(str(lease['taken_from']))[:NAME_CHARS]}")
    renewing = asyncio.create_task(_renew(link, plan, who, token, overtaken), name="lease")
    try:
        yield
    finally:
        renewing.cancel()
        await asyncio.gather(renewing, return_exceptions=True)
        with contextlib.suppress(NodeError, Unreachable):
            await link.lease(plan.deployment, "give-back", token=token)


async def _take(link: NodeLink, plan: Plan, who: str, token: str, takeover: bool) -> Mapping[str, JsonValue]:
    """Take the lease. Raises Busy with the holder.

    Asks again when no answer came in time or the answer names no holder yet; with the same token that is safe.
    A plan that only stops engines asks once.
    """
    tries = 1 if plan.emergency else TAKE_TRIES
    while True:
        tries -= 1
        try:
            return await _take_once(link, plan, who, token, takeover=takeover)
        except LinkLost:
            if not tries or not await link.wait_up(LINK_RETURN_S):
                raise
        except NodeError as error:
            if error.kind != "busy":
                raise
            holder = await _holder(link, plan)
            if holder or not tries:
                hint = "ask them; to take over: dsv4-console VERB --takeover"
                raise Busy(str(error), hint=hint, holder=holder) from error


async def _take_once(
    link: NodeLink, plan: Plan, who: str, token: str, *, takeover: bool = False
) -> Mapping[str, JsonValue]:
    """Ask for the lease, or renew it with the same token."""
    return await link.lease(
        plan.deployment,
        "take",
        holder=who,
        verb=_verb(plan),
        token=token,
        takeover=takeover,
        ends=[*_stopped_engines(plan)],
    )


async def _renew(link: NodeLink, plan: Plan, who: str, token: str, overtaken: Callable[[str], None]) -> None:
    """Renew the lease until the task is cancelled, or until another operator has taken the lease over."""
    renew_at = time.monotonic() + RENEW_S
    while True:
        await asyncio.sleep(WATCH_S)
        answer = await read_lease(link, plan.deployment, READ_S)
        lease = answer.get("lease") if answer else None
        if isinstance(lease, dict) and lease.get("token") not in (None, token):
            overtaken(f"{_plain(lease.get('holder'))} ({_plain(lease.get('verb'))})")
            return
        if time.monotonic() < renew_at:
            continue
        with contextlib.suppress(NodeError, Unreachable):  # `busy`: the next read shows the holder
            await _take_once(link, plan, who, token)
            renew_at = time.monotonic() + RENEW_S


async def _holder(link: NodeLink, plan: Plan) -> str:
    with contextlib.suppress(NodeError, Unreachable):
        lease = (await link.lease(plan.deployment, "look")).get("lease")
        return clean(str(lease.get("holder") or ""))[:NAME_CHARS] if isinstance(lease, dict) else ""
    return ""


def _stopped_engines(plan: Plan) -> list[str]:
    """The engines that the plan stops or kills."""
    stopped = (step.engines for step in plan.steps if step.act in ("stop", "kill"))
    return [*dict.fromkeys(engine for engines in stopped for engine in engines)]


def _verb(plan: Plan) -> str:
    """The verb that other consoles show; it says when a restart policy started the plan."""
    return f"{plan.verb} by policy" if plan.restarts else plan.verb
