"""From a key to a plan that runs, and every way in which it must not run."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from console.model.errors import Refused, UnderWay
from console.model.findings import Finding, Severity
from console.model.plan import Confirm, Plan, Verb
from console.model.snapshot import EngineState
from screens.actions import ACTIONS
from screens.dialogs.plan import PlanDialog
from tests.screens.fakes import FakeSession
from tests.screens.seen import LARGE, SMALL, running

SIZES = pytest.mark.parametrize("size", [SMALL, LARGE], ids=["80x24", "120x40"])


async def _to_engine(seen, engine: str) -> None:  # type: ignore[no-untyped-def]
    assert seen.app.main.grid.show_engine(engine)
    await seen.pilot.pause()


@SIZES
async def test_stop_of_one_engine_shows_its_command_and_runs_after_y(tmp_path: Path, size: tuple[int, int]) -> None:
    session = FakeSession(tmp_path)
    session.operator.losses = ("decode-3: 12 running requests",)
    async with running(session, size) as seen:
        await _to_engine(seen, "decode-3")
        await seen.press("x")
        await seen.sees("STOP 1 engine")
        await seen.sees("vllm serve /models/dsv4")
        await seen.sees("Lost       decode-3: 12 running requests")
        assert "cluster lab" in seen.text()
        assert "decode-3" in seen.text().split("STOP 1 engine")[1].splitlines()[1], "the heading takes one line"
        assert seen.app.focused is not None
        assert seen.app.focused.id == "body", "where Enter neither starts nor cancels"
        await seen.press("y")
        await seen.sees(lambda: session.operator.ran)
        assert session.operator.ran[0][1] == "y"
        await seen.sees("1/1 steps")
        await seen.sees(lambda: session.snapshot.engines["decode-3"].state is EngineState.EXITED)


@SIZES
async def test_the_plan_has_all_the_room_of_its_dialog(tmp_path: Path, size: tuple[int, int]) -> None:
    async with running(FakeSession(tmp_path), size) as seen:
        await seen.press("*")
        await seen.press("s")
        await seen.sees("type the number")
        dialog = seen.app.screen
        assert isinstance(dialog, PlanDialog)
        assert dialog.body.size.height == size[1] - 4, "heading, what is typed, Cancel and the last line take one each"
        assert dialog.body.size.width == min(size[0], 110) - 2


@pytest.mark.parametrize("key", ["enter", "escape", "n", "x", "s", "space", "Y", "ctrl+c", "q", "d", "1"])
async def test_other_keys_in_the_plan_dialog_run_nothing(tmp_path: Path, key: str) -> None:
    session = FakeSession(tmp_path)
    async with running(session) as seen:
        await _to_engine(seen, "decode-0")
        await seen.press("x")
        await seen.sees("stop  ")
        await seen.press(key)
        await seen.pilot.pause()
        assert session.operator.ran == []


async def test_many_engines_want_their_number_typed(tmp_path: Path) -> None:
    session = FakeSession(tmp_path)
    async with running(session) as seen:
        await seen.press("j", "j", "x")
        await seen.sees("STOP 8 engines")
        await seen.press("y", "enter")
        await seen.sees("that is not 8; nothing was done")
        assert session.operator.ran == []
        await seen.press("backspace", "tab", "7", "enter")
        await seen.sees("that is not 8; nothing was done")
        assert session.operator.ran == []
        await seen.press("backspace", "8", "enter")
        await seen.sees(lambda: session.operator.ran)
        assert session.operator.ran[0][1] == "8"


async def test_force_wants_the_cluster_name(tmp_path: Path) -> None:
    session = FakeSession(tmp_path)
    session.operator.confirm = Confirm("name", "lab")
    async with running(session) as seen:
        await seen.press("X")
        await seen.sees("KILL")
        await seen.type("lax")
        await seen.press("enter")
        assert session.operator.ran == []
        await seen.press("backspace")
        await seen.type("b")
        await seen.press("enter")
        await seen.sees(lambda: session.operator.ran)


async def test_an_error_among_the_findings_blocks_the_dialog(tmp_path: Path) -> None:
    session = FakeSession(tmp_path)
    session.operator.findings = (
        Finding("R10", Severity.ERROR, "ranks do not tile", "layout.yaml:12", fix="set size to 16"),
    )
    async with running(session) as seen:
        await _to_engine(seen, "decode-0")
        await seen.press("s")
        await seen.sees("R10: ranks do not tile (layout.yaml:12)")
        await seen.sees("blocked by the errors above")
        assert "Cancel" not in seen.text()
        assert "Close" in seen.text()
        await seen.press("y", "enter")
        assert session.operator.ran == []


@SIZES
async def test_no_word_of_a_finding_or_a_loss_is_cut_off(tmp_path: Path, size: tuple[int, int]) -> None:
    words = [f"w{number:03}" for number in range(30)]
    session = FakeSession(tmp_path)
    session.operator.findings = (
        Finding("R23", Severity.WARNING, " ".join(words), "layout.yaml:7", fix=" ".join(words)),
    )
    session.operator.losses = (" ".join(words),)
    async with running(session, size) as seen:
        await _to_engine(seen, "decode-3")
        await seen.press("x")
        await seen.sees("STOP 1 engine")
        await seen.sees("w029")
        told = seen.text().split()
        assert [told.count(word) + told.count(f"{word}.") for word in words] == [3] * 30


async def test_keys_of_the_first_moment_are_not_heard(tmp_path: Path) -> None:
    session = FakeSession(tmp_path)
    async with running(session, step=0.0) as seen:
        await _to_engine(seen, "decode-0")
        await seen.press("x")
        await seen.sees("vllm serve")
        seen.clock.now += 0.2
        await seen.press("y")
        assert isinstance(seen.app.screen, PlanDialog)
        seen.clock.now += 0.2
        await seen.press("y")
        await seen.sees(lambda: session.operator.ran)


async def test_a_paste_without_brackets_begins_nothing(tmp_path: Path) -> None:
    session = FakeSession(tmp_path)
    async with running(session, step=0.001) as seen:
        await _to_engine(seen, "decode-0")
        await seen.press(*"jkxysy")
        assert session.operator.asked == []
        assert "too fast" in seen.toasts()


async def test_a_paste_into_an_open_dialog_confirms_nothing(tmp_path: Path) -> None:
    session = FakeSession(tmp_path)
    async with running(session) as seen:
        await seen.press("j", "j", "x")
        await seen.sees("STOP 8 engines")
        await seen.press("tab")
        seen.clock.step = 0.001
        await seen.press("y", "8", "enter")
        await seen.press("backspace", "backspace", "8", "enter")
        assert session.operator.ran == []


@pytest.mark.parametrize(
    "key", [action.keys[0] for action in ACTIONS if action.id in ("start", "stop", "restart", "kill")]
)
async def test_read_only_plans_nothing(tmp_path: Path, key: str) -> None:
    session = FakeSession(tmp_path, read_only=True)
    async with running(session) as seen:
        assert "RO" in seen.header()
        await seen.press(key)
        assert session.operator.asked == []
        assert "read-only" in seen.toasts()
        assert "Start" not in seen.lines()[-1]


async def test_a_refusal_of_the_core_is_shown_with_its_hint(tmp_path: Path) -> None:
    session = FakeSession(tmp_path)
    session.operator.refusal = Refused("held by alice since 10:02", hint="ask alice, or wait for her plan to end")
    async with running(session) as seen:
        await _to_engine(seen, "decode-0")
        await seen.press("x")
        await seen.sees("vllm serve")
        await seen.press("y")
        await seen.sees("held by alice since 10:02")
        await seen.sees("ask alice")
        await seen.press("escape")
        await seen.sees("REFUSED")


async def test_a_running_plan_shows_its_steps_and_can_be_held(tmp_path: Path) -> None:
    session = FakeSession(tmp_path)
    session.operator.gate = asyncio.Event()
    async with running(session) as seen:
        await _to_engine(seen, "decode-0")
        await seen.press("r")
        await seen.sees("vllm serve")
        await seen.press("y")
        await seen.sees("restart runs")
        await seen.sees("runs    d0: restart decode-0")
        await seen.press("s")
        assert len(session.operator.asked) == 1
        assert "a restart is running on lab; 8 shows it, and c there starts no more steps" in seen.toasts()
        await seen.sees("running  8 then c: no more steps")
        await seen.press("8")
        await seen.sees("running  c: no more steps")
        await seen.press("c")
        assert session.operator.cancelled
        await seen.press("q", "q")
        await seen.sees("Quit anyway?")
        await seen.press("enter")
        assert seen.app.is_running
        session.operator.gate.set()
        await seen.sees("stopped")


async def test_marks_choose_the_engines_in_layout_order(tmp_path: Path) -> None:
    session = FakeSession(tmp_path)
    async with running(session) as seen:
        await seen.press("G", "space", "g", "space")
        assert "2 marked" in seen.header()
        await seen.press("x")
        await seen.sees("STOP 10 engines")
        verb, engines = session.operator.asked[0]
        assert verb == "stop"
        assert engines == ("prefill-0", *(f"decode-{index}" for index in range(8, 16)), "proxy")


@SIZES
async def test_marks_are_for_one_plan_that_says_so_and_stay_when_it_is_cancelled(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    session = FakeSession(tmp_path)
    async with running(session, size) as seen:
        await seen.press("*", "x")
        await seen.sees("STOP 19 engines (4 marked rows)")
        await seen.press("escape")
        assert "4 marked" in seen.header()
        await seen.press("x")
        await seen.sees("type 19 to stop")
        await seen.press("1", "9", "enter")
        await seen.sees(lambda: "stop of 19 engines: done" in seen.toasts())
        assert "marked" not in seen.header()
        assert seen.app.main.grid.view.marks == frozenset()
        await seen.press("x")
        await seen.sees("STOP")
        await seen.sees("vllm serve")
        assert "marked row" not in seen.text()


async def test_marks_stay_for_another_try_when_a_plan_is_refused(tmp_path: Path) -> None:
    session = FakeSession(tmp_path)
    session.operator.refusal = Refused("held by alice")
    async with running(session) as seen:
        await seen.press("j", "space", "x")
        await seen.sees("STOP 1 engine (1 marked row)")
        await seen.press("y")
        await seen.sees("held by alice")
        await seen.press("escape")
        assert "1 marked" in seen.header()


async def test_a_plan_by_command_line_names_its_engines(tmp_path: Path) -> None:
    session = FakeSession(tmp_path)
    async with running(session) as seen:
        await seen.press("colon")
        await seen.type("stop decode-2 decode-5")
        await seen.press("enter")
        await seen.sees("STOP 2 engines")
        assert session.operator.asked == [("stop", ("decode-2", "decode-5"))]


async def test_who_is_at_work_elsewhere_is_seen(tmp_path: Path) -> None:
    session = FakeSession(tmp_path)
    session.snapshot = replace(session.snapshot, holder="ann@jump: start runs")
    async with running(session, LARGE) as seen:
        assert "ann@jump: start runs" in seen.header()


async def test_what_was_said_in_passing_does_not_lie_over_where_the_answer_is_typed(tmp_path: Path) -> None:
    async with running(FakeSession(tmp_path)) as seen:
        await seen.press("o")
        await seen.sees(lambda: "order: name" in seen.toasts())
        await seen.press("*", "x")
        await seen.sees("type the number of engines, then Enter")
        await seen.sees(lambda: not seen.toasts())
        before = [line.strip() for line in seen.lines()]
        seen.app.notify("an alert that comes\nwhile the dialog is open", title="ALERT", severity="error", markup=False)
        await seen.sees("ALERT: an alert that comes while the dialog is open")
        lines = [line.strip() for line in seen.lines()]
        assert lines.pop(-2).startswith("ALERT"), "in a line of its own, above the last one"
        assert lines[1:5] == before[1:5], "it lies neither over what is asked"
        assert lines[-3:] == before[-3:], "nor over what is typed"
        seen.clock.now += 2.0
        await seen.press("j")
        await seen.sees(lambda: "ALERT" not in seen.text())


async def test_what_was_said_in_passing_goes_with_the_first_key_after_it_could_be_read(tmp_path: Path) -> None:
    async with running(FakeSession(tmp_path), step=0.1) as seen:
        await seen.press("o")
        await seen.sees(lambda: "order: name" in seen.toasts())
        await seen.press("j")
        assert "order: name" in seen.toasts()
        seen.clock.now += 2.0
        await seen.press("j")
        await seen.sees(lambda: not seen.toasts())


async def test_the_answer_may_be_typed_without_going_to_its_place_first(tmp_path: Path) -> None:
    session = FakeSession(tmp_path)
    async with running(session) as seen:
        await seen.press("j", "j", "x")
        await seen.sees("type 8 to stop")
        await seen.press("9", "enter")
        await seen.sees(lambda: "that is not 8" in seen.toasts())
        assert session.operator.ran == []
        await seen.press("backspace", "8", "enter")
        await seen.sees(lambda: session.operator.ran)
        assert "that is not 8" not in seen.toasts(), "it would say over the running plan that nothing was done"


async def test_a_name_is_typed_at_once_even_where_its_letter_means_something(tmp_path: Path) -> None:
    session = FakeSession(tmp_path)
    session.operator.confirm = Confirm("name", "north")
    async with running(session) as seen:
        await seen.press("X")
        await seen.sees("KILL")
        await seen.type("north")
        assert session.operator.ran == []
        await seen.press("enter")
        await seen.sees(lambda: session.operator.ran)


@SIZES
async def test_a_plan_says_why_it_takes_in_more_than_was_pointed_at(tmp_path: Path, size: tuple[int, int]) -> None:
    session = FakeSession(tmp_path)
    session.operator.takes_in = tuple(f"decode-{rank}" for rank in range(8))
    async with running(session, size) as seen:
        await _to_engine(seen, "decode-3")
        await seen.press("x")
        await seen.sees("You chose  decode-3; 7 more engines included: ranks of a group")
        await seen.press("escape", "j", "escape")
        session.operator.takes_in = ()
        await seen.press("x")
        await seen.sees("STOP 1 engine")
        assert "You chose" not in seen.text()


async def test_ctrl_q_leaves_from_inside_a_dialog_too(tmp_path: Path) -> None:
    session = FakeSession(tmp_path, state=EngineState.IDLE)
    async with running(session, (80, 24)) as seen:
        await seen.press("s")
        await seen.sees("START")
        await seen.press("ctrl+q")
        await seen.sees(lambda: seen.app._exit)
        assert session.operator.ran == []


@pytest.mark.parametrize("opener", ["a", "ctrl+p", "question_mark"])
async def test_two_quick_enters_in_a_chooser_choose_once(tmp_path: Path, opener: str) -> None:
    session = FakeSession(tmp_path)
    async with running(session) as seen:
        await seen.press(opener)
        await seen.sees("type to search")
        await seen.pilot.press("enter", "enter")
        await seen.pilot.pause()
        await seen.press("escape", "escape", "9")
        await seen.sees(lambda: seen.app.main.pane is seen.app.main.panes["events"])


async def test_the_same_words_said_again_and_again_stand_there_once(tmp_path: Path) -> None:
    async with running(FakeSession(tmp_path), step=0.001) as seen:
        for _ in range(9):
            seen.app.notify("ignored", markup=False)
        await seen.pilot.pause()
        assert seen.toasts() == "ignored"
        seen.app.notify("another", markup=False)
        seen.app.notify("ignored", markup=False)
        await seen.pilot.pause()
        assert seen.toasts() == "another | ignored"
        seen.app.clear_notifications()
        seen.app.notify("ignored", markup=False)
        await seen.pilot.pause()
        assert seen.toasts() == "ignored", "what was taken away may be said again at once"


async def test_a_wrong_word_typed_into_a_plan_is_refused_and_not_swallowed(tmp_path: Path) -> None:
    session = FakeSession(tmp_path)
    async with running(session) as seen:
        await seen.press("*", "x")
        await seen.sees("type the number of engines, then Enter")
        await seen.type("demo")
        await seen.press("enter")
        await seen.sees(lambda: "that is not 19; nothing was done" in seen.toasts())
        assert isinstance(seen.app.screen, PlanDialog)
        assert session.operator.ran == []


async def test_an_open_plan_is_broken_anew_to_another_width(tmp_path: Path) -> None:
    words = [f"w{number:03}" for number in range(40)]
    session = FakeSession(tmp_path)
    session.operator.findings = (Finding("R23", Severity.WARNING, " ".join(words), "layout.yaml:7"),)
    async with running(session, LARGE) as seen:
        await _to_engine(seen, "decode-3")
        await seen.press("x")
        await seen.sees("w039")
        await seen.pilot.resize_terminal(80, 24)
        await seen.sees(lambda: all(word in seen.text() for word in words))


async def test_a_start_that_has_only_just_begun_elsewhere_is_waited_for_and_then_its_stop_is_offered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = FakeSession(tmp_path)
    prepare, runs = session.operator.prepare, asyncio.Event()

    async def prepared(_: object, verb: Verb, engines: Sequence[str]) -> Plan:
        if not runs.is_set():
            raise UnderWay("the start of ann@jump is under way, since 5 s", hint="stop again", holder="ann@jump")
        return await prepare(verb, engines)

    monkeypatch.setattr(type(session.operator), "prepare", prepared)
    monkeypatch.setattr("screens.dialogs.plan.AGAIN_S", 0.01)
    async with running(session) as seen:
        await seen.press("j", "j", "x")
        await seen.sees("the start of ann@jump is under way")
        await seen.sees("the plan appears here when it is available")
        runs.set()
        await seen.sees("type 8 to stop")
        await seen.press("8", "enter")
        await seen.sees(lambda: session.operator.ran)


async def test_each_action_and_each_command_has_one_controller(tmp_path: Path) -> None:
    async with running(FakeSession(tmp_path)) as seen:
        controllers = seen.app.main.controllers
        for tables in ([each.verbs() for each in controllers], [each.commands() for each in controllers]):
            names = [name for table in tables for name in table]
            assert sorted(names) == sorted(set(names))


async def test_an_action_typed_alone_is_its_key_and_with_a_name_it_is_a_command(tmp_path: Path) -> None:
    async with running(FakeSession(tmp_path)) as seen:
        await seen.command("theme light")
        assert seen.app.interaction.look.name == "light"
        await seen.command("theme")
        assert seen.app.interaction.look.name != "light"
        await seen.command("theme nothing")
        await seen.sees(lambda: "no theme 'nothing'" in seen.toasts())
