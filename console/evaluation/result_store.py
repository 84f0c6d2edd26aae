"""Results in one SQLite file, safe for two consoles at once. It keeps and finds records; judging them is elsewhere."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import JsonValue, TypeAdapter, ValidationError

from console.evaluation.records import NpuSample, Record, ServedSample
from console.model.errors import ConsoleError
from console.private_files import open_private

VERSION = 1
BUSY_S = 10.0
"""How long to wait for another console that is writing."""

_SCHEMA = """
CREATE TABLE results (
    run TEXT PRIMARY KEY,
    cluster TEXT NOT NULL,
    deployment TEXT NOT NULL,
    tool TEXT NOT NULL,
    kind TEXT NOT NULL,
    subject TEXT NOT NULL,
    started_at REAL NOT NULL,
    ending TEXT NOT NULL,
    record TEXT NOT NULL
) STRICT;
CREATE INDEX results_by_time ON results (started_at);
CREATE TABLE npu_samples (
    run TEXT NOT NULL,
    node TEXT NOT NULL,
    at REAL NOT NULL,
    aicore_percent REAL,
    hbm_used_mib INTEGER,
    power_w REAL,
    PRIMARY KEY (run, node, at)
) STRICT, WITHOUT ROWID;
CREATE TABLE served_samples (
    run TEXT NOT NULL,
    at REAL NOT NULL,
    tokens_per_s REAL NOT NULL,
    running INTEGER NOT NULL,
    PRIMARY KEY (run, at)
) STRICT, WITHOUT ROWID;
"""

_RECORD: TypeAdapter[Record] = TypeAdapter(Record)


@dataclass(frozen=True, slots=True)
class Filter:
    """Which results; None leaves a field open."""

    deployment: str | None = None
    tool: str | None = None
    kind: str | None = None
    subject: str | None = None
    limit: int = 200
    light: bool = False
    """Without what was seen second by second, for lists."""


class ResultStore:
    """`results.sqlite` of one user. Every call opens and closes it, so that no lock outlives an operation."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def add(self, record: Record) -> bool:
        """Keep a result; False when the run is there already (another console was first): the first stays."""
        text = _RECORD.dump_json(record).decode("utf-8")
        values = (
            record.run,
            record.cluster,
            record.deployment,
            record.tool,
            record.kind,
            record.subject,
            record.started_at,
            record.ending,
            text,
        )
        with self._open() as file:
            done = file.execute("INSERT OR IGNORE INTO results VALUES (?,?,?,?,?,?,?,?,?)", values)
            return done.rowcount == 1

    def get(self, run: str) -> Record:
        """The result of a run, by its id or a beginning of it that only one has. Raises ConsoleError otherwise."""
        with self._open() as file:
            pattern = run.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
            found = file.execute(
                "SELECT record, run FROM results WHERE run LIKE ? ESCAPE '\\' ORDER BY run LIMIT 3", (pattern,)
            ).fetchall()
        exact = [row for row in found if row[1] == run]
        chosen = exact or found
        if not chosen:
            raise ConsoleError(f"there is no result {run!r}", hint="`results` lists them")
        if len(chosen) > 1:
            raise ConsoleError(f"{run!r} matches several results: {', '.join(row[1] for row in chosen)} …")
        return _record(chosen[0][0])

    def has(self, run: str) -> bool:
        """Whether a run's result is kept."""
        with self._open() as file:
            return file.execute("SELECT 1 FROM results WHERE run = ?", (run,)).fetchone() is not None

    def find(self, wanted: Filter = Filter()) -> tuple[Record, ...]:
        """Results that fit, newest first."""
        chosen = {"deployment": wanted.deployment, "tool": wanted.tool, "kind": wanted.kind, "subject": wanted.subject}
        used = {name: value for name, value in chosen.items() if value is not None}
        where = " AND ".join(f"{name} = :{name}" for name in used) or "1"
        what = "json_remove(record, '$.timeline', '$.npu.samples')" if wanted.light else "record"
        query = f"SELECT {what} FROM results WHERE {where} ORDER BY started_at DESC, run DESC LIMIT :limit"
        with self._open() as file:
            rows = file.execute(query, {**used, "limit": wanted.limit}).fetchall()
        return tuple(_record(row[0]) for row in rows)

    def state(self) -> tuple[int, int]:
        """Something that differs when a result was added or removed since; cheap to ask."""
        with self._open() as file:
            count, newest = file.execute("SELECT count(*), coalesce(max(rowid), 0) FROM results").fetchone()
            return int(count), int(newest)

    def remove(self, run: str) -> bool:
        """Forget a result and its samples; False when it is not there."""
        with self._open() as file:
            file.execute("DELETE FROM npu_samples WHERE run = ?", (run,))
            file.execute("DELETE FROM served_samples WHERE run = ?", (run,))
            return file.execute("DELETE FROM results WHERE run = ?", (run,)).rowcount == 1

    def add_samples(self, run: str, samples: Sequence[NpuSample]) -> None:
        """Keep what the NPUs did while a run was going; the same sample seen by two consoles is kept once."""
        rows = [(run, each.node, each.at, each.aicore_percent, each.hbm_used_mib, each.power_w) for each in samples]
        with self._open() as file:
            file.executemany("INSERT OR IGNORE INTO npu_samples VALUES (?,?,?,?,?,?)", rows)

    def samples(self, run: str) -> tuple[NpuSample, ...]:
        """What was kept of a run, by time."""
        with self._open() as file:
            rows = file.execute(
                "SELECT at, node, aicore_percent, hbm_used_mib, power_w FROM npu_samples WHERE run = ? ORDER BY at, node",
                (run,),
            ).fetchall()
        return tuple(NpuSample(*row) for row in rows)

    def add_served(self, run: str, sample: ServedSample) -> None:
        """Keep what the engines said they generate while a run was going."""
        row = (run, sample.at, sample.tokens_per_s, sample.running)
        with self._open() as file:
            file.execute("INSERT OR IGNORE INTO served_samples VALUES (?,?,?,?)", row)

    def served(self, run: str) -> tuple[ServedSample, ...]:
        """What was kept of it, by time."""
        query = "SELECT at, tokens_per_s, running FROM served_samples WHERE run = ? ORDER BY at"
        with self._open() as file:
            rows = file.execute(query, (run,)).fetchall()
        return tuple(ServedSample(*row) for row in rows)

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """The file inside one transaction, made when missing. Raises ConsoleError for every fault of the file."""
        try:
            os.close(open_private(self.path, os.O_RDWR))
            with closing(sqlite3.connect(self.path, timeout=BUSY_S, isolation_level=None)) as file:
                file.execute("PRAGMA journal_mode = WAL")
                file.execute("PRAGMA synchronous = FULL")
                with file:  # commits at the end, rolls back on any error
                    file.execute("BEGIN IMMEDIATE")
                    self._migrate(file)
                    yield file
        except (sqlite3.Error, OSError) as error:
            raise ConsoleError(
                f"the results {self.path} cannot be used: {error}",
                hint="move a broken file aside and a new one is made; the logs of the runs are not touched",
            ) from error

    def _migrate(self, file: sqlite3.Connection) -> None:
        version = file.execute("PRAGMA user_version").fetchone()[0]
        if version > VERSION:
            raise ConsoleError(
                f"the results {self.path} are of a newer console (version {version}, this one knows {VERSION})",
                hint="use the newer console",
            )
        if version == 0:
            for statement in _SCHEMA.split(";\n"):
                if statement.strip():
                    file.execute(statement)
            file.execute(f"PRAGMA user_version = {VERSION}")


def _record(text: str) -> Record:
    try:
        return _RECORD.validate_json(text)
    except ValidationError as error:
        raise ConsoleError(f"a result in the store cannot be read: {error.errors()[0]['msg']}") from error


def as_json(record: Record) -> Mapping[str, JsonValue]:
    """The record as plain JSON data."""
    value: Mapping[str, JsonValue] = json.loads(json.dumps(asdict(record)))
    return value
