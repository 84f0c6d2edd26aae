"""The TCP ports that a node listens on, from /proc/net/tcp and tcp6, without `ss`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from console.model.run import Probe

_LISTEN = "0A"


def listeners_probe(timeout_s: float = 5.0) -> Probe:
    """The command for the listeners; it runs on request, so its interval is a day."""
    return Probe("listeners", ("cat", "/proc/net/tcp", "/proc/net/tcp6"), every_s=86400.0, timeout_s=timeout_s)


@dataclass(frozen=True, slots=True)
class Listener:
    """A listening socket."""

    address: str
    """Dotted for IPv4, `*` for any address, hexadecimal for other IPv6."""
    port: int
    uid: int = -1
    """User id of the process that opened it; -1 when unknown."""
    inode: int = 0


@dataclass(frozen=True, slots=True)
class Holder:
    """The process of a listening socket. `owner` and `command` come from the node and are untrusted."""

    pid: int
    owner: str
    command: str

    @property
    def is_vllm(self) -> bool:
        """Whether its command line is that of vLLM, so that a second vLLM would share its port."""
        words = self.command.split()
        names = {word.rsplit("/", 1)[-1] for word in words}
        return "VLLM::" in self.command or ("vllm" in names and "serve" in words) or "vllm.entrypoints" in self.command


_HOLDERS = r"""for p in /proc/[0-9]*; do
l=$(ls -l "$p/fd" 2>/dev/null); [ -n "$l" ] || continue
for i in "$@"; do case "$l" in *"socket:[$i]"*)
printf '%s\t%s\t%s\t' "$i" "${p#/proc/}" "$(stat -c %U "$p" 2>/dev/null)"
tr '\0\n\t' '   ' <"$p/cmdline" | cut -c1-400; echo;; esac; done; done"""


def holders_probe(inodes: Iterable[int], timeout_s: float = 15.0) -> Probe:
    """The command that finds the processes of listening sockets; it reads every process of the node."""
    wanted = tuple(str(each) for each in inodes)
    return Probe("holders", ("sh", "-c", _HOLDERS, "sh", *wanted), every_s=86400.0, timeout_s=timeout_s)


def parse_holders(data: bytes) -> dict[int, Holder]:
    """Inode → the first process with the socket; other processes have inherited it."""
    found: dict[int, Holder] = {}
    for line in data.decode("utf-8", "replace").splitlines():
        words = line.split("\t")
        if len(words) == 4 and _is_number(words[0]) and _is_number(words[1]):
            holder = Holder(int(words[1]), words[2].strip(), " ".join(words[3].split()))
            known = found.get(int(words[0]))
            if known is None or holder.pid < known.pid:
                found[int(words[0])] = holder
    return found


def parse_listeners(data: bytes) -> tuple[Listener, ...]:
    """Every listening socket in the output of the command."""
    found: dict[Listener, None] = {}
    for line in data.decode("ascii", "replace").splitlines():
        words = line.split()
        if len(words) < 4 or words[3] != _LISTEN or ":" not in words[1]:
            continue
        address, _, port = words[1].rpartition(":")
        uid, inode = (words[at] if len(words) > at and _is_number(words[at]) else "" for at in (7, 9))
        try:
            found[Listener(_address(address), int(port, 16), int(uid or -1), int(inode or 0))] = None
        except ValueError:
            continue
    return tuple(found)


def listens(found: Iterable[Listener], address: str, port: int) -> bool:
    """Whether a listener uses the port of a node with that address."""
    return any(listens_at(each, address, port) for each in found)


def listens_at(listener: Listener, address: str, port: int) -> bool:
    """Whether one listener conflicts with an engine on that port of a node with that address.

    An engine binds every address, so a listener on any address conflicts. On loopback nodes, which share one machine, only a
    listener on the address of the node or on all addresses conflicts.
    """
    near = not address.startswith("127.") or listener.address in ("*", address)
    return near and listener.port == port


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 12


def _address(text: str) -> str:
    raw = bytes.fromhex(text)
    if not any(raw):
        return "*"
    if len(raw) == 4:
        return ".".join(str(each) for each in reversed(raw))
    if len(raw) == 16 and raw[:8] == b"\0" * 8 and raw[8:12] in (b"\0\0\xff\xff", b"\xff\xff\0\0"):
        return ".".join(str(each) for each in reversed(raw[12:]))
    return text.lower()
