"""Shows messages and questions to the operator, above all other widgets. Does not know clusters."""

from __future__ import annotations

import os
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar, cast

from textual.app import App
from textual.worker import Worker

from console.model.errors import ConsoleError
from screens.actions import BY_ID
from screens.background_work import set_off
from screens.key_map import Keys
from screens.paste_guard import BURST_S, TOO_FAST, KeyTimes
from screens.styled_lines import Line, Pen, Row, length, shown
from screens.themes import Look

if TYPE_CHECKING:
    from textual.notifications import SeverityLevel

    from screens.dialogs.base import Dialog

T = TypeVar("T")
Answer = TypeVar("Answer")
Params = ParamSpec("Params")


class Interaction:
    """Messages, dialogs, the clipboard, work in the background, and programs that take the terminal for a while."""

    def __init__(
        self, app: App[int], *, look: Look, pen: Pen, keys: Keys, key_times: KeyTimes, state_dir: Callable[[], Path]
    ) -> None:
        """`state_dir` gives the directory where text for the clipboard is kept as well."""
        self._app = app
        self._state_dir = state_dir
        self.look = look
        self.pen = pen
        self.keys = keys
        """Which keys do what."""
        self.key_times = key_times
        """When keys came."""

    def key(self, action: str) -> str:
        """The key of an action, by its id, as it is written for people; empty when it has none."""
        return self.keys.word(BY_ID[action])

    def notify(
        self, text: str, *, title: str = "", severity: SeverityLevel = "information", timeout: float | None = None
    ) -> None:
        """Show a message that disappears by itself; it is never markup."""
        self._app.notify(text, title=title, severity=severity, timeout=timeout, markup=False)

    def warn(self, text: str) -> None:
        """Show a warning that disappears by itself; `text` may come from a node."""
        self.notify(shown(text), severity="warning")

    def explain_quit(self) -> None:
        """Say how to leave, for a key that leaves other programs."""
        self.notify("q quits; engines keep running", timeout=3)

    def ring(self) -> None:
        """Ring the terminal's bell."""
        self._app.bell()

    def tell(self, error: ConsoleError) -> None:
        """Show an error with its hint, to be read and copied."""
        body: list[Line] = [((shown(line), "fail"),) for line in str(error).splitlines()]
        body += [((shown(line), "key"),) for line in error.hint.splitlines()]
        self.read((("That was not done", "danger"),), body)

    def read(self, title: Line, body: Sequence[Line]) -> None:
        """Show a text."""
        from screens.dialogs.text import TextDialog  # the code of a dialog is loaded with the first one

        dialog = TextDialog(self.look, self.pen, self.key_times, title=title, body=body, copy=self.copy_out)
        self._app.push_screen(dialog)

    async def answer(
        self,
        dialog: Callable[Concatenate[Look, Pen, KeyTimes, Params], Dialog[Answer]],
        *args: Params.args,
        **options: Params.kwargs,
    ) -> Answer | None:
        """Open a dialog of this class, made with these arguments, and return its answer; None when it is closed without one."""
        return await self._app.push_screen_wait(dialog(self.look, self.pen, self.key_times, *args, **options))

    async def ask_yes(self, title: Line, text: str) -> bool:
        """Ask something small: `y` says yes, everything else no."""
        from screens.dialogs.confirm import ConfirmDialog

        return await self.answer(ConfirmDialog, title=title, text=text) is not None

    async def choose(
        self,
        title: Line,
        rows: Sequence[Row],
        foot: Line,
        *,
        chosen: str | None = None,
        preview: Callable[[str], Sequence[Line]] | None = None,
        careful: bool = False,
        in_full: bool = False,
    ) -> str | None:
        """Let one of these rows be chosen, and give its key; the parameters are those of `PickerDialog`.

        With `in_full` room is kept for the row under the cursor where one is longer than the list is wide.
        """
        from screens.dialogs.base import MOST_CELLS
        from screens.dialogs.picker import PickerDialog

        cells = min(self._app.size.width, MOST_CELLS) - 2
        return await self.answer(
            PickerDialog,
            title=title,
            rows=rows,
            foot=foot,
            chosen=chosen,
            preview=preview,
            careful=careful,
            in_full=in_full and any(length(row.line) > cells for row in rows),
        )

    def copy_out(self, text: str) -> None:
        """Copy to the operator's clipboard and a file, and say what was done."""
        from screens import clipboard

        driver = self._app._driver
        write = driver.write if driver else lambda _text: None
        self.notify(clipboard.copy(text, self._state_dir(), write, dict(os.environ)))

    def start(self, group: str, work: Callable[..., Coroutine[Any, Any, T]], *args: Any) -> Worker[T]:
        """Run `work(*args)` in the background; earlier work of the same group is cancelled."""
        return set_off(self._app, group, work, *args)

    def start_beside(self, work: Coroutine[Any, Any, T]) -> Worker[T]:
        """Run work in the background that no other work cancels."""
        return self._app.run_worker(work)

    def unless_pasting(self, work: Callable[[], object], in_burst: Callable[[], object] | None = None) -> None:
        """Wait `BURST_S`, then call `work`, unless keys arrived so fast that they are a paste: then call `in_burst`, or warn.

        The first key of a paste does not tell that more follow.
        """
        refuse = in_burst or (lambda: self.warn(TOO_FAST))
        self._app.set_timer(BURST_S, lambda: refuse() if self.key_times.burst else work())

    async def run_program(self, words: Sequence[str], more: Mapping[str, str] | None = None) -> int:
        """Leave the terminal to a program, with `more` in its environment, until it ends; gives its exit code.

        Raises ConsoleError.
        """
        from screens.external_programs import run_away

        try:
            return await run_away(self._app, words, more or {})
        finally:
            self._app.screen.refresh(layout=True)

    async def print_plain(self, text: str) -> None:
        """Print text to the normal screen and wait for Enter. Raises ConsoleError."""
        from screens.external_programs import show_away

        try:
            await show_away(self._app, text)
        finally:
            self._app.screen.refresh(layout=True)


def dialog_over(app: App[int]) -> Dialog[object] | None:
    """The dialog that lies over the main screen."""
    screen = app.screen_stack[-1] if app.screen_stack else None
    return cast("Dialog[object]", screen) if hasattr(screen, "accepts_key") else None
