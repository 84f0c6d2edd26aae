"""Which of the main screen's ways of showing things outlive a session; the file itself is kept by `screens.saved_settings`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from screens import saved_settings
from screens.grid.rows import SORTS
from screens.panes.log import LogPane

if TYPE_CHECKING:
    from screens.main import MainScreen


def remember(screen: MainScreen) -> None:
    """Keep how things are shown for the next session."""
    view = screen.grid.view
    log = screen.panes["logs"]
    kept = {
        "sort": view.sort,
        "reverse": view.reverse,
        "by_group": view.by_group,
        "wrapped": isinstance(log, LogPane) and log.wrapped,
        "commands": screen.prompt.history[":"][-50:],
    }
    directory = screen.console.session.state_dir
    saved_settings.save(directory, {**saved_settings.load(directory), screen.console.session.cluster.name: kept})


def recall(screen: MainScreen) -> None:
    """Show things as they were shown the last time; whatever is not understood is left as it is."""
    kept = saved_settings.load(screen.console.session.state_dir).get(screen.console.session.cluster.name)
    if not isinstance(kept, dict):
        return
    sort = kept.get("sort")
    screen.grid.view = replace(
        screen.grid.view,
        sort=sort if sort in SORTS else "written",
        reverse=kept.get("reverse") is True,
        by_group=kept.get("by_group") is True,
    )
    log = screen.panes["logs"]
    if isinstance(log, LogPane):
        log.wrapped = kept.get("wrapped") is True
    commands = kept.get("commands")
    if isinstance(commands, list):
        screen.prompt.history[":"] = [each for each in commands if isinstance(each, str)]
