"""Whatever a node says is drawn as plain characters: no markup, no control, nothing that moves a row."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from rich.cells import cell_len

from console.model.errors import ConsoleError
from console.model.findings import Finding, Severity
from console.model.snapshot import Device, EngineState, EventLevel, Grade, HealthCheck, Link, LinkState, Process
from console.model.unmanaged_process import UnmanagedProcess, UnmanagedReason
from tests.screens.fakes import FakeCopy, FakeSession
from tests.screens.seen import Seen, running

NASTY = (
    "[/etc/hosts] failed",
    "bad [/] close",
    "[red]x",
    "[@click=app.exit]run[/]",
    "\x1b]0;title\x07\x1b[2J",
    "\x1b]52;c;ZXZpbA==\x07",
    "\x9b31m\x90q\x9c",
    "\u202eevil\u2066",
    "zero\u200bwidth\u200d",
    "\x00\x07\x08\x7f",
    "a\rb\nc\u2028d",
    "模型权重加载中",
    "\U0001f600 ok",
)


def _harmless(seen: Seen) -> None:
    for strip in seen.app.screen._compositor.render_strips():
        text = strip.text
        assert not any(ord(char) < 0x20 or 0x7F <= ord(char) <= 0x9F for char in text), repr(text)
        assert not any(unicodedata.category(char) == "Cf" for char in text), repr(text)
        assert cell_len(text) == seen.app.size.width, repr(text)


def _poisoned(directory: Path, text: str) -> FakeSession:
    session = FakeSession(directory)
    checks = (HealthCheck("http", Grade.FAIL, text), HealthCheck("log", Grade.OK, text))
    more = {"cause": text, "phase": text, "progress_text": text, "health": checks, "run": text}
    session.set_state("decode-0", EngineState.FAILED, **more)
    session.set_state("decode-1", EngineState.STARTING, **more)
    device = Device(id=0, card=0, health=text, name=text, processes=(Process(1, text, 3),), rank=text)
    stranger = UnmanagedProcess(7, owner=text, command=text, why=UnmanagedReason.OTHER_BASE, base=text, container=text)
    session.set_node("d0", devices=(device,), devices_error=text, unmanaged=(stranger,))
    session.set_node("p0", link=Link(LinkState.BLOCKED, reason=text, hint=text))
    session.event(text, EventLevel.ERROR, text)
    copy = FakeCopy(directory / "log")
    copy.append((text + "\n").encode("utf-8", "surrogatepass") * 30)
    session.logs.copies["decode-0", None] = copy
    session.operator.losses = (text,)
    session.operator.findings = (Finding(text, Severity.WARNING, text, text, fix=text),)
    session.operator.refusal = ConsoleError(text, hint=text)
    return session


@pytest.mark.parametrize("text", NASTY, ids=lambda text: repr(text)[:24])
async def test_remote_text_is_harmless_in_every_place(tmp_path: Path, text: str) -> None:
    session = _poisoned(tmp_path, text)
    async with running(session, (100, 40)) as seen:
        _harmless(seen)
        for node in ("node/p0", "node/d0"):
            seen.app.main.grid.go(node)
            for key in "23456":
                await seen.press(key)
                _harmless(seen)
            await seen.press("escape")
        for engine in ("decode-0", "decode-1"):
            seen.app.main.grid.show_engine(engine)
            for key in ("4", "2", "w", "e", "escape", "escape"):
                await seen.press(key)
                _harmless(seen)
        await seen.press("r")
        await seen.sees("RESTART 1 engine")
        _harmless(seen)
        await seen.press("y")
        await seen.sees("That was not done")
        _harmless(seen)
        await seen.press("escape", "8")
        _harmless(seen)
        seen.app.main.grid.focus()
        await seen.press("y", "slash")
        await seen.press(*[char for char in text if char.isalnum() and char.isascii()][:5], "enter")
        _harmless(seen)


async def test_wide_characters_keep_the_columns(tmp_path: Path) -> None:
    names = ["p0", "p1", "d0", "d1", "节点九"]
    session = FakeSession(tmp_path, names=names)
    async with running(session, (90, 30)) as seen:
        rows = [line for line in seen.lines() if " 16/16 " in line or " 0/16 " in line]
        places = {cell_len(line[: line.index("/16")]) - len(line[: line.index("/16")].split()[-1]) for line in rows}
        assert len(rows) == 5
        assert len(places) == 1
