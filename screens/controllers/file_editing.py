"""Opens the layout or the cluster file in the operator's editor, then reads it again. A shipped file is copied, never written."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from console.model.errors import ConsoleError
from console.model.snapshot import WrittenIn
from console.services.placement.layout_files import copy_path, copy_shipped, own_file, remove_unchanged_copy
from screens.controllers.base import Commands, Controller
from screens.external_programs import editor_command
from screens.styled_lines import Line, shown
from screens.widgets import Verbs

if TYPE_CHECKING:
    from screens.controllers.arrangement import Arrangement
    from screens.controllers.file_reloading import FileReloading
    from screens.fleet import Fleet
    from screens.interaction import Interaction


@dataclass(eq=False)
class FileEditing(Controller):
    """One file at a time, for the terminal is one."""

    interaction: Interaction
    fleet: Fleet
    arrangement: Arrangement
    reloading: FileReloading
    copies: Path | None
    """The directory for copies of shipped layouts; None is the configuration directory."""

    def verbs(self) -> Verbs:
        """The key that opens the file."""
        return {"edit": self.edit}

    def commands(self) -> Commands:
        """`:edit layout` and `:edit cluster`."""
        return {"edit": self._named}

    def edit(self) -> None:
        """The file and line that the row under a pane's cursor is about, else the layout."""
        here = self.arrangement.pointed
        self._begin(here.file or "layout" if here else "layout", here.file_line if here else 0)

    def _named(self, rest: str) -> None:
        if rest in ("layout", "cluster"):
            self._begin("layout" if rest == "layout" else "cluster", 0)
        else:
            self.interaction.warn("write :edit layout or :edit cluster")

    def _begin(self, file: WrittenIn, line: int) -> None:
        if not self.reloading.refused():
            self.interaction.start("away", self._edit, file, line)

    async def _edit(self, file: WrittenIn, line: int) -> None:
        try:
            if file == "cluster":
                await self._open_cluster(line)
            else:
                await self._open_layout(line)
        except ConsoleError as error:
            self.interaction.tell(error)

    async def _open_cluster(self, line: int) -> None:
        source = self.fleet.session.cluster.source
        if source is None:
            self.interaction.warn("this cluster was not opened from a file")
        elif await self._changed(Path(source.path), line):
            await self._take({})

    async def _open_layout(self, line: int) -> None:
        session = self.fleet.session
        layout, cluster = session.deployment.layout, session.cluster.name
        path = own_file(layout)
        if path is not None:
            if await self._changed(path, line):
                await self._take({})
            return
        path = copy_path(cluster, layout.name, self.copies)
        if not await self._agreed(layout.name, cluster, path):
            return
        fresh, gone = copy_shipped(layout.name, path), False
        try:
            await self._changed(path, line)
        finally:
            gone = fresh and remove_unchanged_copy(layout.name, path)
        if not gone:
            await self._take({cluster: str(path)})

    async def _take(self, layouts: Mapping[str, str]) -> None:
        """Have it read again, unless a plan has started while the editor was open: a restart policy waits for nobody."""
        if not self.reloading.refused():
            await self.reloading.read_again(layouts)

    async def _agreed(self, name: str, cluster: str, path: Path) -> bool:
        there = path.exists()
        title: Line = (
            (shown(name), "bold"),
            (
                " is shipped and stays as it is. Edit a copy?"
                if not there
                else " has a copy that you made. Edit and use it?",
                "plain",
            ),
        )
        text = (
            f"The copy: {path}\n"
            f"{cluster} uses it from now on, also when the console is opened without --layout. Engines that run keep what they "
            "were started with until they are restarted; this sends nothing to a node."
        )
        return await self.interaction.ask_yes(title, text)

    async def _changed(self, path: Path, line: int) -> bool:
        """Let the operator edit the file; gives whether it is another one now. Raises ConsoleError."""
        words = editor_command(dict(os.environ), path, line)
        before = _read(path)
        code = await self.interaction.run_program(words)
        if code:
            self.interaction.warn(f"{words[0]} ended with {code}")
        if _read(path) == before:
            self.interaction.notify(f"nothing was changed in {shown(path.name)}")
            return False
        return True


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConsoleError(f"{path}: {error.strerror}", hint="the earlier settings stay in use") from error
