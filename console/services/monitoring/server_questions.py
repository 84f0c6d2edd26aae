"""Updates the standing questions to API servers when engines or intervals change."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping

from console.model.run import RunKey
from console.model.snapshot import ClusterSnapshot, EngineSnapshot, EventLevel, LinkState
from console.probes.sanitize import clean
from console.remote.link import NodeLink
from console.remote.standing_questions import Question, StandingAnswer
from console.services.background_tasks import FAULTS, fault_text
from console.services.monitoring.monitor import Monitor

Wanted = Callable[[EngineSnapshot, RunKey], Mapping[str, Question]]
"""The questions to the server of an engine by name; empty: it is not asked."""
Hear = Callable[[EngineSnapshot, RunKey, str, StandingAnswer], None]
"""Gets an answer: the engine when it was asked first, its run, the name of the question."""


class ServerQuestions:
    """The standing questions of one kind. They change with the snapshots, and when `renew` is called."""

    def __init__(self, monitor: Monitor, links: Mapping[str, NodeLink], name: str, wanted: Wanted, hear: Hear) -> None:
        self._monitor = monitor
        self._links = links
        self._name = name
        self._wanted = wanted
        self._hear = hear
        self._asked: dict[RunKey, dict[str, tuple[str, int]]] = {}
        """Run → name of a question → its node and number."""
        self._faults: dict[RunKey, str] = {}
        self._seen: dict[RunKey, tuple[object, ...]] = {}
        """What a snapshot said of a run when its questions were last looked at."""

    async def run(self) -> None:
        """Ask until cancelled."""
        leave = self._monitor.subscribe(self._update)
        try:
            self._update(self._monitor.snapshot)
            await asyncio.Event().wait()
        finally:
            leave()
            self._seen.clear()
            for key in tuple(self._asked):
                self._end(key, self._asked[key])

    def renew(self, engine: str) -> None:
        """Ask an engine what is to be asked now; for a change that no snapshot shows."""
        seen, key = self._monitor.snapshot.engines.get(engine), self._monitor.current(engine)
        if seen is not None and key is not None:
            self._set(seen, key)

    def now(self, key: RunKey, name: str) -> None:
        """Ask at once."""
        found = self._asked.get(key, {}).get(name)
        if found is not None:
            self._links[found[0]].questions.now(found[1])

    def _update(self, snapshot: ClusterSnapshot) -> None:
        current = set()
        for engine in snapshot.engines.values():
            key = self._monitor.current(engine.id)
            if key is not None:
                current.add(key)
                scrape, link = self._monitor.run_record(key).metrics.scrape, self._links[engine.node].link.state
                here = (engine.node, engine.port, link, engine.state, engine.connecting)
                seen = (*here, scrape and scrape.model, self._monitor.deployment)
                if engine.role == "proxy" or seen != self._seen.get(key):
                    self._seen[key] = seen
                    self._set(engine, key)
        for key in self._asked.keys() - current:
            self._end(key, self._asked[key])
        self._seen = {key: seen for key, seen in self._seen.items() if key in current}

    def _set(self, engine: EngineSnapshot, key: RunKey) -> None:
        link = self._links[engine.node]
        served = engine.port is not None and not engine.headless and link.link.state is LinkState.UP
        wanted = self._wanted(engine, key) if served else {}
        asked = self._asked.get(key, {})
        self._end(key, [name for name, (node, _) in asked.items() if name not in wanted or node != engine.node])
        for name, question in wanted.items():
            if name in asked:
                link.questions.change(asked[name][1], question)
            else:
                number = link.questions.ask(question, self._listener(engine, key, name))
                self._asked.setdefault(key, {})[name] = engine.node, number

    def _end(self, key: RunKey, names: Iterable[str]) -> None:
        asked = self._asked.get(key, {})
        for name in tuple(names):
            node, number = asked.pop(name)
            self._links[node].questions.end(number)
        if not asked:
            self._asked.pop(key, None)
            self._faults.pop(key, None)

    def _listener(self, engine: EngineSnapshot, key: RunKey, name: str) -> Callable[[StandingAnswer], None]:
        def hear(answer: StandingAnswer) -> None:
            """An answer that cannot be used is told of, because the figures of the engine are old then."""
            try:
                self._hear(engine, key, name, answer)
            except FAULTS as error:
                text = f"its answer to {self._name} could not be used: {clean(fault_text(error))}"
                if self._faults.get(key) != text:
                    self._faults[key] = text
                    self._monitor.note(EventLevel.ERROR, text, node=engine.node, engine=key.engine)

        return hear
