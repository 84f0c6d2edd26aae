"""Serves the weights of one model to other nodes, over HTTP with a secret, and ends when no node needs them any more."""

from __future__ import annotations

import hmac
import http.server
import json
import os
import re
import socket
import threading
import time
import urllib.parse
from typing import List

from console.node.weights.model import GIB, TOKEN, Trouble, digest, manifest, say, wanting

IDLE_S = 900.0
"""The source ends after this time without a request."""


class Source(http.server.ThreadingHTTPServer):
    """Serves the files of one model to clients with the token; ends when all fetchers are done or none sends requests."""

    daemon_threads = True

    def __init__(self, root: str, address: str, token: str, fetchers: int) -> None:
        self.root, self.token = root, token
        self.files = manifest(root)
        self.left = fetchers
        self.asked_at = time.monotonic()
        self.busy = 0
        self.lock = threading.Lock()
        self.address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
        super().__init__((address, 0), Give)

    def service_actions(self) -> None:
        """End the server when no fetcher needs it."""
        with self.lock:
            idle = not self.busy and time.monotonic() - self.asked_at > IDLE_S
            over = self.left <= 0 and not self.busy
        if idle or over:
            say("no more requests" if idle else "all copies are complete")
            threading.Thread(target=self.shutdown).start()
            self.left = 1


class Give(http.server.BaseHTTPRequestHandler):
    """One connection of a fetcher."""

    protocol_version = "HTTP/1.1"
    timeout = 120
    server: Source

    def do_GET(self) -> None:
        """`/manifest`, `/file?NAME` (with a range), `/sha256?NAME`, `/done`."""
        given = self.headers.get("Authorization", "")
        if not hmac.compare_digest(given.encode("utf-8", "replace"), ("Bearer " + self.server.token).encode("utf-8")):
            self.send_error(403)
            return
        with self.server.lock:
            self.server.busy += 1
        try:
            what, _, name = self.path.partition("?")
            self._answer(what, urllib.parse.unquote(name))
        finally:
            with self.server.lock:
                self.server.busy -= 1
                self.server.asked_at = time.monotonic()

    def _answer(self, what: str, name: str) -> None:
        if what == "/manifest":
            self._text(json.dumps(self.server.files))
        elif what == "/done":
            with self.server.lock:
                self.server.left -= 1
            say("%s is done" % self.client_address[0])
            self._text("thanks")
        elif name not in self.server.files:
            self.send_error(404)
        elif what == "/sha256":
            self._text(digest(os.path.join(self.server.root, name)))
        else:
            self._file(os.path.join(self.server.root, name), self.server.files[name])

    def _text(self, text: str) -> None:
        data = text.encode("utf-8")
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _file(self, path: str, known: List[int]) -> None:
        found = re.match(r"bytes=(\d+)-$", self.headers.get("Range", "bytes=0-"))
        begin = int(found.group(1)) if found else 0
        with open(path, "rb") as file:
            facts = os.fstat(file.fileno())
            if [facts.st_size, facts.st_mtime_ns] != known or begin > facts.st_size:
                self.send_error(409)  # the file changed during the copy: old and new parts must not be mixed
                return
            self.send_response(206)
            self.send_header("Content-Length", str(facts.st_size - begin))
            self.end_headers()
            self.wfile.flush()
            self.connection.sendfile(file, begin)

    def log_message(self, format: str, *words: object) -> None:
        """Log nothing: the log is for people."""


def serve(root: str, address: str, fetchers: int) -> None:
    """Serve the model at `root` to that many fetchers. Raises Trouble when it is not whole itself."""
    if not os.path.isdir(root):
        raise Trouble("%s is not a directory" % root)
    lacking = wanting(root, manifest(root))
    if lacking:
        raise Trouble("the weights on the source are incomplete, so they are not copied: %s" % "; ".join(lacking[:4]))
    with Source(root, address, os.environ[TOKEN], fetchers) as source:
        total = sum(size for size, _ in source.files.values())
        say("serving %d files, %.1f GiB" % (len(source.files), total / GIB))
        say("port %d" % source.server_address[1])
        source.serve_forever(0.5)
