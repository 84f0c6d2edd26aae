"""Pushes the complete list of runs after changes, and which logs grew, regularly to show that the node is alive."""

from __future__ import annotations

import threading
import time
from typing import Any, Callable, Dict, List, Optional, Set, Tuple

from console.node.request_error import RequestError, of_os
from console.node.run_dirs import Base, Key
from console.node.run_report import as_state, fitted
from console.node.run_verdicts import JudgedRun, Observer, settled
from console.node.stopping import is_living
from console.node.threads import start
from console.node.unmanaged_processes import UnmanagedProcess, look

HEARTBEAT_S = 4.0
"""Longest time between two pushes, so that silence means a dead link."""
GROWING = ("log_size", "log_at")
"""What changes in the report of a run while it only writes."""


class RunsWatch:
    """The thread that checks all runs."""

    def __init__(
        self,
        base: Callable[[], Base],
        deployments: Optional[List[str]],
        every_s: float,
        push: Callable[[Dict[str, Any], bytes], None],
    ) -> None:
        self._base = base
        self._deployments = deployments
        self._every_s = every_s
        self._push = push
        self._observer = Observer()
        self._observing = threading.Lock()
        self._wake = threading.Event()
        self._thorough = False
        self._holders: Set[int] = set()

    def start(self) -> None:
        """Start to push."""
        start("runs", self._run)

    def look_again(self) -> None:
        """Check all runs and processes at once, because a run was changed."""
        self._thorough = True
        self._wake.set()

    def judged(self, thorough: bool) -> List[JudgedRun]:
        """All runs now. Raises RequestError when the base directory cannot be trusted."""
        asked = time.monotonic() if thorough else None
        with self._observing:
            return self._observer.look(self._base(), self._deployments, self._every_s, asked)

    def settled(self, key: Key) -> JudgedRun:
        """The state of one run after an operation on it."""
        return settled(self._base(), key, self._observer.scans)

    def watch_holders(self, pids: List[int]) -> None:
        """Set the pids that hold HBM according to npu-smi; those that belong to no run are reported."""
        self._holders = set(pids)
        self._wake.set()

    def unmanaged(self) -> Tuple[List[UnmanagedProcess], Set[int]]:
        """Processes that belong to no run, from a new scan, and all pids of runs. Raises RequestError as `judged` does."""
        judged = self.judged(thorough=True)
        ours = {each.pid for run in judged for each in [*run.members, *([run.keeper] if run.keeper else [])]}
        return self._find_unmanaged(judged), ours

    def _find_unmanaged(self, judged: List[JudgedRun]) -> List[UnmanagedProcess]:
        with self._observing:
            cookies = self._observer.cookies(self._base(), judged)
            return look(self._observer.seen, cookies, self._holders)

    def _run(self) -> None:
        before: Dict[str, Any] = {}
        sent_at = 0.0
        while True:
            body = self._body()
            now = time.monotonic()
            if body != before or now - sent_at >= HEARTBEAT_S:
                logs = grown(before, body)
                said = dict(body, push="runs") if logs is None else {"push": "grown", "logs": logs}
                before, sent_at = body, now
                self._push(dict(said, clock=time.time()), b"")
            self._wake.wait(self._every_s)
            self._wake.clear()

    def _body(self) -> Dict[str, Any]:
        thorough, self._thorough = self._thorough, False
        try:
            judged = self.judged(thorough)
            unmanaged = [each._asdict() for each in self._find_unmanaged(judged)]
        except RequestError as refusal:
            return {"runs": [], "unmanaged": [], "error": str(refusal), "hint": refusal.hint}
        except OSError as error:
            return {"runs": [], "unmanaged": [], "error": str(of_os(error, "looking at runs")), "hint": ""}
        newest = {each.key[:2]: each.key for each in judged}

        def weight(each: JudgedRun) -> Tuple[bool, bool, str]:
            return is_living(each), newest[each.key[:2]] == each.key, each.key.run

        first = sorted(judged, key=weight, reverse=True)
        body = fitted([as_state(each, any(weight(each)[:2])) for each in first], unmanaged)
        body["runs"].sort(key=lambda each: each["key"])
        return dict(body, error="", hint="")


def grown(before: Dict[str, Any], after: Dict[str, Any]) -> Optional[List[List[Any]]]:
    """[place in the list, size of the log, time of its last change] of runs that only wrote; None when anything else changed."""
    if not before or before["error"] or len(before["runs"]) != len(after["runs"]):
        return None
    found: List[List[Any]] = []
    for place, other in enumerate(after["runs"]):
        one = before["runs"][place]
        if one != other:
            if dict(one, **{name: other[name] for name in GROWING}) != other:
                return None
            found.append([place, *(other[name] for name in GROWING)])
    rest = [{name: value for name, value in body.items() if name != "runs"} for body in (before, after)]
    return found if rest[0] == rest[1] else None
