"""HTTP servers for one test each, that answer with exactly the bytes they are told, over TCP, TLS or a socket in a folder."""

from __future__ import annotations

import contextlib
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

Answer = Callable[[socket.socket, bytes], None]
"""Gets a connection and the head of a request on it; the connection is closed when it raises."""


@dataclass
class Server:
    """A running server and what it was asked."""

    port: int = 0
    heads: list[bytes] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    connections: int = 0
    open: set[socket.socket] = field(default_factory=set)
    gone: threading.Event = field(default_factory=threading.Event)
    """Set when a client closed its connection."""


class Closed(Exception):
    """The answer is over and so is the connection."""


def said(status: str, body: bytes, *fields: str) -> bytes:
    """A whole answer."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *fields, "", ""]
    return "\r\n".join(lines).encode() + body


def always(data: bytes, *, close: bool = False) -> Answer:
    """Answers every request with the same bytes."""

    def answer(connection: socket.socket, _head: bytes) -> None:
        connection.sendall(data)
        if close:
            raise Closed

    return answer


def greeting(connection: socket.socket, head: bytes) -> None:
    """For a server that speaks first: it sends lines of a mail server at once."""
    del head
    connection.sendall(b"220 mail\r\n\r\n")
    raise Closed


@contextlib.contextmanager
def server(answer: Answer, *, uds: Path | None = None, tls: Path | None = None) -> Iterator[Server]:
    """A server for the length of a test; `tls` is a folder for its certificate."""
    listener = socket.socket(socket.AF_UNIX if uds else socket.AF_INET)
    listener.bind(str(uds) if uds else ("127.0.0.1", 0))
    listener.listen(64)
    found = Server(0 if uds else listener.getsockname()[1])
    context = _context(tls) if tls else None
    threading.Thread(target=_accept, args=(listener, answer, found, context), daemon=True).start()
    try:
        yield found
    finally:
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for each in tuple(found.open):
            _end(each)


def _accept(listener: socket.socket, answer: Answer, found: Server, context: ssl.SSLContext | None) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        found.connections += 1
        threading.Thread(target=_serve, args=(connection, answer, found, context), daemon=True).start()


def _serve(connection: socket.socket, answer: Answer, found: Server, context: ssl.SSLContext | None) -> None:
    try:
        if context is not None:
            connection = context.wrap_socket(connection, server_side=True)
        found.open.add(connection)
        if answer is greeting:
            answer(connection, b"")
        waiting = b""
        while True:
            while b"\r\n\r\n" not in waiting:
                data = connection.recv(65536)
                if not data:
                    found.gone.set()
                    return
                waiting += data
            head, _, waiting = waiting.partition(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0] or 0)
            while len(waiting) < length:
                waiting += connection.recv(65536)
            found.heads.append(head)
            found.bodies.append(waiting[:length])
            waiting = waiting[length:]
            answer(connection, head)
    except (OSError, Closed):
        return
    finally:
        _end(connection)
        found.open.discard(connection)


def _end(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()


def _context(folder: Path) -> ssl.SSLContext:
    """TLS with a certificate that nobody signed, for no name that is asked."""
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    words = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=engine", "-days", "2"]
    subprocess.run([*words, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


def silent_port() -> socket.socket:
    """A listening socket whose queue is full, so that a connection to it is never accepted nor refused."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    return listener
