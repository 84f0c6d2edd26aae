"""One engine core process: meets its group, starts its workers, then answers API servers. Its life ends with its
workers or by TERM.

It does not notice when the API server is killed: like the real one it stays, with its workers and their memory.
"""

from __future__ import annotations

import os
import selectors
import signal
import socket
import time

from setproctitle import setproctitle

from console.demo.engine.core_base import PEER_GONE, Child, CoreFailed, Seat, leave
from console.demo.engine.core_serving import Running
from console.demo.engine.failures import Faults
from console.demo.engine.json_lines import Line
from console.demo.engine.log_lines import Log, traceback
from console.demo.engine.serve_config import Launch
from console.demo.engine.worker import Place, Worker
from console.demo.release import VLLM
from console.demo.tools.demo_node import DemoNode

HANDSHAKE_S = 300.0
JOIN_S = 1800.0
"""How long torch.distributed waits for the parts of an engine to join (its default for a process group)."""
_NOBODY_JOINED = (
    "torch.distributed.DistStoreError: Timed out after {limit} seconds waiting for clients. 1/{all} clients joined."
)
LEAST_HANDSHAKE_S = 15.0
"""The sped-up limit never gets shorter: the ranks of a test start one after the other on a busy machine."""


class EngineCore:
    """One data-parallel rank."""

    def __init__(
        self, launch: Launch, node: DemoNode, rank: int, local: int, parent: socket.socket, faults: Faults
    ) -> None:
        name = f"EngineCore_DP{rank}" if launch.dp_size > 1 else "EngineCore"
        self._seat = Seat(launch, node, rank, local, faults, os.getppid(), Log("" if launch.part else name))
        self._parent = Line(parent)

    def run(self) -> int:
        """Run from start to end; gives the exit code."""
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        prefix = self._seat.launch.environment.get("VLLM_PROCESS_NAME_PREFIX", "VLLM")
        setproctitle(f"{prefix}::{self._seat.log.name}")
        started = time.monotonic()
        try:
            self._meet()
            self._initialize()
            listener = self._announce(started)
        except CoreFailed as failure:
            self._seat.log.error("core.py:1140", "EngineCore failed to start.")
            self._seat.log.error("core.py:1140", traceback(failure.frames, str(failure)))
            self._parent.send({"failed": str(failure)})
            self._seat.end_workers()
            return 1
        return Running(self._seat, listener).run()

    def _meet(self) -> None:
        """Handshake with the node of rank 0: silent until every rank of the group is there."""
        launch = self._seat.launch
        if launch.members == 1:
            return
        limit = max(self._seat.node.seconds(HANDSHAKE_S if launch.parts == 1 else JOIN_S), LEAST_HANDSHAKE_S)
        deadline = time.monotonic() + (0.0 if self._seat.faults.has("handshake") else limit)
        while True:
            if self._greet(deadline):
                return
            if time.monotonic() >= deadline and launch.parts > 1:
                raise CoreFailed(_NOBODY_JOINED.format(all=launch.parts * launch.dp_size, limit=int(JOIN_S)))
            if time.monotonic() >= deadline:
                raise CoreFailed(
                    "RuntimeError: Did not receive response from front-end process within 5 minutes",
                    (("v1/engine/core.py", 1049, "startup_handshake", "raise RuntimeError("),),
                )
            time.sleep(0.1)

    def _greet(self, deadline: float) -> bool:
        """One attempt: connect, say hello, wait for everybody; False when the meeting place is not there (any
        more)."""
        launch = self._seat.launch
        try:
            link = socket.create_connection(launch.meeting, timeout=1.0)
        except OSError:
            return False
        link.settimeout(None)
        hub = Line(link)
        hub.send({
            "hello": self._seat.member,
            "headless": launch.headless,
            "process": self._seat.process,
            "agreement": launch.agreement(),
        })  # fmt: skip
        waiting = selectors.DefaultSelector()
        waiting.register(hub, selectors.EVENT_READ)
        while hub.open and time.monotonic() < deadline:
            if waiting.select(1.0) and any("init" in message for message in hub.receive()):
                self._seat.hub = hub
                self._parent.send({"met": self._seat.rank})
                return True
        hub.close()
        return False

    def _initialize(self) -> None:
        launch = self._seat.launch
        self._seat.log.info(
            "core.py:109",
            f"Initializing a V1 LLM engine (v{VLLM}) with config: model='{launch.model}', speculative_config="
            f"{launch.args.speculative_config}, tokenizer='{launch.model}', skip_tokenizer_init=False,"
            " dtype=torch.bfloat16,"
            f" max_seq_len={launch.max_len}, tensor_parallel_size={launch.tensor_parallel},"
            f" data_parallel_size={launch.dp_size},"
            f" quantization={launch.args.quantization}, enforce_eager={launch.eager},"
            f" served_model_name={launch.names[0]}",
        )
        self._start_workers()
        tokens = 388_000
        self._seat.log.info("kv_cache_utils.py:1710", f"GPU KV cache size: {tokens:,} tokens")
        text = f"Maximum concurrency for {launch.max_len:,} tokens per request: {tokens / launch.max_len:.2f}x"
        self._seat.log.info("kv_cache_utils.py:1711", text)

    def _start_workers(self) -> None:
        """Fork the rank's workers on this node and wait until they have loaded."""
        launch = self._seat.launch
        devices = launch.devices_of(self._seat.local)
        if len(devices) < launch.local_width or any(device >= self._seat.node.devices for device in devices):
            first = self._seat.local * launch.local_width
            raise CoreFailed(
                f"RuntimeError: Error setting ASCEND_RT_VISIBLE_DEVICES: local range: [{first},"
                f" {first + launch.local_width})"
                f' base value: "{",".join(str(device) for device in launch.devices)}"',
                (("v1/engine/utils.py", 168, "set_device_control_env_var", "raise Exception("),),
            )
        time.sleep(self._seat.node.seconds(7))
        host, port = launch.meeting if launch.parts > 1 else (launch.dp_address, 20000 + (os.getpid() * 7) % 30000)
        for index, device in enumerate(devices, launch.part * launch.local_width):
            self._fork_worker(index, device, f"{host}:{port}")
        self._await_workers()

    def _fork_worker(self, index: int, device: int, master: str) -> None:
        ours, theirs = socket.socketpair()
        pid = os.fork()
        if pid == 0:
            place = Place(
                self._seat.launch,
                self._seat.node,
                self._seat.faults,
                self._seat.rank,
                index,
                device,
                index == 0,
                master,
            )
            for child in self._seat.workers:
                child.line.socket.close()
            ours.close()
            self._parent.socket.close()
            if self._seat.hub is not None:
                self._seat.hub.socket.close()
            leave(Worker(place, theirs).run())
        theirs.close()
        self._seat.workers.append(Child(pid, Line(ours)))

    def _await_workers(self) -> None:
        """Wait until every worker has started; a failed or killed worker fails the core."""
        selector = selectors.DefaultSelector()
        for child in self._seat.workers:
            selector.register(child.line, selectors.EVENT_READ, child)
        if self._seat.hub is not None:
            selector.register(self._seat.hub, selectors.EVENT_READ, None)
        deadline = float("inf")
        while not all(child.ready for child in self._seat.workers):
            events = selector.select(max(0.0, min(deadline - time.monotonic(), 5.0)))
            for key, _ in events:
                if isinstance(key.data, Child):
                    self._hear_worker(key.data)
                elif self._seat.hub is not None and self._seat.listen_hub():
                    selector.unregister(self._seat.hub)
            if self._seat.lost is not None and deadline == float("inf"):
                limit = self._seat.launch.seconds("HCCL_CONNECT_TIMEOUT", 120.0)
                deadline = time.monotonic() + max(self._seat.node.seconds(limit), 1.0)
            if time.monotonic() >= deadline:
                raise CoreFailed(
                    f"RuntimeError: Worker failed with error 'EI0006: Getting socket times out. {PEER_GONE}"
                )

    def _hear_worker(self, child: Child) -> None:
        data = child.line.socket.recv(4096)
        child.buffer += data
        *lines, child.buffer = child.buffer.split(b"\n")
        for line in lines:
            word, _, text = line.decode().partition(" ")
            if word == "failed":
                raise CoreFailed(
                    f"RuntimeError: Worker failed with error '{text.partition(': ')[2] or text}', please check"
                    " the stack trace above"
                    " for the root cause",
                    (("v1/executor/multiproc_executor.py", 390, "get_response", "raise RuntimeError("),),
                )
            child.ready = child.ready or word == "ready"
        if not data:
            raise CoreFailed(
                "Exception: WorkerProc initialization failed due to an exception in a background process. See"
                " stack trace for root cause.",
                (("v1/executor/multiproc_executor.py", 706, "wait_for_ready", "raise e from None"),),
            )

    def _announce(self, started: float) -> socket.socket:
        """Report that this core is ready, and wait until the whole group is."""
        took = (time.monotonic() - started) * self._seat.node.speed
        text = f"init engine (profile, create kv cache, warmup model) took {took:.2f} s"
        self._seat.log.info("core.py:306", text)
        listener = socket.create_server((self._seat.node.address, 0))
        host, port = listener.getsockname()
        cores: dict[str, object] = {str(self._seat.rank): [host, port]}
        if self._seat.hub is not None:
            self._seat.hub.send({"ready": self._seat.member, "rank": self._seat.rank, "host": host, "port": port})
            cores = self._await_go(self._seat.hub)
        self._parent.send({"up": self._seat.rank, "cores": cores})
        return listener

    def _await_go(self, hub: Line) -> dict[str, object]:
        while True:
            for message in hub.receive():
                if "lost" in message:
                    self._seat.lost = int(str(message["lost"]))
                cores = message.get("go")
                if isinstance(cores, dict):
                    return cores
            if self._seat.lost is not None or not hub.open:
                raise CoreFailed(f"RuntimeError: {PEER_GONE}")
