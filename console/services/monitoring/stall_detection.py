"""Detects stalled starts: an engine without log lines for longer than usual, and ranks that wait for a slower rank. Pure.

`startup_eta` learns the usual times without log lines; without earlier starts the limits of vLLM and HCCL apply.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from console.model.durations import stepped
from console.model.snapshot import EngineSnapshot, EngineState
from console.model.start_timing import HANDSHAKE_S, HCCL_CONNECT_S
from console.probes.engine_log import SHARE, Phase

LONGER = 2.0
"""A silence this many times longer than the longest one of earlier starts is reported."""
LEAST_S = 60.0
"""Shorter silences are never reported; a busy disk or garbage collection can cause them."""
BAR_S = 120.0
"""Limit while weights load shard by shard: at 64 shards in 361 s one takes 6 s, so this is twenty shards."""
WAITING_S = 20.0
"""A rank ahead of the slowest rank of its group waits for it after this silence."""
USUAL_S: Mapping[str, float] = {
    Phase.START: 180.0,
    Phase.PLUGIN: 180.0,
    Phase.CONFIG: 180.0,
    Phase.PEERS: HANDSHAKE_S + 30.0,
    Phase.ENGINE: 180.0,
    Phase.DISTRIBUTED: HCCL_CONNECT_S + 30.0,
    Phase.LOAD: 400.0,
    Phase.MEMORY: 300.0,
    Phase.KV: 300.0,
    Phase.GRAPH: 300.0,
    Phase.ENGINE_READY: 600.0,
}
"""Normal silences when no earlier start is known. Loading without a progress bar: 361 s were published for 35.9 GB per die
(vllm-ascend issue 16983). Peers and links: the limits of vLLM and HCCL (HCCL_CONNECT_TIMEOUT 120 s and 20 more). A ready
engine waits for the others: VLLM_ENGINE_READY_TIMEOUT_S, 600 s. The other values are estimates: imports from a cold disk,
profiling, and single graphs may take minutes."""


def held_up(
    engines: Mapping[str, EngineSnapshot], known: Mapping[str, Mapping[str, float]], now: float
) -> dict[str, EngineSnapshot]:
    """Engines of stalled starts, with the cause of the stall. `known`: group -> phase -> longest earlier silence."""
    groups: dict[str, list[EngineSnapshot]] = {}
    for engine in engines.values():
        if engine.state is EngineState.STARTING and engine.phase in USUAL_S:
            groups.setdefault(engine.group or engine.id, []).append(engine)
    found: dict[str, EngineSnapshot] = {}
    for name, members in groups.items():
        longest = known.get(name, {})
        last = slowest(members)
        silent = _too_long(last, longest, now)
        for engine in members:
            if engine is not last and _behind(last, engine) and _quiet_s(engine, now) >= WAITING_S:
                words = f"waits for {last.id}, {phase_text(last)}" + (f", {_quiet_text(last, now)}" if silent else "")
                found[engine.id] = replace(engine, held_up=words)
            elif _too_long(engine, longest, now):
                found[engine.id] = replace(engine, held_up=_quiet_text(engine, now), silent_since=engine.log_spoke_at)
    return found


def slowest(members: Iterable[EngineSnapshot]) -> EngineSnapshot:
    """The slowest of these engines (at least one). The first part of an engine counts, as further parts show no progress."""
    return min(members, key=lambda each: (each.state is EngineState.READY, each.part > 0, _progress_key(each)))


def phase_text(engine: EngineSnapshot) -> str:
    """`at load 41 %`."""
    share = "" if engine.progress is None else f" {engine.progress * 100:.0f} %"
    return f"at {engine.phase or 'start'}{share}"


def _behind(last: EngineSnapshot, engine: EngineSnapshot) -> bool:
    return _progress_key(last) < _progress_key(engine)


def _progress_key(engine: EngineSnapshot) -> tuple[int, float]:
    return (Phase(engine.phase).order if engine.phase else 0, engine.progress or 0.0)


def _too_long(engine: EngineSnapshot, longest: Mapping[str, float], now: float) -> bool:
    if not engine.log_read:
        return False
    usual = longest.get(engine.phase)
    loads = engine.phase == Phase.LOAD and engine.progress_text.startswith("shard ")
    moving = loads and (engine.progress or 0.0) < SHARE[Phase.MEMORY]
    limit = BAR_S if moving else USUAL_S[engine.phase]
    return _quiet_s(engine, now) >= (limit if usual is None else max(LEAST_S, LONGER * usual))


def _quiet_s(engine: EngineSnapshot, now: float) -> float:
    return 0.0 if engine.log_spoke_at is None else now - engine.log_spoke_at


def _quiet_text(engine: EngineSnapshot, now: float) -> str:
    return f"silent {stepped(_quiet_s(engine, now))}"
