"""Scripts that run a deployment by hand, all ranks in one file. Does not start anything."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from console.commands.quoting import quote
from console.commands.script import cmd_sh
from console.commands.serve import proxy_command, serve_command, service_command
from console.model.deployment import Command, Deployment, Rank
from console.model.errors import UsageError


def rank_command(deployment: Deployment, rank: Rank) -> Command:
    """The command of an engine, of a service or of the proxy. Raises UsageError for a proxy without engines."""
    if rank.role == "service":
        return service_command(deployment, rank)
    if rank.role != "proxy":
        return serve_command(deployment, rank)
    command = proxy_command(deployment)
    if command is None:
        raise UsageError("the proxy has no engines yet", hint="assign nodes to the prefill and decode groups first")
    return command


def rank_script(deployment: Deployment, rank: Rank) -> str:
    """`cmd.sh` of an engine, of a service or of the proxy."""
    return cmd_sh(rank_command(deployment, rank), deployment.node(rank.node))


def shell_bundle(deployment: Deployment, ranks: Sequence[Rank]) -> str:
    """One bash script for all ranks: `bash FILE ENGINE` runs that engine on its node. One rank: its own script."""
    if len(ranks) == 1:
        return rank_script(deployment, ranks[0])
    return "\n".join(_lines(deployment, ranks)) + "\n"


def _lines(deployment: Deployment, ranks: Sequence[Rank]) -> Iterator[str]:
    yield "#!/usr/bin/env bash"
    yield "# On the node of each engine run: bash FILE ENGINE"
    yield 'dsv4_engine="${1-}"'
    yield "set --"
    yield 'case "$dsv4_engine" in'
    for rank in ranks:
        body = rank_script(deployment, rank).split("\n", 1)[1].strip("\n")
        yield f"{quote(rank.id)})  # on {_comment(rank.node)} {_comment(rank.address)}"
        yield body
        yield ";;"
    yield "*)"
    names = " ".join(rank.id for rank in ranks)
    yield f"printf '%s\\n' {quote(f'usage: bash FILE ENGINE; engines: {names}')} >&2"
    yield "exit 2"
    yield ";;"
    yield "esac"


def _comment(text: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in text)
