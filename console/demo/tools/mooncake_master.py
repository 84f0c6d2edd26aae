"""`mooncake_master` of a demo node: takes connections and keeps nothing; `/metrics` where `--metrics_port` says."""

from __future__ import annotations

import os
import selectors
import signal
import socket
import sys
import time
from collections.abc import Sequence

from console.demo.tools.demo_node import DemoNode, this_node

PORT = 50051
"""The real one's default."""
_PAGE = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 21\r\nConnection: close\r\n\r\nmaster_key_count 0.0\n"


def main() -> int:
    """Run as the program."""
    node = this_node()
    flags = _flags(sys.argv[1:])
    signal.signal(signal.SIGTERM, _leave)
    signal.signal(signal.SIGINT, _leave)
    time.sleep(node.seconds(2))
    try:
        port = int(flags.get("port", PORT))
        listeners = {_listen(node, port): b""}
        if "metrics_port" in flags:
            listeners[_listen(node, int(flags["metrics_port"]))] = _PAGE
    except (OSError, ValueError) as error:
        _say("E", f"Failed to start the master: {error}")
        return 1
    _say("I", f"Master service started on port {port}")
    _serve(listeners)
    return 0


def _flags(words: Sequence[str]) -> dict[str, str]:
    """gflags takes `--name value` and `--name=value`, with one dash or two."""
    found: dict[str, str] = {}
    for word, after in zip(words, [*words[1:], ""], strict=True):
        name, equals, value = word.lstrip("-").partition("=")
        if word.startswith("-"):
            found[name] = value if equals else after
    return found


def _listen(node: DemoNode, port: int) -> socket.socket:
    return socket.create_server((node.address, port))


def _serve(listeners: dict[socket.socket, bytes]) -> None:
    selector = selectors.DefaultSelector()
    for each in listeners:
        selector.register(each, selectors.EVENT_READ)
    while True:
        for key, _ in selector.select():
            for listener, page in listeners.items():
                if key.fileobj is listener:
                    _answer(listener, page)


def _answer(listener: socket.socket, page: bytes) -> None:
    link, _ = listener.accept()
    with link:
        link.settimeout(1.0)
        try:
            if page and link.recv(4096):
                link.sendall(page)
        except OSError:
            return  # the client has gone


def _say(level: str, text: str) -> None:
    """As glog writes it."""
    stamp = time.strftime("%m%d %H:%M:%S")
    os.write(2, f"{level}{stamp}.000000 {os.getpid()} master.cpp:391] {text}\n".encode())


def _leave(*_: object) -> None:
    _say("I", "Received signal, shutting down")
    raise SystemExit(0)


if __name__ == "__main__":
    sys.exit(main())
