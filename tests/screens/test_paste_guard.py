"""Keys that arrive together, as a slow link or a paste delivers them: each has its effect before the next one is looked at."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from textual import events
from textual._xterm_parser import XTermParser
from textual.widgets import Input

from console.model.plan import Confirm, Plan, Verb
from screens.app import ConsoleApp
from screens.dialogs.base import Dialog
from screens.fleet import uniquely_named
from screens.key_order import TypedKey
from screens.paste_guard import OPENED_S
from screens.protocols import Session
from screens.startup import Startup
from screens.text_inputs import MOST_PASTED
from tests.screens.fakes import FakeSession
from tests.screens.seen import SMALL, Seen, running
from tests.waiting import until

PASTE = "\x1b[200~{}\x1b[201~"


def burst(app: ConsoleApp, data: str) -> None:
    """Everything that a terminal sends as these characters, in one piece."""
    for event in XTermParser(False).feed(data):
        app.post_message(event)


async def typed(seen: Seen, what: str, kind: str = ":") -> None:
    """Wait until the prompt is open with this text."""
    prompt = seen.app.main.prompt
    await until(lambda: prompt.display and prompt.line.value == what, what=f"{what!r} in the prompt of\n{seen.text()}")
    assert prompt.kind == kind


def searched(seen: Seen) -> str | None:
    """What is typed in the dialog that is open."""
    found = seen.app.screen.query("#typed").results(Input)
    return next((each.value for each in found), None)


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (":xrs quit node d0", ":"),
        ("：xrs d0", ":"),
        ("/sxq d1", "/"),
        ("／sxq", "/"),
        ("、sxq", "/"),
        ("&sxqT", "&"),
        ("＆sxq", "&"),
    ],
)
@pytest.mark.parametrize("before", ["", "\t", "3", "J", "7"], ids=["grid", "log", "npus", "journal", "roles"])
async def test_text_behind_the_key_of_a_prompt_is_text(tmp_path: Path, data: str, kind: str, before: str) -> None:
    session = FakeSession(tmp_path)
    async with running(session, step=0.0) as seen:
        burst(seen.app, before + data)
        await typed(seen, data[1:], kind)
        assert session.operator.asked == []
        assert seen.app.screen is seen.app.main
        assert not seen.toasts()


async def test_a_whole_line_runs_and_the_key_behind_it_counts_where_it_led(tmp_path: Path) -> None:
    async with running(FakeSession(tmp_path), step=0.0) as seen:
        burst(seen.app, ":node d1\rl:log decode-3\r/step\r:theme light")
        await typed(seen, "theme light")
        main = seen.app.main
        assert main.panes.opened == "logs"
        assert main.grid.target.engine == "decode-3"
        assert main.prompt.history[":"] == ["node d1", "log decode-3"]
        assert main.prompt.history["/"] == ["step"]


@pytest.mark.parametrize("key", ["?", "\x10"], ids=["help", "palette"])
@pytest.mark.parametrize("sign", ["", "/"])
async def test_text_behind_the_key_of_a_list_searches_it(tmp_path: Path, key: str, sign: str) -> None:
    session = FakeSession(tmp_path)
    async with running(session, step=0.0) as seen:
        burst(seen.app, f"{key}{sign}redraw")
        await seen.sees(lambda: searched(seen) == f"{sign}redraw")
        await seen.sees("Redraw the screen without asking any node")
        assert session.operator.asked == []


async def test_a_search_in_a_list_that_changes_something_is_text_and_its_enter_waits(tmp_path: Path) -> None:
    session = FakeSession(tmp_path, assigned=False)
    async with running(session, step=0.0) as seen:
        burst(seen.app, "ad")
        await seen.sees(lambda: searched(seen) == "d")
        seen.clock.now += OPENED_S / 2
        burst(seen.app, "ec\r")
        await seen.sees(lambda: searched(seen) == "dec")
        await seen.pilot.pause()
        assert isinstance(seen.app.screen, Dialog)
        assert session.deployment.assignment.of("decode") == ()
        seen.clock.now += 2.0
        await seen.press("enter")
        assert session.deployment.assignment.of("decode") == ("p0",)


async def test_nothing_typed_before_a_dialog_could_be_read_confirms_it(tmp_path: Path) -> None:
    session = FakeSession(tmp_path)
    session.operator.confirm = Confirm("key", "y")
    async with running(session, step=0.0) as seen:
        burst(seen.app, "xy")
        await seen.sees("y stop")
        seen.clock.now += OPENED_S / 2
        burst(seen.app, "y")
        await seen.pilot.pause()
        assert session.operator.ran == []
        seen.clock.now += 1.0
        await seen.press("y")
        await seen.sees(lambda: session.operator.ran)


async def test_what_is_typed_while_a_plan_is_worked_out_counts_for_nothing_and_that_stays_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was dropped without a word, and the Enter behind it closed the dialog."""
    session = FakeSession(tmp_path)
    session.operator.confirm = Confirm("name", "north")
    gate, prepare = asyncio.Event(), session.operator.prepare

    async def slowly(_: object, verb: Verb, engines: Sequence[str]) -> Plan:
        await gate.wait()
        return await prepare(verb, engines)

    monkeypatch.setattr(type(session.operator), "prepare", slowly)
    async with running(session, step=0.1) as seen:
        await seen.press("x")
        await seen.sees("preparing the plan")
        seen.clock.now += 1.0
        await seen.type("north")
        await seen.press("enter")
        await seen.sees("it does not count, type it again")
        gate.set()
        await seen.sees("type north to stop")
        assert "it does not count, type it again" in seen.text(), "once the question is there too"
        seen.clock.now += 30.0
        await seen.pilot.pause()
        assert "it does not count, type it again" in seen.text()
        assert session.operator.ran == []
        await seen.type("nobody")
        await seen.press("enter")
        await seen.sees("that is not north; nothing was done")
        assert "it does not count" not in seen.text()
        await seen.press(*["backspace"] * 6)
        await seen.type("north")
        await seen.press("enter")
        await seen.sees(lambda: session.operator.ran)


async def test_a_key_that_waited_is_judged_by_when_it_was_pressed(tmp_path: Path) -> None:
    session = FakeSession(tmp_path)
    session.operator.confirm = Confirm("key", "y")
    async with running(session, step=0.0) as seen:
        await seen.press("x")
        await seen.sees("y stop")
        await seen.sees(lambda: seen.app.screen.accepts_key(events.Key("y", "y"), OPENED_S * 2))  # type: ignore[attr-defined]
        early = OPENED_S / 2
        seen.clock.now = early
        seen.app.order.hold(TypedKey(events.Key("y", "y"), early))
        seen.clock.now += 5.0
        seen.app.order.release()
        await seen.pilot.pause()
        assert session.operator.ran == []


@dataclass(frozen=True, slots=True)
class SlowOpening(Startup):
    """One that ends when a test lets it."""

    gate: asyncio.Event | None = None

    async def sessions(self) -> tuple[Session, ...]:
        """As soon as the gate is open."""
        assert self.gate is not None
        await self.gate.wait()
        return uniquely_named(self.make())


async def test_a_command_typed_while_the_files_are_read_runs_once_they_are(tmp_path: Path) -> None:
    session, gate = FakeSession(tmp_path), asyncio.Event()
    app = ConsoleApp(SlowOpening("reading", lambda: (session,), gate=gate))
    async with app.run_test(size=SMALL) as pilot:
        burst(app, ":node d1\r/d")
        await pilot.pause()
        gate.set()
        await until(lambda: session.opened)
        await until(lambda: app.main.prompt.display and app.main.prompt.line.value == "d")
        assert app.main.prompt.history[":"] == ["node d1"]


@pytest.mark.parametrize("key", ["ctrl+q", "q"])
async def test_a_console_that_is_still_opening_can_be_left(tmp_path: Path, key: str) -> None:
    app = ConsoleApp(SlowOpening("reading", lambda: (FakeSession(tmp_path),), gate=asyncio.Event()))
    async with app.run_test(size=SMALL) as pilot:
        burst(app, ":node d1\r")
        if key == "q":
            await pilot.press("escape")
        await pilot.press(key)
        await until(lambda: app._exit)


@pytest.mark.parametrize(
    ("pasted", "kind", "text"),
    [
        (":node d0", ":", "node d0"),
        ("：stop decode-3\nquit", ":", "stop decode-3"),
        ("\n  /d1 \n", "/", "d1"),
        ("&\x1b]0;title\x07 x\x9b31m\u202ey", "&", "x<U+202E>y"),
    ],
)
async def test_a_paste_that_begins_like_a_prompt_opens_it_and_runs_nothing(
    tmp_path: Path, pasted: str, kind: str, text: str
) -> None:
    session = FakeSession(tmp_path)
    async with running(session) as seen:
        seen.app.post_message(events.Paste(pasted))
        await typed(seen, text, kind)
        assert session.operator.asked == []


async def test_a_paste_behind_the_key_of_a_prompt_is_in_it_and_a_long_one_is_cut(tmp_path: Path) -> None:
    async with running(FakeSession(tmp_path), step=0.0) as seen:
        burst(seen.app, ":" + PASTE.format("node d0\r\nstop\r\n") + "x")
        await typed(seen, "node d0x")
        await seen.press("escape")
        seen.app.post_message(events.Paste("x" * 100_000))
        await seen.sees(lambda: "a paste does nothing here" in seen.toasts())
        burst(seen.app, ":")
        seen.app.post_message(events.Paste("x" * 100_000))
        await typed(seen, "x" * MOST_PASTED)


async def test_an_answer_that_must_be_typed_cannot_be_pasted(tmp_path: Path) -> None:
    session = FakeSession(tmp_path)
    session.operator.confirm = Confirm("count", "2")
    async with running(session) as seen:
        await seen.press("x")
        await seen.sees("type 2 to stop")
        await seen.press("tab")
        seen.app.screen.query_one("#typed", Input).focus()
        await seen.pilot.pause()
        seen.app.post_message(events.Paste("2"))
        await seen.sees(lambda: "do not paste" in seen.toasts())
        await seen.press("enter")
        assert session.operator.ran == []
