"""One worker process: the start of a rank's share of the model on one device, and the memory it holds. It computes
nothing.

Told what to do by its engine core over a socket; the end of that socket means the core is gone. While it loads it
does not look: a worker whose core
dies early stays until it has loaded, as the real one does.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import time
from dataclasses import dataclass
from typing import Final

from setproctitle import setproctitle

from console.demo.engine.core_base import PEER_GONE
from console.demo.engine.failures import Faults
from console.demo.engine.log_lines import Frame, Log, traceback
from console.demo.engine.serve_config import Launch
from console.demo.engine.shutdown import LEAST_WORKER_S, WORKER_S, linger
from console.demo.tools.demo_node import HBM_MIB, DemoNode, hold, holdings, release

SHARDS: Final = 64
SHARD_S: Final = 5.2
"""Weights of one die: 35.9 GB in 360 s (a vllm-ascend report on A3, two ranks of 16)."""
WEIGHTS_MIB: Final = 34237
IDLE_MIB: Final = 3400
_RUNNER: Final = "/vllm-workspace/vllm-ascend/vllm_ascend/worker"


class StartFailed(Exception):
    """The worker cannot start: the trace it prints, and its last line for the core."""

    def __init__(self, error: str, frames: tuple[Frame, ...] = ()) -> None:
        super().__init__(error)
        self.frames = frames


@dataclass(frozen=True, slots=True)
class Place:
    """Which worker this is."""

    launch: Launch
    node: DemoNode
    faults: Faults
    dp_rank: int
    tp_rank: int
    device: int
    first: bool
    """Whether it prints what only one worker of its core prints."""
    master: str
    """Address and port of the group's rendezvous, only for the log."""

    @property
    def rank(self) -> int:
        """Rank in the whole group."""
        return self.dp_rank * self.launch.tensor_parallel + self.tp_rank

    @property
    def name(self) -> str:
        """`Worker_DP0_TP3_EP3`, dimensions of size 1 left out (vLLM 0.21 v1/executor/multiproc_executor.py)."""
        launch = self.launch
        parts = ["Worker"]
        parts += [f"DP{self.dp_rank}"] if launch.dp_size > 1 else []
        parts += [f"TP{self.tp_rank}"] if launch.tensor_parallel > 1 else []
        parts += [f"EP{self.rank}"] if launch.expert_parallel and launch.dp_size * launch.tensor_parallel > 1 else []
        return "_".join(parts)


class Worker:
    """The life of one worker process."""

    def __init__(self, place: Place, link: socket.socket) -> None:
        self._place = place
        self._link = link
        self._log = Log("Worker")
        self._held = 0
        self._kv: socket.socket | None = None

    def run(self) -> int:
        """Start, serve, end; the exit code."""
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        place = self._place
        prefix = place.launch.environment.get("VLLM_PROCESS_NAME_PREFIX", "VLLM")
        setproctitle(f"{prefix}::{place.name}")
        try:
            self._start()
        except StartFailed as failure:
            self._log.error("multiproc_executor.py:962", "WorkerProc hit an exception.")
            self._log.error("multiproc_executor.py:962", traceback(failure.frames, str(failure)))
            self._pause(place.faults.amount("nic", 60.0) if place.faults.has("nic") else 0.0)
            self._tell(f"failed {str(failure).splitlines()[0]}")
            release(place.node.directory)
            return 1
        try:
            return self._serve()
        finally:
            release(place.node.directory)

    def _tell(self, text: str) -> None:
        try:
            self._link.sendall(text.encode() + b"\n")
        except OSError:
            return  # the core is gone; found out after the start

    def _pause(self, seconds: float) -> None:
        time.sleep(self._place.node.seconds(seconds) * self._place.faults.amount("slow", 1.0))

    def _hold(self, mib: int, busy: bool = False) -> None:
        self._held = mib
        hold(self._place.node.directory, {self._place.device: mib}, busy)

    def _start(self) -> None:
        self._join_group()
        self._load()
        self._profile()
        self._connect_kv()
        self._capture()
        self._tell("ready")

    def _join_group(self) -> None:
        place, launch = self._place, self._place.launch
        world = launch.dp_size * launch.tensor_parallel
        self._check_memory()
        self._hold(420)
        text = f"world_size={world} rank={place.rank} local_rank={place.tp_rank}"
        self._log.info("parallel_state.py:1410", f"{text} distributed_init_method=tcp://{place.master} backend=hccl")
        self._pause(4)
        if place.faults.has("nic"):
            nic = launch.environment.get("GLOO_SOCKET_IFNAME", "eth9")
            raise StartFailed(f"{_NO_NIC} {nic}", _NIC_FRAMES)
        if place.faults.has("hccl"):
            self._pause(launch.seconds("HCCL_CONNECT_TIMEOUT", 120.0))
            raise StartFailed(EI0006, _HCCL_FRAMES)
        expert = f"EP rank {place.rank}" if launch.expert_parallel else "EP rank N/A"
        text = f"rank {place.rank} in world size {world} is assigned as DP rank {place.dp_rank}, PP rank 0, PCP rank 0,"
        self._log.info("parallel_state.py:1723", f"{text} TP rank {place.tp_rank}, {expert}, EPLB rank N/A")
        self._log = Log(place.name)

    def _check_memory(self) -> None:
        place = self._place
        others = sum(
            each.mib.get(place.device, 0) for each in holdings(place.node.directory) if each.pid != os.getpid()
        )
        if place.faults.has("held"):
            others += 55000
        free, total = (HBM_MIB - IDLE_MIB - others) / 1024, HBM_MIB / 1024
        wanted = place.launch.utilization * total
        if others and free < wanted:
            raise StartFailed(
                f"ValueError: Free memory on device ({free:.2f}/{total:.2f} GiB) on startup is less than desired"
                " GPU memory utilization"
                f" ({place.launch.utilization}, {wanted:.2f} GiB). Decrease GPU memory utilization or reduce GPU"
                " memory used by other processes.",
                ((f"{_RUNNER}/worker.py", 285, "init_device", "raise ValueError("),),
            )

    def _load(self) -> None:
        place = self._place
        started = time.monotonic()
        many = isinstance(place.launch.args.model_loader_extra_config, dict) and bool(
            place.launch.args.model_loader_extra_config.get("enable_multithread_load")
        )
        label = "Multi-thread loading shards:" if many else "Loading safetensors checkpoint shards:"
        self._log.info("model_runner_v1.py:2840", f"Starting to load model {place.launch.model}...")
        step = 1 if place.first else 8
        if place.first:
            self._log.progress(label, 0, SHARDS, 0.0)
        for shard in range(step, SHARDS + 1, step):
            self._pause(SHARD_S * step)
            if place.faults.has("hang-load") and shard * 2 > SHARDS:
                signal.pause()
            if place.faults.has("memory") and shard * 2 > SHARDS:
                raise StartFailed(_OUT_OF_MEMORY.format(device=place.tp_rank), _LOAD_FRAMES)
            if shard % 8 == 0:
                self._hold(420 + WEIGHTS_MIB * shard // SHARDS)
            if place.first:
                self._log.progress(label, shard, SHARDS, time.monotonic() - started)
        if place.first:
            self._log.raw("")
        took = time.monotonic() - started
        self._log.info("default_loader.py:397", f"Loading weights took {took:.2f} seconds")
        if place.launch.draft_tokens and place.first:
            self._log.info("model_runner_v1.py:2866", "Loading drafter model...")
        self._log.info("model_runner_v1.py:2874", f"Loading model weights took {WEIGHTS_MIB * 1.048576e6 / 1e9:.4f} GB")

    def _profile(self) -> None:
        self._pause(14)
        place = self._place
        room = place.launch.utilization * HBM_MIB - WEIGHTS_MIB - IDLE_MIB - 3100
        if place.faults.has("kv-memory"):
            room = -891.0
        self._log.info("worker.py:318", f"Available KV cache memory: {room / 1024:.2f} GiB")
        self._tell(f"memory {room / 1024:.2f}")
        if room <= 0:
            raise StartFailed(
                "ValueError: No available memory for the cache blocks. Try increasing `gpu_memory_utilization`"
                " when initializing the engine.",
                (("v1/core/kv_cache_utils.py", 686, "_check_enough_kv_cache_memory", "raise ValueError("),),
            )
        self._hold(max(int(place.launch.utilization * HBM_MIB) - IDLE_MIB, WEIGHTS_MIB))

    def _connect_kv(self) -> None:
        place = self._place
        kv = place.launch.kv
        if place.launch.role != "prefill" or "kv_port" not in kv:
            return
        port = int(str(kv["kv_port"])) + place.rank
        path = f"tcp://{place.node.address}:{port}"
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((place.node.address, port))
            listener.listen(64)
        except OSError as error:
            raise StartFailed(f"zmq.error.ZMQError: {error.strerror} (addr='{path}')", _KV_FRAMES) from error
        self._kv = listener
        text = f"KVCacheSendingThread started listening on path: {path}. Thread: tp_rank={place.tp_rank}"
        self._log.info("mooncake_hybrid_connector.py:255", text)

    def _capture(self) -> None:
        place = self._place
        if place.launch.eager:
            return
        if place.faults.has("graph"):
            self._pause(12)
            raise StartFailed(_NO_STREAMS, _GRAPH_FRAMES)
        sizes = 12
        started = time.monotonic()
        for done in range(1, sizes + 1):
            self._pause(3)
            if place.first:
                self._graph_bar(done, sizes, time.monotonic() - started)
        took = time.monotonic() - started
        self._log.info("model_runner_v1.py:3301", f"Graph capturing finished in {took:.0f} secs, took 0.86 GiB")

    def _graph_bar(self, done: int, total: int, took_s: float) -> None:
        label = "Capturing CUDA graphs (decode, FULL):"
        bar = "█" * (done * 10 // total)
        self._log.raw(
            f"\r{label} {done * 100 // total:3d}%|{bar:<10}| {done}/{total} [{took_s:.0f}s, {took_s / done:.2f}s/it]"
        )

    def _serve(self) -> int:
        watched: list[socket.socket] = [self._link] + ([self._kv] if self._kv else [])
        told = False
        while True:
            readable, _, _ = select.select(watched, [], [])
            if self._kv in readable and self._kv is not None:
                self._kv.accept()[0].close()
            if self._link not in readable:
                continue
            data = self._link.recv(4096)
            if not data:
                self._log.info("multiproc_executor.py:775", "Parent process exited, terminating worker queues")
                self._log.info("multiproc_executor.py:872", "WorkerProc shutting down.")
                if not told:
                    linger(self._place.node, WORKER_S, LEAST_WORKER_S)
                return 0
            words = data.decode().split()
            told = told or "stop" in words
            if "lost" in words:
                self._report_loss()
            self._hold(self._held, busy=words[-1] == "busy")

    def _report_loss(self) -> None:
        """A step that failed because a peer is gone."""
        self._log.error("multiproc_executor.py:962", "WorkerProc hit an exception.")
        self._log.error("multiproc_executor.py:962", traceback(_STEP_FRAMES, f"RuntimeError: {PEER_GONE}"))
        self._tell("reported")


EI0006: Final = (
    "RuntimeError: [ERROR] ERR02200 DIST call hccl api failed.\n"
    "EI0006: Getting socket times out. Reason: 1. The remote does not initiate a connect request. Some NPUs in"
    " the cluster are abnormal."
    " 2. The remote does not initiate a connect request because the collective communication operator is started"
    " too late or is not started by some"
    " NPU in the cluster. 3. The communication link is disconnected. (For example, the IP addresses are not on"
    " the same network segment"
    " or the TLS configurations are inconsistent.)"
)
_OUT_OF_MEMORY: Final = (
    "RuntimeError: NPU out of memory. Tried to allocate 1.31 GiB (NPU {device}; 60.97 GiB total capacity; 58.62"
    " GiB already allocated;"
    " 58.62 GiB current active; 417.28 MiB free; 59.92 GiB reserved in total by PyTorch) If reserved memory is"
    " >> allocated memory try setting"
    " max_split_size_mb to avoid fragmentation."
)
_NO_STREAMS: Final = (
    "RuntimeError: The Inner error is reported as above. ErrCode: 207008\n"
    "EL0009: The stream resources are exhausted. Reason: too many graphs are captured at the same time."
)
_HCCL_FRAMES: Final[tuple[Frame, ...]] = (
    (f"{_RUNNER}/worker.py", 412, "_init_worker_distributed_environment", "ensure_model_parallel_initialized("),
    ("distributed/parallel_state.py", 1642, "initialize_model_parallel", "_TP = init_model_parallel_group("),
)
_STEP_FRAMES: Final[tuple[Frame, ...]] = (
    ("v1/executor/multiproc_executor.py", 957, "worker_busy_loop", "output = func(*args, **kwargs)"),
    ("v1/worker/dp_utils.py", 51, "_run_ar", "dist.all_reduce(tensor, group=group)"),
)
_NO_NIC: Final = (
    "RuntimeError: [enforce fail at /pytorch/third_party/gloo/gloo/transport/tcp/device.cc:84] ifa != nullptr. "
    "Unable to find address for:"
)
_NIC_FRAMES: Final[tuple[Frame, ...]] = (
    ("distributed/parallel_state.py", 1432, "init_distributed_environment", "torch.distributed.init_process_group("),
)
_LOAD_FRAMES: Final[tuple[Frame, ...]] = (
    (f"{_RUNNER}/worker.py", 352, "load_model", "self.model_runner.load_model()"),
    ("model_executor/model_loader/default_loader.py", 391, "load_weights", "loaded_weights = model.load_weights("),
)
_KV_FRAMES: Final[tuple[Frame, ...]] = (
    (
        "/vllm-workspace/vllm-ascend/vllm_ascend/distributed/kv_transfer/kv_p2p/mooncake_hybrid_connector.py",
        262,
        "run",
        "sock.bind(path)",
    ),
)
_GRAPH_FRAMES: Final[tuple[Frame, ...]] = (
    (f"{_RUNNER}/model_runner_v1.py", 3284, "capture_model", "self._capture_cudagraphs("),
)
