"""Sends the bundle: one line of Python on the command line, everything else on stdin.

The console starts a helper with it, and a helper starts a supervisor with it. The line has no quotes, no `!` and no newline, so
that every login shell accepts it inside single quotes.
"""

from __future__ import annotations

import functools
import hashlib
import json
import zlib
from typing import Dict, List

STAGE_0 = "import sys; exec(sys.stdin.buffer.read(int(sys.stdin.buffer.readline())))"
SUPERVISOR = "supervisor.bundle"
FROM_FILE = [
    "-I",
    "-S",
    "-c",
    "import sys; sys.stdin = open(sys.argv[-1] + '/%s'); %s" % (SUPERVISOR, STAGE_0.partition("; ")[2]),
    "dsv4-console",
    "supervise",
]
"""The same for a container without stdin: the last argument is the run directory, which has the bytes in a file."""
FLAGS = ["-I", "-S", "-c", STAGE_0]
"""Isolated and without site packages, so that no file in the working directory or home can replace a library module."""


def stdin_bytes(sources: Dict[str, str], argv: List[str]) -> bytes:
    """The first bytes on stdin: the bootstrap and the bundle; the following bytes belong to the helper."""
    bootstrap = (sources["console.node.bootstrap"] + "\nstart(%r)\n" % (argv,)).encode("utf-8")
    bundle = _bundle(json.dumps(sources))
    digest = hashlib.sha256(bundle).hexdigest().encode("ascii")
    return b"%d\n" % len(bootstrap) + bootstrap + b"%d %s\n" % (len(bundle), digest) + bundle


@functools.lru_cache(maxsize=1)
def _bundle(text: str) -> bytes:
    """The packed bundle; cached, because a helper launches many engines."""
    return zlib.compress(text.encode("utf-8"), 6)
