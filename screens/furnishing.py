"""What the main screen gets after its first frame: panes, prompt, and the parts that act. It is loaded behind that frame."""

from __future__ import annotations

from typing import TYPE_CHECKING

from screens import remembering
from screens.command_line import CommandLine
from screens.deeds import Deeds
from screens.evaluating import Evaluating
from screens.evidence import Evidence
from screens.greeting import greet
from screens.living import Living
from screens.panes.evaluation import EvaluationPane
from screens.panes.log import LogPane
from screens.panes.roles import RolePane
from screens.panes.table import PANES
from screens.prompt import Prompt
from screens.reading import Reading
from screens.reloading import Reloading
from screens.replaying import Replaying
from screens.reshaping import Reshaping
from screens.restarting import Restarting
from screens.sayings import Sayings
from screens.unmanaged import Strangers
from screens.upkeep import Mending

if TYPE_CHECKING:
    from screens.main import MainScreen


async def furnish(screen: MainScreen) -> None:
    """Bring what is missing and join it; nothing is asked of a node."""
    screen.panes = {entry.id: entry.make() for entry in PANES}
    screen.prompt = Prompt(id="prompt")
    screen.deeds = Deeds(screen)
    screen.sayings = Sayings(screen)
    screen.command_line = CommandLine(screen)
    screen.reshaping = Reshaping(screen)
    screen.restarting = Restarting(screen)
    screen.living = Living(screen)
    evidence = Evidence(screen)
    screen.reading = Reading(screen)
    screen.evaluating = Evaluating(screen)
    screen.strangers = Strangers(screen)
    screen.mending = Mending(screen)
    screen.replaying = Replaying(screen)
    acts = (
        screen.deeds,
        Reloading(screen),
        screen.replaying,
        screen.evaluating,
        screen.reshaping,
        screen.strangers,
        screen.restarting,
        screen.living,
        evidence,
        screen.mending,
    )
    screen.parts = (*acts, screen.arrangement, screen.sayings, screen.reading, screen.command_line)
    screen.grid.on_menu = screen.sayings.menu
    for name, pane in screen.panes.items():
        pane.display = name == screen.opened
        pane.on_title = screen.draw_tabs
    roles = screen.panes["roles"]
    if isinstance(roles, RolePane):
        roles.on_place = screen.deeds.fill
        roles.reshaping = screen.reshaping
    runs = screen.panes["evaluation"]
    if isinstance(runs, EvaluationPane):
        runs.on_log = screen.evaluating.show_log
    screen.reading.join()
    screen.prompt.on_done = screen.command_line.prompted
    screen.prompt.on_typing = screen.command_line.typing
    log = screen.panes["logs"]
    if isinstance(log, LogPane):
        log.numbers = not screen.console.options.low_bandwidth
    await screen.query_one("#panes").mount_all(screen.panes.values())
    await screen.mount(screen.prompt, before=screen.footer)


def begin(screen: MainScreen) -> None:
    """Show the clusters of the app for the first time, as they were shown in the last session."""
    screen.restarting.attach()
    remembering.recall(screen)
    screen.dress()
    screen.greeted = greet(screen)
    if screen.grid.cluster:
        screen.grid.move(1)
    screen.set_interval(1 / screen.console.options.frames_per_s, screen.tick)
