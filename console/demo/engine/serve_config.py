"""What one `vllm serve` command means: its place in the data-parallel group, its devices, ports and sizes. Pure;
nothing is started."""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from console.demo.json_types import JsonValue
from console.demo.tools.demo_node import DemoNode

Balance = Literal["single", "internal", "external", "hybrid"]
DEFAULT_RPC_PORT: Final = 29550
DEFAULT_MASTER_PORT: Final = 29501
READY_TIMEOUT_S: Final = 600.0


@dataclass(frozen=True, slots=True)
class Launch:
    """One command, resolved as vLLM 0.21 resolves it (entrypoints/cli/serve.py, engine/arg_utils.py)."""

    args: argparse.Namespace
    model: str
    names: tuple[str, ...]
    host: str
    port: int
    headless: bool
    balance: Balance
    dp_size: int
    first_rank: int
    local_ranks: int
    api_servers: int
    tensor_parallel: int
    """Processes of one rank on all its nodes: TP × PP × PCP."""
    parts: int
    """Nodes that one rank spans."""
    part: int
    """Which of them this is."""
    devices: tuple[int, ...]
    dp_address: str
    rpc_port: int
    master: tuple[str, int]
    """Where the parts of ranks that span nodes meet."""
    max_len: int
    max_seqs: int
    utilization: float
    eager: bool
    expert_parallel: bool
    draft_tokens: int
    kv: Mapping[str, JsonValue]
    switched_to_external: bool
    environment: Mapping[str, str]

    @property
    def role(self) -> str:
        """prefill, decode or mixed, by the KV connector's role."""
        return {"kv_producer": "prefill", "kv_consumer": "decode"}.get(str(self.kv.get("kv_role")), "mixed")

    @property
    def ranks(self) -> range:
        """Global data-parallel ranks this process starts."""
        return range(self.first_rank, self.first_rank + self.local_ranks)

    @property
    def leads(self) -> bool:
        """Whether it runs rank 0, and so the coordinator."""
        return self.first_rank == 0 and not self.headless

    @property
    def local_width(self) -> int:
        """Processes of one rank on this node."""
        return self.tensor_parallel // self.parts

    @property
    def members(self) -> int:
        """Processes that meet before anything is loaded: the cores of all ranks, and the further parts of each."""
        return self.dp_size * self.parts

    @property
    def meeting(self) -> tuple[str, int]:
        """Where they meet."""
        return self.master if self.parts > 1 else (self.dp_address, self.rpc_port)

    def devices_of(self, local: int) -> tuple[int, ...]:
        """Devices of its n-th rank."""
        return self.devices[local * self.local_width : (local + 1) * self.local_width]

    def seconds(self, variable: str, default: float) -> float:
        """A time limit from the environment."""
        try:
            return float(self.environment.get(variable, default))
        except ValueError:
            return default

    @property
    def keys(self) -> tuple[str, ...]:
        """The API keys that `/v1` accepts (entrypoints/openai/api_server.py); without keys it accepts every client."""
        given = self.args.api_key or [self.environment.get("VLLM_API_KEY", "")]
        return tuple(key for key in given if key)

    def agreement(self) -> str:
        """A short hash of the settings that all ranks of a group must share."""
        same = [
            self.dp_size,
            self.tensor_parallel,
            self.parts,
            self.expert_parallel,
            self.args.enable_eplb,
            self.args.all2all_backend,
        ]
        return hashlib.sha256(json.dumps(same).encode()).hexdigest()[:16]


def resolve(args: argparse.Namespace, node: DemoNode, environment: Mapping[str, str]) -> Launch:
    """The command's meaning on this node."""
    size = args.data_parallel_size or 1
    balance, first, local, switched = _balance(args, size)
    parts = (args.nnodes or 1) // (size // local) or 1
    node_rank = args.node_rank or 0
    width = (
        (args.tensor_parallel_size or 1)
        * (args.pipeline_parallel_size or 1)
        * (args.prefill_context_parallel_size or 1)
    )
    model = args.model_tag or args.model or "Qwen/Qwen3-0.6B"
    spec = args.speculative_config if isinstance(args.speculative_config, dict) else {}
    kv = args.kv_transfer_config if isinstance(args.kv_transfer_config, dict) else {}
    draft = spec.get("num_speculative_tokens", 0)
    return Launch(
        args=args,
        model=model,
        names=tuple(args.served_model_name or [model]),
        host=_bind_address(args.host, node, environment),
        port=8000 if args.port is None else args.port,
        headless=args.headless,
        balance=balance,
        dp_size=size,
        first_rank=first or (node_rank // parts if parts > 1 else 0),
        local_ranks=local,
        api_servers=_api_servers(args, balance, size, local),
        tensor_parallel=width,
        parts=parts,
        part=node_rank % parts,
        devices=_devices(node, environment),
        dp_address=args.data_parallel_address or "127.0.0.1",
        rpc_port=args.data_parallel_rpc_port or DEFAULT_RPC_PORT,
        master=(args.master_addr or "127.0.0.1", args.master_port or DEFAULT_MASTER_PORT),
        max_len=args.max_model_len if (args.max_model_len or 0) > 0 else 1048576,
        max_seqs=args.max_num_seqs or 256,
        utilization=0.92 if args.gpu_memory_utilization is None else args.gpu_memory_utilization,
        eager=bool(args.enforce_eager),
        expert_parallel=bool(args.enable_expert_parallel),
        draft_tokens=draft if isinstance(draft, int) else 0,
        kv=kv,
        switched_to_external=switched,
        environment=environment,
    )


def _balance(args: argparse.Namespace, size: int) -> tuple[Balance, int, int, bool]:
    """Balance, first rank, ranks of this process, and whether hybrid silently became external (arg_utils.py:1828)."""
    if size == 1:
        return "single", 0, 1, False
    if args.data_parallel_rank is not None:
        return ("internal" if args.headless else "external"), args.data_parallel_rank, 1, False
    local = args.data_parallel_size_local or (1 if args.data_parallel_external_lb else size)
    start = args.data_parallel_start_rank or 0
    if args.headless or (start == 0 and not args.data_parallel_hybrid_lb):
        return "internal", start, local, False
    if local == 1:
        return "external", start, 1, True
    return "hybrid", start, local, False


def _api_servers(args: argparse.Namespace, balance: Balance, size: int, local: int) -> int:
    if args.headless:
        return 0
    if args.api_server_count:
        return int(args.api_server_count)
    if balance in ("single", "external"):
        return 1
    return local if args.data_parallel_start_rank is not None else size


def _bind_address(host: str | None, node: DemoNode, environment: Mapping[str, str]) -> str:
    """All nodes share this machine's loopback, so "every address" means the node's own."""
    if host in (None, "", "0.0.0.0", "::"):
        own = environment.get("HCCL_IF_IP") or environment.get("VLLM_HOST_IP") or node.address
        return own if own.startswith("127.") else node.address
    return host or node.address


def _devices(node: DemoNode, environment: Mapping[str, str]) -> tuple[int, ...]:
    listed = environment.get("ASCEND_RT_VISIBLE_DEVICES", "").strip()
    if not listed:
        return tuple(range(node.devices))
    return tuple(int(word) for word in listed.split(",") if word.strip().isdecimal())
