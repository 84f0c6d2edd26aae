"""An engine that answers, but not as it should, is told while a start waits for it, and does not hold it up for an hour."""

from __future__ import annotations

import asyncio
import os
import socket
from dataclasses import replace
from types import SimpleNamespace
from typing import cast

import pytest

from console.model.errors import ConsoleError
from console.model.payload import RunsAwaited
from console.model.plan import Step
from console.model.run import RunKey
from console.model.snapshot import ClusterSnapshot, Diagnosis, EngineSnapshot, EngineState
from console.services.operations import start_steps
from console.services.operations.start_steps import StartSteps, start_trouble
from console.services.operations.step_context import StepContext

LAME = EngineSnapshot(
    "mixed-0", "n0", "mixed", "mixed", EngineState.DEGRADED, run="20261201T015308Z-66da", cause="model: serves other, not tiny"
)  # fmt: skip
READY = replace(LAME, id="mixed-1", state=EngineState.READY, cause="")
STARTING = replace(LAME, id="mixed-1", state=EngineState.STARTING, cause="")
NAME = Diagnosis(
    "S4", "running", "the engine serves another model name", "", "Set --served-model-name.", "", "mixed-0", "n0",
    "serves other, not tiny", 0.0, True, 1, True,
)  # fmt: skip


def waited(engines: tuple[EngineSnapshot, ...], said: list[str], diagnoses: tuple[Diagnosis, ...] = (NAME,)) -> str:
    """How waiting for these ends, within a second; what was said meanwhile is added to `said`."""

    async def next_snapshot() -> None:
        await asyncio.sleep(0.02)

    picture = ClusterSnapshot(0.0, "lab", "real", engines={each.id: each for each in engines}, diagnoses=diagnoses)
    scope = SimpleNamespace(
        cancelled=asyncio.Event(),
        monitor=SimpleNamespace(snapshot=picture, start_progress={}),
        next_snapshot=next_snapshot,
    )
    keys = tuple(RunKey("real", each.id, str(each.run)) for each in engines)
    step = Step(
        "ready:mixed", "wait-ready", "", "n0", tuple(each.id for each in engines), payload=RunsAwaited("mixed", keys)
    )

    async def wait() -> str:
        async with asyncio.timeout(1.0):
            return await StartSteps(cast(StepContext, scope)).wait_ready(step, said.append)

    return asyncio.run(wait())


def test_what_is_wrong_is_said_while_waiting_and_ends_the_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(start_steps, "DEGRADED_LIMIT_S", 0.1)
    said: list[str] = []
    with pytest.raises(ConsoleError, match="mixed-0 on n0 degraded: model: serves other, not tiny") as error:
        waited((LAME, READY), said)
    assert error.value.hint == (
        "S4 the engine serves another model name: Set --served-model-name. The engines keep running; "
        "read the log: dsv4-console logs mixed-0"
    )
    assert (
        "mixed-0 S4 the engine serves another model name: serves other, not tiny; Set --served-model-name." in said[0]
    )


def test_one_that_still_starts_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(start_steps, "DEGRADED_LIMIT_S", 0.1)
    with pytest.raises(TimeoutError):
        waited((LAME, STARTING), [])


def test_one_that_serves_badly_for_a_moment_is_waited_for() -> None:
    with pytest.raises(TimeoutError):
        waited((LAME, READY), [])


async def test_who_took_the_port_of_an_engine_after_the_look_is_named_with_its_pid() -> None:
    class HereLink:
        """A node that is this machine."""

        async def run_command(self, argv: tuple[str, ...], timeout_s: float) -> SimpleNamespace:
            process = await asyncio.create_subprocess_exec(*argv, stdout=asyncio.subprocess.PIPE)
            async with asyncio.timeout(timeout_s):
                return SimpleNamespace(stdout=(await process.communicate())[0])

    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        ended = replace(LAME, state=EngineState.FAILED, cause="OSError: [Errno 98] Address already in use")
        rank = SimpleNamespace(id="mixed-0", node="n0", port=port, address="127.0.0.1")
        taken = replace(NAME, signature="A11", severity="fatal", title="a port is taken")
        picture = ClusterSnapshot(0.0, "lab", "real", engines={"mixed-0": ended}, diagnoses=(taken,))
        monitor = SimpleNamespace(
            snapshot=picture,
            nodes={"n0": SimpleNamespace(runs={}, unmanaged=())},
            deployment=SimpleNamespace(name="real"),
        )
        plan = SimpleNamespace(launches=[SimpleNamespace(rank=rank)])
        scope = SimpleNamespace(monitor=monitor, plan=plan, link_to=lambda _: HereLink())
        awaited = RunsAwaited("mixed", (RunKey("real", "mixed-0", str(LAME.run)),))
        told = await StartSteps(cast(StepContext, scope))._with_holder(ConsoleError("mixed-0 failed"), awaited)
        assert str(told).startswith(
            f"mixed-0 failed; port {port} (mixed-0) already has a listener: pid {os.getpid()} of "
        )
        assert told.hint.endswith(f"stop pid {os.getpid()}, or use another port")
    assert str(await StartSteps(cast(StepContext, scope))._with_holder(ConsoleError("x"), awaited)) == "x", "it is gone"


def test_trouble_without_a_known_failure_is_told_as_it_is() -> None:
    assert start_trouble([LAME, STARTING], ()) == "mixed-0 degraded: model: serves other, not tiny"
    assert start_trouble([STARTING], [replace(NAME, engine="mixed-1")]) == "", "what is no matter of starts"
    assert start_trouble([READY], [NAME]) == ""
