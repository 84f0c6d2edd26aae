"""Reads operations on engines from the runs on nodes: who started engines and who stopped them. Pure.

The history covers the runs that nodes still have, from all consoles; the journal has the operations of this machine.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from console.model.ongoing_work import ObservedOperation, StopRequest
from console.model.run import RunState
from console.probes.sanitize import clean
from console.services.monitoring.records import NodeRecord

SAME_OPERATION_S = 60.0
"""Starts or stops by one person within this time count as one operation; a stop ends one group after another."""
NAME_CHARS = 80


def stop_request(run: RunState | None, offset_s: float) -> StopRequest | None:
    """The stop request of a run, or None; `offset_s` is the node's clock minus this machine's clock."""
    if run is None or not run.stopping:
        return None
    return StopRequest(_name(run.stop_by), None if run.stop_at is None else _our_time(run.stop_at, offset_s))


def observed_operations(nodes: Mapping[str, NodeRecord], deployment: str) -> tuple[ObservedOperation, ...]:
    """The operations on a deployment, oldest first."""
    found: list[tuple[float, str, str, dict[str, None]]] = []
    newest: dict[tuple[str, str], tuple[int, float]] = {}
    """(who, verb) -> index and last time of the newest operation."""
    for at, verb, who, engine in sorted(_starts_and_stops(nodes, deployment)):
        place, until = newest.get((who, verb), (-1, 0.0))
        if place < 0 or at - until >= SAME_OPERATION_S:
            place = len(found)
            found.append((at, who, verb, {}))
        found[place][3][engine] = None
        newest[who, verb] = place, at
    return tuple(
        ObservedOperation(at, who, verb, tuple(sorted(engines, key=_by_rank))) for at, who, verb, engines in found
    )


def _by_rank(engine: str) -> tuple[str, int]:
    group, _, rank = engine.rpartition("-")
    return (group, int(rank)) if rank.isascii() and rank.isdecimal() else (engine, 0)


def _starts_and_stops(nodes: Mapping[str, NodeRecord], deployment: str) -> Iterator[tuple[float, str, str, str]]:
    """(time, verb, who, engine) of every start and stop by a known person."""
    for record in nodes.values():
        offset = record.clock_offset_s or 0.0
        for key, run in record.runs.items():
            if key.deployment != deployment:
                continue
            if run.owner and run.started_at is not None:
                yield _our_time(run.started_at, offset), "start", _name(run.owner), key.engine
            if run.stopping and run.stop_by and run.stop_at is not None:
                yield _our_time(run.stop_at, offset), "stop", _name(run.stop_by), key.engine


def _our_time(at: float, offset_s: float) -> float:
    """The time on this machine's clock, rounded to seconds because the measured offset varies a little."""
    return float(round(at - offset_s))


def _name(text: str) -> str:
    return clean(text)[:NAME_CHARS]
