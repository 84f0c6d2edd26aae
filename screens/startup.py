"""Makes the sessions of the screen after its first frame: what is loaded in the background, and what is made then."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from screens.fleet import uniquely_named

if TYPE_CHECKING:
    from pathlib import Path

    from console.model.deployment import Assignment
    from screens.protocols import Session

ReadAgain = Callable[["Mapping[str, Assignment]", "Mapping[str, str]"], "Sequence[Session]"]
"""Reads the files again, given which node runs which group and which layout (name or file) is meant, both by cluster. Raises
ConsoleError."""
OWN = ("screens.assembly",)
"""What the screen itself does not need for its first frame."""


@dataclass(frozen=True, slots=True)
class Startup:
    """Files are read after the screen is painted, so that a slow disk or a heavy library never looks like a dead program."""

    words: str
    """What is being opened, for the first frame; plain text."""
    make: Callable[[], Sequence[Session]]
    """Reads the files, on the event loop. Raises ConsoleError when they are wrong."""
    needs: tuple[str, ...] = ()
    """Modules that `make` needs, loaded in a thread before it is called."""
    again: ReadAgain | None = None
    """None where there is no file."""
    copies: Path | None = None
    """Where copies of shipped layouts go; None is the configuration directory."""

    @classmethod
    def of(cls, session: Session) -> Startup:
        """A session that is there already."""
        return cls("", lambda: (session,))

    async def sessions(self) -> tuple[Session, ...]:
        """The sessions, none of them opened. Raises ConsoleError."""
        gc.enable()  # the command line leaves it off until the first frame is painted
        for name in (*self.needs, *OWN):
            await asyncio.to_thread(import_module, name)
        return uniquely_named(self.make())
