"""The plan dialog: one page that says what will happen, everything else behind a fold, and no key that starts it by accident."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from textual.widgets import Button

from console.model.deployment import Deployment
from console.model.plan import Plan, Verb
from console.model.snapshot import EngineState
from console.services.operations.live_plans import rolling_restart_plan
from console.services.operations.plan_maker import PlanMaker
from console.services.operations.step_text import step_commands
from screens.dialogs.plan import PlanDialog
from screens.paste_guard import OPENED_S
from screens.plan_rows import PlanRows, marked, places
from screens.styled_lines import Pen, Row, length, plain
from tests.screens.fakes import FakeSession
from tests.screens.seen import LARGE, SMALL, Seen, running
from tests.services.deployments import picture
from tests.services.many_engines import SET, copied, single

WIDTHS = (58, 78, 108, 198)


def _plan(made: Deployment, verb: Verb = "start", *, rolling: bool = False) -> Plan:
    states = {} if verb == "start" else {rank.id: EngineState.READY for rank in made.processes()}
    maker = PlanMaker(made, picture(states, made))
    return rolling_restart_plan(maker, list(made.layout.groups)) if rolling else maker.make(verb, ())


@asynccontextmanager
async def _showing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plan: Plan, size: tuple[int, int] = SMALL, step: float = 1.0
) -> AsyncIterator[Seen]:
    """The dialog with this plan over the main screen."""
    session = FakeSession(tmp_path)

    async def prepare(_: object, verb: Verb, engines: Sequence[str]) -> Plan:
        return plan

    monkeypatch.setattr(type(session.operator), "prepare", prepare)
    async with running(session, size, step=step) as seen:
        await seen.press("s")
        await seen.sees(lambda: isinstance(seen.app.screen, PlanDialog))
        await seen.sees("In this order:")
        yield seen


def _dense(rows: Sequence[Row]) -> str:
    return "".join("".join(plain(row.line) for row in rows).split())


@pytest.mark.parametrize("cells", WIDTHS)
@pytest.mark.parametrize(
    "plan",
    [
        _plan(single()),
        _plan(copied(1)),
        _plan(copied(1), "stop"),
        _plan(copied(3, nodes=1, per_node=2), "restart"),
        _plan(copied(3, nodes=1, per_node=2), "restart", rolling=True),
    ],
    ids=["one", "start", "stop", "restart", "rolling"],
)
def test_unfolded_every_command_is_whole_at_every_width(plan: Plan, cells: int) -> None:
    made = PlanRows(plan, (), Pen())
    made.unfold_all()
    made.rows(cells)
    made.folds.unfolded |= made.folds.offered
    rows = made.rows(cells)
    assert len({row.key for row in rows}) == len(rows)
    assert max(length(row.line) for row in rows) <= cells
    text = _dense(rows)
    for step in plan.steps:
        for command in step_commands(step):
            words = command.split(": ", 1)[-1] if step.act in ("stop", "kill") else command
            assert "".join(words.split()) in text


@pytest.mark.parametrize("cells", WIDTHS)
@pytest.mark.parametrize(
    ("plan", "most"),
    [
        (_plan(single()), 15),
        (_plan(copied(1)), 23),
        (_plan(copied(1), "stop"), 16),
        (_plan(copied(16)), 27),
        (_plan(copied(4, nodes=16)), 27),
        (_plan(copied(16), "restart", rolling=True), 46),
    ],
    ids=["one", "19 engines", "stop", "16 groups", "515 engines", "rolling"],
)
def test_folded_a_plan_of_any_size_is_about_a_page(plan: Plan, most: int, cells: int) -> None:
    made = PlanRows(plan, (), Pen())
    made.folds.unfolded = set()
    rows = made.rows(cells)
    assert len(rows) <= (most if cells >= 78 else most * 2)
    assert max(length(row.line) for row in rows) <= cells


def test_all_is_unfolded_and_folded_with_one_key_but_for_single_commands_of_many() -> None:
    made = PlanRows(_plan(copied(16)), (), Pen())
    made.unfold_all()
    rows = made.rows(108)
    assert 300 < len(rows) < 500, "a line for each engine, a whole command for each row of engines"
    made.unfold_all()
    assert len(made.rows(108)) < 30


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("--data-parallel-rank 7", "--data-parallel-rank 7 "),
        ("decode-12", "decode-12"),
        ("7105", "7105"),
        ("MOONCAKEHYBRID", "MooncakeHybridConnector"),
        ("npu-smi", "npu-smi info"),
        ("aborted", "running requests are aborted"),
    ],
)
def test_a_search_unfolds_what_has_the_text(text: str, found: str) -> None:
    made = PlanRows(_plan(copied(1), "restart"), (), Pen())
    made.search(text)
    rows = made.rows(108)
    at = places(rows, text)
    assert at
    assert any(found in plain(rows[each].line) for each in at)


def test_a_text_that_is_broken_between_two_rows_is_found() -> None:
    rows = [Row("a", (("first half", ""),)), Row("b", (("  second half", ""),))]
    assert places(rows, "HALF SECOND") == [0]
    assert places(rows, "third") == []


def test_places_are_marked_in_any_case_of_letters_and_are_no_pattern() -> None:
    assert marked((("a.B ab", "dim"),), "A.b") == (("a.B", "hit"), (" ab", "dim"))


@pytest.mark.parametrize("size", [SMALL, LARGE, (60, 24), (200, 50)])
async def test_a_start_of_19_engines_is_one_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]
) -> None:
    async with _showing(tmp_path, monkeypatch, _plan(copied(1, env=SET)), size) as seen:
        text = seen.text()
        for words in (
            "START 19 engines",
            "decode-0..15",
            "n0..3",
            "time until ready unknown",
            "wait until proxy is ready",
        ):
            assert words in text
        assert " below" not in text
        assert "y start" in text


async def test_enter_unfolds_and_never_starts_or_cancels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with _showing(tmp_path, monkeypatch, _plan(copied(1))) as seen:
        assert "nothing may listen" not in seen.text()
        await seen.press("enter")
        await seen.sees("nothing may listen on 7100")
        await seen.press("enter")
        await seen.sees(lambda: "nothing may listen" not in seen.text())
        await seen.press("down", "enter", "home", "enter")
        assert isinstance(seen.app.screen, PlanDialog)
        await seen.press("down", "space", "n")
        await seen.sees(lambda: seen.app.screen is seen.app.main)
        assert seen.session.operator.ran == []


async def test_right_unfolds_left_folds_from_within_and_plus_takes_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with _showing(tmp_path, monkeypatch, _plan(copied(1)), LARGE) as seen:
        await seen.press("right", "down", "down")
        await seen.sees("nothing may listen")
        await seen.press("left")
        await seen.sees(lambda: "nothing may listen" not in seen.text())
        dialog = seen.app.screen
        assert isinstance(dialog, PlanDialog)
        await seen.press("left", "plus")
        await seen.sees(lambda: len(dialog.body.rows) > 60)
        await seen.press("plus")
        await seen.sees(lambda: len(dialog.body.rows) < 30)


async def test_the_button_starts_after_a_look_at_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with _showing(tmp_path, monkeypatch, _plan(copied(1))) as seen:
        await seen.press("tab")
        assert isinstance(seen.app.focused, Button)
        assert str(seen.app.focused.label) == "Start"
        await seen.press("enter")
        await seen.sees(lambda: seen.session.operator.ran)
        assert seen.session.operator.ran[0][1] == "y"


async def test_tab_and_enter_typed_before_the_plan_could_be_read_start_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with _showing(tmp_path, monkeypatch, _plan(copied(1)), step=0.0) as seen:
        seen.clock.now += OPENED_S / 2
        await seen.press("tab", "enter", "y")
        assert seen.session.operator.ran == []
        assert isinstance(seen.app.screen, PlanDialog)
        seen.clock.now += 1.0
        await seen.press("tab", "enter")
        await seen.sees("keys came too fast")
        assert seen.session.operator.ran == [], "a burst presses no button"


async def test_what_must_be_typed_has_no_button(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with _showing(tmp_path, monkeypatch, _plan(copied(1), "stop")) as seen:
        await seen.sees("type lab to stop")
        assert not seen.app.screen.query_one("#confirm", Button).display
        await seen.press("y", "enter")
        assert seen.session.operator.ran == []


async def test_a_search_goes_from_place_to_place_and_ends_before_the_dialog(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with _showing(tmp_path, monkeypatch, _plan(copied(1))) as seen:
        dialog = seen.app.screen
        assert isinstance(dialog, PlanDialog)
        await seen.press("slash")
        await seen.type("decode-1")
        await seen.press("enter")
        await seen.sees("1 of 7 places")
        first = dialog.body.cursor
        await seen.press("n")
        await seen.sees("2 of 7 places")
        assert dialog.body.cursor > first
        await seen.press("N", "N")
        await seen.sees("7 of 7 places")
        await seen.press("slash", *["backspace"] * 8)
        await seen.type("nowhere")
        await seen.press("enter")
        await seen.sees("not found in this plan")
        await seen.press("slash", "escape")
        assert seen.app.screen is dialog
        await seen.press("escape")
        await seen.sees(lambda: seen.app.screen is seen.app.main)


async def test_an_answer_is_typed_after_a_search_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with _showing(tmp_path, monkeypatch, _plan(copied(1), "stop")) as seen:
        await seen.press("slash")
        await seen.type("KILL")
        await seen.press("enter")
        await seen.sees("place")
        await seen.type("lab")
        await seen.press("enter")
        await seen.sees(lambda: seen.session.operator.ran)
