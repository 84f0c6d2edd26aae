"""Saves and restores the display settings of the main screen; `screens.saved_settings` holds the file."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from screens import saved_settings
from screens.grid.rows import SORTS

if TYPE_CHECKING:
    from screens.grid.grid import Grid
    from screens.panes.log import LogPane
    from screens.prompt import Prompt
    from screens.protocols import Session


def remember(session: Session, grid: Grid, log: LogPane, prompt: Prompt) -> None:
    """Keep how things are shown for the next session."""
    kept = {
        "sort": grid.view.sort,
        "reverse": grid.view.reverse,
        "by_group": grid.view.by_group,
        "wrapped": log.wrapped,
        "commands": prompt.history[":"][-50:],
    }
    directory = session.state_dir
    saved_settings.save(directory, {**saved_settings.load(directory), session.cluster.name: kept})


def recall(session: Session, grid: Grid, log: LogPane, prompt: Prompt) -> None:
    """Show things as they were shown the last time; whatever is not understood is left as it is."""
    kept = saved_settings.load(session.state_dir).get(session.cluster.name)
    if not isinstance(kept, dict):
        return
    sort = kept.get("sort")
    grid.view = replace(
        grid.view,
        sort=sort if sort in SORTS else "written",
        reverse=kept.get("reverse") is True,
        by_group=kept.get("by_group") is True,
    )
    log.wrapped = kept.get("wrapped") is True
    commands = kept.get("commands")
    if isinstance(commands, list):
        prompt.history[":"] = [each for each in commands if isinstance(each, str)]
