"""Run directories: writes them atomically, marks the current run, deletes old runs by number and size."""

from __future__ import annotations

import os
import shutil
import time
from typing import Any, Dict, List, Optional

from console.node.processes import read_stat
from console.node.request_error import RequestError, of_os
from console.node.run_dirs import Base, Key, plain_dir, read_file, read_json, sync_dir, write_file, write_json

SPEC = "spec.json"
SCRIPT = "cmd.sh"
RUN = "run.json"
EXIT = "exit.json"
LOG = "out.log"
STOP = "stop.json"
LOCK = "lock"
CURRENT = "current"

KEPT_RUNS = 10
KEPT_BYTES = 2 * 1024**3
"""Most bytes of runs of one engine; the current run, running runs and recent failed runs are always kept."""
LATELY_S = 7 * 86400.0
KEPT_FAILED = 50
"""Most failed runs that are kept for a week, so that an engine that fails in a loop does not fill the disk."""


def current(engine_dir: str) -> Optional[str]:
    """The run that was launched last, or None."""
    try:
        return read_file(os.path.join(engine_dir, CURRENT), 200).decode("ascii", "replace").strip() or None
    except OSError:
        return None


def check_expected(engine_dir: str, expected: Optional[str]) -> None:
    """Raises RequestError when the engine was launched after the plan was made.

    The plan can also name a newer run that was prepared and never launched; such a run is ignored.
    """
    now = current(engine_dir)
    if now == expected:
        return
    path = os.path.join(engine_dir, "runs", expected or "")
    launched = expected is None or os.path.exists(os.path.join(path, RUN)) or not os.path.isdir(path)
    if not launched and (now is None or now < str(expected)):
        return
    record = read_json(os.path.join(engine_dir, "runs", now or "", SPEC)) or {}
    who = record.get("owner") or "somebody"
    raise RequestError(
        "changed",
        "the engine was launched by %s since this plan was made (run %s, expected %s)" % (who, now, expected or "none"),
        "check the engine and make a new plan",
    )


def prepare(
    base: Base,
    key: Key,
    spec: Dict[str, Any],
    script: bytes,
    expected: Optional[str],
    container: Optional[Dict[str, Any]] = None,
) -> None:
    """Write the directory of a run that can be launched later, completely or not at all. Raises RequestError.

    `container` is what a container of its own is made with; None when it runs on the host or in the node's one.
    """
    runs = base.make_dirs(key.deployment, key.engine, "runs")
    check_expected(base.engine(key), expected)
    final = os.path.join(runs, key.run)
    if os.path.lexists(final):
        raise RequestError("changed", "run %s exists already" % key.run, "make the plan again")
    draft = os.path.join(runs, ".%s.%s" % (key.run, os.urandom(4).hex()))
    owner = spec.get("by")
    preparer = read_stat(os.getpid())
    record = {
        "key": list(key),
        "token": os.urandom(16).hex(),
        "expected": expected,
        "owner": owner if isinstance(owner, str) else "",
        "prepared_at": time.time(),
        "preparer": [preparer.pid, preparer.start] if preparer else None,
        "spec": spec,
        **({"container": container} if container else {}),
    }
    try:
        os.mkdir(draft, 0o700)
        try:
            os.mkdir(os.path.join(draft, "work"), 0o700)
            write_json(os.path.join(draft, SPEC), record)
            write_file(os.path.join(draft, SCRIPT), script, 0o700)
            os.rename(draft, final)
        except OSError:
            shutil.rmtree(draft, ignore_errors=True)
            raise
        sync_dir(runs)
    except OSError as error:
        raise of_os(error, "preparing the run") from error


def discard(base: Base, key: Key) -> None:
    """Delete a run that was never launched. Raises RequestError when it was, not-found when there is none."""
    path = base.check(key)
    if os.path.lexists(os.path.join(path, RUN)) or current(base.engine(key)) == key.run:
        raise RequestError("refused", "run %s was launched; it is kept" % key.run)
    gone = os.path.join(os.path.dirname(path), ".%s.gone" % key.run)
    try:
        os.rename(path, gone)
    except OSError as error:
        raise of_os(error, "discarding the run") from error
    shutil.rmtree(gone, ignore_errors=True)


def failed(run_dir: str) -> bool:
    """Whether an ended run failed, so that its log can be of interest."""
    record = read_json(os.path.join(run_dir, EXIT))
    stopped = os.path.exists(os.path.join(run_dir, STOP))
    if record is None:
        return os.path.exists(os.path.join(run_dir, RUN))
    return bool(record.get("error")) or not stopped


def prune(base: Base, key: Key, living: List[str]) -> List[str]:
    """Delete old runs of an engine above the limits; returns their names. Runs in `living` are kept."""
    engine_dir = base.engine(key)
    names = base.names(key.deployment, key.engine, "runs")
    keep = set(living) | {current(engine_dir) or "", key.run}
    broken = [name for name in names if name not in keep and failed(os.path.join(engine_dir, "runs", name))]
    keep.update(broken[-1:])
    keep.update(name for name in broken[-KEPT_FAILED:] if _ended_lately(os.path.join(engine_dir, "runs", name)))
    gone: List[str] = []
    total = 0
    for place, name in enumerate(reversed(names)):
        path = os.path.join(engine_dir, "runs", name)
        total += _size(path)
        if name in keep or (place < KEPT_RUNS and total <= KEPT_BYTES):
            continue
        plain_dir(path)
        shutil.rmtree(path, ignore_errors=True)
        gone.append(name)
    for name in _drafts(os.path.join(engine_dir, "runs")):
        shutil.rmtree(name, ignore_errors=True)
    return gone


def _ended_lately(run_dir: str) -> bool:
    """Whether its last file was written recently."""
    names = (EXIT, LOG, RUN)
    times = [
        os.lstat(path).st_mtime for path in (os.path.join(run_dir, name) for name in names) if os.path.exists(path)
    ]
    return bool(times) and time.time() - max(times) < LATELY_S


def _size(path: str) -> int:
    total = 0
    for root, _dirs, files in os.walk(path):
        for name in files:
            try:
                total += os.lstat(os.path.join(root, name)).st_blocks * 512
            except OSError:
                continue
    return total


def _drafts(path: str) -> List[str]:
    """Incomplete directories of a helper that was killed while it wrote or deleted a run."""
    old = time.time() - 3600
    with os.scandir(path) as entries:
        return [
            each.path
            for each in entries
            if each.name.startswith(".") and each.is_dir(follow_symlinks=False) and each.stat().st_mtime < old
        ]
