"""How the bundle travels: one line of Python on the command line, everything else on stdin.

Used by the console to start a helper and by a helper to start a supervisor, so both ways are one way. The line has no
quotes, no `!` and no newline, so that any login shell takes it inside single quotes.
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
"""The same where nobody holds the other end of stdin; the run directory, which has the parcel, is the last word."""
FLAGS = ["-I", "-S", "-c", STAGE_0]
"""Isolated and without site packages: nothing in the working directory or the user's home can stand in for a library module."""


def parcel(sources: Dict[str, str], argv: List[str]) -> bytes:
    """What goes on stdin: the bootstrap, the bundle; whatever follows belongs to the helper."""
    bootstrap = (sources["console.node.bootstrap"] + "\nstart(%r)\n" % (argv,)).encode("utf-8")
    bundle = _bundle(json.dumps(sources))
    digest = hashlib.sha256(bundle).hexdigest().encode("ascii")
    return b"%d\n" % len(bootstrap) + bootstrap + b"%d %s\n" % (len(bundle), digest) + bundle


@functools.lru_cache(maxsize=1)
def _bundle(text: str) -> bytes:
    """Packed once, not for each engine that a helper launches."""
    return zlib.compress(text.encode("utf-8"), 6)
