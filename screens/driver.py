"""The terminal driver: Textual's own, which also survives bytes that are not text, a mouse that is switched while it runs,
and a terminal that goes away or does not read; and which finds out how wide the terminal draws ambiguous characters."""

from __future__ import annotations

import codecs
import re
import shutil
import signal
from collections.abc import Callable
from typing import IO

from textual import events
from textual.drivers import linux_driver
from textual.drivers.linux_driver import LinuxDriver
from textual.message import Message

from screens.terminal_writer import TerminalWriter

_X10 = re.compile(rb"\x1b\[M[\x00-\xff]{3}")
_X10_BEGUN = re.compile(rb"\x1b\[M[\x00-\xff]{0,2}\Z")


class TolerantDecoder(codecs.IncrementalDecoder):
    """UTF-8 that never fails, without X10 mouse reports.

    After a tmux re-attach or a reloaded terminal the mouse may speak X10: three raw bytes behind `ESC [ M`.
    They are no text, and read as text they would be keys that nobody pressed.
    """

    def __init__(self, errors: str = "replace", ended: Callable[[], None] = lambda: None) -> None:
        super().__init__(errors)
        self._ended = ended
        self._text = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._held = b""
        """A report that has started and is not complete."""
        self._tail = b""
        """The end of what was given on, in case it is the beginning of a report."""

    def decode(self, data: bytes, final: bool = False) -> str:  # type: ignore[override]
        """The text of some input bytes; a report that is cut is held for the next ones. No byte at all is the end."""
        if not data and not final:
            self._ended()
        sent = next((part for part in (b"\x1b[", b"\x1b") if self._tail.endswith(part)), b"")
        data = _X10.sub(b"", sent + self._held + data)
        self._held = b""
        if not final and (begun := _X10_BEGUN.search(data)) is not None:
            self._held = begun.group()
            data = data[: begun.start()]
        data = data.removeprefix(sent)
        self._tail = b"" if self._held else data[-2:]
        return self._text.decode(data, final)


_ASK_WIDTH = "\x1b[1;1H\u2026\x1b[6n\x1b[1;1H\x1b[K"
"""An ellipsis in the first cell, then the question where the cursor is: column 2 in most terminals, 3 in those that draw
characters of ambiguous width (East Asian Width, Unicode UAX 11) in two cells."""


class ConsoleDriver(LinuxDriver):
    """LinuxDriver with a tolerant decoder and an outlet that never blocks, silent while something else has the terminal."""

    on_drained: Callable[[bool], None] = staticmethod(lambda lost: None)
    """Called on the event loop when a terminal that was late has caught up; `lost` when it lacks what was thrown away."""
    on_wide: Callable[[], None] = staticmethod(lambda: None)
    """Called on the event loop when the terminal turns out to be `wide`."""
    wide = False
    """Whether the terminal draws characters of ambiguous width in two cells, as far as it has said."""
    _away = False
    _asked = False
    """Whether the answer to `_ASK_WIDTH` is still to come."""
    _writer: TerminalWriter | None = None

    def _get_terminal_size(self) -> tuple[int, int]:
        """Columns and rows. A terminal that reports none (`script`, a serial line) has 80x25, as rich assumes for it too:
        with two answers each layout would ask for another one without end.
        """
        return shutil.get_terminal_size(fallback=(80, 25))

    def start_application_mode(self) -> None:
        """Begin; the parent makes its writing thread by the name it finds."""
        linux_driver.WriterThread = self._make_writer  # type: ignore[attr-defined, assignment]
        first = self._writer is None
        super().start_application_mode()  # type: ignore[no-untyped-call]
        if first and self.input_tty:
            self._asked = True
            self.write(_ASK_WIDTH)

    def _make_writer(self, file: IO[str]) -> TerminalWriter:
        self._writer = TerminalWriter(file, self._gone, lambda lost: self._soon(lambda: self.on_drained(lost)))
        return self._writer

    @property
    def late(self) -> bool:
        """Whether the terminal does not keep up; what is only nice to draw should wait."""
        return self._writer is not None and self._writer.late

    def process_message(self, message: Message) -> None:
        """Take the answer about widths out of the input; everything else is the app's."""
        if isinstance(message, events.CursorPosition) and self._asked:
            self._asked = False
            if message.x == 2 and message.y == 0:
                self.wide = True
                self._soon(self._tell_wide)
            return
        super().process_message(message)

    def _tell_wide(self) -> None:
        self.on_wide()

    def _soon(self, work: Callable[[], object]) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(work)

    def _gone(self) -> None:
        """The terminal went away: end as after a hang-up, from whichever thread notices."""
        self.exit_event.set()
        code = 128 + signal.SIGHUP
        self._soon(lambda: self._app.exit(return_code=code))

    def write(self, data: str) -> None:
        """Write to the terminal, unless it is somebody else's now."""
        if not self._away:
            super().write(data)

    def suspend_application_mode(self) -> None:
        """Give the terminal away."""
        super().suspend_application_mode()
        self._away = True

    def resume_application_mode(self) -> None:
        """Take the terminal again."""
        self._away = False
        super().resume_application_mode()

    def run_input_thread(self) -> None:
        """Read input until the app ends. The parent looks its decoder up by this name when it starts."""
        linux_driver.getincrementaldecoder = lambda _encoding: lambda: TolerantDecoder(ended=self._gone)  # type: ignore
        super().run_input_thread()

    def switch_mouse(self) -> bool:
        """Mouse on or off; gives what it is now."""
        if self._mouse:
            self._disable_mouse_support()
            self._mouse = False
        else:
            self._mouse = True
            self._enable_mouse_support()
        return self._mouse
