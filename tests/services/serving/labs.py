"""A small lab for what happens while a deployment serves: one prefill engine, two of decode, a proxy, and spare nodes."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from console.cli.options import add_cluster_options, deployment_of
from console.demo.http import fetch
from console.model.plan import Plan, PlanResult
from console.services.monitoring.intervals import Intervals
from console.services.session import Session
from tests.e2e.cluster import Lab, lab
from tests.waiting import until

FAST = Intervals(
    metrics_s=0.5, works_s=1.0, works_first_s=0.5, works_timeout_s=5.0, works_again_s=0.5, hang_s=3.0, diagnosis_s=0.3
)  # fmt: skip

LAYOUT = """\
name: small
hardware: a3
version: v0.21.0rc1
image: quay.io/ascend/vllm-ascend:v0.21.0rc1-a3
model: {path: /root/.cache/modelscope/hub/models/vllm-ascend/DeepSeek-V4-Pro-w4a8-mtp, served_name: dsv4}
env: {HCCL_CONNECT_TIMEOUT: 1200, VLLM_ENGINE_READY_TIMEOUT_S: 3600}
args: {enable-expert-parallel: true, block-size: 128, disable-hybrid-kv-cache-manager: false, quantization: ascend}
groups:
  prefill:
    role: prefill
    nodes: 1
    tensor_parallel: 1
    data_parallel: {size: 1, per_node: 1, balance: external, rpc_port: 12321}
    port: 7100
    kv_transfer: {connector: MooncakeHybridConnector, port: 30200, engine_id: "1"}
  decode:
    role: decode
    nodes: 1
    tensor_parallel: 1
    data_parallel: {size: 2, per_node: 2, balance: external, rpc_port: 12321}
    port: 7100
    kv_transfer: {connector: MooncakeHybridConnector, port: 30800, engine_id: "8"}
proxy: {kind: load-balance, node: prefill/0, host: 0.0.0.0, port: 8000}
assign: {prefill: [p0], decode: [d0]}
"""


@contextlib.contextmanager
def small_lab(root: Path, *, layout: str = LAYOUT, names: tuple[str, ...] = ("p0", "d0", "d1")) -> Iterator[Lab]:
    """The lab with its engines started."""
    with lab(root, names=names) as made:
        (root / "small.yaml").write_text(layout)
        done = made.console("start", "--layout", str(root / "small.yaml"), "--yes")
        assert done.returncode == 0, done.stdout + done.stderr
        yield made


@contextlib.asynccontextmanager
async def watched(made: Lab, intervals: Intervals = FAST, state: str = "watching") -> AsyncIterator[Session]:
    """A session on the lab that asks often; with another `state` directory it knows nothing of what others were answered."""
    parser = argparse.ArgumentParser()
    add_cluster_options(parser)
    layout = made.file.parent / "small.yaml"
    deployment = deployment_of(parser.parse_args(["--cluster", str(made.file), "--layout", str(layout)]))
    session = Session(
        deployment.cluster, deployment.layout, deployment.assignment, state_dir=made.state / state, intervals=intervals
    )  # fmt: skip
    await session.open()
    try:
        yield session
    finally:
        await session.close()


def named(session: Session, signature: str, engine: str = "") -> Callable[[], bool]:
    """Whether that failure is in the picture, of that engine."""
    return lambda: any(
        each.signature == signature and (not engine or each.engine == engine) for each in session.snapshot.diagnoses
    )


def ready(session: Session, *engines: str) -> Callable[[], bool]:
    """Whether these engines, all when none is named, are ready."""
    return lambda: all(
        session.snapshot.engines[name].state == "ready" for name in (engines or [*session.snapshot.engines])
    )


async def carry_out(session: Session, plan: Plan) -> PlanResult:
    """Run a plan to its end; fail with what its steps said when it does not succeed."""
    result = await session.operator.run(plan, lambda _: None, confirmed=plan.confirm.expected)
    assert result.ok, (result.outcomes, result.messages)
    return result


@dataclass
class Load:
    """Streamed chats through the proxy, some at a time; with `rest_s` all pause together now and then."""

    host: str
    port: int
    rest_s: float = 0.0
    answered: int = 0
    wrong: list[str] = field(default_factory=list)
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)
    _open: asyncio.Event = field(default_factory=asyncio.Event)

    async def __aenter__(self) -> Load:
        self._open.set()
        self._tasks = [asyncio.create_task(self._ask(), name=f"asking {number}") for number in range(4)]
        if self.rest_s:
            self._tasks.append(asyncio.create_task(self._pause(), name="pauses"))
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _pause(self) -> None:
        while True:
            await asyncio.sleep(self.rest_s)
            self._open.clear()
            await asyncio.sleep(self.rest_s)
            self._open.set()

    async def _ask(self) -> None:
        body = json.dumps(
            {"model": "dsv4", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 12, "stream": True}
        )
        while True:
            await self._open.wait()
            try:
                got = await fetch(self.host, self.port, "POST", "/v1/chat/completions", body.encode(), _JSON)
                text = b"".join([piece async for piece in got.pieces])
            except (OSError, EOFError) as error:
                self.wrong.append(repr(error))
                continue
            whole = got.status == 200 and text.endswith(b"data: [DONE]\n\n") and b'"content":"' in text
            self.answered += whole
            if not whole:
                self.wrong.append(f"{got.status} {text[-200:]!r}")

    async def more(self, count: int, timeout_s: float = 60.0) -> None:
        """Wait until that many more were answered."""
        wanted = self.answered + count
        await until(lambda: self.answered >= wanted or self.wrong, timeout_s, f"{count} more answers")


_JSON = {"content-type": "application/json"}


def load_on(made: Lab, *, rest_s: float = 0.0) -> Load:
    """Chats through the lab's proxy."""
    return Load(made.node("p0").host, 8000, rest_s)
