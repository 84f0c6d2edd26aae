"""What people did to engines, as the runs on nodes tell it: who started them and who asked them to end. Pure.

It reaches as far back as nodes keep runs, and only this far: a journal is what consoles write. Failures do not enter here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from console.model.ongoing_work import ObservedOperation, StopRequest
from console.model.run import RunState
from console.probes.sanitize import clean
from console.services.monitoring.records import NodeRecord

ONE_ACT_S = 60.0
"""Ends or starts by one person that follow each other closer than this are one operation: a stop goes group by group."""
NAME_CHARS = 80


def asked_of(run: RunState | None, offset_s: float) -> StopRequest | None:
    """Who asked a run to end, None when nobody did; `offset_s` is the node's clock minus ours."""
    if run is None or not run.stopping:
        return None
    return StopRequest(_name(run.stop_by), None if run.stop_at is None else _when(run.stop_at, offset_s))


def observed_operations(nodes: Mapping[str, NodeRecord], deployment: str) -> tuple[ObservedOperation, ...]:
    """The acts on a deployment, oldest first."""
    found: list[tuple[float, str, str, dict[str, None]]] = []
    newest: dict[tuple[str, str], tuple[int, float]] = {}
    """(who, verb) -> place of their last act, and when the last run of it was touched."""
    for at, verb, who, engine in sorted(_traces(nodes, deployment)):
        place, until = newest.get((who, verb), (-1, 0.0))
        if place < 0 or at - until >= ONE_ACT_S:
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


def _traces(nodes: Mapping[str, NodeRecord], deployment: str) -> Iterator[tuple[float, str, str, str]]:
    """(when, verb, who, engine) of every start and stop with a name."""
    for record in nodes.values():
        offset = record.clock_offset_s or 0.0
        for key, run in record.runs.items():
            if key.deployment != deployment:
                continue
            if run.owner and run.started_at is not None:
                yield _when(run.started_at, offset), "start", _name(run.owner), key.engine
            if run.stopping and run.stop_by and run.stop_at is not None:
                yield _when(run.stop_at, offset), "stop", _name(run.stop_by), key.engine


def _when(at: float, offset_s: float) -> float:
    """On our clock to the second: how far a node's is off is known a little differently with each of its words."""
    return float(round(at - offset_s))


def _name(text: str) -> str:
    return clean(text)[:NAME_CHARS]
