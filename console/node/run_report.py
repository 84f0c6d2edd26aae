"""The reports of runs for the console, with valid values only and within the limits of a frame.

Any process of a run can write the files of the run, so invalid values are left out.
"""

from __future__ import annotations

import json
import time
from typing import Any, Dict, List, Optional, Sequence, Tuple

from console.node.frames import MAX_RUNS, MAX_SAID, MAX_UNMANAGED
from console.node.run_verdicts import JudgedRun, abandoned, reason

MAX_TIME = 32503680000.0
"""The year 3000, in seconds since the epoch."""
MAX_SIZE = 2**53
MAX_PID = 2**31
MAX_PIDS = 1024
"""Most processes in the report of one run."""
TEXT_CHARS = 2000
NAME_CHARS = 200
MAX_STEPS = 64
"""Most changes of a time zone in a report."""
SPEC_BYTES = 64 * 1024
SPEC_DEPTH = 16
ROOM = MAX_SAID - 32 * 1024
"""Most bytes of runs and processes in a list; the rest of the header is small."""


def as_state(judged: JudgedRun, with_spec: bool = True) -> Dict[str, Any]:
    """The report of one run; old runs have no spec, which is the largest part."""
    return {
        "key": list(judged.key),
        "verdict": judged.verdict,
        "pid": judged.main.pid if judged.main else None,
        "supervisor": judged.keeper.pid if judged.keeper else None,
        "token": judged.token[:NAME_CHARS],
        "started_at": moment(judged.run.get("started_at")),
        "zone": _zone(judged.run.get("zone")),
        "exit": _exit(judged.exit),
        "pids": sorted(each.pid for each in judged.members)[:MAX_PIDS],
        "halted": sorted(each.pid for each in judged.members if each.halted)[:MAX_PIDS],
        "log_size": judged.log_size,
        "log_at": moment(judged.log_at),
        "stopping": judged.stopping,
        **_asked(judged.stop or {}),
        "owner": words(judged.record.get("owner"), NAME_CHARS),
        "reason": reason(judged)[:TEXT_CHARS],
        "abandoned": abandoned(judged, time.time()),
        "spec": _spec(judged.record.get("spec")) if with_spec else {},
    }


def fitted(states: Sequence[Dict[str, Any]], unmanaged: Sequence[Dict[str, Any]]) -> Dict[str, Any]:
    """A list of runs and processes that fits into one frame, with the number of the others.

    `states` start with the most important runs.
    """
    room = ROOM
    kept, room = _within(states, MAX_RUNS, room)
    others, room = _within(unmanaged, MAX_UNMANAGED, room)
    left_out = {"left_runs": len(states) - len(kept), "left_unmanaged": len(unmanaged) - len(others)}
    return dict(left_out, runs=kept, unmanaged=others)


def moment(value: object) -> Optional[float]:
    """A valid time, or None."""
    plain = isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= MAX_TIME
    return float(value) if plain else None  # type: ignore[arg-type]


def words(value: object, limit: int) -> str:
    """A text of limited length; empty for other values."""
    return value[:limit] if isinstance(value, str) else ""


def _within(found: Sequence[Dict[str, Any]], count: int, room: int) -> Tuple[List[Dict[str, Any]], int]:
    kept: List[Dict[str, Any]] = []
    for each in found[:count]:
        room -= len(json.dumps(each)) + 1
        if room < 0:
            break
        kept.append(each)
    return kept, max(0, room)


def _exit(record: Optional[Dict[str, Any]]) -> Optional[Dict[str, Any]]:
    if record is None:
        return None
    code, signal = record.get("code"), record.get("signal")
    return {"code": _small(code), "signal": _small(signal), "at": moment(record.get("at"))}


def _zone(table: object) -> Optional[List[Any]]:
    """The time zone of the log; None for invalid data."""
    if not isinstance(table, list) or len(table) > MAX_STEPS:
        return None
    pairs = all(isinstance(step, list) and len(step) == 2 for step in table)
    return table if pairs and all(isinstance(each, (int, float)) for step in table for each in step) else None


def _small(value: object) -> Optional[int]:
    plain = isinstance(value, int) and not isinstance(value, bool) and abs(value) <= MAX_PID
    return value if plain else None  # type: ignore[return-value]


def _asked(stop: Dict[str, Any]) -> Dict[str, Any]:
    """When and by whom a stop was requested, as far as it can be read."""
    return {"stop_at": moment(stop.get("at")), "stop_by": words(stop.get("by"), NAME_CHARS)}


def _spec(spec: object) -> Dict[str, Any]:
    if not isinstance(spec, dict) or not shallow(spec, SPEC_DEPTH) or len(json.dumps(spec)) > SPEC_BYTES:
        return {}
    return spec


def shallow(value: object, depth: int) -> bool:
    """Whether a value is not nested deeper than `depth`."""
    if isinstance(value, (dict, list)):
        below = value.values() if isinstance(value, dict) else value
        return depth > 0 and all(shallow(each, depth - 1) for each in below)
    return True
