"""Two nodes with real sshd and a real vLLM on the CPU, and a deployment of one or two data-parallel ranks on them.

`place` is a directory that holds `venv` (vLLM), `tiny` (dense model) and `tinymoe` (mixture of experts).
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.request import Request, urlopen

import yaml

from console.demo.processes import descendants
from tests.e2e.cluster import Lab, _addresses
from tests.sshd import running_nodes

NAMES = ("n0", "n1")
PORT = 8300
SPANNED_PORT = 8350
"""Engines bind every address, so a lab beside this one needs another port."""
ENV = {
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "OMP_NUM_THREADS": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
}
SIZES = {
    "internal": (2, 2, "internal"),
    "external": (2, 2, "external"),
    "nic": (2, 2, "external"),
    "spanned": (2, 1, "internal"),
}
"""Mode → nodes, data-parallel size, balance; one node and one rank for every other mode. `spanned` is one engine over both."""
SERVICE = {"command": ["python3", "-m", "http.server", "9500", "--bind", "{address}"], "node": "whole/1", "port": 9500}
"""A service beside the engine of `spanned`: any server with a page will do."""
PROXY_PORT = 8390
ASLEEP = Path(__file__).parent / "asleep"


def layout(
    place: Path, mode: str, args: Mapping[str, object] | None = None, env: Mapping[str, str] | None = None
) -> dict[str, object]:
    """The layout of a mode; `args` are further arguments of `vllm serve`, `env` further variables."""
    nodes, size, balance = SIZES.get(mode, (1, 1, "internal"))
    model = place / ("tiny" if size == 1 else "tinymoe")
    spans = nodes if size == 1 else 1
    proxy = {"kind": "dp", "port": PROXY_PORT, "script": str(place_of_proxy())}
    return {
        "name": "real",
        "hardware": "plain",
        "version": "v0.21.0rc1",
        "model": {"path": str(model), "served_name": "tiny"},
        "env": {**ENV, "PYTHONPATH": str(ASLEEP), **(env or {})},
        "args": {"enforce-eager": True, "max-model-len": 512, "max-num-seqs": 4, **(args or {})},
        "groups": {
            "whole": {
                "role": "mixed",
                "nodes": nodes,
                "nodes_per_engine": spans,
                "tensor_parallel": spans,
                "data_parallel": {"size": size, "per_node": 1, "balance": balance, "rpc_port": 12321},
                "port": SPANNED_PORT if mode == "spanned" else PORT,
            }
        },
        **({"proxy": proxy} if mode == "proxied" else {}),
        **({"services": {"pages": {**SERVICE, "health": {"path": "/"}}}} if mode == "spanned" else {}),
        "assign": {"whole": list(NAMES[:nodes])},
    }


def place_of_proxy() -> Path:
    """The script that a lab's proxy runs: the simulated one, as the real one is a part of vllm-ascend's image."""
    return Path(__file__).parent / "asleep" / "dp_load_balance_proxy_server.py"


class RealLab(Lab):
    """The nodes with the layout file of the mode."""

    place: Path
    mode: str

    def write(self, args: Mapping[str, object] | None = None, env: Mapping[str, str] | None = None) -> None:
        """Write the layout, with further arguments and variables."""
        self.layout.write_text(yaml.safe_dump(layout(self.place, self.mode, args, env), sort_keys=False))

    def runs(self, engine: str) -> list[str]:
        """The runs of an engine that were launched, in order."""
        return sorted(each.parent.name for each in self._logs(engine))

    def log(self, engine: str) -> bytes:
        """What an engine has logged in its newest run."""
        logs = sorted(self._logs(engine), key=lambda each: each.parent.name)
        return logs[-1].read_bytes() if logs else b""

    def _logs(self, engine: str) -> list[Path]:
        return [*self.nodes.root.glob(f"n*/base/real/{engine}/runs/*/out.log")]

    @property
    def layout(self) -> Path:
        """The layout file."""
        return self.file.parent / "real.yaml"

    def run(self, *words: str, timeout_s: float = 900.0) -> str:
        """One command on this deployment; its output, with the exit code where that is not 0."""
        done = self.console(words[0], "--layout", str(self.layout), *words[1:], timeout_s=timeout_s)
        code = f"[exit {done.returncode}]\n" if done.returncode else ""
        return code + done.stdout + done.stderr


@contextlib.contextmanager
def real_lab(root: Path, place: Path, mode: str) -> Iterator[RealLab]:
    """The nodes up; every process that was started on them ends with the lab."""
    with _addresses(2) as first, running_nodes(root, 2, path=[place / "venv/bin"], first=first) as nodes:
        written = {
            "name": "lab",
            "defaults": {
                "hardware": "plain",
                "runtime": {"kind": "host"},
                "nic": "lo",
                "identity": str(nodes.identity),
            },
            "ssh": {"config": str(nodes.config), "known_hosts": str(nodes.known_hosts)},
            "nodes": {
                name: {"host": node.host, "port": node.port, "ip": node.host, "base": str(node.base)}
                for name, node in zip(NAMES, nodes.nodes, strict=True)
            },
        }
        file = root / "cluster.yaml"
        file.write_text(yaml.safe_dump(written, sort_keys=False))
        made = RealLab(nodes, file, root / "state", NAMES)
        made.place, made.mode = place, mode
        made.write()
        try:
            yield made
        finally:
            for pid in _marked(root):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def _marked(root: Path) -> list[int]:
    """Processes of this lab's nodes, by the scope in their environment."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                if f"DSV4_SCOPE={root}/".encode() in (entry / "environ").read_bytes():
                    found.append(int(entry.name))
    return found


def pids(main: int, word: str) -> list[int]:
    """The processes below an engine's main process whose title holds a word: `EngineCore`, `Worker`."""
    found = []
    for pid in descendants(main):
        with contextlib.suppress(OSError):
            if word.encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(pid)
    return found


class Traffic:
    """Completions to some addresses, one after the other on each, from a thread of its own per address."""

    def __init__(self, addresses: list[tuple[str, int]], tokens: int = 24) -> None:
        self._addresses = addresses
        self._tokens = tokens
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self.answered = 0
        self.wrong = 0

    def __enter__(self) -> Traffic:
        self._threads = [threading.Thread(target=self._ask, args=each, daemon=True) for each in self._addresses]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()

    def _ask(self, host: str, port: int) -> None:
        asked_for = {"model": "tiny", "prompt": "hello world", "max_tokens": self._tokens, "ignore_eos": True}
        body = json.dumps(asked_for).encode()
        while not self._stop.is_set():
            try:
                asked = Request(f"http://{host}:{port}/v1/completions", body, {"content-type": "application/json"})
                with urlopen(asked, timeout=60) as answer:
                    self.answered += answer.status == 200
            except OSError:
                self.wrong += 1
                self._stop.wait(0.5)

    def served(self, count: int, timeout_s: float) -> bool:
        """Whether so many more are answered within the time."""
        wanted, end = self.answered + count, time.monotonic() + timeout_s
        while self.answered < wanted and time.monotonic() < end:
            self._stop.wait(0.2)
        return self.answered >= wanted
