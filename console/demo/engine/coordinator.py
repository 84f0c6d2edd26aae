"""The coordinator of a data-parallel group: the ranks meet at dp-address:rpc-port; it checks each rank, and then
notices when one exits.

It runs on the node of rank 0. The checks and their texts are those of vLLM 0.21 v1/engine/utils.py
(wait_for_engine_startup).
"""

from __future__ import annotations

import os
import selectors
import signal
import socket

from setproctitle import setproctitle

from console.demo.engine.json_lines import Line, Message
from console.demo.engine.log_lines import Log
from console.demo.engine.serve_config import Launch


class Coordinator:
    """The rendezvous of one group; it reports the result to the API server, its parent, over `parent`."""

    def __init__(self, launch: Launch, listener: socket.socket, parent: socket.socket) -> None:
        self._launch = launch
        self._listener = listener
        self._parent = Line(parent)
        self._ranks: dict[int, Line] = {}
        self._ready: dict[int, Message] = {}
        self._unknown: set[Line] = set()
        self._busy: set[int] = set()
        """Ranks with requests: while there is one, every rank computes along."""
        self._selector = selectors.DefaultSelector()

    def run(self) -> int:
        """Serve until the parent exits or stops this process; gives the exit code."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        prefix = self._launch.environment.get("VLLM_PROCESS_NAME_PREFIX", "VLLM")
        setproctitle(f"{prefix}::DPCoordinator")
        self._selector.register(self._listener, selectors.EVENT_READ, None)
        self._selector.register(self._parent, selectors.EVENT_READ, None)
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._listener:
                    self._accept()
                elif key.fileobj is self._parent:
                    list(self._parent.receive())
                    if not self._parent.open:
                        self._selector.unregister(self._parent)  # killed: stay behind, as the real one does
                elif isinstance(key.fileobj, Line):
                    self._hear(key.fileobj)

    def _accept(self) -> None:
        link, _ = self._listener.accept()
        line = Line(link)
        self._unknown.add(line)
        self._selector.register(line, selectors.EVENT_READ, None)

    def _hear(self, line: Line) -> None:
        for message in line.receive():
            if "hello" in message:
                self._greet(line, message)
            elif "ready" in message:
                self._count(message)
            elif "busy" in message:
                change = self._busy.add if message["busy"] else self._busy.discard
                change(int(str(message["rank"])))
        if not line.open:
            self._selector.unregister(line)
            self._unknown.discard(line)
            line.close()
            self._lose([rank for rank, known in self._ranks.items() if known is line])

    def _lose(self, gone: list[int]) -> None:
        for rank in gone:
            del self._ranks[rank]
            for line in self._ranks.values():
                line.send({"lost": rank, "stepping": bool(self._busy)})

    def _refuse(self, text: str) -> None:
        self._parent.send({"error": text})

    def _greet(self, line: Line, message: Message) -> None:
        rank, parts = int(str(message["hello"])), self._launch.parts
        headless, remote = bool(message["headless"]), message["process"] != os.getppid()
        where = "remote" if remote else "local"
        if rank >= self._launch.members:
            self._refuse(f"Message from engine with unexpected data parallel rank: {rank}")
        elif rank in self._ranks:
            self._refuse(f"Unexpected HELLO message for {where} engine {rank} in CoreEngineState.CONNECTED state.")
        elif remote and not headless and parts == 1 and self._launch.balance == "internal":
            self._refuse(f"Remote engine {rank} must use --headless unless in external or hybrid dp lb mode")
        elif remote and headless and parts == 1 and self._launch.balance != "internal":
            self._refuse(f"Remote engine {rank} must not use --headless in external or hybrid dp lb mode")
        elif message["agreement"] != self._launch.agreement():
            self._refuse(
                f"Configuration mismatch detected for engine {rank}. All DP workers must have identical"
                " configurations for parameters"
                " that affect collective communication. Please ensure all workers are started with the same"
                " command-line arguments."
            )
        else:
            self._unknown.discard(line)
            self._ranks[rank] = line
            if len(self._ranks) == self._launch.members:
                for known in self._ranks.values():
                    known.send({"init": True})

    def _count(self, message: Message) -> None:
        self._ready[int(str(message["ready"]))] = message
        if len(self._ready) < self._launch.members:
            return
        Log().info("coordinator.py:255", "All engine subscriptions received by DP coordinator")
        cores = {
            str(ready["rank"]): [ready["host"], ready["port"]] for ready in self._ready.values() if "host" in ready
        }
        for line in self._ranks.values():
            line.send({"go": cores})
        self._selector.unregister(self._listener)
        self._listener.close()
