"""The session of one command: opens it, waits until its nodes have answered, and closes it in every case."""

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

_DECIDED = (LinkState.UP, LinkState.LOST, LinkState.BLOCKED)
"""States that end the wait for a link. A link is `up` when the first sample of its node is complete."""
CONNECT_S = 90.0
"""Longer than any link needs until it is up or reports its failure (dialling 15 s, login 20 s, start of the helper 30 s), so
that no node is given up too early on a busy machine.
"""
SETTLE_S = 15.0
"""Limit for the remaining first samples after the nodes of the deployment have theirs. A server that does not answer is asked
twice.
"""
ANSWER_S = 4.0
"""Limit for the description of unmanaged processes, for the diagnosis of engines that are down, and for notes of consoles."""


@contextlib.asynccontextmanager
async def opened(
    args: argparse.Namespace,
    *,
    read_only: bool | None = None,
    changes: bool = False,
    restarts: bool = False,
    alerts: bool = False,
    look: bool = False,
) -> AsyncIterator[Session]:
    """The session of the options; `read_only` overrides them. With `changes` it raises Refused on a read-only cluster, before
    it connects to a node.

    With `look` a layout is not needed. `restarts` runs restart policies; `alerts` sends alerts as the cluster file says.
    """
    deployment = deployment_of(args, look=look)
    safe = read_only_of(args, deployment.cluster) if read_only is None else read_only
    if changes and safe:
        way = "run it without --readonly" if args.readonly else "allow changes with --write"
        raise Refused("this cluster is read-only", hint=f"{way}, or use --dry-run")
    what = (deployment.cluster, deployment.layout, deployment.assignment)
    session = Session(*what, read_only=safe, restarts=restarts, alerts=alerts)
    await session.open()
    try:
        yield session
    finally:
        await session.close()


async def until(session: Session, condition: Callable[[], bool], limit_s: float) -> bool:
    """Wait until a snapshot fulfils the condition; False when none does within `limit_s` seconds."""
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
    """Wait until every node of the deployment has a complete first sample or is known to be unreachable.

    With `listed` the list of its runs is enough. Raises Unreachable when no node answers.
    """
    nodes = {rank.node for rank in session.deployment.ranks()} or set(session.cluster.nodes)

    def enough() -> bool:
        seen = [session.snapshot.nodes[name] for name in nodes]
        return all((each.listed and listed) or each.link.state in _DECIDED for each in seen)

    await until(session, enough, CONNECT_S)
    seen = session.snapshot.nodes
    if nodes and not any(seen[node].listed for node in nodes):
        first = seen[sorted(nodes)[0]]
        raise Unreachable(
            f"no node answers; {first.name}: {first.link.reason or first.link.state}", hint=first.link.hint
        )


async def settled(session: Session) -> None:
    """Wait for all that a first look needs: the first sample of every node, and the causes of what is down or unmanaged."""
    await until(session, lambda: session.snapshot.complete, SETTLE_S)
    await until(session, lambda: _explained(session), ANSWER_S)
    session.restarts.publish_now()


def _explained(session: Session) -> bool:
    """Whether engines that are down were diagnosed, unmanaged processes described, and notes of other consoles read."""
    return session.unmanaged_watch.complete() and session.diagnosis.ordered() and session.restarts.notes_known
