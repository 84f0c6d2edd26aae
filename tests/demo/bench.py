"""Support of the demo's tests: nodes of one cluster, their programs, and everything ended afterwards."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from console.demo import processes
from console.demo.cluster import free_addresses
from console.demo.http import fetch
from console.demo.tools import install_tools
from tests.waiting import until

KV = {"kv_connector": "MooncakeHybridConnector", "engine_id": "1"}


@dataclass
class Engine:
    """A program started on a node, its output in a file."""

    process: subprocess.Popen[bytes]
    log: Path
    host: str
    port: int

    def text(self) -> str:
        """Everything it has printed."""
        return self.log.read_bytes().decode(errors="replace")

    async def says(self, wanted: str, timeout_s: float = 30) -> None:
        """Wait until it prints something."""
        try:
            await until(lambda: wanted in self.text(), timeout_s)
        except AssertionError as error:
            raise AssertionError(f"never said {wanted!r}:\n{self.text()[-3000:]}") from error

    async def ends(self, timeout_s: float = 30) -> int:
        """Wait for the end of its main process; the exit code."""
        await until(lambda: self.process.poll() is not None, timeout_s)
        return int(self.process.returncode)

    async def get(self, path: str, headers: Mapping[str, str] | None = None) -> tuple[int, str]:
        """One GET; status 0 when nobody listens."""
        return await self._ask("GET", path, b"", headers)

    async def post(self, path: str, body: object) -> tuple[int, str]:
        """One POST of JSON, or of bytes as they are."""
        return await self._ask("POST", path, body if isinstance(body, bytes) else json.dumps(body).encode())

    async def _ask(
        self, method: str, path: str, body: bytes, headers: Mapping[str, str] | None = None
    ) -> tuple[int, str]:
        try:
            answer = await fetch(self.host, self.port, method, path, body, headers)
            data = b"".join([piece async for piece in answer.pieces])
        except OSError:
            return 0, ""
        return answer.status, data.decode()

    def pids(self, title: str) -> list[int]:
        """Living processes of this engine whose title matches, wherever they hang in the tree."""
        found = []
        for pid in sorted(processes.marked("DEMO_TEST", str(self.log))):
            try:
                line = Path(f"/proc/{pid}/cmdline").read_bytes()
            except OSError:
                continue
            if re.match(title, line.decode(errors="replace")):
                found.append(pid)
        return found


@dataclass
class Bench:
    """Nodes on addresses of their own."""

    root: Path
    hardware: str = "a3"
    speed: float = 1500.0
    started: list[Engine] = field(default_factory=list)
    addresses: list[str] = field(default_factory=lambda: free_addresses(4))

    def directory(self, node: int) -> Path:
        """The folder of a node."""
        return self.root / f"n{node}"

    def environment(self, node: int) -> dict[str, str]:
        """The environment of a session on that node."""
        folder = self.directory(node)
        tools = install_tools(
            folder / "bin", folder, hardware=self.hardware, address=self.addresses[node], speed=self.speed
        )
        keep = {name: value for name, value in os.environ.items() if not name.startswith(("DSV4", "HCCL"))}
        return {**keep, "SPT_NOENV": "1", **tools}

    def run(self, node: int, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a program of the node to its end."""
        environment = {**self.environment(node), **variables}
        return subprocess.run(
            words, check=False, env=environment, capture_output=True, text=True, timeout=60, cwd=self.root
        )

    def start(self, node: int, words: Sequence[str], port: int = 0, **variables: str) -> Engine:
        """Start a program of the node and keep it."""
        log = self.root / f"log{len(self.started)}"
        environment = {**self.environment(node), **variables, "DEMO_TEST": str(log)}
        with log.open("wb") as out:
            process = subprocess.Popen(
                words,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
                cwd=self.root,
            )
        engine = Engine(process, log, self.addresses[node], port)
        self.started.append(engine)
        return engine

    def serve(self, node: int, *words: str, port: int = 7100, **variables: str) -> Engine:
        """`vllm serve /model --port PORT WORDS` on a node."""
        argv = [
            "vllm",
            "serve",
            "/model",
            "--host",
            "0.0.0.0",
            "--port",
            str(port),
            "--served-model-name",
            "dsv4",
            *words,
        ]
        return self.start(node, argv, port, **variables)

    def external(self, rank: int, size: int, *words: str, tp: int = 2, **variables: str) -> Engine:
        """One rank of an external group, rank N on node N."""
        group = ["-dp", str(size), "--data-parallel-rank", str(rank), "-dpa", self.addresses[0], "-dpp", "12321"]
        return self.serve(rank, *group, "-tp", str(tp), *words, port=7100, **variables)

    def fail(self, node: int, selector: str, text: str) -> None:
        """Ask for a failure."""
        (self.directory(node) / "fail").mkdir(parents=True, exist_ok=True)
        (self.directory(node) / "fail" / selector).write_text(text + "\n")

    async def close(self) -> None:
        """End whatever is left of what was started."""
        for node in range(len(self.addresses)):
            find = partial(processes.marked, "DSV4_DEMO_DIR", str(self.directory(node)))
            left = await asyncio.to_thread(processes.kill_all, find)
            assert not left
        for engine in self.started:
            engine.process.wait(10)
