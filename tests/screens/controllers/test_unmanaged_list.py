"""Processes that are not ours on the screen: the list, its menu, and a plan that wants the pid typed."""

from __future__ import annotations

from pathlib import Path

import pytest

from console.model.unmanaged_process import UnmanagedProcess, UnmanagedReason
from tests.screens.fakes import NOW, FakeSession
from tests.screens.seen import LARGE, SMALL, running

SIZES = pytest.mark.parametrize("size", [SMALL, LARGE], ids=["80x24", "120x40"])
BY_HAND = UnmanagedProcess(
    4711,
    99,
    "root",
    "vllm serve /models/[b]x --port 1",
    started_at=NOW - 90000,
    below=(4712,),
    mib=61000,
    devices=(0, 1),
)
OTHERS = UnmanagedProcess(
    4800, 98, "ann", "sleep 1", why=UnmanagedReason.OTHER_BASE, base="/data/other", started_at=NOW - 5
)


def with_strangers(tmp_path: Path, *found: UnmanagedProcess, read_only: bool = False) -> FakeSession:
    session = FakeSession(tmp_path, read_only=read_only)
    session.set_node("p0", unmanaged=found)
    return session


@SIZES
async def test_the_list_says_who_what_and_since_when_and_the_plan_wants_the_pid(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    session = with_strangers(tmp_path, BY_HAND, OTHERS)
    async with running(session, size) as seen:
        await seen.sees("2 unmanaged")
        await seen.press("U")
        await seen.sees("2 processes that no console started")
        text = seen.text()
        for words in ("4711 root", "1 d 1 h", "61000", "vLLM that no console started", "devices 0, 1", "[b]x"):
            assert words in text, text
        await seen.press("down")
        await seen.sees("managed by a console with base /data/other")
        await seen.press("up", "enter")
        await seen.sees("pid 4711 on p0: what to do?")
        await seen.type("stop")
        await seen.press("enter")
        await seen.sees("STOP pid 4711 on p0")
        await seen.sees("kill -TERM 4711")
        await seen.press("y", "enter")
        assert session.operator.ran == []


async def test_read_only_offers_no_end(tmp_path: Path) -> None:
    session = with_strangers(tmp_path, BY_HAND, read_only=True)
    async with running(session) as seen:
        await seen.press("U")
        await seen.sees("1 process that")
        await seen.press("enter")
        await seen.sees("what to do?")
        assert "plan a" not in seen.text()


async def test_nothing_to_show_is_said(tmp_path: Path) -> None:
    async with running(FakeSession(tmp_path)) as seen:
        await seen.press("U")
        await seen.sees(lambda: "no node has an unmanaged" in seen.toasts())
