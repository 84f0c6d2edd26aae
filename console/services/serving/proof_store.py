"""Shares, between the consoles of one state directory, what they saw of completions: a proof is one run's, whoever asked for it.

Without that `status`, which asks for no tokens, would call unproven what the screen beside it has just proven. A small file for
each cluster; what is old, or cannot be understood, is left out.
"""

from __future__ import annotations

import json
import math
import time
from pathlib import Path

from console.files import save_text
from console.model.errors import ConsoleError
from console.model.run import RunKey
from console.model.snapshot import ClusterSnapshot, Grade, HealthCheck
from console.probes.sanitize import clean
from console.services.monitoring.monitor import Monitor
from console.services.monitoring.service_state import PROOF_S
from console.services.xdg_paths import file_name

MOST_BYTES = 1024 * 1024
"""A longer file is not one of ours."""
AGAIN_S = 10.0
"""The same verdict is written anew after so long."""
TEXT_CHARS = 500
_SHARED = (Grade.OK, Grade.FAIL, Grade.UNKNOWN)
"""Unknown takes a hang back that is over."""
OTHER = " (seen by another console here)"


def proofs_path(state_dir: Path, cluster: str) -> Path:
    """Where the consoles of a state directory keep what completions of a cluster came to."""
    return state_dir / "proofs" / f"{file_name(cluster)}.json"


class ProofStore:
    """The proofs of one session beside those of others."""

    def __init__(self, monitor: Monitor, path: Path) -> None:
        self._monitor = monitor
        self._path = path
        self._stamp: tuple[int, int] | None = None
        """Time and size of the file when it was read last."""
        self._known: dict[RunKey, HealthCheck] = {}
        self._adopted: dict[RunKey, HealthCheck] = {}
        self._hung: set[RunKey] = set()
        """Runs that were said here to hang."""

    def look(self, snapshot: ClusterSnapshot) -> None:
        """Take what others have seen, and keep what was seen here; to be told of each snapshot."""
        keys = {key for name in snapshot.engines if (key := self._monitor.current(name)) is not None}
        self._read()
        for key in keys:
            self._adopt(key, snapshot.at)
        news = {
            key: rung for key in keys if (rung := self._own(key, snapshot.at)) is not None and self._is_news(key, rung)
        }
        if news:
            self._write(news, snapshot.at)

    def _adopt(self, key: RunKey, now: float) -> None:
        """Believe another console's word on a run where it is younger than ours, and not old."""
        rung, learnt = self._known.get(key), self._monitor.learnt(key)
        if rung is None or rung.at is None or now - rung.at > PROOF_S:
            return
        if rung.grade is Grade.UNKNOWN:
            if learnt.works is not None and learnt.works is self._adopted.get(key):
                learnt.works = None
        elif learnt.works is None or (learnt.works.at or 0.0) < rung.at:
            learnt.works = self._adopted[key] = HealthCheck("works", rung.grade, f"{rung.evidence}{OTHER}", rung.at)
            self._monitor.touch()

    def _own(self, key: RunKey, now: float) -> HealthCheck | None:
        """What this console saw itself, where it says something."""
        learnt = self._monitor.learnt(key)
        if learnt.hang is not None:
            self._hung.add(key)
            return learnt.hang
        if key in self._hung:
            self._hung.discard(key)
            return HealthCheck("works", Grade.UNKNOWN, "", now)
        rung = learnt.works
        if rung is None or rung.at is None or rung is self._adopted.get(key):
            return None
        return rung if rung.grade in (Grade.OK, Grade.FAIL) else None

    def _is_news(self, key: RunKey, rung: HealthCheck) -> bool:
        known = self._known.get(key)
        later = (rung.at or 0.0) - ((known.at if known else None) or 0.0)
        return later > 0.0 and (known is None or known.grade is not rung.grade or later >= AGAIN_S)

    def _read(self) -> None:
        try:
            found = self._path.stat()
            stamp = (found.st_mtime_ns, found.st_size)
            if stamp == self._stamp:
                return
            self._stamp = stamp
            data = json.loads(self._path.read_text(encoding="utf-8")) if found.st_size <= MOST_BYTES else []
        except (OSError, ValueError, RecursionError):
            return
        read = (_entry(each) for each in data if isinstance(each, dict)) if isinstance(data, list) else ()
        self._known = {**self._known, **{key: rung for each in read if each is not None for key, rung in (each,)}}

    def _write(self, news: dict[RunKey, HealthCheck], now: float) -> None:
        """Put the news among what others keep there. A file that cannot be written is no reason to stop watching."""
        self._known = {key: rung for key, rung in {**self._known, **news}.items() if now - (rung.at or 0.0) <= PROOF_S}
        entries = [
            {
                "deployment": key.deployment,
                "engine": key.engine,
                "run": key.run,
                "grade": str(rung.grade),
                "at": rung.at,
                "evidence": rung.evidence[:TEXT_CHARS],
            }
            for key, rung in self._known.items()
        ]
        try:
            save_text(self._path, json.dumps(entries) + "\n")
        except ConsoleError:
            return


def _entry(data: dict[str, object]) -> tuple[RunKey, HealthCheck] | None:
    """One proof of the file; None for what is none."""
    names = [data.get(name) for name in ("deployment", "engine", "run", "evidence")]
    at, grade = data.get("at"), data.get("grade")
    if not isinstance(at, int | float) or not math.isfinite(at) or at > time.time() or grade not in _SHARED:
        return None
    deployment, engine, run, evidence = (each if isinstance(each, str) else "" for each in names)
    return RunKey(deployment, engine, run), HealthCheck(
        "works", Grade(str(grade)), clean(evidence[:TEXT_CHARS]), float(at)
    )
