"""A long-lived task that dies is told of and started again; the others never notice."""

from __future__ import annotations

import asyncio

import pytest

from console.services import background_tasks
from console.services.background_tasks import BackgroundTasks
from tests.waiting import until


async def test_a_service_that_dies_is_told_of_and_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background_tasks, "FIRST_WAIT_S", 0.01)
    monkeypatch.setattr(background_tasks, "WELL_S", 0.2)
    told: list[tuple[str, str]] = []
    starts = []

    async def sick() -> None:
        starts.append(1)
        if len(starts) < 3:
            raise KeyError("lost")
        await asyncio.Event().wait()

    turns = []

    async def well() -> None:
        while True:
            turns.append(1)
            await asyncio.sleep(0)

    keeper = BackgroundTasks(lambda name, fault: told.append((name, fault)))
    keeper.start("sick", sick)
    keeper.start("well", well)
    await until(lambda: len(starts) == 3)
    assert told == [("sick", "KeyError: 'lost'")] * 2
    assert dict(keeper.faults) == {"sick": "KeyError: 'lost'"}
    await until(lambda: not keeper.faults)
    assert told[-1] == ("sick", "")
    before = len(turns)
    await until(lambda: len(turns) > before)
    await keeper.close()
    assert len(asyncio.all_tasks()) == 1, "nothing is left"


async def test_it_is_waited_for_longer_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    real = asyncio.sleep

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        await real(0)

    async def sick() -> None:
        raise OSError("no space")

    monkeypatch.setattr("console.services.background_tasks.asyncio.sleep", sleep)
    keeper = BackgroundTasks(lambda _name, _fault: None)
    keeper.start("sick", sick)
    while len(waits) < 8:
        await real(0)
    await keeper.close()
    assert waits[:8] == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]
