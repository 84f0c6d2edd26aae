"""Writes a support bundle on this machine, as the command `support-bundle` does."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, cast

from console.model.errors import ConsoleError
from console.private_files import private_directory
from screens.controllers.base import Controller
from screens.styled_lines import shown
from screens.widgets import Verbs

if TYPE_CHECKING:
    from console.services.session import Session
    from screens.fleet import Fleet
    from screens.interaction import Interaction


@dataclass(eq=False)
class SupportBundle(Controller):
    """One bundle at a time."""

    interaction: Interaction
    fleet: Fleet
    _busy: bool = field(default=False, init=False)

    def verbs(self) -> Verbs:
        """The key that gathers."""
        return {"support-bundle": self.begin}

    def begin(self) -> None:
        """Ask the nodes and write the file; the screen stays free."""
        if self._busy:
            self.interaction.notify("a support bundle is being written already", timeout=3)
            return
        self._busy = True
        self.interaction.notify("collecting a support bundle from all nodes; this takes up to a few minutes", timeout=5)
        self.interaction.start_beside(self._gather())

    async def _gather(self) -> None:
        from console.services.support_bundle import gather, pack
        from console.services.xdg_paths import file_name

        session = cast("Session", self.fleet.session)
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        try:
            folder = private_directory(Path(session.state_dir) / "support-bundles")
            path = folder / f"dsv4-support-bundle-{file_name(session.cluster.name)}-{stamp}.tar.gz"
            pieces = await gather(session)
            await asyncio.to_thread(pack, pieces, path)
        except ConsoleError as error:
            self.interaction.tell(error)
            return
        finally:
            self._busy = False
        words = f"support bundle: {shown(str(path))}; secrets are masked, names and addresses are not"
        session.note(words)
        self.interaction.notify(f"{words}; Events keeps this message", timeout=20)
