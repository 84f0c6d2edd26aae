"""JSON lines over sockets: how the simulated processes of a group talk. No blocking reads, no meaning."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator, Mapping

Message = dict[str, object]


class Line:
    """One end of a connection that carries JSON objects, one per line."""

    def __init__(self, link: socket.socket) -> None:
        self.socket = link
        self.open = True
        self._pending = b""

    def fileno(self) -> int:
        """For selectors."""
        return self.socket.fileno()

    def send(self, message: Mapping[str, object]) -> None:
        """Send one object; a lost peer is noticed when reading."""
        try:
            self.socket.sendall(json.dumps(message).encode() + b"\n")
        except OSError:
            self.open = False

    def receive(self) -> Iterator[Message]:
        """The objects that have arrived (call it when readable); `open` is False after the peer has gone."""
        try:
            data = self.socket.recv(1 << 18)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.open = False
        self._pending += data
        *lines, self._pending = self._pending.split(b"\n")
        for line in lines:
            try:
                message = json.loads(line)
            except ValueError:
                self.open = False  # another program connected to this port
                return
            if isinstance(message, dict):
                yield message

    def close(self) -> None:
        """Close our end."""
        self.open = False
        self.socket.close()
