"""Which TCP ports a node listens on, from /proc/net/tcp and tcp6, without needing `ss`."""

from __future__ import annotations

from console.model.run import Probe

_LISTEN = "0A"


def listeners_probe(timeout_s: float = 5.0) -> Probe:
    """The command to run; it is run on demand, so its cadence is a day."""
    return Probe("listeners", ("cat", "/proc/net/tcp", "/proc/net/tcp6"), every_s=86400.0, timeout_s=timeout_s)


def parse_listeners(data: bytes) -> frozenset[tuple[str, int]]:
    """(address, port) of every listening socket: dotted for IPv4, `*` for any address, hexadecimal for other IPv6."""
    found: set[tuple[str, int]] = set()
    for line in data.decode("ascii", "replace").splitlines():
        words = line.split()
        if len(words) < 4 or words[3] != _LISTEN or ":" not in words[1]:
            continue
        address, _, port = words[1].rpartition(":")
        try:
            found.add((_address(address), int(port, 16)))
        except ValueError:
            continue
    return frozenset(found)


def listens(found: frozenset[tuple[str, int]], address: str, port: int) -> bool:
    """Whether something would answer, or share, that port of a node with that address.

    An engine binds every address, so a listener on any of them is in its way; on loopback nodes, which share one
    machine, only those on the node's own address or on all.
    """
    if not address.startswith("127."):
        return any(port == each for _, each in found)
    return ("*", port) in found or (address, port) in found


def _address(text: str) -> str:
    raw = bytes.fromhex(text)
    if not any(raw):
        return "*"
    if len(raw) == 4:
        return ".".join(str(each) for each in reversed(raw))
    if len(raw) == 16 and raw[:8] == b"\0" * 8 and raw[8:12] in (b"\0\0\xff\xff", b"\xff\xff\0\0"):
        return ".".join(str(each) for each in reversed(raw[12:]))
    return text.lower()
