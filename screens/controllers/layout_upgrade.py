"""Shows how another release changes the layout in use, and writes the changed layout to a file if the operator confirms."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from console.files import save_text
from console.model.errors import ConsoleError
from console.model.image_name import release_named
from console.releases.facts import names, release_name
from console.services.placement.layout_upgrade import Upgrade, upgrade
from console.services.placement.upgrade_report import report_lines
from screens.controllers.base import Commands, Controller, split_names
from screens.styled_lines import Line, shown
from screens.widgets import Verbs

if TYPE_CHECKING:
    from screens.fleet import Fleet
    from screens.interaction import Interaction

_HOW = "upgrade RELEASE [FILE]: shows what changes, FILE gets the changed layout"
_ROLES = {"+": "ok", "-": "dim", "@": "dim"}


@dataclass(eq=False)
class LayoutUpgrade(Controller):
    """Changes nothing on a node and not the layout in use."""

    interaction: Interaction
    fleet: Fleet
    begin_command: Callable[[str], None]
    """Opens the command line with the beginning of a command."""

    def verbs(self) -> Verbs:
        """The key of the roles pane."""
        return {"upgrade": self.begin}

    def commands(self) -> Commands:
        """A release, and a file for the changed layout."""
        return {"upgrade": lambda rest: self.show(split_names(rest))}

    def begin(self) -> None:
        """Begin the command with the release after the layout's own."""
        own, known = release_name(release_named(self.fleet.session.deployment.layout)), names()
        later = known[known.index(own) + 1 :] if own in known else known[-1:]
        self.begin_command(f"upgrade v{later[0]}" if later else "upgrade ")

    def show(self, words: Sequence[str]) -> None:
        """Show what the release changes; with a file, ask whether to write it."""
        if not 1 <= len(words) <= 2:
            self.interaction.warn(_HOW)
        else:
            self.interaction.start("upgrade", self._work, words[0], words[1] if len(words) > 1 else "")

    async def _work(self, release: str, file: str) -> None:
        layout = self.fleet.session.deployment.layout
        try:
            found = await asyncio.to_thread(upgrade, layout.written or layout, release)
            if file:
                await self._save(found, Path(file).expanduser())
                return
        except ConsoleError as error:
            self.interaction.tell(error)
            return
        title: Line = (
            (shown(layout.name), "bold"),
            (f" for v{found.new.name}; :upgrade v{found.new.name} FILE writes it", "plain"),
        )
        self.interaction.read(title, [_line(text) for text in report_lines(found)])

    async def _save(self, found: Upgrade, path: Path) -> None:
        if path.exists():
            raise ConsoleError(f"{path} exists", hint="choose another name; nothing is replaced from here")
        title: Line = (("Write the layout for ", "plain"), (f"v{found.new.name}", "bold"), ("?", "plain"))
        left = "" if found.fits else "\nSomething is left that this release does not know; :upgrade RELEASE shows it."
        text = f"The file: {path}\nThe layout in use stays as it is; :layout {path} uses the new one.{left}"
        if await self.interaction.ask_yes(title, text):
            save_text(path, found.changed)
            self.interaction.notify(f"written: {shown(str(path))}; :layout {shown(str(path))} uses it")


def _line(text: str) -> Line:
    diff = text[:1] in _ROLES and not text.startswith(("+++", "---"))
    breaks = text.split()[:1] and text.split()[0] in ("gone", "unknown", "refused")
    return ((shown(text), "fail" if breaks else _ROLES[text[0]] if diff else "plain"),)
