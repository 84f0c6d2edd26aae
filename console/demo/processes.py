"""The processes of a demo cluster: this process adopts every orphan below it and can end them all.

A simulated engine that daemonises, or a supervisor that forks twice, ends up as a child of this process instead of
init, so nothing outlives the cluster unseen.
Nothing here knows SSH or vLLM.
"""

from __future__ import annotations

import ctypes
import os
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path

Told = Callable[[int], None]
"""Takes the wait status of a child that has ended."""

PR_SET_CHILD_SUBREAPER = 36  # include/uapi/linux/prctl.h


def adopt_orphans() -> None:
    """Make this process the parent of every descendant whose own parent ends; OSError where the kernel refuses."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def _parents() -> dict[int, int]:
    """Pid → parent pid of every process that can be seen."""
    parents = {}
    for entry in os.scandir("/proc"):
        if entry.name.isdecimal():
            try:
                stat = Path(entry.path, "stat").read_bytes()
            except OSError:
                continue  # ended while we looked
            fields = stat.rpartition(b")")[2].split()
            if fields[0] != b"Z":
                parents[int(entry.name)] = int(fields[1])
    return parents


def descendants(root: int) -> set[int]:
    """Every living process below `root`, itself not included."""
    children: dict[int, list[int]] = {}
    for pid, parent in _parents().items():
        children.setdefault(parent, []).append(pid)
    found: set[int] = set()
    queue = [root]
    while queue:
        for child in children.get(queue.pop(), ()):
            if child not in found:
                found.add(child)
                queue.append(child)
    return found


def marked(variable: str, value: str) -> set[int]:
    """Processes that were started with `variable=value` in the environment; unreadable ones are left out."""
    wanted = f"{variable}={value}".encode()
    found = set()
    for pid in _parents():
        try:
            environment = Path(f"/proc/{pid}/environ").read_bytes()
        except OSError:
            continue
        if wanted in environment.split(b"\0"):
            found.add(pid)
    return found - {os.getpid()}


def kill_all(find: Callable[[], set[int]], timeout_s: float = 10.0) -> set[int]:
    """Send KILL to the pids that `find` returns until it returns none; gives the pids that remain after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while left := find():
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        reap_any()
        if time.monotonic() > deadline:
            return left
        time.sleep(0.02)
    reap_any()
    return set()


def reap_any(waiting: Mapping[int, Told] | None = None) -> None:
    """Collect every child that has ended; `waiting[pid]` is told the wait status of those it names."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        told = (waiting or {}).get(pid)
        if told is not None:
            told(status)
