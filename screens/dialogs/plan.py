"""The plan dialog: what would be run, what is wrong, what would be lost, and what must be pressed to set it going.

It opens at once and is filled when the plan is there. It gives back what was typed to confirm, or None.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from string import ascii_letters, digits
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal
from textual.widgets import Button, Input

from console.model.counting import counted
from console.model.errors import ConsoleError, NothingToDo, UnderWay
from console.model.findings import Finding, Severity
from console.model.plan import Plan, Verb
from console.services.operations.step_text import step_commands
from screens.background_work import set_off
from screens.dialogs.base import LEAVING, MOVES, Dialog
from screens.paste_guard import TOO_FAST, KeyTimes
from screens.styled_lines import Line, Pen, shown, wrap
from screens.text_inputs import AnswerInput
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
_ROLES = {Severity.ERROR: "fail", Severity.WARNING: "warn", Severity.NOTE: "dim"}


class PlanDialog(Dialog[str]):
    """Cancel has the focus. `y`, or the number or name typed in full, confirms; Enter alone never does."""

    BINDINGS: ClassVar = [
        Binding("y", "confirm", "Do it", show=False),
        Binding("n", "leave", "Cancel", show=False),
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
        self.plan: Plan | None = None

    def hears(self, event: events.Key, at: float) -> bool:
        """While the plan is being worked out only a way back counts: a name and its Enter must not cancel it half-way."""
        return super().hears(event, at) and (not self._working or event.key in LEAVING)

    def asked(self) -> ComposeResult:
        """Cancel, and a place to type where the plan asks for it."""
        yield AnswerInput(id="typed", compact=True, disabled=True, select_on_focus=False)
        with Horizontal(id="choices"):
            yield Button("Cancel", id="cancel", compact=True)

    def on_mount(self) -> None:
        """Ask for the plan."""
        self.query_one("#typed", Input).display = False
        self.query_one("#cancel", Button).focus()
        self.say(self._title(), ((("working out the plan ...", "busy"),),), (("esc", "key"), (" cancel", "dim")))
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
        self.say(self._title(), self._lines(self.plan), self._foot(self.plan))
        if self.plan.blocked:
            self._only_closes()

    async def _prepared(self) -> Plan:
        """The plan, asked for until there is one where somebody's own plan has only just started."""
        while True:
            try:
                return await self._prepare()
            except UnderWay as error:
                lines: list[Line] = [((text, "warn"),) for text in self._wrapped(str(error))]
                lines += [((text, "key"),) for text in self._wrapped(f"or ask {error.holder}")]
                lines.append(
                    (("the plan comes here as soon as there is something to do; nothing happens by itself", "dim"),)
                )
                self.say(self._title(), lines, (("waiting ...  ", "busy"), ("esc", "key"), (" cancel", "dim")))
                await asyncio.sleep(AGAIN_S)

    def on_resize(self) -> None:
        """Another width breaks texts elsewhere; the body learns its own a moment later."""
        self.call_after_refresh(self._again)

    def _again(self) -> None:
        if self.plan is not None:
            self.say(self._title(), self._lines(self.plan), self._foot(self.plan))

    def _only_closes(self) -> None:
        """Nothing can be set going, so there is nothing to cancel."""
        self.query_one("#cancel", Button).label = "Close"

    def _title(self) -> Line:
        marked = f" ({counted(self._marked, 'marked row')})" if self._marked else ""
        return (
            (f"{VERBS[self._verb]} {shown(self.plan.target if self.plan else self._target)}{marked}", "danger"),
            ("  cluster ", "dim"),
            (shown(self._cluster), "title"),
        )

    def _foot(self, plan: Plan) -> Line:
        if plan.blocked:
            return (("blocked by the errors above  ", "fail"), ("esc", "key"), (" close", "dim"))
        word = VERBS[plan.verb].lower()
        if plan.confirm.kind == "key":
            return (
                (plan.confirm.expected, "key"),
                (f" {word}  ", "danger"),
                ("esc n Enter", "key"),
                (" cancel", "dim"),
            )
        return (
            ("type ", "dim"),
            (shown(plan.confirm.expected), "title"),
            (f" to {word}  ", "danger"),
            ("esc", "key"),
            (" cancel", "dim"),
        )

    def _wrapped(self, text: str, indent: int = 0) -> list[str]:
        """The text in pieces that fit behind so many blanks."""
        cells = max(20, (self.body.size.width or 72) - 2 - indent)
        return [piece for line in text.splitlines() for piece in wrap(shown(line), cells)]

    def _lines(self, plan: Plan) -> list[Line]:
        nodes = tuple(dict.fromkeys(step.node for step in plan.steps))
        every = ("not an engine of ours",) if plan.process else plan.engines or nodes
        names = ", ".join(shown(each) for each in every[:5])
        more = f" +{len(every) - 5} more" if len(every) > 5 else ""
        lines: list[Line] = [((names, "bold"), (more, "bold"))]
        lines += [((text, "warn"),) for text in self._wrapped(self._wider(plan))]
        for finding in sorted(plan.findings, key=lambda each: list(Severity).index(each.severity)):
            lines.extend(self._finding(finding))
        for loss in plan.losses:
            lines.extend(
                ((("lost: ", "danger") if not at else ("      ", ""), (text, "warn")))
                for at, text in enumerate(self._wrapped(loss, 6))
            )
        for number, stage in enumerate(plan.stages):
            lines.append(((f"{number + 1}. {shown(stage.title)}", "title"),))
            for step in stage.steps:
                node = "" if step.title.startswith(f"{step.node}:") else f"  on {shown(step.node)}"
                lines.append((("   ", ""), (shown(step.title), "plain"), (node, "dim")))
                for command in step_commands(step):
                    lines.extend(self._command(command))
        return lines

    def _wider(self, plan: Plan) -> str:
        """Why more engines are in it than the operator pointed at."""
        more = [name for name in plan.engines if name not in self._asked]
        if not self._asked or not more:
            return ""
        meant = ", ".join(self._asked[:3]) + (f" +{len(self._asked) - 3} more" if len(self._asked) > 3 else "")
        return f"you chose {meant}; {len(more)} more with it, for the ranks of a group start and stop as one"

    def _finding(self, finding: Finding) -> list[Line]:
        role = _ROLES[finding.severity]
        told = f"{finding.severity.value} {finding.rule}: {finding.message} ({finding.where})"
        lines: list[Line] = [
            (("   " if at else "", ""), (text, role)) for at, text in enumerate(self._wrapped(told, 3))
        ]
        lines.extend((("   ", ""), (text, "key")) for text in self._wrapped(finding.fix, 3))
        return lines

    def _command(self, command: str) -> list[Line]:
        cells = max(20, (self.body.size.width or 76) - 7)
        lines: list[Line] = []
        for line in command.splitlines() or [""]:
            for at, text in enumerate(wrap(shown(line), cells)):
                lines.append((("     " if not at else "       ", ""), (text, "dim")))
        return lines

    def on_key(self, event: events.Key) -> None:
        """The answer may be typed at once, though Cancel has the focus; a wrong one is refused when it is whole."""
        if self.plan is not None and self.plan.confirm.kind != "key":
            self.type_at_once(event, self.plan.confirm.expected[:1] + TYPED)

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """The only button is Cancel."""
        event.stop()
        self.dismiss(None)

    def action_confirm(self) -> None:
        """Set it going with one key, where the plan allows that."""
        plan = self.plan
        if plan is None or plan.blocked or plan.confirm.kind != "key":
            return
        if not self._keys.quiet:
            self.notify(TOO_FAST, severity="warning", markup=False)
            return
        self.dismiss(plan.confirm.expected)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Set it going when exactly what is asked for was typed, by hand."""
        event.stop()
        plan = self.plan
        if plan is None or plan.blocked or plan.confirm.kind == "key":
            return
        if self._keys.burst:
            event.input.value = ""
            self.query_one("#typed", AnswerInput).refuse()
        elif event.value.strip() == plan.confirm.expected:
            self.app.clear_notifications()
            self.dismiss(event.value.strip())
        else:
            self.notify(
                f"that is not {shown(plan.confirm.expected)}; nothing was done", severity="warning", markup=False
            )
