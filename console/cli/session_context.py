"""A session for the length of one command: opened, waited for until its nodes have answered, closed whatever happens."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable

from console.cli.options import deployment_of, read_only_of
from console.model.errors import Refused, Unreachable
from console.model.snapshot import LinkState
from console.services.session import Session

_TOLD = (LinkState.UP, LinkState.LOST, LinkState.BLOCKED)
"""A link is `up` once the first sample of its node is complete."""
CONNECT_S = 90.0
"""Longer than any link takes until it is up or says why not (dialling 15 s, login 20 s, the helper's start 30 s): on a busy
machine nobody is given up before it was answered.
"""
SETTLE_S = 15.0
"""For what is left of the first samples once the nodes that count have theirs: a server that does not answer is asked twice."""
ANSWER_S = 4.0
"""For nodes' word on holders of HBM that no run explains, for the diagnosis of what is down, and for notes."""


@contextlib.asynccontextmanager
async def opened(
    args: argparse.Namespace,
    *,
    read_only: bool | None = None,
    acts: bool = False,
    restarts: bool = False,
    alerts: bool = False,
    look: bool = False,
) -> AsyncIterator[Session]:
    """The session the options mean; `read_only` overrides what they say. Raises Refused when it is for acts and read-only:
    before a node is dialled, for the core would refuse them all.

    To `look` no layout is needed. `restarts` runs restart policies, `alerts` sends alerts where the cluster file says.
    """
    deployment = deployment_of(args, look=look)
    safe = read_only_of(args, deployment.cluster) if read_only is None else read_only
    if acts and safe:
        way = "leave --readonly away" if args.readonly else "allow changes with --write"
        raise Refused("this cluster is read-only", hint=f"{way}, or look with --dry-run")
    what = (deployment.cluster, deployment.layout, deployment.assignment)
    session = Session(*what, read_only=safe, restarts=restarts, alerts=alerts)
    await session.open()
    try:
        yield session
    finally:
        await session.close()


async def until(session: Session, condition: Callable[[], bool], limit_s: float) -> bool:
    """Wait over the pictures for a condition; False when it does not come true in time."""
    arrived = asyncio.Event()
    leave = session.subscribe(lambda _: arrived.set())
    end = time.monotonic() + limit_s
    try:
        while not condition():
            if time.monotonic() >= end:
                return False
            arrived.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await arrived.wait()
        return True
    finally:
        leave()


async def connected(session: Session, *, listed: bool = False) -> None:
    """Wait until the first sample of every node that counts is complete, or it is known to be out of reach.

    With `listed` a list of runs is enough. Raises Unreachable when no node answers.
    """
    nodes = {rank.node for rank in session.deployment.ranks()} or set(session.cluster.nodes)

    def enough() -> bool:
        seen = [session.snapshot.nodes[name] for name in nodes]
        return all((each.listed and listed) or each.link.state in _TOLD for each in seen)

    await until(session, enough, CONNECT_S)
    seen = session.snapshot.nodes
    if nodes and not any(seen[node].listed for node in nodes):
        first = seen[sorted(nodes)[0]]
        raise Unreachable(
            f"no node answers; {first.name}: {first.link.reason or first.link.state}", hint=first.link.hint
        )


async def settled(session: Session) -> None:
    """Wait for what a first look needs: every node's first sample, and what explains what is down or unmanaged."""
    await until(session, lambda: session.snapshot.complete, SETTLE_S)
    await until(session, lambda: _explained(session), ANSWER_S)
    session.restarts.publish_now()


def _explained(session: Session) -> bool:
    """Whether what is down was looked into, holders of HBM are described, and notes of other consoles were read."""
    return session.regard.answered() and session.diagnosis.ordered() and session.restarts.notes_known
