"""Runs many commands in one request: in parallel on the node, each with its own time limit, with one answer for all.

The request is one argv: a small Python program, and the commands as JSON in one word, so that no shell quoting is needed.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pydantic import JsonValue

from console.probes.check_types import Answer, NodeRequirements, ProbeCommand

ANSWER_BYTES = 1024 * 1024
"""Most output of one command; more output is marked as truncated."""

_RUNNER = """
import base64, json, os, signal, subprocess, sys, tempfile, threading

LIMIT = int(sys.argv[1])
print_lock = threading.Lock()


def run(job):
    name, argv, seconds = job
    result = {"name": name, "code": None, "out": "", "err": "", "cut": False}
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "start_new_session": True}
    errors = tempfile.TemporaryFile()
    try:
        child = subprocess.Popen(argv, stderr=errors, **quiet)
        killer = threading.Timer(seconds, end, [child])
        killer.start()
        data = child.stdout.read(LIMIT + 1)
        while child.stdout.read(65536):
            pass
        code = child.wait()
        killer.cancel()
        result["cut"] = len(data) > LIMIT
        result["code"] = None if getattr(child, "late", False) else code
        result["out"] = text(data[:LIMIT])
        errors.seek(0)
        result["err"] = text(errors.read(2000))
    except OSError as problem:
        result["code"] = 127
        result["err"] = text(str(problem).encode("utf-8", "replace"))
    errors.close()
    with print_lock:
        sys.stdout.write(json.dumps(result) + chr(10))
        sys.stdout.flush()


def text(data):
    return base64.b64encode(data).decode("ascii")


def end(child):
    child.late = True
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except OSError:
        pass


def lane(jobs):
    for job in jobs:
        run(job)


threads = [threading.Thread(target=lane, args=(jobs,)) for jobs in json.loads(sys.argv[2])]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""


@dataclass(frozen=True, slots=True)
class Job:
    """One command of a batch."""

    name: str
    argv: tuple[str, ...]
    timeout_s: float
    lane: str = ""
    """Jobs with the same lane run one after the other, all others in parallel."""


def jobs(inquiries: Iterable[ProbeCommand], wanted: NodeRequirements, inside: Sequence[str] = ()) -> tuple[Job, ...]:
    """The commands of a node as jobs; `inside` are the words that run a command in its container, empty on a host runtime."""
    return tuple(
        Job(each.name, (*(inside if each.place == "container" else ()), *each.argv(wanted)), each.timeout_s, each.lane)
        for each in inquiries
    )


def batch_argv(batch: Iterable[Job], python: str = "python3") -> tuple[str, ...]:
    """The argv for the node, which needs Python 3.7 only."""
    lanes: dict[str, list[list[JsonValue]]] = {}
    for number, job in enumerate(batch):
        lanes.setdefault(job.lane or f"#{number}", []).append([job.name, list(job.argv), job.timeout_s])
    return (python, "-c", _RUNNER, str(ANSWER_BYTES), json.dumps(list(lanes.values())))


def batch_timeout_s(batch: Iterable[Job]) -> float:
    """The time limit of the whole batch in seconds: its slowest lane and a reserve for the start."""
    lanes: dict[str, float] = {}
    for number, job in enumerate(batch):
        lanes[job.lane or f"#{number}"] = lanes.get(job.lane or f"#{number}", 0.0) + job.timeout_s
    return max(lanes.values(), default=0.0) + 5.0


def parse_batch(data: bytes) -> dict[str, Answer]:
    """Name → answer. A job with an incomplete line is missing. Never raises."""
    found: dict[str, Answer] = {}
    for line in data.split(b"\n")[:-1]:
        try:
            row = json.loads(line)
            if _is_row(row):
                out, err = (base64.b64decode(row[key], validate=True) for key in ("out", "err"))
                found[str(row["name"])] = Answer(out, row["code"], row["cut"], err)
        except (ValueError, RecursionError):
            continue
    return found


def _is_row(row: object) -> bool:
    return (
        isinstance(row, Mapping)
        and all(isinstance(row.get(key), str) for key in ("name", "out", "err"))
        and isinstance(row.get("cut"), bool)
        and isinstance(row.get("code"), int | None)
    )
