"""Makes all SSH connections, and limits the handshakes per server.

Host keys are checked strictly; an unknown host key needs the decision of an operator.
"""

from __future__ import annotations

import asyncio
import contextlib
import shlex
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncssh

from console.model.cluster import Cluster, Node, SshFiles
from console.model.errors import ConsoleError, UsageError
from console.remote.dial_errors import CONNECT_S, DialError, DialRoute, entry, why_not
from console.remote.key_files import OnlyThese, default_keys, refused
from console.remote.known_hosts import KnownHosts

LOGIN_S = 20.0
KEEPALIVE_S = 10
KEEPALIVE_COUNT = 3
HANDSHAKES_PER_SERVER = 4
"""sshd starts to drop connections at 10 that have not logged in (MaxStartups 10:30:100)."""
HANDSHAKES = 16
_ALGORITHMS = {
    "ssh-ed25519": ("ssh-ed25519",),
    "ecdsa-sha2-nistp256": ("ecdsa-sha2-nistp256",),
    "ecdsa-sha2-nistp384": ("ecdsa-sha2-nistp384",),
    "ecdsa-sha2-nistp521": ("ecdsa-sha2-nistp521",),
    "ssh-rsa": ("rsa-sha2-512", "rsa-sha2-256"),
}
"""Type of a host key → its signature algorithms."""
CIPHERS = (
    "aes128-gcm@openssh.com",
    "aes256-gcm@openssh.com",
    "chacha20-poly1305@openssh.com",
    "aes256-ctr",
)
"""AES-GCM first: it is the fastest in asyncssh, because aarch64 and x86 have instructions for it."""


@dataclass(frozen=True, slots=True)
class ShownKey:
    """A host key that was not accepted yet."""

    host: str
    port: int
    key: asyncssh.SSHKey
    changed: bool
    """Whether another key is trusted for this host: after a new installation, or in an attack."""

    @property
    def fingerprint(self) -> str:
        """The fingerprint in the format of `ssh`."""
        return f"{self.key.get_algorithm()} {self.key.get_fingerprint()}"


class _Client(asyncssh.SSHClient):
    """Notes unknown host keys and the login methods of the server."""

    def __init__(self) -> None:
        self.shown: tuple[str, int, asyncssh.SSHKey] | None = None
        self.offered: set[str] = set()

    def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        self.shown = (host, port, key)
        return False

    def public_key_auth_requested(self) -> None:
        self.offered.add("publickey")

    def password_auth_requested(self) -> None:
        self.offered.add("password")

    def kbdint_auth_requested(self) -> None:
        self.offered.add("keyboard-interactive")


class Dialer:
    """Makes the connections of one cluster; connections to jump hosts are shared."""

    def __init__(self, cluster: Cluster, *, known_hosts: Path) -> None:
        self._cluster = cluster
        users = Path(cluster.ssh.known_hosts).expanduser()
        self.known_hosts = KnownHosts(known_hosts, users)
        self._shown: dict[str, ShownKey] = {}
        self._gate = asyncio.Semaphore(HANDSHAKES)
        self._gates: dict[tuple[str, int], asyncio.Semaphore] = {}
        self._jumps: dict[str, asyncssh.SSHClientConnection] = {}
        self._dialling: dict[str, asyncio.Task[asyncssh.SSHClientConnection]] = {}
        self.accepted = asyncio.Event()
        """Set, and then replaced, whenever a host key is accepted, because other links can wait for the same key."""

    async def connect(self, node: Node) -> asyncssh.SSHClientConnection:
        """Connect to a node. Raises DialError with a hint."""
        try:
            return await self._dial(node.name, node, frozenset({node.name}))
        except DialError:
            raise
        except ConsoleError as error:
            raise DialError(str(error), blocked=True, hint=error.hint) from error

    async def accept_host_key(self, node: str) -> str:
        """Trust the key that a node has shown; returns its fingerprint.

        Raises UsageError when there is no unknown key, or when the key has changed, which needs manual work.
        """
        shown = self._shown.get(node)
        if shown is None:
            raise UsageError(f"{node} has shown no unknown host key", hint="connect to it first")
        if shown.changed:
            raise UsageError(
                f"the host key of {node} has changed; the console does not replace it",
                hint=f"when the machine was reinstalled: {self._removal(shown.host, shown.port)}",
            )
        self.known_hosts.add(shown.host, shown.port, shown.key)
        del self._shown[node]
        self.accepted.set()
        self.accepted = asyncio.Event()
        return shown.fingerprint

    async def close(self) -> None:
        """Close the shared connections to jump hosts. The links close the connections to nodes."""
        for task in self._dialling.values():
            task.cancel()
        await asyncio.gather(*self._dialling.values(), return_exceptions=True)
        jumps, self._jumps = list(self._jumps.values()), {}
        for jump in jumps:
            await end_connection(jump)

    async def _dial(self, asked_for: str, node: Node, path: frozenset[str]) -> asyncssh.SSHClientConnection:
        options = await self._options(node)
        via = node.jump or (options.tunnel if isinstance(options.tunnel, str) else None)
        via = None if via is None or via.lower() == "none" else via
        tunnel = await self._jump(asked_for, via, path) if via else None
        host, port = str(options.host or node.host), int(options.port or 22)
        client = _Client()
        way = DialRoute(
            host=node.host,
            address=host,
            port=port,
            user=options.username,
            jump=self._as_jump(via or ""),
            via=via or "",
            identity=node.identity or "",
            config="" if self._cluster.ssh.config == SshFiles().config else self._cluster.ssh.config,
            passed_over=default_keys()[1] if isinstance(options.kwargs.get("client_keys"), OnlyThese) else (),
        )
        async with self._gate, self._gates.setdefault((host, port), asyncio.Semaphore(HANDSHAKES_PER_SERVER)):
            connecting = asyncssh.connect(
                host=node.host,
                options=options,
                config=None,
                tunnel=tunnel,
                client_factory=lambda: client,
                **self._key_types(options, node),
            )
            return await self._explain(asked_for, way, client, connecting)

    def _key_types(self, options: asyncssh.SSHClientConnectionOptions, node: Node) -> dict[str, Any]:
        """Options that request a known host key type first, and another type only when the host does not have it."""
        if options.config.get("HostKeyAlgorithms") is not None:
            return {}
        host = str(options.host_key_alias or options.host or node.host)
        types = self.known_hosts.types(host, int(options.port or 22))
        known = [alg for each in types for alg in _ALGORITHMS.get(each, (each,))]
        others = [alg for algs in _ALGORITHMS.values() for alg in algs if alg not in known]
        return {"server_host_key_algs": [*known, *others]} if known else {}

    def _as_jump(self, via: str, path: frozenset[str] = frozenset()) -> str:
        """The argument of `ssh -J` for a jump host: nodes of the cluster by address, with the hosts before them first."""
        hops = []
        for hop in via.split(",") if via else []:
            node = None if hop in path else self._cluster.nodes.get(hop)
            if node is None:
                hops.append(hop)
                continue
            user, port = f"{node.user}@" if node.user else "", f":{node.port}" if node.port else ""
            before = self._as_jump(node.jump or "", path | {hop})
            hops += [before] * bool(before) + [f"{user}{node.host}{port}"]
        return ",".join(hops)

    async def _jump(self, asked_for: str, via: str, path: frozenset[str]) -> asyncssh.SSHClientConnection:
        """The shared connection to a jump host: a node of the cluster, or a name of the SSH configuration."""
        if via in path:
            raise DialError(
                f"the jump hosts of {asked_for} form a circle at {via}", blocked=True, hint="correct `jump`"
            )
        found = self._jumps.get(via)
        if found is not None and not found.is_closed():
            return found
        task = self._dialling.get(via)
        if task is None:
            task = self._dialling[via] = asyncio.create_task(self._dial_jump(via, path), name=f"jump {via}")
            task.add_done_callback(lambda _: self._dialling.pop(via, None))
        try:
            return await asyncio.shield(task)
        except DialError as error:
            if (shown := self._shown.get(via)) is not None:
                self._shown[asked_for] = shown
            text = f"jump host {via}: {error}"
            raise DialError(text, blocked=error.blocked, hint=error.hint, question=error.question) from error

    async def _dial_jump(self, via: str, path: frozenset[str]) -> asyncssh.SSHClientConnection:
        *before, last = via.split(",")
        node = self._cluster.nodes.get(last) or _jump_node(last, ",".join(before) or None)
        made = await self._dial(via, node, path | {via})
        self._jumps[via] = made
        return made

    async def _options(self, node: Node) -> asyncssh.SSHClientConnectionOptions:
        """The options of the console, on top of the SSH configuration of the operator."""
        config = Path(self._cluster.ssh.config).expanduser()
        extra: dict[str, object] = {}
        if node.user is not None:
            extra["username"] = node.user
        if node.port is not None:
            extra["port"] = node.port
        if node.identity is not None:
            if (why := refused(Path(node.identity).expanduser())) is not None:
                raise why
            # there is no prompt for the passphrase; the agent can have the key, as with ssh -i
            extra |= {"client_keys": [str(Path(node.identity).expanduser())], "ignore_encrypted": True}
        try:
            made = await self._constructed(node, config, extra)
            if node.identity is not None:
                return made
            named = made.config.get("IdentityFile", [])
            for path in named if isinstance(named, list) else []:
                if (why := refused(Path(str(path)).expanduser())) is not None:
                    raise why
            usable, open_ones = default_keys()
            if named or not open_ones:
                return made
            return await self._constructed(node, config, {**extra, "client_keys": usable, "ignore_encrypted": True})
        except asyncssh.ConfigParseError as error:
            raise DialError(f"{config}: {error}", blocked=True, hint="correct the SSH configuration") from error
        except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError, OSError) as error:
            text = f"identity of {node.name}: {error}"
            raise DialError(
                text, blocked=True, hint="set `identity` to a readable private key, or use an agent"
            ) from error

    async def _constructed(
        self, node: Node, config: Path, extra: Mapping[str, object]
    ) -> asyncssh.SSHClientConnectionOptions:
        made: asyncssh.SSHClientConnectionOptions = await asyncssh.SSHClientConnectionOptions.construct(
            host=node.host,
            config=[str(config)] if config.is_file() else [],
            known_hosts=self.known_hosts.load(),
            encryption_algs=CIPHERS,
            compression_algs=None,
            connect_timeout=CONNECT_S,
            login_timeout=LOGIN_S,
            keepalive_interval=KEEPALIVE_S,
            keepalive_count_max=KEEPALIVE_COUNT,
            agent_forwarding=False,
            disable_trivial_auth=True,
            client_version="dsv4-console",
            **extra,
        )
        return made

    async def _explain(
        self,
        asked_for: str,
        way: DialRoute,
        client: _Client,
        connecting: Awaitable[asyncssh.SSHClientConnection],
    ) -> asyncssh.SSHClientConnection:
        """Wait for a connection, and turn every failure into a DialError with a hint."""
        try:
            made = await connecting
        except asyncssh.HostKeyNotVerifiable as error:
            raise self._host_key_error(asked_for, way, client, str(error)) from error
        except (asyncssh.Error, OSError) as error:
            raise why_not(error, way, client.offered) from error
        self._shown.pop(asked_for, None)
        return made

    def _removal(self, host: str, port: int) -> str:
        """The command that removes the keys of a host from the files that have them."""
        files = [path for path in (self.known_hosts.users, self.known_hosts.own) if path.exists()]
        return "; ".join(shlex.join(["ssh-keygen", "-R", entry(host, port), "-f", str(path)]) for path in files)

    def _host_key_error(self, asked_for: str, way: DialRoute, client: _Client, text: str) -> DialError:
        if client.shown is None:
            return DialError(f"{way.address}: {text}", blocked=True, hint="its host key or certificate is not trusted")
        name, at, key = client.shown
        shown = ShownKey(name, at, key, self.known_hosts.knows(name, "", at))
        types = self.known_hosts.types(name, at)
        self._shown[asked_for] = shown
        if types and key.get_algorithm() not in types:
            return _other_types(way, types)
        if shown.changed:
            return DialError(
                f"the host key of {entry(name, at)} is not the known one: {shown.fingerprint}",
                blocked=True,
                hint="the machine was reinstalled, or this is an attack: find out before you remove the old key"
                f" ({self._removal(name, at)})",
            )
        return DialError(
            f"unknown host key of {entry(name, at)}: {shown.fingerprint}",
            blocked=True,
            hint="compare it with the node's key (ssh-keygen -lf), then trust it: key K (Trust key) on the screen, or ssh once",
            question=True,
        )


def _other_types(way: DialRoute, types: Sequence[str]) -> DialError:
    """The error for a known host that does not show its known keys: they were removed, or it is another host."""
    text = f"{way.place} offers no host key of its known types ({', '.join(types)}), and other types are not requested"
    look = shlex.join(["ssh-keyscan", "-p", str(way.port), "--", way.address])
    hint = (
        f"find out why; compare the offered keys ({look}) with those on the machine before you add them to known_hosts"
    )
    return DialError(text, blocked=True, hint=hint)


def _jump_node(words: str, before: str | None) -> Node:
    """`[user@]host[:port]` as a node."""
    user, _, rest = words.rpartition("@")
    host, _, port = rest.partition(":")
    return Node(name=words, host=host, user=user or None, port=int(port) if port.isdigit() else None, jump=before)


async def end_connection(connection: asyncssh.SSHClientConnection, within_s: float = 2.0) -> None:
    """Close a connection and wait until it is closed, at most `within_s` seconds."""
    connection.close()
    with contextlib.suppress(TimeoutError, asyncssh.Error, OSError):
        async with asyncio.timeout(within_s):
            await connection.wait_closed()
            return
    connection.abort()
