"""Holds the deployment's lease while a plan runs, so that a second operator is told who is at work instead of interfering.

What may run at once is decided by each run's lock on its node. A lease that cannot be had because its node is out of
reach, or its disk full, stops nobody: a stop must work then.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Callable, Mapping

from pydantic import JsonValue

from console.model.errors import Busy, NodeError, Unreachable
from console.model.plan import Plan
from console.remote.link import NodeLink

RENEW_S = 15.0
"""A sixth of the time after which a node takes a lease for abandoned."""


def keeper(nodes: tuple[str, ...], links: Mapping[str, NodeLink]) -> NodeLink | None:
    """The node that keeps the lease: the deployment's first."""
    return links.get(nodes[0]) if nodes else None


def said(answer: Mapping[str, JsonValue]) -> str:
    """`ann@jump: start, 40 s` from a node's answer, or empty without a lease that counts."""
    lease = answer.get("lease")
    if not isinstance(lease, dict) or not lease.get("holder") or lease.get("expired"):
        return ""
    age = lease.get("age_s")
    since = f", {age:.0f} s" if isinstance(age, int | float) else ""
    return f"{lease['holder']}: {lease.get('verb')}{since}"


@contextlib.asynccontextmanager
async def held(
    link: NodeLink | None, plan: Plan, who: str, *, takeover: bool, tell: Callable[[str], None]
) -> AsyncIterator[None]:
    """Hold the lease for the length of the block. Raises Busy naming the holder when somebody else is at work."""
    if link is None:
        yield
        return
    token = secrets.token_hex(8)
    try:
        answer = await link.lease(plan.deployment, "take", holder=who, verb=_verb(plan), token=token, takeover=takeover)
    except (NodeError, Unreachable) as error:
        if isinstance(error, Unreachable) or error.kind == "os":
            tell(f"going on without the lease: {error}")
            yield
            return
        if error.kind != "busy":
            raise
        hint = "ask them; to take over: dsv4-console VERB --takeover"
        raise Busy(str(error), hint=hint, holder=await _holder(link, plan)) from error
    lease = answer.get("lease")
    if isinstance(lease, dict) and lease.get("taken_from"):
        tell(f"lease taken over from {lease['taken_from']}")
    renewing = asyncio.create_task(_renew(link, plan, who, token, tell), name="lease")
    try:
        yield
    finally:
        renewing.cancel()
        await asyncio.gather(renewing, return_exceptions=True)
        with contextlib.suppress(NodeError, Unreachable):
            await link.lease(plan.deployment, "give-back", token=token)


async def _renew(link: NodeLink, plan: Plan, who: str, token: str, tell: Callable[[str], None]) -> None:
    """Until the block ends, or another operator has taken the lease over: then this one is told, and its plan goes on."""
    while True:
        await asyncio.sleep(RENEW_S)
        try:
            await link.lease(plan.deployment, "take", holder=who, verb=_verb(plan), token=token, takeover=False)
        except NodeError as error:
            if error.kind == "busy":
                tell(f"taken over while this {plan.verb} runs: {error}")
                return
        except Unreachable:
            continue


async def _holder(link: NodeLink, plan: Plan) -> str:
    with contextlib.suppress(NodeError, Unreachable):
        lease = (await link.lease(plan.deployment, "look")).get("lease")
        return str(lease.get("holder") or "") if isinstance(lease, dict) else ""
    return ""


def _verb(plan: Plan) -> str:
    """What the others are told: nobody pressed a key for what a policy does."""
    return f"{plan.verb} by policy" if plan.restarts else plan.verb
