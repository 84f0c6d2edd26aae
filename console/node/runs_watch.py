"""Pushes the list of runs: whole, when it changed, and often enough to show that the node lives.

How a run is judged does not enter here.
"""

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
"""Longest silence about the runs: silence must mean a dead link."""


class RunsWatch:
    """The one thread that looks at all runs."""

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
        """Begin to push."""
        start("runs", self._run)

    def look_again(self) -> None:
        """Something was done to a run: look at once, at all processes."""
        self._thorough = True
        self._wake.set()

    def judged(self, thorough: bool) -> List[JudgedRun]:
        """All runs now. Raises Refusal when the base directory cannot be trusted."""
        asked = time.monotonic() if thorough else None
        with self._observing:
            return self._observer.look(self._base(), self._deployments, self._every_s, asked)

    def settled(self, key: Key) -> JudgedRun:
        """One run now, after something was done to it."""
        return settled(self._base(), key, self._observer.scans)

    def regard(self, pids: List[int]) -> None:
        """npu-smi names these as holders of HBM; those that belong to no run are told of."""
        self._holders = set(pids)
        self._wake.set()

    def unmanaged(self) -> Tuple[List[UnmanagedProcess], Set[int]]:
        """Processes of no run here, by a fresh look, and all pids of our runs. Raises Refusal as `judged` does."""
        judged = self.judged(thorough=True)
        ours = {each.pid for run in judged for each in [*run.members, *([run.keeper] if run.keeper else [])]}
        return self._find_unmanaged(judged), ours

    def _find_unmanaged(self, judged: List[JudgedRun]) -> List[UnmanagedProcess]:
        with self._observing:
            cookies = self._observer.cookies(self._base(), judged)
            return look(self._observer.seen, cookies, self._holders)

    def _run(self) -> None:
        before: object = None
        sent_at = 0.0
        while True:
            body = self._body()
            now = time.monotonic()
            if body != before or now - sent_at >= HEARTBEAT_S:
                before, sent_at = body, now
                self._push(dict(body, push="runs", clock=time.time()), b"")
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
