"""The terminal driver: Textual's own, which also survives bytes that are not text and a mouse that is switched while it runs."""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable

from textual.drivers import linux_driver
from textual.drivers.linux_driver import LinuxDriver

_X10 = re.compile(rb"\x1b\[M[\x00-\xff]{3}")
_X10_BEGUN = re.compile(rb"\x1b\[M[\x00-\xff]{0,2}\Z")


class TolerantDecoder(codecs.IncrementalDecoder):
    """UTF-8 that never fails, without X10 mouse reports.

    After a tmux re-attach or a reloaded terminal the mouse may speak X10: three raw bytes behind `ESC [ M`.
    They are no text, and read as text they would be keys that nobody pressed.
    """

    def __init__(self, errors: str = "replace") -> None:
        super().__init__(errors)
        self._text = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._held = b""
        """A report that has begun and is not complete."""
        self._tail = b""
        """The end of what was given on, in case it is the beginning of a report."""

    def decode(self, data: bytes, final: bool = False) -> str:  # type: ignore[override]
        """The text of some input bytes; a report that is cut is held for the next ones."""
        sent = next((part for part in (b"\x1b[", b"\x1b") if self._tail.endswith(part)), b"")
        data = _X10.sub(b"", sent + self._held + data)
        self._held = b""
        if not final and (begun := _X10_BEGUN.search(data)) is not None:
            self._held = begun.group()
            data = data[: begun.start()]
        data = data.removeprefix(sent)
        self._tail = b"" if self._held else data[-2:]
        return self._text.decode(data, final)


def _tolerant(_encoding: str) -> Callable[[], codecs.IncrementalDecoder]:
    return TolerantDecoder


class ConsoleDriver(LinuxDriver):
    """LinuxDriver with a tolerant decoder, which is silent while something else has the terminal."""

    _away = False

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
        linux_driver.getincrementaldecoder = _tolerant  # type: ignore[attr-defined, assignment]
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
