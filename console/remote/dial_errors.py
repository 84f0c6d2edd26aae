"""Explains why a node cannot be reached, with a fix and an `ssh` command that tries the same by hand. Does not connect."""

from __future__ import annotations

import errno
import os
import shlex
import socket
from collections.abc import Collection
from dataclasses import dataclass

import asyncssh

from console.model.errors import ConsoleError

CONNECT_S = 15.0


class DialError(ConsoleError):
    """A node could not be reached. With `blocked` another try is useless until an operator acts."""

    def __init__(self, message: str, *, blocked: bool, hint: str = "", question: bool = False) -> None:
        """`question`: it only waits for the decision to trust an unknown host key."""
        super().__init__(message, hint=hint)
        self.blocked = blocked
        self.question = question


@dataclass(frozen=True, slots=True)
class DialRoute:
    """How the console connected to a host."""

    host: str
    """The argument for `ssh`: an address, or a name of its configuration."""
    address: str
    """The address of that name."""
    port: int
    user: str = ""
    jump: str = ""
    """The argument for `ssh -J`."""
    via: str = ""
    """The jump host, as the operator named it; empty without one."""
    identity: str = ""
    config: str = ""
    """The SSH configuration file, when it is not the default one."""
    passed_over: tuple[str, ...] = ()
    """Default keys that were not offered, because other users can read them."""

    def command(self) -> str:
        """The `ssh` command that tries the same."""
        words = ["ssh"]
        for flag, value in (("-F", self.config), ("-i", self.identity), ("-J", self.jump)):
            words += [flag, value] if value else []
        words += ["-p", str(self.port)] if self.port != 22 else []
        target = f"{self.user}@{self.host}" if self.user else self.host
        return shlex.join([*words, *(["--"] if target.startswith("-") else []), target, "true"])

    @property
    def place(self) -> str:
        """Host and port."""
        return entry(self.address, self.port)


def entry(host: str, port: int) -> str:
    """The name of a host in known_hosts."""
    return host if port == 22 else f"[{host}]:{port}"


def why_not(error: Exception, way: DialRoute, offered: Collection[str]) -> DialError:
    """The explanation of a failed connection. `offered` are the login methods that the server offers."""
    if isinstance(error, asyncssh.PermissionDenied):
        return _login(error, way, offered)
    if isinstance(error, asyncssh.KeyExchangeFailed):
        return DialError(f"{way.address}: {error.reason}", blocked=True, hint="its SSH algorithms are too old")
    if isinstance(error, asyncssh.ChannelOpenError) and way.via:
        return _jump(error, way)
    if isinstance(error, asyncssh.Error):
        reason = error.reason or type(error).__name__
        return DialError(f"{way.place}: {reason}", blocked=False, hint=f"try: {way.command()}")
    if isinstance(error, TimeoutError):
        text = f"{way.place}: no answer within {CONNECT_S:.0f} s"
        return DialError(
            text, blocked=False, hint=f"check that the host is up and that no firewall blocks it; try: {way.command()}"
        )
    if isinstance(error, socket.gaierror):
        text = f"{way.address}: {error.strerror}"
        return DialError(text, blocked=False, hint=f"check `host` of the node, or its DNS; try: {way.command()}")
    return _network(error, way)


def _login(error: asyncssh.PermissionDenied, way: DialRoute, offered: Collection[str]) -> DialError:
    if offered and "publickey" not in offered:
        text = f"{way.place} accepts {' or '.join(sorted(offered))} only; the console uses keys and agents only"
        hint = f"allow PubkeyAuthentication in its sshd_config, and add the key: ssh-copy-id; then try: {way.command()}"
        return DialError(text, blocked=True, hint=hint)
    if way.passed_over:
        text = (
            f"{way.place} refused the login; not offered, because other users can read it: {', '.join(way.passed_over)}"
        )
        return DialError(text, blocked=True, hint=shlex.join(["chmod", "600", *way.passed_over]))
    hint = f"check user and identity: {way.command()}; a key with a passphrase needs an agent (ssh-add)"
    return DialError(f"{way.place} refused the login: {error.reason}", blocked=True, hint=hint)


def _jump(error: asyncssh.ChannelOpenError, way: DialRoute) -> DialError:
    if error.code == asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED:
        text = f"jump host {way.via} does not forward connections to {way.place}: {error.reason}"
        hint = f"its sshd_config needs AllowTcpForwarding yes and a matching PermitOpen; then try: {way.command()}"
        return DialError(text, blocked=True, hint=hint)
    text = f"jump host {way.via} cannot reach {way.place}: {error.reason}"
    return DialError(
        text, blocked=False, hint=f"check that the host is up and that its sshd runs; try: {way.command()}"
    )


_HINTS = {
    errno.ECONNREFUSED: "no server listens on this port: check that its sshd runs, and check `port`;",
    errno.EHOSTUNREACH: "no route to the host: check that it is up, check `host`, and whether it needs a `jump`;",
    errno.ENETUNREACH: "no route to the network: check `host`, and whether it needs a `jump`;",
}


def _network(error: Exception, way: DialRoute) -> DialError:
    number = error.errno if isinstance(error, OSError) else None
    words = os.strerror(number) if number and number > 0 else str(error)
    hint = f"{_HINTS.get(number or 0, '')} try: {way.command()}".strip()
    return DialError(f"{way.address} port {way.port}: {words}", blocked=False, hint=hint)
