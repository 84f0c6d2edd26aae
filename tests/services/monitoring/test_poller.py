"""When an engine is asked next."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from console.model.run import RunKey
from console.services.monitoring.monitor import Monitor
from console.services.monitoring.poller import Poller
from tests.services.monitoring.test_monitor import Scene
from tests.waiting import until

KEY = RunKey("pd", "proxy", "r1")


async def test_a_question_is_brought_forward_and_never_put_off() -> None:
    rounds = Poller(cast(Monitor, None), {}, "works", states=frozenset(), at_once=1)
    rounds.schedule(KEY, 60.0)
    assert not rounds.due(KEY)
    rounds.schedule_earlier(KEY, 0.0)
    assert rounds.due(KEY)
    rounds.schedule_earlier(KEY, 60.0)
    assert rounds.due(KEY)


async def test_a_question_that_dies_of_its_answer_is_told_of_and_put_again_later(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    rounds = Poller(scene.monitor, {}, "works", states=frozenset(), at_once=1)

    async def dies() -> None:
        raise KeyError("choices")

    rounds.start(KEY, dies())
    events = scene.monitor.snapshot.events

    def told() -> bool:
        nonlocal events
        scene.monitor.publish()
        events = scene.monitor.snapshot.events
        return bool(events)

    await until(told)
    assert events[0].text == "its answer to works could not be used: KeyError: 'choices'"
    assert events[0].engine == "proxy"
    assert not rounds.due(KEY)
    rounds.schedule_earlier(KEY, 0.0)
    assert rounds.due(KEY), "it is not busy any more"
