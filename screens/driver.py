"""The terminal driver: Textual's own, which also survives bytes that are not text, a mouse that is switched while it runs,
and a terminal that goes away."""

from __future__ import annotations

import codecs
import re
import signal
from collections.abc import Callable
from typing import IO

from textual.drivers import linux_driver
from textual.drivers.linux_driver import LinuxDriver

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
        """A report that has begun and is not complete."""
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


class Outlet:
    """The terminal's file for the thread that writes: once a write fails, what is written goes nowhere.

    An error would end that thread, its queue would fill, and the event loop would wait for room in it for ever,
    deaf to signals too.
    """

    def __init__(self, file: IO[str], gone: Callable[[], None]) -> None:
        self._file = file
        self._gone = gone
        self._open = True

    def write(self, text: str) -> None:
        """Write, unless the terminal is gone."""
        self._try(lambda: self._file.write(text))

    def flush(self) -> None:
        """Send what is buffered, unless the terminal is gone."""
        self._try(self._file.flush)

    def fileno(self) -> int:
        """The terminal's own."""
        return self._file.fileno()

    def _try(self, work: Callable[[], object]) -> None:
        if not self._open:
            return
        try:
            work()
        except (OSError, ValueError):
            self._open = False
            self._gone()


class ConsoleDriver(LinuxDriver):
    """LinuxDriver with a tolerant decoder, which is silent while something else has the terminal."""

    _away = False
    _held = False
    """Whether the terminal's file is behind an Outlet."""

    def start_application_mode(self) -> None:
        """Begin; the parent makes its writing thread from the file it finds."""
        if self._file is not None and not self._held:
            self._file = Outlet(self._file, self._gone)  # type: ignore[assignment]
            self._held = True
        super().start_application_mode()  # type: ignore[no-untyped-call]

    def _gone(self) -> None:
        """The terminal went away: end as after a hang-up, from whichever thread notices."""
        self.exit_event.set()
        code = 128 + signal.SIGHUP
        self._loop.call_soon_threadsafe(lambda: self._app.exit(return_code=code))

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
        """Read input until the app ends. The parent looks its decoder up by this name when it begins."""
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
