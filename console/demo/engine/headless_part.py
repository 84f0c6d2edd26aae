"""A further part of an engine that spans nodes: `vllm serve --headless` that runs workers and has no engine core.

Like the real one (vLLM 0.21 entrypoints/cli/serve.py, v1/executor/multiproc_executor.py) it says nothing once its workers are up,
ends when one of them dies, and stays when the first part is gone: nobody tells it.
"""

from __future__ import annotations

import selectors
import signal
import socket

from console.demo.engine.core import EngineCore
from console.demo.engine.core_base import Child, CoreFailed
from console.demo.engine.failures import Faults
from console.demo.engine.log_lines import traceback
from console.demo.engine.serve_config import Launch
from console.demo.release import VLLM
from console.demo.tools.demo_node import DemoNode


class HeadlessPart(EngineCore):
    """The workers of one rank on one node; lives in the process of the command itself."""

    def __init__(self, launch: Launch, node: DemoNode, faults: Faults) -> None:
        self._nobody, parent = socket.socketpair()
        super().__init__(launch, node, launch.first_rank, 0, parent, faults)

    def run(self) -> int:
        """Run from start to end; gives the exit code. TERM ends it at any time with 0."""
        signal.signal(signal.SIGTERM, _leave)
        signal.signal(signal.SIGINT, _leave)
        host, port = self._seat.launch.master
        text = f"Launching vLLM (v{VLLM}) headless multiproc executor, with head node address {host}:{port}"
        self._seat.log.info("serve.py:186", f"{text} for torch.distributed process group.")
        told = True
        try:
            self._meet()
            self._start_workers()
            if self._seat.hub is not None:
                self._seat.hub.send({"ready": self._seat.member, "rank": self._seat.rank})
            self._watch()
            told = False
        except CoreFailed as failure:
            self._seat.log.raw(traceback(failure.frames, str(failure)))
            return 1
        finally:
            self._seat.end_workers(told=told)
        return 0

    def _watch(self) -> None:
        """Wait until a worker has died."""
        selector = selectors.DefaultSelector()
        for child in self._seat.workers:
            selector.register(child.line, selectors.EVENT_READ, child)
        while True:
            for key, _ in selector.select():
                child = key.data
                if isinstance(child, Child) and not child.line.socket.recv(4096):
                    index = self._seat.launch.part * self._seat.launch.local_width + self._seat.workers.index(child)
                    text = f"Worker proc VllmWorker-{index} died unexpectedly, shutting down executor."
                    self._seat.log.error("multiproc_executor.py:283", text)
                    return


def _leave(*_: object) -> None:
    raise SystemExit
