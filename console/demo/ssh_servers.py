"""The SSH servers of a demo cluster, in a process of their own, so that they do not slow the console down.

Reads one JSON line (what to serve) from standard input, answers one JSON line (the ports) on standard output, and
serves until its input ends.
Then it kills every process that a node started, and exits.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncssh

from console.demo import processes
from console.demo.exec_session import Children, Session
from console.demo.kept_npu_tables import keep_tables
from console.demo.tools.demo_node import this_node

LOCAL = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True, slots=True)
class ServedNode:
    """One node as its server needs it."""

    name: str
    address: str
    home: Path
    host_key: Path
    authorized: Path
    environment: dict[str, str]
    startup: str
    """Shell command run once before the node answers; empty for none."""


class NodeServer(asyncssh.SSHServer):
    """Accepts one key, and lets it reach only the ports of its own node."""

    def __init__(self, node: ServedNode) -> None:
        self._node = node
        self._connection: asyncssh.SSHServerConnection | None = None

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        """Keep the connection, because forwarding needs it."""
        self._connection = conn

    def connection_requested(self, dest_host: str, dest_port: int, orig_host: str, orig_port: int) -> Any:
        """Forward to the node itself. All nodes share one loopback, so `127.0.0.1` of a node is the node's own
        address."""
        if self._connection is None or dest_host not in (*LOCAL, self._node.address):
            return False
        # asyncssh takes this coroutine as "forward there", which its signature does not say
        return self._connection.forward_connection(self._node.address, dest_port)


async def _listen(node: ServedNode, children: Children) -> asyncssh.SSHAcceptor:
    session = Session(children, node.environment, node.home)
    return await asyncssh.listen(
        node.address,
        0,
        server_factory=lambda: NodeServer(node),
        server_host_keys=[str(node.host_key)],
        authorized_client_keys=str(node.authorized),
        process_factory=session.run,
        encoding=None,
        line_editor=False,
        password_auth=False,
        kbdint_auth=False,
        agent_forwarding=False,
        login_timeout=30,
    )


async def _prepare(node: ServedNode, children: Children) -> None:
    nothing = os.open(os.devnull, os.O_RDWR)
    try:
        argv = ["/bin/sh", "-c", node.startup]
        _, ended = children.spawn(argv, node.environment, node.home, (nothing, nothing, nothing))
    finally:
        os.close(nothing)
    await ended


async def _input_ended(reader: asyncio.StreamReader) -> None:
    while await reader.read(4096):
        pass


async def _serve() -> None:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=1 << 22)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    wanted = json.loads(await reader.readline())
    nodes = [
        ServedNode(
            item["name"],
            item["address"],
            Path(item["home"]),
            Path(item["host_key"]),
            Path(item["authorized"]),
            item["environment"],
            item["startup"],
        )
        for item in wanted
    ]
    processes.adopt_orphans()
    children = Children()
    children.attach(loop)
    ended = asyncio.ensure_future(_input_ended(reader))
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.cancel)
    await asyncio.gather(*(_prepare(node, children) for node in nodes if node.startup))
    listeners = [await _listen(node, children) for node in nodes]
    ports = {node.name: listener.get_port() for node, listener in zip(nodes, listeners, strict=True)}
    sys.stdout.write(json.dumps(ports) + "\n")
    sys.stdout.flush()
    tables = asyncio.ensure_future(keep_tables([this_node(node.environment) for node in nodes]))
    await asyncio.wait([ended])
    tables.cancel()
    for listener in listeners:
        listener.close()


def main() -> int:
    """Serve until the input ends; gives 0, or 1 when a process could not be stopped."""
    try:
        asyncio.run(_serve())
    finally:
        left = processes.kill_all(lambda: processes.descendants(os.getpid()))
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
