"""Shares the results of test completions between the consoles of one state directory.

Without it `status`, which requests no tokens, would show a deployment as unproven that another console has just proven. One
small file for each cluster; old or invalid entries are ignored.
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
"""A larger file is not read."""
AGAIN_S = 10.0
"""An unchanged result is written again after this time."""
TEXT_CHARS = 500
_SHARED = (Grade.OK, Grade.FAIL, Grade.UNKNOWN)
"""UNKNOWN withdraws an earlier hang."""
OTHER = " (seen by another console here)"


def proofs_path(state_dir: Path, cluster: str) -> Path:
    """The path of the shared results for a cluster."""
    return state_dir / "proofs" / f"{file_name(cluster)}.json"


class ProofStore:
    """The results of one session and of other consoles."""

    def __init__(self, monitor: Monitor, path: Path) -> None:
        self._monitor = monitor
        self._path = path
        self._stamp: tuple[int, int] | None = None
        """Modification time and size of the file at the last read."""
        self._known: dict[RunKey, HealthCheck] = {}
        self._adopted: dict[RunKey, HealthCheck] = {}
        self._hung: set[RunKey] = set()
        """Runs that this console reported as hanging."""

    def update(self, snapshot: ClusterSnapshot) -> None:
        """Read results of other consoles and write new results. Called with each snapshot."""
        keys = {key for name in snapshot.engines if (key := self._monitor.current(name)) is not None}
        self._read()
        for key in keys:
            self._adopt(key, snapshot.at)
        news = {
            key: check
            for key in keys
            if (check := self._own(key, snapshot.at)) is not None and self._is_news(key, check)
        }
        if news:
            self._write(news, snapshot.at)

    def _adopt(self, key: RunKey, now: float) -> None:
        """Use another console's result for a run when it is newer than the own result, and recent."""
        check, run_record = self._known.get(key), self._monitor.run_record(key)
        if check is None or check.at is None or now - check.at > PROOF_S:
            return
        if check.grade is Grade.UNKNOWN:
            if run_record.works is not None and run_record.works is self._adopted.get(key):
                run_record.works = None
        elif run_record.works is None or (run_record.works.at or 0.0) < check.at:
            run_record.works = self._adopted[key] = HealthCheck(
                "works", check.grade, f"{check.evidence}{OTHER}", check.at
            )
            self._monitor.touch()

    def _own(self, key: RunKey, now: float) -> HealthCheck | None:
        """The result that this console found itself, or None."""
        run_record = self._monitor.run_record(key)
        if run_record.hang is not None:
            self._hung.add(key)
            return run_record.hang
        if key in self._hung:
            self._hung.discard(key)
            return HealthCheck("works", Grade.UNKNOWN, "", now)
        check = run_record.works
        if check is None or check.at is None or check is self._adopted.get(key):
            return None
        return check if check.grade in (Grade.OK, Grade.FAIL) else None

    def _is_news(self, key: RunKey, check: HealthCheck) -> bool:
        known = self._known.get(key)
        later = (check.at or 0.0) - ((known.at if known else None) or 0.0)
        return later > 0.0 and (known is None or known.grade is not check.grade or later >= AGAIN_S)

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
        self._known = {**self._known, **{key: check for each in read if each is not None for key, check in (each,)}}

    def _write(self, news: dict[RunKey, HealthCheck], now: float) -> None:
        """Write new results to the file, with those of other consoles. Ignores a file that cannot be written."""
        self._known = {
            key: check for key, check in {**self._known, **news}.items() if now - (check.at or 0.0) <= PROOF_S
        }
        entries = [
            {
                "deployment": key.deployment,
                "engine": key.engine,
                "run": key.run,
                "grade": str(check.grade),
                "at": check.at,
                "evidence": check.evidence[:TEXT_CHARS],
            }
            for key, check in self._known.items()
        ]
        try:
            save_text(self._path, json.dumps(entries) + "\n")
        except ConsoleError:
            return


def _entry(data: dict[str, object]) -> tuple[RunKey, HealthCheck] | None:
    """One result of the file; None for an invalid entry."""
    names = [data.get(name) for name in ("deployment", "engine", "run", "evidence")]
    at, grade = data.get("at"), data.get("grade")
    if not isinstance(at, int | float) or not math.isfinite(at) or at > time.time() or grade not in _SHARED:
        return None
    deployment, engine, run, evidence = (each if isinstance(each, str) else "" for each in names)
    return RunKey(deployment, engine, run), HealthCheck(
        "works", Grade(str(grade)), clean(evidence[:TEXT_CHARS]), float(at)
    )
