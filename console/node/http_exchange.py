"""One HTTP request of the helper and its answer, on a socket that never blocks.

A connection to a socket that is kept open is used again for GET. Whether nobody accepted a connection, nobody answered or the
answer did not end is told apart. TLS certificates are not verified: a node asks its own engine.
"""

from __future__ import annotations

import errno
import os
import re
import socket
import time
from typing import Any, Callable, List, NamedTuple, Optional, Sequence, Tuple

from console.node.http_answer import Broken, HttpAnswer
from console.node.http_loop import READ, WRITE, HttpLoop, Place
from console.node.threads import start

MAX_BODY = 4 * 1024 * 1024
"""Largest accepted body in bytes; /metrics of a large engine has a few hundred KiB."""
PIECE = 65536
READS = 16
"""Most pieces of one answer that are read before other sockets get their turn."""
_NO_ADDRESS = (OSError, UnicodeError, OverflowError)
_PLAIN = re.compile(r"[!-~]+\Z")
_VALUE = re.compile(r"[ -~]*\Z")


class HttpRequest(NamedTuple):
    """What is sent, and where to."""

    host: str
    port: int
    path: str
    timeout_s: float
    method: str = "GET"
    """Empty: the connection is opened and closed, nothing is sent."""
    headers: Sequence[Tuple[str, str]] = ()
    body: bytes = b""
    tls: bool = False
    uds: str = ""
    """Path of a socket that replaces host and port."""

    @property
    def place(self) -> Place:
        """What a connection is kept for."""
        return self.host, self.port, self.uds, self.tls

    @property
    def where(self) -> str:
        """The server, for messages."""
        return self.uds or "%s:%d" % (self.host, self.port)

    def head(self) -> bytes:
        """The first bytes on the connection. Raises ValueError for text that HTTP cannot carry."""
        name = "[%s]" % self.host if ":" in self.host else self.host
        fields = [
            ("Host", "%s:%d" % (name, self.port)),
            ("User-Agent", "dsv4-console"),
            ("Accept", "*/*"),
            *self.headers,
        ]
        if self.body:
            fields.append(("Content-Length", str(len(self.body))))
        if self.method != "GET":
            fields.append(("Connection", "close"))
        texts = [self.method, self.path, *(key for key, _ in fields)]
        if not all(_PLAIN.match(each) for each in texts) or not all(_VALUE.match(value) for _, value in fields):
            raise ValueError("path or headers have characters that HTTP cannot carry")
        lines = ["%s %s HTTP/1.1" % (self.method, self.path), *("%s: %s" % each for each in fields)]
        return "\r\n".join([*lines, "", ""]).encode("ascii")


class Outcome(NamedTuple):
    """How a request ended; `status` is 0 without an answer, `error` is the reason or says that the body is incomplete."""

    status: int
    body: bytes
    took_s: float
    error: str = ""


class Exchange:
    """A running request. `done` is called once, in the thread of the loop, unless it is cancelled."""

    def __init__(
        self,
        loop: HttpLoop,
        request: HttpRequest,
        done: Callable[[Outcome], None],
        hear: Optional[Callable[[bytes], None]] = None,
    ) -> None:
        """`hear` gets the body as it arrives; then the outcome has none."""
        self._loop = loop
        self._request = request
        self._done = done
        self._hear = hear
        self._began = time.monotonic()
        self._deadline = loop.after(request.timeout_s, self._expired)
        self._sock: Optional[socket.socket] = None
        self._addresses: List[Tuple[int, Any]] = []
        self._ssl: Any = None
        self._connected = False
        self._secured = False
        self._fresh = True
        self._ended = False
        self._out = b""
        self._answer = HttpAnswer(request.method)
        self._heard = 0
        self._body = bytearray()
        self._size = 0

    def begin(self) -> None:
        """Take a connection that is open, or connect."""
        if self._request.tls:
            try:
                import ssl
            except ImportError:
                self._finish("the Python of this node cannot do TLS: it has no module ssl")
                return
            self._ssl = ssl
        sock = self._loop.kept(self._request.place) if self._request.method == "GET" else None
        if sock is None:
            self._dial()
            return
        self._sock, self._fresh, self._connected, self._secured = sock, False, True, True
        self._send()

    def cancel(self) -> None:
        """Close the connection and report nothing."""
        self._close()

    def _dial(self) -> None:
        request = self._request
        self._fresh = True
        if request.uds:
            self._try([(socket.AF_UNIX, request.uds)])
            return
        try:
            self._try(_addresses(request.host, request.port, socket.AI_NUMERICHOST))
        except _NO_ADDRESS:
            start("resolve", self._resolve)

    def _resolve(self) -> None:
        """In a thread of its own: a name server can take long."""
        try:
            found = _addresses(self._request.host, self._request.port, 0)
        except _NO_ADDRESS as error:
            text = "no address for %s: %s" % (self._request.host, getattr(error, "strerror", None) or error)
            self._loop.call(lambda: self._finish(text))
            return
        self._loop.call(lambda: self._try(found))

    def _try(self, addresses: List[Tuple[int, Any]]) -> None:
        """Connect to the first of these addresses that accepts it."""
        self._addresses = addresses
        failed = 0
        while self._addresses and not self._ended:
            family, address = self._addresses.pop(0)
            try:
                sock = socket.socket(family, socket.SOCK_STREAM)
            except OSError as error:
                failed = error.errno or errno.EINVAL
                continue
            sock.setblocking(False)
            failed = _connect(sock, address)
            if failed in (0, errno.EINPROGRESS):
                self._sock = sock
                self._loop.watch(sock, WRITE, self._connecting)
                return
            sock.close()
        self._unconnected(failed)

    def _unconnected(self, code: int) -> None:
        where = self._request.where
        if code == errno.ECONNREFUSED:
            self._finish("connection to %s refused" % where)
        else:
            self._finish("no connection to %s: %s" % (where, os.strerror(code)))

    def _connecting(self) -> None:
        assert self._sock is not None
        code = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            self._drop()
            if self._addresses:
                self._try(self._addresses)
            else:
                self._unconnected(code)
            return
        self._connected = True
        if self._ssl is None:
            self._secured = True
            self._send()
            return
        context = self._ssl.SSLContext(self._ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = self._ssl.CERT_NONE
        self._loop.unwatch(self._sock)
        try:
            self._sock = context.wrap_socket(self._sock, do_handshake_on_connect=False)
        except OSError as error:
            self._finish(self._no_tls(error))
            return
        self._handshake()

    def _handshake(self) -> None:
        assert self._sock is not None
        try:
            self._sock.do_handshake()  # type: ignore[attr-defined]
        except OSError as error:
            events = self._wanted(error)
            if events:
                self._loop.watch(self._sock, events, self._handshake)
            else:
                self._finish(self._no_tls(error))
            return
        self._secured = True
        self._send()

    def _no_tls(self, error: OSError) -> str:
        return "no TLS with %s: %s" % (self._request.where, getattr(error, "reason", None) or error.strerror or error)

    def _send(self) -> None:
        if not self._request.method:
            self._finish("")
            return
        try:
            self._out = self._request.head() + self._request.body
        except ValueError as error:
            self._finish(str(error))
            return
        self._write()

    def _write(self) -> None:
        assert self._sock is not None
        while self._out:
            try:
                self._out = self._out[self._sock.send(self._out[:PIECE]) :]
            except OSError as error:
                events = self._wanted(error)
                if events:
                    self._loop.watch(self._sock, events, self._write)
                    return
                self._out = b""  # the answer, if there is one, says why the server takes no more
        self._loop.watch(self._sock, READ, self._read)

    def _read(self) -> None:
        for _ in range(READS):
            if self._sock is None:
                return
            try:
                data = self._sock.recv(PIECE)
            except OSError as error:
                events = self._wanted(error)
                if events:
                    self._loop.watch(self._sock, events, self._read)
                else:
                    self._cut("the server closed the connection (%s)" % (error.strerror or error))
                return
            if not data:
                self._cut("")
                return
            if not self._take(data):
                return
        if self._ssl is not None:
            self._loop.call(self._read)  # its bytes can wait where no selector sees them

    def _take(self, data: bytes) -> bool:
        """Use bytes of the answer; whether it goes on."""
        self._heard += len(data)
        try:
            body = self._answer.feed(data)
        except Broken as broken:
            self._finish(str(broken))
            return False
        self._size += len(body)
        if self._hear is None:
            self._body += body[: MAX_BODY - len(self._body)]
        elif body:
            self._hear(body[: max(0, MAX_BODY - self._size + len(body))])
        if self._size > MAX_BODY:
            self._finish("the body is larger than %d bytes" % MAX_BODY)
        elif self._answer.done:
            self._finish("")
        return not self._ended

    def _cut(self, why: str) -> None:
        """The connection ended; one that was kept open can have ended before it was used again."""
        if not self._fresh and not self._heard:
            self._drop()
            self._connected = self._secured = False
            self._dial()
            return
        try:
            self._answer.end()
        except Broken as broken:
            self._finish(why or str(broken))
            return
        self._finish(why)

    def _expired(self) -> None:
        seconds = self._request.timeout_s
        if not self._connected:
            self._finish("no connection to %s within %g s" % (self._request.where, seconds))
        elif not self._secured:
            self._finish("no TLS with %s within %g s" % (self._request.where, seconds))
        elif not self._answer.status:
            self._finish("no answer within %g s" % seconds)
        else:
            self._finish("the answer was not complete within %g s" % seconds)

    def _finish(self, error: str) -> None:
        if self._ended:
            return
        sock = self._sock
        if not error and sock is not None and self._request.method == "GET" and self._answer.reusable:
            self._loop.unwatch(sock)
            self._loop.keep(self._request.place, sock)
            self._sock = None
        self._close()
        self._done(Outcome(self._answer.status, bytes(self._body), time.monotonic() - self._began, error))

    def _close(self) -> None:
        self._ended = True
        self._deadline.cancel()
        self._drop()

    def _drop(self) -> None:
        if self._sock is not None:
            self._loop.unwatch(self._sock)
            self._sock.close()
            self._sock = None

    def _wanted(self, error: OSError) -> int:
        """The events that an operation waits for; 0 when it failed."""
        if isinstance(error, BlockingIOError):
            return WRITE if self._out else READ
        if self._ssl is not None and isinstance(error, self._ssl.SSLWantReadError):
            return READ
        if self._ssl is not None and isinstance(error, self._ssl.SSLWantWriteError):
            return WRITE
        return 0


def _addresses(host: str, port: int, flags: int) -> List[Tuple[int, Any]]:
    found = socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM, 0, flags)
    return [(family, address) for family, _, _, _, address in found]


def _connect(sock: socket.socket, address: Any) -> int:
    """The error number of a connect, 0 or EINPROGRESS when it goes on."""
    try:
        return sock.connect_ex(address)
    except (OSError, OverflowError, ValueError, TypeError) as error:
        return getattr(error, "errno", None) or errno.EINVAL
