"""What stands in the way of a start is named before it starts, or while it still waits: holders of ports, a wrong interface."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from console.model.plan import Outcome, StepEvent
from console.model.snapshot import EngineState
from console.probes.listeners import Holder, parse_holders
from tests.e2e.cluster import Lab, lab
from tests.services.serving.labs import carry_out, named, watched
from tests.sshd import needs_sshd
from tests.waiting import until

pytestmark = [needs_sshd, pytest.mark.sshd, pytest.mark.timeout(180)]

LAYOUT = """\
name: {name}
hardware: a3
version: v0.21.0rc1
image: quay.io/ascend/vllm-ascend:v0.21.0rc1-a3
model: {{path: /root/.cache/modelscope/hub/models/vllm-ascend/DeepSeek-V4-Pro-w4a8-mtp, served_name: dsv4}}
env: {{HCCL_CONNECT_TIMEOUT: 1200, VLLM_ENGINE_READY_TIMEOUT_S: 3600}}
args: {{enable-expert-parallel: true, block-size: 128, quantization: ascend}}
groups:
  mixed:
    role: mixed
    nodes: 1
    tensor_parallel: 1
    data_parallel: {{size: 2, per_node: 2, balance: external, rpc_port: 12321}}
    port: 7100
assign: {{mixed: [m0]}}
"""
LISTEN = """\
import socket, sys
with socket.socket() as one:
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    one.bind((sys.argv[-2], int(sys.argv[-1])))
    one.listen()
    print("listening", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(scope="module")
def idle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """One node on which nothing runs, and two layouts that want the same ports of it."""
    with lab(tmp_path_factory.mktemp("trouble"), names=("m0",)) as made:
        for name in ("small", "other"):
            (made.file.parent / f"{name}.yaml").write_text(LAYOUT.format(name=name))
        yield made


@contextlib.contextmanager
def holding(made: Lab, name: str, *words: str) -> Iterator[int]:
    """A process with this name that listens on the first port of the group; its pid."""
    script = made.file.parent / name
    script.write_text(LISTEN)
    command = [sys.executable, str(script), *words, made.node("m0").host, "7100"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "listening\n"
        yield process.pid
        process.kill()


def start(made: Lab, name: str = "small") -> str:
    """What a start that must not succeed says."""
    done = made.console("start", "--layout", str(made.file.parent / f"{name}.yaml"), "--yes")
    assert done.returncode == 1, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_a_holder_that_is_no_vllm_is_named_with_its_pid_and_what_would_happen(idle: Lab) -> None:
    with holding(idle, "web.py", "--api-key", "hunter2") as pid:
        said = start(idle)
    assert "port 7100 (mixed-0) already has a listener" in said
    assert f"pid {pid} of root: {sys.executable}" in said
    assert "web.py --api-key" in said
    assert "no vLLM, started by no console" in said
    assert f"vLLM would exit with Errno 98 on port 7100: stop pid {pid}" in said
    assert "hunter2" not in said


def test_another_vllm_is_named_and_that_it_would_share_the_port_silently(idle: Lab) -> None:
    with holding(idle, "vllm", "serve", "/models/v4") as pid:
        said = start(idle)
    assert f"pid {pid} of root" in said
    assert "a vLLM, " in said
    assert "would share port 7100 with it silently (SO_REUSEPORT) and requests would split between both" in said


def test_an_engine_of_another_deployment_is_named_with_its_run(idle: Lab) -> None:
    other = str(idle.file.parent / "other.yaml")
    assert idle.console("start", "--layout", other, "--yes").returncode == 0
    try:
        said = start(idle)
        assert "of mixed-0 of deployment other" in said
        assert "stop mixed-0 of deployment other first" in said
    finally:
        assert idle.console("stop", "--layout", other, "--yes").returncode == 0


async def test_a_wrong_interface_is_told_while_the_start_still_waits(idle: Lab) -> None:
    idle.fail("m0", "dp-1", "nic 3600")
    said: list[str] = []

    def hear(event: StepEvent) -> None:
        if event.outcome is Outcome.RUNNING:
            said.append(event.message)

    try:
        async with watched(idle) as session:
            await until(lambda: session.first_sample_complete("m0"), 30.0, "connected")
            plan = await session.operator.prepare("start", ())
            going = asyncio.create_task(session.operator.run(plan, hear, confirmed=plan.confirm.expected))
            runs = Path(idle.node("m0").base) / "small" / "mixed-1" / "runs"

            def told_there() -> bool:
                return any(b"Unable to find" in each.read_bytes() for each in runs.glob("*/out.log"))

            await until(lambda: told_there() or going.done(), 60.0, f"its log says so: {said}")
            assert not going.done(), going.result()
            await until(
                lambda: any("mixed-1 B11 the network interface does not exist" in text for text in said), 5.0, str(said)
            )
            engine = session.snapshot.engines["mixed-1"]
            assert engine.state is EngineState.STARTING, "and it has not ended yet"
            assert engine.cause.startswith("B11 the network interface does not exist: ")
            assert named(session, "B11", "mixed-1")()
            shown = await asyncio.to_thread(
                idle.console, "status", "--layout", str(idle.file.parent / "small.yaml"), "-o", "json"
            )
            found = {each["id"]: each for each in json.loads(shown.stdout)["engines"]}
            assert found["mixed-1"]["state"] == "starting", found["mixed-1"]
            assert "Unable to find address for" in found["mixed-1"]["cause"]
            session.operator.cancel()
            await going
            await carry_out(session, await session.operator.prepare("kill", ("mixed-0", "mixed-1")))
    finally:
        (idle.node("m0").root / "fail" / "dp-1").unlink()


def test_the_first_process_of_those_that_inherited_a_socket_is_its_holder_and_broken_lines_are_left_out() -> None:
    data = b"55\t900\troot\tworker\n55\t70\troot\tvllm  serve x\nx\t1\tr\tc\n7\t8\n66\t9\t\t\xff\n"
    assert parse_holders(data) == {55: Holder(70, "root", "vllm serve x"), 66: Holder(9, "", "\ufffd")}


@pytest.mark.parametrize(
    ("command", "vllm"),
    [
        ("/usr/bin/python3 /usr/local/bin/vllm serve /models/v4", True),
        ("VLLM::APIServer_0", True),
        ("python3 -m vllm.entrypoints.openai.api_server", True),
        ("vi /etc/vllm", False),
        ("python3 -m http.server 7100", False),
    ],
)
def test_a_vllm_is_known_by_its_command_line(command: str, vllm: bool) -> None:
    assert Holder(1, "", command).is_vllm is vllm
