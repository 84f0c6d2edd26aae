"""Scaling, the restart in turn and the fix of the proxy from the screen: each opens its plan, wrong words change nothing."""

from __future__ import annotations

from pathlib import Path

from tests.screens.fakes import FakeSession
from tests.screens.seen import LARGE, SMALL, running


async def test_scale_is_typed_and_shows_its_plan(tmp_path: Path) -> None:
    for size in (SMALL, LARGE):
        session = FakeSession(tmp_path)
        async with running(session, size) as seen:
            await seen.press("colon")
            await seen.type("scale decode 2 s0")
            await seen.press("enter")
            await seen.sees("SCALE")
            assert session.operator.asked[0] == ("scale", ("decode", "2", "s0"))


async def test_scale_without_a_number_says_how_it_is_written(tmp_path: Path) -> None:
    session = FakeSession(tmp_path)
    async with running(session, LARGE) as seen:
        await seen.press("colon")
        await seen.type("scale decode")
        await seen.press("enter")
        await seen.sees(lambda: "scale GROUP COUNT" in seen.toasts())
        assert session.operator.asked == []


async def test_a_proxy_with_nothing_to_mend_says_so(tmp_path: Path) -> None:
    session = FakeSession(tmp_path)
    async with running(session, SMALL) as seen:
        await seen.press("D")
        await seen.sees("nothing to do: the proxy")


async def test_a_restart_in_turn_takes_names(tmp_path: Path) -> None:
    session = FakeSession(tmp_path)
    async with running(session, LARGE) as seen:
        await seen.press("colon")
        await seen.type("rolling decode-0")
        await seen.press("enter")
        await seen.sees("RESTART")
        assert session.operator.asked == [("restart", ("decode-0",))]


async def test_all_and_groups_name_engines_wherever_engines_are_named(tmp_path: Path) -> None:
    session = FakeSession(tmp_path)
    decode = tuple(rank.id for rank in session.deployment.ranks() if rank.group == "decode")
    every = tuple(session.snapshot.engines)
    for typed, asked in (
        ("start all", ("start", every)),
        ("stop decode", ("stop", decode)),
        ("rolling all", ("restart", every)),
    ):
        async with running(session, LARGE) as seen:
            await seen.press("colon")
            await seen.type(typed)
            await seen.press("enter")
            await seen.sees(asked[0].upper())
            assert session.operator.asked.pop() == asked


async def test_a_name_that_nobody_has_is_told_with_what_there_is(tmp_path: Path) -> None:
    session = FakeSession(tmp_path)
    async with running(session, LARGE) as seen:
        for typed in ("start decode-99", "rolling decode-99", "merge decode-99"):
            seen.app.clear_notifications()
            await seen.press("colon")
            await seen.type(typed)
            await seen.press("enter")
            await seen.sees(lambda: "no engine 'decode-99' in this deployment; engines: prefill-0, " in seen.toasts())
            assert "groups: prefill, decode; or `all`" in seen.toasts()
        assert session.operator.asked == []
