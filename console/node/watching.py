"""Pushes the list of runs: whole, when it changed, and often enough to show that the node lives.

How a run is judged does not enter here.
"""

from __future__ import annotations

import threading
import time
from typing import Any, Callable, Dict, List, Optional

from console.node.places import Base
from console.node.refusal import Refusal, of_os
from console.node.stopping import is_living
from console.node.threads import start
from console.node.verdicts import Judged, Observer, as_state

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

    def start(self) -> None:
        """Begin to push."""
        start("runs", self._run)

    def look_again(self) -> None:
        """Something was done to a run: look at once, at all processes."""
        self._thorough = True
        self._wake.set()

    def judged(self, thorough: bool) -> List[Judged]:
        """All runs now. Raises Refusal when the base directory cannot be trusted."""
        with self._observing:
            return self._observer.look(self._base(), self._deployments, self._every_s, thorough)

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
        except Refusal as refusal:
            return {"runs": [], "foreign": [], "error": str(refusal), "hint": refusal.hint}
        except OSError as error:
            return {"runs": [], "foreign": [], "error": str(of_os(error, "looking at runs")), "hint": ""}
        foreign = [list(each) for each in self._observer.foreign(judged)]
        newest = {each.key[:2]: each.key for each in judged}
        states = [as_state(each, is_living(each) or newest[each.key[:2]] == each.key) for each in judged]
        return {"runs": states, "foreign": foreign, "error": "", "hint": ""}
