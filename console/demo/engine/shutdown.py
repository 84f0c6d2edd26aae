"""How the processes of an engine end after a blow: who says what, in which order, and who lingers.

Measured on vLLM 0.21 (CPU, two data-parallel ranks with traffic, seconds after the blow):

- SIGKILL of an engine core: its worker says `Parent process exited` at 0.1 to 1; a server then fails its requests, answers 503
  and exits with 0 at 0.6 to 1; a headless parent says `Shutting down.` with the worker's words, nothing else, and lingers to 8.
- Its peer notices in its next step: worker, core and server report it within 0.1 s and the server exits 1.3 s later, before the
  parent of the dead rank. A headless peer's core takes 10 s to end, then its parent says `Shutting down.` and lingers 3 s.
- SIGKILL of a worker: its core reports it at once and takes 12 s to end; parent and peer as above.
- SIGKILL of a server or of a headless parent: core and workers stay; a headless rank even goes on serving, unnoticed.
- SIGTERM of a headless parent: `Waiting up to 0 seconds …` first, `Shutting down.` at 5, exit at 19; the peer fails at its next
  step.
- Workers outlive their server by 3 to 12 s in any case.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Final

from setproctitle import setproctitle

from console.demo.tools.demo_node import DemoNode, hold

PARENT_S: Final = 7.0
"""A headless parent lives so long after its last line."""
WORKER_S: Final = 3.0
"""A worker lives so long after its core."""
LEAST_PARENT_S: Final = 3.0
"""The sped-up parent still outlives the server of its peer, which is not sped up."""
LEAST_WORKER_S: Final = 1.0


def linger(node: DemoNode, seconds: float, least: float) -> None:
    """Stay for so many seconds of the real one, and at least `least` of ours."""
    time.sleep(max(node.seconds(seconds), least))


def leave_behind(directory: Path, device: int) -> None:
    """A process in a session of its own that keeps memory: the orphan operators hunt."""
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            setproctitle("VLLM::Worker_TP0")
            hold(directory, {device: 9216})
            while True:
                signal.pause()
        os._exit(0)
    os.wait()
