"""When an engine is asked next."""

from __future__ import annotations

from typing import cast

from console.model.run import RunKey
from console.services.monitoring.monitor import Monitor
from console.services.monitoring.rounds import Rounds

KEY = RunKey("pd", "proxy", "r1")


async def test_a_question_is_brought_forward_and_never_put_off() -> None:
    rounds = Rounds(cast(Monitor, None), {}, "works", states=frozenset(), at_once=1)
    rounds.again(KEY, 60.0)
    assert not rounds.due(KEY)
    rounds.sooner(KEY, 0.0)
    assert rounds.due(KEY)
    rounds.sooner(KEY, 60.0)
    assert rounds.due(KEY)
