"""Determines the state of every run on the node from lock, exit file and process identities, in one step.

A run lives when its lock is held or a process has its cookie, not by a pid. A scan of all processes takes time, so it runs only
after changes, on request, and otherwise for at most a hundredth of the time.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
from typing import Any, Dict, List, NamedTuple, Optional, Set, Tuple

from console.node import oom_kills
from console.node.processes import Scan, Stat, again, alive, boot_id, read_stat, scan
from console.node.run_dirs import Base, Key, read_json
from console.node.runs import EXIT, LOCK, LOG, RUN, SPEC, STOP

PREPARED, RUNNING, ORPHANS, FOREIGN, EXITED, LOST = "prepared", "running", "orphans", "foreign", "exited", "lost"
SCAN_SHARE = 100
"""Scans of all processes take at most one hundredth of the time."""
PREPARED_FOR_S = 120.0
"""A run that was prepared longer ago will not be launched: the two phases are seconds apart."""
SETTLE_S = 0.3
"""Time for the supervisor to record an exit before a missing record is reported."""


class Evidence(NamedTuple):
    """The input of a verdict."""

    launched: bool
    held: bool
    exited: bool
    main_alive: bool
    members: bool
    keeper_alive: bool


def verdict(seen: Evidence) -> str:
    """The state table. A cookie counts as much as the lock, because spawned workers close the descriptor of the lock."""
    if not seen.launched:
        return PREPARED
    if not (seen.held or seen.members):
        return EXITED if seen.exited else LOST
    if seen.main_alive:
        return RUNNING
    if seen.members or seen.keeper_alive:
        return ORPHANS
    return FOREIGN


class JudgedRun(NamedTuple):
    """A run with all known facts."""

    key: Key
    verdict: str
    record: Dict[str, Any]
    """spec.json"""
    run: Dict[str, Any]
    exit: Optional[Dict[str, Any]]
    main: Optional[Stat]
    keeper: Optional[Stat]
    members: List[Stat]
    log_size: int
    log_at: Optional[float]
    """When the log was written last."""
    stop: Optional[Dict[str, Any]]
    """stop.json: when and by whom a stop was requested; empty when it cannot be read."""

    @property
    def stopping(self) -> bool:
        """Whether a stop was requested."""
        return self.stop is not None

    @property
    def token(self) -> str:
        """The run's cookie."""
        return str(self.record.get("token", ""))


def log_facts(base: Base, key: Key) -> Tuple[int, Optional[float]]:
    """(size, time of the last write) of the log of a run; (0, None) without a log."""
    try:
        found = os.lstat(base.file(key, LOG))
    except OSError:
        return 0, None
    return found.st_size, found.st_mtime


def held(path: str) -> bool:
    """Whether a process holds the lock of a run."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def judge(base: Base, key: Key, seen: Scan) -> JudgedRun:
    """The state of one run, from its directory and a scan of processes."""
    path = base.run(key)
    record = read_json(os.path.join(path, SPEC)) or {}
    run = read_json(os.path.join(path, RUN)) or {}
    token = str(record.get("token", ""))
    members = seen.members.get(token, [])
    main, keeper = _main(run, members, seen), _supervisor(run, seen.keepers.get(token))
    locked = bool(run) and held(os.path.join(path, LOCK))
    exited = read_json(os.path.join(path, EXIT))
    living = [found for found in (again(each.pid, each.start) for each in members) if found is not None]
    evidence = Evidence(bool(run), locked, exited is not None, main is not None, bool(living), keeper is not None)
    asked = os.path.join(path, STOP)
    stop = read_json(asked) or ({} if os.path.exists(asked) else None)
    size, written = log_facts(base, key)
    return JudgedRun(key, verdict(evidence), record, run, exited, main, keeper, living, size, written, stop)


class SharedScans:
    """Scans of /proc that threads share: a scan that started after a request can answer it.

    A node has thousands of processes, and a launch of eight engines needs eight scans at almost the same time.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._began = 0.0
        self._seen = Scan()
        self.took = 0.0
        """Duration of the last scan in seconds."""

    def since(self, asked: float) -> Scan:
        """A scan that started at `asked` (monotonic) or later; callers must not change it."""
        with self._lock:
            if self._began < asked:
                began = time.monotonic()
                self._seen = scan()
                self._began, self.took = began, time.monotonic() - began
            return self._seen


def settled(base: Base, key: Key, scans: SharedScans) -> JudgedRun:
    """A new verdict; a supervisor whose engine has just ended gets a moment to record how."""
    end = time.monotonic() + SETTLE_S
    while True:
        found = judge(base, key, scans.since(time.monotonic()))
        closing = found.verdict == ORPHANS and not found.members and found.keeper is not None
        if not closing or time.monotonic() > end:
            return found
        time.sleep(0.02)


def reason(judged: JudgedRun) -> str:
    """What is known about an end without a normal exit."""
    if judged.exit is not None and judged.exit.get("error"):
        return str(judged.exit["error"])
    if judged.exit is not None and not judged.stopping and oom_kills.words(judged.exit):
        return oom_kills.words(judged.exit)
    if judged.verdict == LOST:
        if judged.run.get("boot_id") != boot_id():
            return "the node was rebooted"
        text = "it ended, and its supervisor ended before it could record how"
        boxed = judged.run.get("pid_ns") not in (None, _own_pid_ns())
        return text + "; was its container stopped or restarted?" if boxed else text
    if judged.verdict == ORPHANS and judged.exit is None:
        return (
            "the main process ended; how is not recorded yet"
            if judged.keeper
            else "the main process ended without a record"
        )
    if judged.verdict == FOREIGN:
        return "its lock is held by a process without the cookie of this run"
    return ""


def abandoned(judged: JudgedRun, now: float) -> bool:
    """Whether a run was prepared and will not be launched: its helper has ended, or too much time has passed."""
    if judged.verdict != PREPARED:
        return False
    at, preparer = judged.record.get("prepared_at"), judged.record.get("preparer")
    fresh = isinstance(at, (int, float)) and abs(now - at) <= PREPARED_FOR_S
    named = isinstance(preparer, list) and len(preparer) == 2 and all(isinstance(each, int) for each in preparer)
    return not (fresh and named and alive(*preparer))  # type: ignore[misc]


class Observer:
    """Updates the verdicts of all runs with little work. Used by one thread at a time."""

    def __init__(self) -> None:
        self.scans = SharedScans()
        self.seen = Scan()
        self.scanned_at = 0.0
        self.scan_took = 0.0
        self._known: Dict[Key, Tuple[Tuple[object, ...], JudgedRun]] = {}
        """Run → (signature, verdict); the signature is taken first, so that the next round sees later changes."""
        self._final: Dict[Key, JudgedRun] = {}
        self._others: Set[str] = set()
        """Cookies that belong to no run of this base."""

    def look(
        self, base: Base, deployments: Optional[List[str]], every_s: float, asked: Optional[float] = None
    ) -> List[JudgedRun]:
        """All runs, oldest first within an engine. Processes are scanned when a run changed, else every few rounds.

        With `asked` (monotonic) the scan is not older than that time.
        """
        keys = base.keys(deployments)
        open_keys = [key for key in keys if key not in self._final]
        quick = {key: self._signature(base, key) for key in open_keys}
        age = time.monotonic() - self.scanned_at
        due = age > max(5 * every_s, SCAN_SHARE * self.scan_took)
        if asked is not None or due or quick != {key: self._known[key][0] for key in open_keys if key in self._known}:
            self._scan(time.monotonic() if asked is None else asked)
            quick = {key: self._signature(base, key) for key in open_keys}
            self._known.clear()
        found = [self._final.get(key) or self._judged(base, key, quick[key]) for key in keys]
        self._final = {each.key: each for each in found if each.verdict in (EXITED, LOST)}
        return found

    def _judged(self, base: Base, key: Key, signature: Tuple[object, ...]) -> JudgedRun:
        """The verdict on a run; the last verdict when only its log has changed."""
        known = self._known.get(key)
        if known is not None:
            size, written = log_facts(base, key)
            return known[1]._replace(log_size=size, log_at=written)
        judged = judge(base, key, self.seen)
        if judged.verdict == ORPHANS and not judged.members:
            judged = settled(base, key, self.scans)
        self._known[key] = (signature, judged)
        return judged

    def cookies(self, base: Base, judged: List[JudgedRun]) -> Set[str]:
        """The cookies of all runs of this base; read again when an unknown cookie appears, which can be new."""
        ours = {each.token for each in judged}
        unknown = set(self.seen.members) - ours - self._others
        if unknown:
            ours |= {str((read_json(base.file(key, SPEC)) or {}).get("token", "")) for key in base.keys()}
            self._others = unknown - ours | self._others & set(self.seen.members)
        return ours

    def _scan(self, asked: float) -> None:
        self.seen = self.scans.since(asked)
        self.scanned_at = time.monotonic()
        self.scan_took = self.scans.took

    def _signature(self, base: Base, key: Key) -> Tuple[object, ...]:
        """The state of a run that can be read without a scan of processes."""
        path = base.run(key)
        files = tuple(os.path.lexists(os.path.join(path, name)) for name in (RUN, EXIT, STOP))
        locked = files[0] and held(os.path.join(path, LOCK))
        known = self._known.get(key)
        token = known[1].token if known else str((read_json(os.path.join(path, SPEC)) or {}).get("token", ""))
        members = [again(each.pid, each.start) for each in self.seen.members.get(token, [])]
        return (*files, locked, tuple(each and each.halted for each in members))


def _main(run: Dict[str, Any], members: List[Stat], seen: Scan) -> Optional[Stat]:
    """The main process, by its pid in this pid namespace, when it lives."""
    pid, start = run.get("pid"), run.get("start")
    if not isinstance(pid, int) or not isinstance(start, int) or run.get("boot_id") != boot_id():
        return None
    for each in members:
        if each.start == start and seen.inner.get(each.pid) == pid:
            return read_stat(each.pid) if alive(each.pid, start) else None
    if run.get("pid_ns") == _own_pid_ns() and alive(pid, start):
        return read_stat(pid)
    return None


def _supervisor(run: Dict[str, Any], marked: Optional[Stat]) -> Optional[Stat]:
    if marked is not None and alive(marked.pid, marked.start):
        return marked
    pid, start = run.get("supervisor"), run.get("supervisor_start")
    same = run.get("boot_id") == boot_id() and run.get("pid_ns") == _own_pid_ns()
    if same and isinstance(pid, int) and isinstance(start, int) and alive(pid, start):
        return read_stat(pid)
    return None


def _own_pid_ns() -> str:
    return os.readlink("/proc/self/ns/pid")
