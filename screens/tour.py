"""A tour that plays by itself: it presses keys as a person would and says in one line what is seen. Any key ends it.

Each scene ends when the screen shows what its caption says, so that nothing is claimed that did not happen.
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
from screens.app import dialog_over
from screens.background_work import set_off
from screens.styled_lines import Line
from screens.widgets import LineWidget

if TYPE_CHECKING:
    from screens.app import ConsoleApp
    from screens.dialogs.plan import PlanDialog
    from screens.panes.verify import VerifyPane

CONFIRM = "confirm"
"""In place of an action: the answer that the open plan asks for."""
STEP_S = 0.1
"""How often it is looked whether a scene is over (seconds)."""
BETWEEN_KEYS_S = 0.6
LEAST_S = 0.12
"""Keys that follow each other faster are taken for a paste."""

Seen = Callable[["ConsoleApp"], Callable[[], bool]]
"""Called when a scene begins; what it gives says whether its caption has become true since."""


@dataclass(frozen=True, slots=True)
class Scene:
    """One line of explanation, and the keys that belong to it."""

    caption: str
    keys: tuple[str, ...] = ()
    """Ids of actions, pressed one after the other."""
    seen: Seen = lambda app: lambda: True
    """What ends it, once it could be read."""
    reads_s: float = 5.0
    """How long it stays at least (seconds)."""
    effect: str = ""
    """What happens to the cluster when it begins, by the name the tour was given."""


class Caption(LineWidget):
    """Two lines above the footer: how far the tour is, and what is seen."""

    DEFAULT_CSS = "Caption { height: 2; width: 1fr; background: $surface; }"

    def show(self, head: str, text: str) -> None:
        """Show these words."""
        lines: tuple[Line, ...] = (((f" {head}", "dim"),), ((f" {text}", "title"),))
        self.paint([(line, ()) for line in lines])


class Tour:
    """Plays scenes on an app; `effects` change the cluster from outside, by the names that scenes use."""

    def __init__(
        self,
        app: ConsoleApp,
        scenes: Sequence[Scene],
        effects: Mapping[str, Callable[[], object]],
        *,
        pace: float = 1.0,
        limit_s: float = 120.0,
    ) -> None:
        """`pace` multiplies every pause; a scene that is not over after `limit_s` ends the tour."""
        self._app = app
        self._scenes = scenes
        self._effects = effects
        self._pace = pace
        self._limit_s = limit_s
        self._pressed: events.Key | None = None
        self._caption = Caption(id="tour")
        self.played = 0
        """How many scenes were seen to their end."""
        self.playing = False

    async def begin(self) -> None:
        """Show the caption and play beside everything else."""
        main = self._app.main
        main.add_class("touring")
        await main.mount(self._caption, before=main.prompt)
        self._caption.dress(self._app.look, self._app.pen)
        self._app.first_hearer = self._hears
        self.playing = True
        set_off(main, "tour", self._play)

    def _hears(self, key: events.Key) -> bool:
        """Whether a key is for the tour: each one that a person presses while it plays ends it, and does nothing else."""
        if key is self._pressed:
            return False
        was, self.playing = self.playing, False
        self._app.first_hearer = None
        self._app.main.remove_class("touring")
        self._caption.remove()
        if was:
            self._app.main.workers.cancel_group(self._app.main, "tour")
            self._app.notify("the tour has ended; the console is yours, ? shows all keys", markup=False)
        return was

    async def _play(self) -> None:
        for number, scene in enumerate(self._scenes, start=1):
            head = f"TOUR {number} of {len(self._scenes)}  any key ends it"
            self._say(head, scene.caption)
            if scene.effect:
                self._effects[scene.effect]()
            seen = scene.seen(self._app)
            for name in scene.keys:
                await asyncio.sleep(self._pause(BETWEEN_KEYS_S))
                await self._do(name)
            if not await self._until(seen):
                self.playing = False
                self._say("TOUR stopped", "This takes longer than it should, so the tour stops. The console is yours.")
                return
            self._say(head, scene.caption)  # the plan that it is about may have opened over the caption
            await asyncio.sleep(self._pause(scene.reads_s))
            self.played = number
        self.playing = False
        self._say("TOUR over", "The console is yours: ? shows all keys, q leaves. Engines go on without it.")

    def _pause(self, seconds: float) -> float:
        return max(LEAST_S, seconds * self._pace)

    def _say(self, head: str, text: str) -> None:
        self._caption.show(head, text)
        if (dialog := dialog_over(self._app)) is not None:
            dialog.note(text, "title")

    async def _do(self, name: str) -> None:
        if name != CONFIRM:
            await self._press(self._app.options.keys.of(BY_ID[name])[0])
            return
        dialog = cast("PlanDialog | None", dialog_over(self._app))
        if dialog is None or dialog.plan is None:
            return
        confirm = dialog.plan.confirm
        for key in (confirm.expected,) if confirm.kind == "key" else (*confirm.expected, "enter"):
            await self._press(key)
            await asyncio.sleep(self._pause(BETWEEN_KEYS_S / 2))

    async def _press(self, key: str) -> None:
        """Press one key as soon as what is open hears it, and wait until it was delivered."""
        event = events.Key(key, key_to_character(key))
        dialog = dialog_over(self._app)
        if dialog is not None:
            await self._until(lambda: dialog.hears(event, self._app.keys.clock()))
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
    """A plan is shown and waits for its answer."""
    return lambda: getattr(dialog_over(app), "plan", None) is not None


def is_acting(app: ConsoleApp) -> Callable[[], bool]:
    """A plan runs."""
    return lambda: app.fleet is not None and app.fleet.acting is not None


def all_ready(app: ConsoleApp) -> Callable[[], bool]:
    """No plan runs, and every engine is ready."""
    acts = is_acting(app)

    def ready() -> bool:
        engines = app.main.snapshot.engines.values()
        return not acts() and bool(engines) and all(each.state is EngineState.READY for each in engines)

    return ready


def is_verified(app: ConsoleApp) -> Callable[[], bool]:
    """A verification that has ended since found everything right."""
    pane = cast("VerifyPane", app.main.panes["verify"])
    before = pane.verdict
    return lambda: pane.verdict is not None and pane.verdict is not before and pane.verdict.passed


def first_cause_is_known(app: ConsoleApp) -> Callable[[], bool]:
    """It is known what failed first, and the service suffers from it."""

    def known() -> bool:
        snapshot = app.main.snapshot
        serves = snapshot.service is not None and snapshot.service.state is ServiceState.UP
        return not serves and any(each.first for each in snapshot.diagnoses)

    return known


def scenes(broken: str) -> tuple[Scene, ...]:
    """A start, a failure of the engine `broken`, its diagnosis and the repair; about a minute and a half on four demo nodes."""
    ready = "Ready is no proof. Verify chats with every rank and compares answers."
    repair = "r on the cause plans the repair: a restart of its group, nothing else."
    again = "Proven again: it serves. That was a failure, its cause and its repair."
    return (
        Scene("Nodes of a cluster, nothing runs yet. Below: tabs about what the cursor is on.", reads_s=4.0),
        Scene("* marks every row, s plans a start. Nothing runs yet.", ("mark-all", "start"), plan_is_open, 5.0),
        Scene("The plan is confirmed. Only now is anything started.", (CONFIRM,), is_acting, 2.0),
        Scene("Engines load the model; each row says how far it is.", ("back", "unmark"), all_ready, 2.0),
        Scene(ready, ("pane-verify", "verify"), is_verified),
        Scene(f"A worker of {broken} is killed now. Watch the first line.", (), first_cause_is_known, 4.0, "break"),
        Scene("Diagnosis: what failed first, what to do, where.", ("pane-diagnosis",), reads_s=9.0),
        Scene("l opens the log at the line that shows it.", ("logs",), reads_s=6.0),
        Scene(repair, ("pane-diagnosis", "restart"), plan_is_open, 5.0, "mend"),
        Scene("Confirmed. This group stops and starts; the others stay as they are.", (CONFIRM,), is_acting, 3.0),
        Scene("Meanwhile the first line says what is missing.", ("back",), all_ready, 2.0),
        Scene(again, ("pane-verify", "verify"), is_verified),
    )
