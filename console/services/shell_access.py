"""Builds the command of a shell on a node or at an engine, checks whether it may be opened, and records it in the journal.

Commands in the shell are outside of all plans, so read-only mode refuses it. The front end runs it.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from console.commands.container import own_container
from console.commands.ssh_command import shell_words
from console.journal import Journal
from console.model.cluster import Cluster, Node
from console.model.deployment import Deployment
from console.model.errors import ConsoleError, Refused, UsageError


def open_on_node(cluster: Cluster, name: str, state_dir: Path, journal: Journal, *, read_only: bool) -> tuple[str, ...]:
    """The argv of a shell on a node. Raises UsageError for an unknown node, Refused in read-only mode, ConsoleError without
    `ssh`.
    """
    node = cluster.nodes.get(name)
    if node is None:
        raise UsageError(f"no node {name!r}", hint=f"nodes: {', '.join(cluster.nodes)}")
    return _opened(cluster, node, "", state_dir, journal, read_only)


def open_at_engine(
    deployment: Deployment, engine: str, state_dir: Path, journal: Journal, *, read_only: bool
) -> tuple[str, ...]:
    """The argv of a shell where an engine runs: in its container, else on its node. Raises as `open_on_node`."""
    ranks = {rank.id: rank for rank in deployment.processes()}
    if engine not in ranks:
        if not deployment.layout.chosen:
            return _open_at_unplanned(deployment, engine, state_dir, journal, read_only)
        names = ", ".join((*deployment.cluster.nodes, *ranks))
        raise UsageError(f"no node and no engine {engine!r}", hint=f"there are: {names}")
    node = deployment.node(ranks[engine].node)
    container = node.runtime.container if node.runtime.words else ""
    if node.runtime.words and node.runtime.per == "engine":
        own = own_container(deployment, node, engine)
        container = own.name if own else ""
    return _opened(deployment.cluster, node, container, state_dir, journal, read_only)


def _open_at_unplanned(
    deployment: Deployment, engine: str, state_dir: Path, journal: Journal, read_only: bool
) -> tuple[str, ...]:
    """The argv for an engine that is named with its node, as in `status`: `a3-pd/decode-0@d0`."""
    cluster = deployment.cluster
    node = cluster.nodes.get(engine.rpartition("@")[2]) if "@" in engine else None
    if node is None:
        hint = f"name its node ({', '.join(cluster.nodes)}), or the layout that has the engine: --layout NAME|FILE"
        raise UsageError(f"no node {engine!r}, and without a layout no engine's node is known", hint=hint)
    if node.runtime.words and node.runtime.per == "engine":
        hint = f"give it with --layout NAME|FILE, or open a shell on the node: shell {node.name}"
        raise UsageError("an engine's own container is named by its layout", hint=hint)
    container = node.runtime.container if node.runtime.words else ""
    return _opened(cluster, node, container, state_dir, journal, read_only)


def _opened(
    cluster: Cluster, node: Node, container: str, state_dir: Path, journal: Journal, read_only: bool
) -> tuple[str, ...]:
    if read_only:
        raise Refused("read-only: no shell is opened", hint="start the console with --write for a production cluster")
    if shutil.which("ssh") is None:
        raise ConsoleError("no ssh on this machine", hint="install the OpenSSH client")
    journal.record("shell", cluster=cluster.name, node=node.name, container=container)
    return shell_words(cluster, node, state_dir / "known_hosts", container)
