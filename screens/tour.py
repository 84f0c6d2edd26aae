"""A tour that plays by itself: it presses keys as a person would, and a caption explains what the screen shows. Any key ends it.

A tour step ends when the screen shows what its caption says, so that no caption claims what did not happen.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from textual import events
from textual.keys import key_to_character

from console.model.service import ServiceState
from console.model.state import EngineState
from screens.actions import BY_ID
from screens.background_work import set_off
from screens.interaction import dialog_over
from screens.styled_lines import Line
from screens.widgets import LineWidget

if TYPE_CHECKING:
    from screens.app import ConsoleApp
    from screens.dialogs.plan import PlanDialog
    from screens.panes.verify import VerifyPane

CONFIRM = "confirm"
"""Stands for the confirmation that the open plan asks for, in the place of an action."""
STEP_S = 0.1
"""Seconds between two checks whether a tour step has ended."""
BETWEEN_KEYS_S = 0.6
LEAST_S = 0.12
"""The shortest pause between two keys: the screen takes faster keys for a paste."""

Reached = Callable[["ConsoleApp"], Callable[[], bool]]
"""Called when a tour step starts; gives a function that tells whether the caption has come true since then."""


@dataclass(frozen=True, slots=True)
class TourStep:
    """One caption, and the keys that belong to it."""

    caption: str
    keys: tuple[str, ...] = ()
    """Ids of actions, pressed one after the other."""
    reached: Reached = lambda app: lambda: True
    """The condition that ends the step."""
    reads_s: float = 5.0
    """Seconds that the caption stays after the condition has come true, so that it can be read."""
    effect: str = ""
    """The change to the cluster when the step starts: a name among the effects of the tour."""


class Caption(LineWidget):
    """Two lines above the footer: the progress of the tour, and what the screen shows."""

    DEFAULT_CSS = "Caption { height: 2; width: 1fr; background: $surface; }"

    def show(self, head: str, text: str) -> None:
        """Show the progress and the caption."""
        lines: tuple[Line, ...] = (((f" {head}", "dim"),), ((f" {text}", "title"),))
        self.paint([(line, ()) for line in lines])


class Tour:
    """Plays steps on an app; `effects` change the cluster from outside, by the names that steps use."""

    def __init__(
        self,
        app: ConsoleApp,
        steps: Sequence[TourStep],
        effects: Mapping[str, Callable[[], object]],
        *,
        pace: float = 1.0,
        limit_s: float = 120.0,
    ) -> None:
        """`pace` multiplies every pause; a step that has not ended after `limit_s` seconds stops the tour."""
        self._app = app
        self._steps = steps
        self._effects = effects
        self._pace = pace
        self._limit_s = limit_s
        self._pressed: events.Key | None = None
        self._caption = Caption(id="tour")
        self.played = 0
        """Number of steps that have ended."""
        self.playing = False

    async def begin(self) -> None:
        """Show the caption and play in the background."""
        main = self._app.main
        await main.mount(self._caption, before=main.prompt)
        self._caption.dress(self._app.interaction.look, self._app.interaction.pen)
        self._app.first_key_handler = self._take_key
        self.playing = True
        set_off(main, "tour", self._play)

    def _take_key(self, key: events.Key) -> bool:
        """Whether the tour takes a key: any key that a person presses during the tour ends it, and does nothing else."""
        if key is self._pressed:
            return False
        was, self.playing = self.playing, False
        self._app.first_key_handler = None
        self._caption.remove()
        if was:
            self._app.main.workers.cancel_group(self._app.main, "tour")
            self._app.notify("the tour has ended; now use the console yourself, ? shows all keys", markup=False)
        return was

    async def _play(self) -> None:
        for number, step in enumerate(self._steps, start=1):
            head = f"TOUR {number} of {len(self._steps)}  any key ends it"
            self._say(head, step.caption)
            if step.effect:
                self._effects[step.effect]()
            reached = step.reached(self._app)
            for name in step.keys:
                await asyncio.sleep(self._pause(BETWEEN_KEYS_S))
                await self._do(name)
            if not await self._until(reached):
                self.playing = False
                self._say(
                    "TOUR stopped",
                    "This takes longer than expected, so the tour stops. Press any key to go on yourself.",
                )
                return
            self._say(head, step.caption)  # a plan may have opened and covered the caption
            await asyncio.sleep(self._pause(step.reads_s))
            self.played = number
        self.playing = False
        self._say("TOUR over", "Go on yourself: ? shows all keys. q quits; engines keep running.")

    def _pause(self, seconds: float) -> float:
        return max(LEAST_S, seconds * self._pace)

    def _say(self, head: str, text: str) -> None:
        self._caption.show(head, text)
        if (dialog := dialog_over(self._app)) is not None:
            dialog.note(text, "title")

    async def _do(self, name: str) -> None:
        if name != CONFIRM:
            await self._press(self._app.interaction.keys.of(BY_ID[name])[0])
            return
        dialog = cast("PlanDialog | None", dialog_over(self._app))
        if dialog is None or dialog.plan is None:
            return
        confirm = dialog.plan.confirm
        for key in (confirm.expected,) if confirm.kind == "key" else (*confirm.expected, "enter"):
            await self._press(key)
            await asyncio.sleep(self._pause(BETWEEN_KEYS_S / 2))

    async def _press(self, key: str) -> None:
        """Press one key as soon as the open dialog accepts keys, and wait until the key is delivered."""
        event = events.Key(key, key_to_character(key))
        dialog = dialog_over(self._app)
        if dialog is not None:
            await self._until(lambda: dialog.accepts_key(event, self._app.keys.clock()))
        self._pressed = event
        self._app.post_message(event)
        await self._until(lambda: not self._app.order.busy)

    async def _until(self, condition: Callable[[], bool]) -> bool:
        """Wait for a condition; gives whether it came true within the limit."""
        end = asyncio.get_running_loop().time() + self._limit_s
        while not condition():
            if asyncio.get_running_loop().time() > end:
                return False
            await asyncio.sleep(STEP_S)
        return True


def plan_is_open(app: ConsoleApp) -> Callable[[], bool]:
    """A plan is shown and waits for the confirmation."""
    return lambda: getattr(dialog_over(app), "plan", None) is not None


def plan_is_running(app: ConsoleApp) -> Callable[[], bool]:
    """A plan runs."""
    return lambda: app.fleet.acting is not None


def all_ready(app: ConsoleApp) -> Callable[[], bool]:
    """No plan runs, and every engine is ready."""
    running = plan_is_running(app)

    def ready() -> bool:
        engines = app.fleet.snapshot.engines.values()
        return not running() and bool(engines) and all(each.state is EngineState.READY for each in engines)

    return ready


def is_verified(app: ConsoleApp) -> Callable[[], bool]:
    """A verification has ended since then, and every check passed."""
    pane = cast("VerifyPane", app.main.panes["verify"])
    before = pane.verdict
    return lambda: pane.verdict is not None and pane.verdict is not before and pane.verdict.passed


def first_cause_is_known(app: ConsoleApp) -> Callable[[], bool]:
    """The first cause is known, and the service is not `UP`."""

    def known() -> bool:
        snapshot = app.fleet.snapshot
        serves = snapshot.service is not None and snapshot.service.state is ServiceState.UP
        return not serves and any(each.first for each in snapshot.diagnoses)

    return known


def tour_steps(broken: str) -> tuple[TourStep, ...]:
    """A start, a failure of the engine `broken`, its diagnosis and its repair; about 90 seconds on four demo nodes."""
    ready = "Ready is not proven. Verify sends chats to every rank and compares answers."
    repair = "r on the cause plans the repair: a restart of its group and nothing else."
    again = "Verified: it serves again. That was a failure, its cause and its repair."
    return (
        TourStep("A cluster; nothing runs yet. The tabs below show details of the selected row.", reads_s=4.0),
        TourStep(
            "* marks every row, s opens the plan of a start. Nothing runs yet.",
            ("mark-all", "start"),
            plan_is_open,
            5.0,
        ),
        TourStep("The plan is confirmed. The start begins only now.", (CONFIRM,), plan_is_running, 2.0),
        TourStep("Engines load the model; each row shows its progress.", ("back", "unmark"), all_ready, 2.0),
        TourStep(ready, ("pane-verify", "verify"), is_verified),
        TourStep(f"A worker of {broken} is killed now. Watch the first line.", (), first_cause_is_known, 4.0, "break"),
        TourStep("Diagnosis: which engine failed first, what to do, and where.", ("pane-diagnosis",), reads_s=9.0),
        TourStep("l opens the log at the line that shows the failure.", ("logs",), reads_s=6.0),
        TourStep(repair, ("pane-diagnosis", "restart"), plan_is_open, 5.0, "repair"),
        TourStep(
            "Confirmed. This group stops and starts; the others stay as they are.", (CONFIRM,), plan_is_running, 3.0
        ),
        TourStep("Meanwhile the first line says what is not ready yet.", ("back",), all_ready, 2.0),
        TourStep(again, ("pane-verify", "verify"), is_verified),
    )
