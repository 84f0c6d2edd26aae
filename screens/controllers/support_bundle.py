"""One key gathers what somebody else needs to help into one masked file on this machine, as `support-bundle` does."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING, cast

from console.model.errors import ConsoleError
from console.private_files import private_directory
from screens.styled_lines import shown
from screens.widgets import Verbs

if TYPE_CHECKING:
    from console.services.session import Session
    from screens.main import MainScreen


class SupportBundle:
    """One bundle at a time."""

    def __init__(self, screen: MainScreen) -> None:
        self._screen = screen
        self._busy = False

    def verbs(self) -> Verbs:
        """The key that gathers."""
        return {"support-bundle": self.begin}

    def begin(self) -> None:
        """Ask the nodes and write the file; the screen stays free."""
        if self._busy:
            self._screen.notify("a support bundle is being written already", markup=False, timeout=3)
            return
        self._busy = True
        self._screen.notify(
            "collecting a support bundle from all nodes; this takes up to a few minutes", markup=False, timeout=5
        )
        self._screen.run_worker(self._gather(), group="evidence")

    async def _gather(self) -> None:
        from console.services.support_bundle import gather, pack
        from console.services.xdg_paths import file_name

        session = cast("Session", self._screen.console.session)
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        try:
            folder = private_directory(Path(session.state_dir) / "support-bundles")
            path = folder / f"dsv4-support-bundle-{file_name(session.cluster.name)}-{stamp}.tar.gz"
            pieces = await gather(session)
            await asyncio.to_thread(pack, pieces, path)
        except ConsoleError as error:
            self._screen.console.tell(error)
            return
        finally:
            self._busy = False
        words = f"support bundle: {shown(str(path))}; secrets are masked, names and addresses are not"
        session.note(words)
        self._screen.notify(f"{words} (9)", markup=False, timeout=20)
