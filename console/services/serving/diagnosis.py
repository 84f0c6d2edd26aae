"""Finds known failures in the logs of current runs, and decides which failure came first.

It reads local log copies after the monitor, so it can neither delay a log nor lose a byte.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass, field
from pathlib import Path

from console.diagnosis.matcher import Hit, Matcher
from console.diagnosis.root_cause import (
    PEER_DEAD,
    TOGETHER_S,
    RankHits,
    TimedHit,
    first_cause,
    of_the_dead,
    own_causes,
    timeline,
)
from console.diagnosis.signatures import Signature, joined, load_signatures, of_fact, waiting_words
from console.model.deployment import Deployment
from console.model.errors import FileError
from console.model.run import RunKey
from console.model.snapshot import ClusterSnapshot, Diagnosis, EngineSnapshot, EngineState, EventLevel
from console.probes.engine_log import LogState
from console.probes.log_time import Clock, first_stamped
from console.probes.sanitize import clean
from console.services.logs.clocks import HEAD_BYTES, run_clock
from console.services.logs.copies import LogBook, LogCopy
from console.services.monitoring.engine_states import is_dead
from console.services.monitoring.intervals import Intervals
from console.services.monitoring.monitor import Monitor
from console.services.serving.condition_facts import HANG, MEMORY_KILLED, OWN, facts_of, rank_to_check_text
from console.services.serving.leak_detection import LeakDetector
from console.services.serving.setting_source import NOWHERE, SettingLocations, setting_locations

READ_BYTES = 256 * 1024
"""Bytes of one log that are read before the event loop continues."""
BEFORE_KILL_END_S = 60.0
"""An engine whose worker was killed exits within this time, because vLLM first shuts its executor down."""
_UNREAD = (EngineState.IDLE, EngineState.EXITED, EngineState.UNMANAGED)
"""States in which the log of the run needs no reading."""
_SERVING = (EngineState.READY, EngineState.DEGRADED)
DOWN = (EngineState.FAILED, EngineState.LOST, EngineState.STUCK)
"""States whose cause is in the log of the run."""


_MAY_EXPLAIN = (EngineState.STARTING, EngineState.DEGRADED)
"""Other states whose cause may be in the log."""


def _degraded_causes(engines: Iterable[EngineSnapshot]) -> Set[tuple[str, str]]:
    """(engine, cause) of the degraded engines."""
    return {(each.id, each.cause) for each in engines if each.state is EngineState.DEGRADED}


def _next_offset(reader: _Reader, copy: LogCopy) -> int:
    """The offset to read next, after a possible gap in the copy."""
    reader.fed = copy.present(reader.fed)
    return reader.fed


def _needs_reading(engine: EngineSnapshot) -> bool:
    """Whether the log of the run needs reading: a requested stop needs no explanation."""
    return engine.state not in _UNREAD and (engine.state is not EngineState.STOPPING or engine.asked is None)


def _still_holds(hit: Hit, clock: Clock | None, now: float) -> bool:
    """Whether a hit still holds: a message that repeats while its condition lasts is over when it stops."""
    stamp, arrived = hit.last
    written_at = clock.read(stamp) if clock is not None and stamp else None
    return hit.signature.lasts_s is None or now - (written_at or arrived) < hit.signature.lasts_s


def relevant_hits(hits: Iterable[Hit], said: LogState, *, unhurt: bool) -> tuple[Hit, ...]:
    """The hits of a log that explain the present state of its engine.

    Hits before the engine was ready did not prevent that, for example retries. `unhurt`: the engine serves without a cause of
    failure, so no fatal hit applies.
    """
    up = said.up_offset if said.up_offset is not None else -1
    return tuple(
        hit
        for hit in hits
        if hit.signature.severity == "advice"
        or (hit.offset >= up and not (unhurt and hit.signature.severity == "fatal"))
    )


def diagnosis_of(
    witness: TimedHit, first: bool, own: bool, log_error: str = "", where: SettingLocations = NOWHERE
) -> Diagnosis:
    """The diagnosis of a hit. `log_error` is the first error of the log; it replaces the text of a hit that is only a
    wrapper.
    """
    hit, signature = witness.hit, witness.hit.signature
    return Diagnosis(
        signature=signature.id,
        severity=signature.severity,
        title=signature.title,
        cause=signature.cause,
        remedy=signature.remedy,
        source=signature.source,
        engine=witness.rank,
        node=witness.node,
        text=clean(((signature.wrapper and log_error) or hit.text)[:500]),
        at=witness.when,
        exact=witness.exact,
        count=hit.count,
        first=first,
        consequence=not (first or own or signature.severity == "advice"),
        where=where.text,
        where_file=where.file,
        where_line=where.line,
    )


@dataclass(slots=True)
class _Reader:
    """The progress of reading one log."""

    matcher: Matcher
    revision: int
    """Revision of the copy; a new revision makes earlier hits invalid."""
    fed: int = 0
    told: int = 0
    """How far it had been read when the diagnoses were last published."""
    clock: Clock | None = None
    """The clock of the log's time stamps; None before the first stamp."""


@dataclass(slots=True)
class _Known:
    """The facts that hold now, and since when."""

    since: dict[tuple[str, str], float] = field(default_factory=dict)
    told: set[str] = field(default_factory=set)
    degraded: Set[tuple[str, str]] = frozenset()
    """(engine, cause) of degraded engines at the last publication."""
    written: tuple[Deployment | None, dict[tuple[str, str], SettingLocations]] = field(
        default_factory=lambda: (None, {})
    )
    """The locations of the settings of each failure, for one deployment."""


class DiagnosisWatch:
    """Publishes the diagnoses of all current runs: from one matcher for each log, and from facts of the console."""

    def __init__(
        self, monitor: Monitor, logs: LogBook, intervals: Intervals | None = None, *, own: Path | None = None
    ) -> None:
        """`own` is an operator's file of signatures; its entries replace shipped entries of the same id."""
        self._monitor = monitor
        self._logs = logs
        self._intervals = intervals or Intervals()
        self._own = own
        self._signatures: tuple[Signature, ...] = ()
        self._readers: dict[RunKey, _Reader] = {}
        self._known = _Known()
        self._leaks = LeakDetector()

    async def run(self) -> None:
        """Read logs and publish diagnoses until cancelled."""
        self._signatures = (*await asyncio.to_thread(load_signatures), *OWN)
        if self._own is not None and self._own.exists():
            try:
                self._signatures = joined(self._signatures, await asyncio.to_thread(load_signatures, self._own))
            except FileError as error:
                self._monitor.note(EventLevel.ERROR, f"own signatures are not used: {clean(str(error))}")
        self._monitor.following.set_waiting_patterns(waiting_words(self._signatures))
        seen: ClusterSnapshot | None = None
        while True:
            grew = any(reader.fed < self._logs.of(key).size for key, reader in self._readers.items())
            if grew or self._monitor.snapshot is not seen:
                seen = self._monitor.snapshot
                await self._read()
                self.tell(time.time())
                for reader in self._readers.values():
                    reader.told = reader.fed
            await asyncio.sleep(self._intervals.diagnosis_s)

    def complete(self, engines: Iterable[str]) -> bool:
        """Whether the published diagnoses cover the whole log copies of these engines' current runs."""
        keys = [key for name in engines if (key := self._monitor.current(name)) is not None]
        return all(key in self._readers and self._readers[key].told >= self._logs.of(key).size for key in keys)

    def ordered(self) -> bool:
        """Whether the diagnoses of failed and degraded engines are complete, with a first cause where several engines of a
        group are down.
        """
        snapshot = self._monitor.snapshot
        down = {engine.id: engine.group for engine in snapshot.engines.values() if engine.state in DOWN}
        groups = [group for group in down.values() if group]
        read = [each.id for each in snapshot.engines.values() if each.state in _MAY_EXPLAIN]
        return (
            self.complete((*down, *read))
            and _degraded_causes(snapshot.engines.values()) <= self._known.degraded
            and snapshot.diagnoses == self._monitor.diagnoses
            and (len(groups) == len({*groups}) or any(each.first for each in snapshot.diagnoses))
        )

    async def _read(self) -> None:
        """Read every log copy to its end, block by block; forget runs that were replaced."""
        current = {self._monitor.current(name) for name in self._monitor.snapshot.engines}
        self._readers = {key: reader for key, reader in self._readers.items() if key in current}
        for engine in tuple(self._monitor.snapshot.engines.values()):
            key = self._monitor.current(engine.id) if _needs_reading(engine) else None
            if key is None:
                continue
            copy = self._logs.of(key)
            reader = self._readers.get(key)
            if reader is None or reader.revision != copy.revision:
                reader = self._readers[key] = _Reader(Matcher(self._signatures), copy.revision)
                await asyncio.sleep(0)
            while reader.fed < copy.size and (data := copy.read(_next_offset(reader, copy), READ_BYTES)):
                if reader.clock is None and first_stamped(data):
                    reader.clock = run_clock(
                        self._monitor.snapshot, engine.id, key.run, copy.read(0, HEAD_BYTES), time.time()
                    )
                reader.matcher.feed(data, time.time())
                reader.fed += len(data)
                await asyncio.sleep(0)

    def tell(self, now: float) -> None:
        """Publish the current diagnoses in the snapshot, and new ones as events."""
        snapshot = self._monitor.snapshot
        logs = tuple(self._logs_of(now))
        self._leaks.feed(snapshot)
        self._facts(now)
        witnesses = timeline((*logs, *self._fact_hits(now, logs)))
        first = first_cause(witnesses, self._ended())
        for engine in snapshot.engines.values():
            key = self._monitor.current(engine.id)
            if key is not None:
                cause = first_cause(each for each in witnesses if each.rank == engine.id)
                self._monitor.run_record(key).signature = cause.hit.signature.id if cause else ""
        own = own_causes(witnesses, {each.id: each.group for each in snapshot.engines.values() if each.group})
        told = tuple(self._diagnosis(each, each is first, own.get(each.rank) is each) for each in witnesses)
        self._known.degraded = _degraded_causes(snapshot.engines.values())
        self._add_events(told)
        if told != self._monitor.diagnoses:
            self._monitor.diagnoses = told
            self._monitor.touch()

    def _logs_of(self, now: float) -> Iterator[RankHits]:
        for engine in self._monitor.snapshot.engines.values():
            key = self._monitor.current(engine.id)
            reader = self._readers.get(key) if key and _needs_reading(engine) else None
            if key is None or reader is None:
                continue
            if reader.clock is not None:
                reader.clock.ahead_s = self._monitor.nodes[engine.node].clock_offset_s or 0.0
            run_record = self._monitor.run_record(key)
            known = (hit for hit in reader.matcher.hits if _still_holds(hit, reader.clock, now))
            hits = (*known, *reader.matcher.silent(now))
            hits = relevant_hits(hits, run_record.log_state, unhurt=engine.state in _SERVING and not engine.cause)
            died_at = run_record.log_state.died_at
            run_record.died_at = reader.clock.read(died_at) if reader.clock is not None and died_at else None
            yield RankHits(engine.id, engine.node, hits, reader.clock)

    def _ended(self) -> dict[str, float]:
        """When each engine died, on this machine's clock, where known: by its process, or earlier by its log."""
        offsets = {name: record.clock_offset_s or 0.0 for name, record in self._monitor.nodes.items()}
        engines = self._monitor.snapshot.engines.values()
        ends = {
            each.id: each.exit.at - offsets[each.node] for each in engines if each.exit and each.exit.at is not None
        }
        died = {each.id: each.died_at for each in engines if each.died_at is not None}
        return ends | {name: at for name, at in died.items() if ends.get(name, math.inf) - at > TOGETHER_S}

    def _facts(self, now: float) -> None:
        """Update the facts that hold now, with their start times."""
        self._known.since = {
            (fact, engine): self._known.since.get((fact, engine), now) for fact, engine, _ in self._current_facts()
        }

    def _current_facts(self) -> Iterator[tuple[str, str, str]]:
        yield from facts_of(self._monitor.snapshot, frozenset(self._known.since))
        yield from self._leaks.facts(self._monitor.snapshot.engines)
        for engine in self._monitor.snapshot.engines.values():
            asked = engine.state in _SERVING and not is_dead(engine)  # answers of a dead engine explain nothing
            key = self._monitor.current(engine.id) if asked else None
            for fact, seen in (self._monitor.run_record(key).facts if key else {}).items():
                yield fact, engine.id, seen

    def _fact_hits(self, now: float, logs: Iterable[RankHits]) -> Iterator[RankHits]:
        engines = self._monitor.snapshot.engines
        for fact, engine, text in tuple(self._current_facts()):
            signature = of_fact(self._signatures, fact)
            since = self._known.since.get((fact, engine), now)
            mine = [log for log in logs if log.rank == engine]
            if fact == HANG:
                text += rank_to_check_text(
                    engines, engine, {log.rank for log in logs if any(hit.signature.waits for hit in log.hits)}
                )
            if fact == MEMORY_KILLED:
                since = self._killed_at(engine, since, mine)
            if fact == PEER_DEAD and signature is not None:
                if any(hit.signature.severity != "advice" for log in mine for hit in log.hits):
                    continue  # its own log has the cause, or shows that it only followed
                signature, since = of_the_dead(signature), min(since, self._ended().get(engine, since))
            if signature is not None and now - since >= (self._intervals.drift_s if fact == "proxy-misses" else 0.0):
                yield RankHits(engine, engines[engine].node, (Hit(signature, text, 0, "", since),))

    def _killed_at(self, engine: str, seen: float, logs: Iterable[RankHits]) -> float:
        """When the kernel killed a process of the run: at the end of the run, or at an earlier serious message just before
        it.
        """
        end = min(seen, self._ended().get(engine, seen))
        serious = (each for each in timeline(logs) if each.hit.signature.severity != "advice")
        told = [each.when for each in serious if end - BEFORE_KILL_END_S <= each.when <= end]
        return min(told, default=end)

    def _add_events(self, told: tuple[Diagnosis, ...]) -> None:
        """Add one event for each new failure, however many ranks have it; one that disappears and returns gets a new event."""
        for each in told:
            if each.signature not in self._known.told and each.severity != "advice":
                level = EventLevel.ERROR if each.severity == "fatal" else EventLevel.WARNING
                words = f"{each.signature} {each.title}: {each.text[:160]}; remedy: {each.remedy}"
                self._monitor.note(level, words, node=each.node, engine=each.engine)
        self._known.told = {each.signature for each in told}

    def _diagnosis(self, witness: TimedHit, first: bool, own: bool) -> Diagnosis:
        key = self._monitor.current(witness.rank)
        log_error = self._monitor.run_record(key).log_state.first_error if key is not None else ""
        return diagnosis_of(witness, first, own, log_error, self._where(witness.rank, witness.hit.signature))

    def _where(self, engine: str, signature: Signature) -> SettingLocations:
        deployment, key = self._monitor.deployment, (engine, signature.id)
        if self._known.written[0] is not deployment:
            self._known.written = (deployment, {})
        known = self._known.written[1]
        if key not in known:
            known[key] = setting_locations(deployment, engine, signature.settings)
        return known[key]
