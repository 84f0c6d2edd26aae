"""The plan dialog: the summary of a plan, its folded steps, and the confirmation that starts it.

It opens at once and is filled when the plan is there. It gives back the plan with what was typed to confirm it, or None.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from string import ascii_letters, digits
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal
from textual.widgets import Button, Input

from console.model.counting import counted
from console.model.errors import ConsoleError, NothingToDo, UnderWay
from console.model.plan import Plan, Verb
from screens.background_work import set_off
from screens.dialogs.base import LEAVING, MOVES, Dialog
from screens.dialogs.plan_body import PlanBody
from screens.paste_guard import TOO_FAST, KeyTimes
from screens.plan_rows import PlanRows
from screens.styled_lines import Line, Pen, Row, shown, wrap
from screens.text_inputs import AnswerInput, LineInput
from screens.themes import Look

VERBS: dict[Verb, str] = {
    "start": "START",
    "stop": "STOP",
    "restart": "RESTART",
    "kill": "KILL",
    "scale": "SCALE",
    "sync-proxy": "SYNC PROXY",
    "containers": "CONTAINERS",
    "tune": "TUNE",
    "weights": "COPY WEIGHTS",
}
TYPED = "".join(char for char in ascii_letters + digits if char not in MOVES)
"""What starts an answer, right or wrong: what would be swallowed without a word looks like an answer to who types it.

`n` is among them where more than a key is asked for: as a way back it would let the rest of a wrong name act on the screen below.
"""
AGAIN_S = 1.0
"""How long until a plan is asked for again that could not be made yet."""


@dataclass(frozen=True, slots=True)
class Confirmed:
    """A plan that is to run, and what was typed to confirm it."""

    plan: Plan
    typed: str


class PlanDialog(Dialog[Confirmed]):
    """The rows have the focus, where Enter only unfolds. `y`, its button, or what is typed in full confirms."""

    BINDINGS: ClassVar = [
        Binding("y", "confirm", "Do it", show=False),
        Binding("n", "leave", "Cancel", show=False),
        Binding("slash,fullwidth_solidus,ideographic_comma", "search", "Search", show=False),
    ]

    def __init__(
        self,
        look: Look,
        pen: Pen,
        keys: KeyTimes,
        *,
        verb: Verb,
        target: str,
        cluster: str,
        prepare: Callable[[], Awaitable[Plan]],
        asked: Sequence[str] = (),
        marked: int = 0,
    ) -> None:
        """`asked` are the engines the operator meant, where the plan may take in more; `marked` is of how many marked rows."""
        super().__init__(look, pen, keys)
        self._marked = marked
        self._asked = tuple(asked)
        self._verb = verb
        self._target = target
        self._cluster = cluster
        self._prepare = prepare
        self._working = True
        """Whether there is nothing to answer yet."""
        self.steps = PlanBody(id="body")
        self.body = self.steps
        self.body.on_beyond = lambda: self.head(self.body)
        self.plan: Plan | None = None

    @property
    def _by_key(self) -> bool:
        """Whether one key confirms, so that there is a button for it."""
        return self.plan is not None and self.plan.confirm.kind == "key" and not self.plan.blocked

    def accepts_key(self, event: events.Key, at: float) -> bool:
        """While the plan is prepared, accept only keys that go back: a typed name and its Enter must not cancel it."""
        return super().accepts_key(event, at) and (not self._working or event.key in LEAVING)

    def asked(self) -> ComposeResult:
        """A place to search, one to type where the plan asks for it, a button to start where a key does, and Cancel."""
        yield LineInput(id="search", compact=True, placeholder="search the summary and every command, then Enter")
        yield AnswerInput(id="typed", compact=True, disabled=True, select_on_focus=False)
        with Horizontal(id="choices"):
            yield Button("", id="confirm", compact=True)
            yield Button("Cancel", id="cancel", compact=True)

    def on_mount(self) -> None:
        """Ask for the plan."""
        self.query_one("#search", Input).display = False
        self.query_one("#typed", Input).display = False
        self.query_one("#confirm", Button).display = False
        self.body.focus()
        self.say(self._title(), ((("preparing the plan ...", "busy"),),), (("esc", "key"), (" cancel", "dim")))
        set_off(self, "fill", self._fill)

    async def _fill(self) -> None:
        try:
            self.plan = await self._prepared()
            self._working = False
        except ConsoleError as error:
            self._working = False
            role = "plain" if isinstance(error, NothingToDo) else "fail"
            lines: list[Line] = [((text, role),) for text in self._wrapped(str(error))]
            lines += [((text, "key"),) for text in self._wrapped(error.hint)]
            self.say(self._title(), lines, (("esc", "key"), (" close", "dim")))
            self._only_closes()
            return
        self.begin_again()
        typed = self.query_one("#typed", Input)
        asks = self.plan.confirm.kind != "key" and not self.plan.blocked
        typed.display = asks
        typed.disabled = not asks
        if asks:
            typed.placeholder = f"type {self.plan.confirm.what}, then Enter"
        start = self.query_one("#confirm", Button)
        start.display = self._by_key
        start.label = VERBS[self.plan.verb].capitalize()
        if self.plan.blocked:
            self._only_closes()
        self.call_after_refresh(self.steps.fill, PlanRows(self.plan, self._asked, self.pen))
        self.call_after_refresh(self._again)

    async def _prepared(self) -> Plan:
        """The plan, asked for until there is one where somebody's own plan has only just started."""
        while True:
            try:
                return await self._prepare()
            except UnderWay as error:
                lines: list[Line] = [((text, "warn"),) for text in self._wrapped(str(error))]
                lines += [((text, "key"),) for text in self._wrapped(f"or ask {error.holder} to finish")]
                lines.append(
                    (("the plan appears here when it is available; it runs only after you confirm it", "dim"),)
                )
                self.say(self._title(), lines, (("waiting ...  ", "busy"), ("esc", "key"), (" cancel", "dim")))
                await asyncio.sleep(AGAIN_S)

    def on_resize(self) -> None:
        """Another width breaks texts elsewhere; the body learns its own a moment later."""
        self.call_after_refresh(self._again)

    def _again(self) -> None:
        """Draw the plan at the width of now."""
        if self.plan is not None:
            self._heading = self._title()
            self.steps.draw_rows()
            self.head(self.body)
            self.foot.show([Row("foot", self._foot(self.plan))])

    def _only_closes(self) -> None:
        """Nothing can be set going, so there is nothing to cancel."""
        self.query_one("#cancel", Button).label = "Close"

    def _title(self) -> Line:
        marked_rows = f" ({counted(self._marked, 'marked row')})" if self._marked else ""
        return (
            (
                f"{VERBS[self._verb]} {shown(self.plan.target if self.plan else self._target)}{marked_rows}",
                "title" if self._by_key else "danger",
            ),
            ("  cluster ", "dim"),
            (shown(self._cluster), "title"),
        )

    def _foot(self, plan: Plan) -> Line:
        """What answers, then what shows more."""
        more: Line = (
            (("n N", "key"), (" next  ", "dim"), ("esc", "key"), (" end search", "dim"))
            if self.steps.needle
            else (
                ("Enter", "key"),
                (" unfold  ", "dim"),
                ("+", "key"),
                (" all  ", "dim"),
                ("/", "key"),
                (" search  ", "dim"),
            )
        )
        out: Line = () if self.steps.needle else (("esc", "key"), (" close" if plan.blocked else " cancel", "dim"))
        if plan.blocked:
            return (("blocked by the errors above  ", "fail"), *more, *out)
        word = VERBS[plan.verb].lower()
        if plan.confirm.kind == "key":
            return ((plan.confirm.expected, "key"), (f" {word}  ", "bold"), *more, *out)
        return (("type ", "dim"), (shown(plan.confirm.expected), "title"), (f" to {word}  ", "danger"), *more, *out)

    def _wrapped(self, text: str) -> list[str]:
        """The text in pieces that fit."""
        return [piece for line in text.splitlines() for piece in wrap(shown(line), self.steps.cells - 1)]

    def action_search(self) -> None:
        """Open the line to type what is searched for."""
        if self.plan is not None:
            line = self.query_one("#search", Input)
            line.display = True
            line.value = self.steps.needle
            line.focus()

    def action_leave(self) -> None:
        """End the search, else go back without doing anything."""
        if self.steps.needle or self.query_one("#search", Input).display:
            self._search("")
        else:
            super().action_leave()

    def _search(self, text: str) -> None:
        """Go to the first place that has the text; no text ends the search."""
        self.query_one("#search", Input).display = False
        self.steps.focus()
        self.note(self.steps.search(text), "plain")
        self._again()

    def on_key(self, event: events.Key) -> None:
        """The answer may be typed at once, though the rows have the focus; a wrong one is refused when it is whole."""
        if self.steps.needle and event.character in ("n", "N") and not isinstance(self.focused, Input):
            event.stop()
            self.note(self.steps.to_place(1 if event.character == "n" else -1), "plain")
        elif (
            self.plan is not None and self.plan.confirm.kind != "key" and self.focused is not self.query_one("#search")
        ):
            self.type_at_once(event, self.plan.confirm.expected[:1] + TYPED)

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """Start, or Cancel."""
        event.stop()
        if event.button.id == "confirm":
            self.action_confirm()
        else:
            self.dismiss(None)

    def action_confirm(self) -> None:
        """Set it going with one key, where the plan allows that."""
        if self.plan is None or not self._by_key:
            return
        if not self._keys.quiet:
            self.notify(TOO_FAST, severity="warning", markup=False)
            return
        self.dismiss(Confirmed(self.plan, self.plan.confirm.expected))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Search, or set it going when exactly what is asked for was typed, by hand."""
        event.stop()
        plan = self.plan
        if event.input.id == "search":
            self._search(event.value.strip())
            return
        if plan is None or plan.blocked or plan.confirm.kind == "key":
            return
        if self._keys.burst:
            event.input.value = ""
            self.query_one("#typed", AnswerInput).refuse()
        elif event.value.strip() == plan.confirm.expected:
            self.app.clear_notifications()
            self.dismiss(Confirmed(plan, event.value.strip()))
        else:
            self.notify(
                f"that is not {shown(plan.confirm.expected)}; nothing was done", severity="warning", markup=False
            )
