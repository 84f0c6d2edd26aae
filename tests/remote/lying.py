"""A node that lies: an interpreter that takes the helper's bundle, throws it away, and says what a test has it say."""

from __future__ import annotations

import sys
from pathlib import Path

PRELUDE = r'''
import json, struct, sys, threading, time

out, stdin = sys.stdout.buffer, sys.stdin.buffer
lock = threading.Lock()


def raw(text, payload=b""):
    with lock:
        out.write(struct.pack(">II", len(text), len(payload)) + text + payload)
        out.flush()


def push(payload=b"", **header):
    raw(json.dumps(header).encode("ascii"), payload)


def run(name="e", engine="prefill-0", **fields):
    said = {
        "key": ["dep", engine, name], "verdict": "running", "pid": 1, "token": "t", "started_at": time.time(), "exit": None,
        "pids": [1], "halted": [], "log_size": 0, "log_at": None, "stopping": False, "stop_at": None, "stop_by": "",
        "owner": "", "reason": "", "abandoned": False, "spec": {},
    }
    return dict(said, **fields)


def runs(*found, **fields):
    said = {"push": "runs", "runs": list(found), "unmanaged": [], "error": "", "hint": "", "clock": time.time()}
    push(**dict(said, **fields))


def hello(**fields):
    said = {"push": "hello", "hostname": "liar", "boot_id": "b", "uid": 0, "user": "root", "python": "3.9", "clock": time.time()}
    push(**dict(said, **fields))


def frame():
    """The next request; the end of stdin ends the liar."""
    start = stdin.read(8)
    if len(start) < 8:
        sys.exit(0)
    head, tail = struct.unpack(">II", start)
    return json.loads(stdin.read(head)), stdin.read(tail)


def wait_for(op):
    """Requests until the one that is wanted; pings are answered."""
    while True:
        header, payload = frame()
        if header["op"] == "ping":
            push(id=header["id"], ok=True)
        if header["op"] == op:
            return header


stdin.read(int(stdin.readline()))
stdin.read(int(stdin.readline().split()[0]))
out.write(b"\x01DSV4-LINK-1\n")
out.flush()
'''


def liar(path: Path, body: str) -> str:
    """An interpreter at `path` that behaves as `body` says, for the `python` of a node."""
    path.write_text(f"#!{sys.executable}\n{PRELUDE}\n{body}\n")
    path.chmod(0o755)
    return str(path)
