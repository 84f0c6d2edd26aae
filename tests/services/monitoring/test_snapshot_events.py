"""What is told of engines: once for ranks that go the same way together, and whoever broke first alone and at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from console.model.ongoing_work import StopRequest
from console.model.snapshot import EngineSnapshot, EngineState, EventLevel, Exit, Link, LinkState
from console.services.monitoring.snapshot_events import GATHER_S, EngineEvent, EngineEvents, link_event

Engines = Mapping[str, EngineSnapshot]


def engines(state: EngineState, count: int = 4, **more: object) -> dict[str, EngineSnapshot]:
    """A group of decode, and a proxy that is ready."""
    made = [
        EngineSnapshot(f"decode-{rank}", f"d{rank % 2}", "decode", "decode", state, dp_rank=rank, run="r1", **more)  # type: ignore[arg-type]
        for rank in range(count)
    ]
    proxy = EngineSnapshot("proxy", "p0", "proxy", "proxy", EngineState.READY, run="r1")
    return {each.id: each for each in (*made, proxy)}


def told(changes: EngineEvents, *pictures: tuple[float, Engines]) -> list[EngineEvent]:
    """Everything that is told over these pictures."""
    found: list[EngineEvent] = []
    before = engines(EngineState.READY)
    for now, after in pictures:
        found += changes.collect(before, after, now)
        before = dict(after)
    return found


def crashed(*, dead: int) -> dict[str, EngineSnapshot]:
    """decode-3 failed; so many others followed it into death, the rest is degraded by it."""
    after = engines(EngineState.DEGRADED, cause="decode-3 on d1 failed first: HBM is full", after="decode-3")
    first = replace(after["decode-3"], state=EngineState.FAILED, cause="HBM is full", after="", exit=Exit(1))
    for rank in range(dead):
        why = f"peer is gone; decode-3 on d1 failed 0.{rank + 1} s before"
        name = f"decode-{rank}"
        after[name] = replace(after[name], state=EngineState.FAILED, cause=why, exit=Exit(0))
    return {**after, "decode-3": first}


def test_a_group_that_follows_one_rank_is_one_line_and_the_first_is_told_at_once() -> None:
    changes = EngineEvents()
    assert told(changes, (100.0, crashed(dead=0))) == [
        EngineEvent(EventLevel.ERROR, "failed (exit 1): HBM is full", "decode-3", "d1")
    ]
    assert list(changes.collect(crashed(dead=0), crashed(dead=0), 100.0 + GATHER_S)) == [
        EngineEvent(EventLevel.WARNING, "3 ranks of decode degraded: decode-3 on d1 failed first")
    ]


def test_ranks_that_are_told_by_their_nodes_one_after_another_are_one_line() -> None:
    found = told(
        EngineEvents(),
        (100.0, crashed(dead=0)),
        (100.2, crashed(dead=1)),
        (100.6, crashed(dead=3)),
        (102.0, crashed(dead=3)),
    )
    assert [each.text for each in found] == [
        "failed (exit 1): HBM is full",
        "3 ranks of decode degraded: decode-3 on d1 failed first",
        "3 ranks of decode failed (exit 0): decode-3 on d1 failed first",
    ]


def test_what_became_known_meanwhile_is_told() -> None:
    early = {name: replace(each, cause="dead inside", after="") for name, each in crashed(dead=0).items()}
    early["decode-3"] = replace(early["decode-3"], state=EngineState.DEGRADED, exit=None)
    early["proxy"] = replace(early["proxy"], state=EngineState.READY)
    found = told(EngineEvents(), (100.0, early), (100.5, crashed(dead=0)), (101.0, crashed(dead=0)))
    assert [(each.engine, each.text) for each in found] == [
        ("decode-3", "failed (exit 1): HBM is full"),
        ("decode-3", "degraded: dead inside"),
        ("", "3 ranks of decode degraded: decode-3 on d1 failed first"),
    ]


def test_reasons_that_differ_are_not_told_as_one() -> None:
    after = engines(EngineState.EXITED, exit=Exit(0), asked=StopRequest("alice@jump2", 90.0))
    after["decode-0"] = replace(after["decode-0"], exit=Exit(1), asked=StopRequest("bob@j", 90.0))
    found = told(EngineEvents(), (100.0, after), (101.0, after))
    assert [each.text for each in found] == ["4 ranks of decode exited: stopped by alice@jump2 (3 of them)"]


def test_an_engine_without_peers_is_told_at_once() -> None:
    after = engines(EngineState.READY)
    after["proxy"] = replace(after["proxy"], state=EngineState.STARTING)
    assert told(EngineEvents(), (100.0, after)) == [EngineEvent(EventLevel.INFO, "starting", "proxy", "p0")]


def test_a_link_that_went_and_came_back_is_told_of_no_engine() -> None:
    gone = engines(EngineState.UNREACHABLE, stale_of=EngineState.READY)
    back = engines(EngineState.READY)
    assert told(EngineEvents(), (100.0, gone), (101.0, back), (103.0, back)) == []


def test_stages_of_a_stop_are_one_line_for_a_node() -> None:
    changes = EngineEvents()
    for rank, words in enumerate(
        ("TERM sent to 11", "TERM sent to 12", "KILL for 3 processes", "KILL for 2 processes")
    ):
        changes.stage("d0", f"decode-{rank}", words, 100.0)
    changes.stage("d1", "decode-9", "TERM sent to 13", 100.5)
    assert list(changes.collect({}, {}, 100.9)) == []
    assert [(each.node, each.engine, each.text) for each in changes.collect({}, {}, 102.0)] == [
        ("d0", "", "stopping 2 engines: TERM sent"),
        ("d0", "", "stopping 2 engines: KILL for what is left"),
        ("d1", "decode-9", "stopping: TERM sent to 13"),
    ]


def test_a_link_that_falls_silent_is_told_and_told_when_it_is_heard_again() -> None:
    up, silent = Link(LinkState.UP), Link(LinkState.STALE, reason="d1 has been silent for 13 s")
    assert link_event(up, silent) == (EventLevel.WARNING, "d1 has been silent for 13 s")
    assert link_event(silent, silent) is None
    assert link_event(silent, up) == (EventLevel.INFO, "answers again")
    assert link_event(Link(LinkState.CONNECTING), up) == (EventLevel.INFO, "connected")
    assert link_event(silent, Link(LinkState.LOST, reason="given up")) == (EventLevel.WARNING, "unreachable: given up")
