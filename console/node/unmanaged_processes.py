"""Unmanaged processes: finds and describes them, and stops them on request.

They are vLLM processes without a cookie, vLLM processes with the cookie of another base directory, and processes that hold HBM
according to npu-smi. A process is identified by pid and start time.
"""

from __future__ import annotations

import os
import pwd
import re
import signal
import time
from typing import Any, Dict, List, NamedTuple, Optional, Set

from console.node.processes import (
    ProcessFamily,
    Scan,
    Stat,
    alive,
    boot_id,
    command_line,
    looks_like_vllm,
    read_stat,
    send,
    token_of,
)
from console.node.request_error import RequestError, of_os

VLLM, OTHER_BASE, HBM, GONE = "vllm", "other-base", "hbm", "gone"
COMMAND_CHARS = 1000
POLL_S = 0.1
_SUPERVISE = [b"dsv4-console", b"supervise"]
_CONTAINER = re.compile(rb"[/-]([0-9a-f]{12})[0-9a-f]{52}(?:\.scope)?(?:/|$)", re.MULTILINE)


class UnmanagedProcess(NamedTuple):
    """One unmanaged process, with its fields in the order of the report."""

    pid: int
    start: int
    owner: str
    command: str
    why: str
    base: str
    container: str
    started_at: Optional[float]
    below: List[int]
    """Its child processes of the same kind, so that an engine is one entry."""


def look(seen: Scan, ours: Set[str], holders: Set[int]) -> List[UnmanagedProcess]:
    """All unmanaged processes in a scan. `ours` are the cookies of the runs here, `holders` the pids of npu-smi."""
    found = {pid: _describe(pid, VLLM, "") for pid in seen.strange}
    for token, members in seen.members.items():
        here = [each for each in members if each.pid not in seen.elsewhere]
        if token in ours or not here:
            continue
        keeper = seen.keepers.get(token)
        base = _base_of(keeper) if keeper is not None else ""
        named = [each for each in here if looks_like_vllm(command_line(each.pid))]
        for each in named or [min(here, key=lambda stat: stat.start)]:
            found[each.pid] = _describe(each.pid, OTHER_BASE, base)
    mine = {each.pid for token in ours for each in seen.members.get(token, [])}
    for pid in holders - mine - set(found):
        if token_of(pid) in ours:  # a worker that was forked since the scan
            continue
        found[pid] = _describe(pid, VLLM if looks_like_vllm(command_line(pid)) else HBM, "")
    return _folded(found)


def end(listed: List[UnmanagedProcess], request: Dict[str, Any], ours: Set[int]) -> Dict[str, Any]:
    """Send TERM to one process, or with `kill` KILL to it and its children; returns the remaining processes.

    Raises RequestError `changed` when the pid is not the process that was shown (boot id, start time), `refused` when it is
    not in `listed`. Processes in `ours` never get a signal.
    """
    pid, start, kill = int(request["pid"]), int(request["start"]), bool(request["kill"])
    if str(request["boot_id"]) != boot_id():
        raise RequestError("changed", "the node was rebooted since", "check its current state")
    first = read_stat(pid)
    if first is None or first.state in "ZX":
        return {"outcome": "absent", "processes": [], "killed": 0, "reason": ""}
    if first.start != start:
        raise RequestError("changed", "pid %d is now another process" % pid, "check its current state")
    if (pid, start) not in [(each.pid, each.start) for each in listed]:
        hint = "only listed processes can be stopped: vLLM that no console started, and processes that hold HBM"
        raise RequestError("refused", "pid %d is not in the list of unmanaged processes" % pid, hint)
    tree = ProcessTree(first, ours)
    if not kill:
        tree.signal([first], signal.SIGTERM)
    return tree.wait(float(request["limit_s"]), kill=kill)


class ProcessTree:
    """One process and its children, while one of the known ones lives."""

    def __init__(self, first: Stat, ours: Set[int]) -> None:
        self._ours = ours
        self._known = {first.pid: first}
        self.killed = 0

    def living(self) -> List[Stat]:
        """The known processes that live, and their current children."""
        family = ProcessFamily()
        for each in list(self._known.values()):
            if alive(each.pid, each.start):
                for below in family.below(each.pid):
                    if below.pid not in self._ours:
                        self._known.setdefault(below.pid, below)
        found = [read_stat(each.pid) for each in self._known.values() if alive(each.pid, each.start)]
        return [each for each in found if each is not None and each.state not in "ZX"]

    def signal(self, targets: List[Stat], number: int) -> None:
        """Send a signal to exactly these processes. Raises RequestError when the kernel forbids it."""
        for each in targets:
            try:
                sent = send(each, number)
            except OSError as error:
                raise of_os(error, "signal %d to %d" % (number, each.pid)) from error
            self.killed += sent and number == signal.SIGKILL

    def wait(self, limit_s: float, kill: bool) -> Dict[str, Any]:
        """Wait until none remains or the time limit is reached; with `kill` send KILL to all of them."""
        until = time.monotonic() + limit_s
        left = self.living()
        while left and time.monotonic() < until:
            if kill:
                self.signal(left, signal.SIGKILL)
            time.sleep(POLL_S)
            left = self.living()
        return {
            "outcome": "stuck" if left else "stopped",
            "processes": [[each.pid, each.state, each.parent, each.name] for each in left],
            "killed": self.killed,
            "reason": "",
        }


def _folded(found: Dict[int, UnmanagedProcess]) -> List[UnmanagedProcess]:
    """Only processes without an ancestor in the list, each with its children."""
    tops = {pid: _top(pid, found) for pid in found}
    return [
        found[top]._replace(below=sorted(pid for pid in tops if tops[pid] == top and pid != top))
        for top in sorted(set(tops.values()))
    ]


def _top(pid: int, found: Dict[int, UnmanagedProcess]) -> int:
    """The oldest ancestor that is in the list."""
    top, here = pid, pid
    while here > 1:
        stat = read_stat(here)
        if stat is None:
            break
        here = stat.parent
        top = here if here in found else top
    return top


def _describe(pid: int, why: str, base: str) -> UnmanagedProcess:
    stat = read_stat(pid)
    if stat is None or stat.state in "ZX":
        return UnmanagedProcess(pid, 0, "", "", GONE if why == HBM else why, base, "", None, [])
    words = command_line(pid).rstrip(b"\0 ").replace(b"\0", b" ").decode("utf-8", "replace")
    text = words[:COMMAND_CHARS] or "[%s]" % stat.name
    return UnmanagedProcess(pid, stat.start, _owner(pid), text, why, base, _container(pid), _started_at(stat), [])


def _owner(pid: int) -> str:
    try:
        uid = os.stat("/proc/%d" % pid).st_uid
    except OSError:
        return ""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _container(pid: int) -> str:
    """The container in the name of its control group, in the formats of docker, podman and containerd."""
    try:
        with open("/proc/%d/cgroup" % pid, "rb") as file:
            found = _CONTAINER.search(file.read())
    except OSError:
        return ""
    return found.group(1).decode("ascii") if found else ""


def _started_at(stat: Stat) -> Optional[float]:
    """The start time from the boot time of /proc/stat, which is constant, unlike the clock minus the uptime."""
    try:
        with open("/proc/stat", "rb") as file:
            for line in file:
                if line.startswith(b"btime "):
                    return int(line.split()[1]) + stat.start // os.sysconf("SC_CLK_TCK")
    except OSError:
        return None
    return None


def _base_of(keeper: Stat) -> str:
    """The base directory in the command line of its supervisor: `… dsv4-console supervise RUNDIR`."""
    words = command_line(keeper.pid).rstrip(b"\0").split(b"\0")
    if words[-3:-1] != _SUPERVISE:
        return ""
    path = words[-1].decode("utf-8", "replace")
    for _ in range(4):
        path = os.path.dirname(path)
    return path
