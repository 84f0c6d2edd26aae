"""Why a node cannot be reached, in words an operator can act on, with a command to paste that tries the same by hand.

Dialling is not its job.
"""

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
    """A node could not be reached. `blocked` says that trying again changes nothing until somebody acts."""

    def __init__(self, message: str, *, blocked: bool, hint: str = "", question: bool = False) -> None:
        """`question`: whether an unknown host key is to be trusted is all that it waits for."""
        super().__init__(message, hint=hint)
        self.blocked = blocked
        self.question = question


@dataclass(frozen=True, slots=True)
class DialRoute:
    """How a host was dialled."""

    host: str
    """What `ssh` is told: an address, or a name of its configuration."""
    address: str
    """What that stands for."""
    port: int
    user: str = ""
    jump: str = ""
    """As `ssh -J` takes it."""
    via: str = ""
    """The jump host as the operator calls it; empty when it is dialled straight."""
    identity: str = ""
    config: str = ""
    """The SSH configuration, where it is not the usual one."""
    passed_over: tuple[str, ...] = ()
    """Default keys that were not offered, because others may read them."""

    def command(self) -> str:
        """The `ssh` that tries the same."""
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
    """A host as known_hosts names it."""
    return host if port == 22 else f"[{host}]:{port}"


def why_not(error: Exception, way: DialRoute, offered: Collection[str]) -> DialError:
    """What a failed connection came to. `offered` are the ways to log in that the server named."""
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
        text = f"{way.place}: no answer in {CONNECT_S:.0f} s"
        return DialError(text, blocked=False, hint=f"is it up, and lets a firewall through? try: {way.command()}")
    if isinstance(error, socket.gaierror):
        text = f"{way.address}: {error.strerror}"
        return DialError(text, blocked=False, hint=f"check `host` of the node, or its DNS; try: {way.command()}")
    return _network(error, way)


def _login(error: asyncssh.PermissionDenied, way: DialRoute, offered: Collection[str]) -> DialError:
    if offered and "publickey" not in offered:
        text = f"{way.place} takes {' or '.join(sorted(offered))} only; only keys and agents are used"
        hint = f"allow PubkeyAuthentication in its sshd_config, and add the key: ssh-copy-id; then try: {way.command()}"
        return DialError(text, blocked=True, hint=hint)
    if way.passed_over:
        text = f"{way.place} refused the login; not offered, because others can read it: {', '.join(way.passed_over)}"
        return DialError(text, blocked=True, hint=shlex.join(["chmod", "600", *way.passed_over]))
    hint = f"check user and identity: {way.command()}; a key with a passphrase counts only from an agent (ssh-add)"
    return DialError(f"{way.place} refused the login: {error.reason}", blocked=True, hint=hint)


def _jump(error: asyncssh.ChannelOpenError, way: DialRoute) -> DialError:
    if error.code == asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED:
        text = f"jump host {way.via} does not forward connections to {way.place}: {error.reason}"
        hint = f"its sshd_config needs AllowTcpForwarding yes and a PermitOpen that names it; then try: {way.command()}"
        return DialError(text, blocked=True, hint=hint)
    text = f"jump host {way.via} cannot reach {way.place}: {error.reason}"
    return DialError(text, blocked=False, hint=f"is it up, and its sshd running? try: {way.command()}")


_HINTS = {
    errno.ECONNREFUSED: "nothing listens there: is its sshd running, is `port` right?",
    errno.EHOSTUNREACH: "no way leads there: is it up, is `host` right, is a `jump` needed?",
    errno.ENETUNREACH: "no way leads there: is `host` right, is a `jump` needed?",
}


def _network(error: Exception, way: DialRoute) -> DialError:
    number = error.errno if isinstance(error, OSError) else None
    words = os.strerror(number) if number and number > 0 else str(error)
    hint = f"{_HINTS.get(number or 0, '')} try: {way.command()}".strip()
    return DialError(f"{way.address} port {way.port}: {words}", blocked=False, hint=hint)
