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

CONNECT_S = 20.0


@contextlib.asynccontextmanager
async def opened(
    args: argparse.Namespace,
    *,
    read_only: bool | None = None,
    acts: bool = False,
    restarts: bool = False,
    alerts: bool = False,
) -> AsyncIterator[Session]:
    """The session the options mean; `read_only` overrides what they say. Raises Refused when it is for acts and read-only:
    before a node is dialled, for the core would refuse them all.

    `restarts` carries out restart policies, `alerts` sends alerts where the cluster file says.
    """
    deployment = deployment_of(args)
    safe = read_only_of(args, deployment.cluster) if read_only is None else read_only
    if acts and safe:
        way = "leave --readonly away" if args.readonly else "arm it with --write"
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


async def connected(session: Session) -> None:
    """Wait until every assigned node has reported, or is known to be out of reach. Raises Unreachable when none answers."""
    nodes = {rank.node for rank in session.deployment.ranks()} or set(session.cluster.nodes)
    await until(session, lambda: all(_settled(session, node) for node in nodes), CONNECT_S)
    seen = session.snapshot.nodes
    if nodes and not any(seen[node].link.state is LinkState.UP for node in nodes):
        first = seen[sorted(nodes)[0]]
        raise Unreachable(f"no node answers; {first.name}: {first.link.reason}", hint=first.link.hint)


def _settled(session: Session, node: str) -> bool:
    """Whether a node has reported its runs, or has failed to connect."""
    seen = session.snapshot.nodes[node]
    if seen.link.state in (LinkState.LOST, LinkState.BLOCKED):
        return True
    return seen.link.state is LinkState.UP and session.heard(node)
