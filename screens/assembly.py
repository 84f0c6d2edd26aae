"""What the main screen gets after its first frame: panes, prompt, and the parts that act. It is loaded behind that frame."""

from __future__ import annotations

from typing import TYPE_CHECKING

from screens import remembered_settings
from screens.controllers.assignment_board import AssignmentActions
from screens.controllers.command_line import CommandLine
from screens.controllers.engine_actions import EngineActions
from screens.controllers.evaluations import EvaluationActions
from screens.controllers.file_editing import FileEditing
from screens.controllers.file_reloading import FileReloading
from screens.controllers.layout_upgrade import LayoutUpgrade
from screens.controllers.live_changes import LiveChanges
from screens.controllers.log_actions import LogActions
from screens.controllers.lookup import Lookup
from screens.controllers.maintenance import MaintenanceActions
from screens.controllers.replay_controls import ReplayControls
from screens.controllers.restart_policies import RestartPolicies
from screens.controllers.shells import Shells
from screens.controllers.status_text import StatusText
from screens.controllers.support_bundle import SupportBundle
from screens.controllers.unmanaged_list import UnmanagedList
from screens.panes.diagnosis import DiagnosisPane
from screens.panes.evaluation import EvaluationPane
from screens.panes.log import LogPane
from screens.panes.npus import NpuPane
from screens.panes.roles import RolePane
from screens.panes.table import PANES
from screens.panes.verify import VerifyPane
from screens.prompt import Prompt
from screens.welcome import greet
from screens.widgets import ListWidget

if TYPE_CHECKING:
    from screens.main import MainScreen


async def mount_panes(screen: MainScreen) -> None:
    """Bring what is missing and join it; nothing is asked of a node."""
    screen.panes = {entry.id: entry.make() for entry in PANES}
    screen.prompt = Prompt(id="prompt")
    screen.engine_acts = EngineActions(screen)
    screen.lookup = Lookup(screen)
    screen.command_line = CommandLine(screen)
    screen.board_acts = AssignmentActions(screen)
    screen.restart_policies = RestartPolicies(screen)
    screen.live_changes = LiveChanges(screen)
    screen.layout_upgrade = LayoutUpgrade(screen)
    support_bundle, reloading = SupportBundle(screen), FileReloading(screen)
    screen.editing = FileEditing(screen, reloading)
    screen.log_actions = LogActions(screen)
    screen.evaluation_acts = EvaluationActions(screen)
    screen.unmanaged_list = UnmanagedList(screen)
    screen.node_upkeep = MaintenanceActions(screen)
    screen.replaying = ReplayControls(screen)
    acts = (
        screen.engine_acts,
        reloading,
        screen.editing,
        screen.replaying,
        screen.evaluation_acts,
        screen.board_acts,
        screen.unmanaged_list,
        screen.restart_policies,
        screen.live_changes,
        screen.layout_upgrade,
        support_bundle,
        StatusText(screen),
        Shells(screen),
        screen.node_upkeep,
    )
    screen.parts = (*acts, screen.arrangement, screen.lookup, screen.log_actions, screen.command_line)
    screen.grid.on_menu = screen.lookup.menu
    _join_panes(screen)
    screen.log_actions.join()
    screen.prompt.on_done = screen.command_line.prompted
    screen.prompt.on_typing = screen.command_line.typing
    await screen.query_one("#panes").mount_all(screen.panes.values())
    await screen.mount(screen.prompt.list, screen.prompt, before=screen.footer)


def _join_panes(screen: MainScreen) -> None:
    for name, pane in screen.panes.items():
        pane.display = name == screen.opened
        pane.on_title = screen.draw_tabs
        pane.keys = screen.console.options.keys
        if isinstance(pane, ListWidget):
            pane.on_beyond = screen.draw_tabs
    npus = screen.panes["npus"]
    if isinstance(npus, NpuPane):
        screen.observers.append(npus.observe)
    roles = screen.panes["roles"]
    if isinstance(roles, RolePane):
        roles.on_place = screen.engine_acts.fill
        roles.board_acts = screen.board_acts
    runs = screen.panes["evaluation"]
    if isinstance(runs, EvaluationPane):
        runs.on_log = screen.evaluation_acts.show_log
    causes = screen.panes["diagnosis"]
    if isinstance(causes, DiagnosisPane):
        causes.on_engine = screen.lookup.show_engine
    chats = screen.panes["verify"]
    if isinstance(chats, VerifyPane):
        chats.on_copy = screen.console.copy_out
    log = screen.panes["logs"]
    if isinstance(log, LogPane):
        log.numbers = False if screen.console.options.low_bandwidth else None


async def start_parts(screen: MainScreen) -> None:
    """Show the clusters of the app for the first time, as they were shown in the last session."""
    screen.restart_policies.attach()
    remembered_settings.recall(screen)
    screen.greeted = await greet(screen)
    screen.dress()
    if screen.grid.cluster:
        screen.grid.move(1)
    if not screen.console.session.deployment.layout.chosen:
        screen.editing.layout("")
    screen.set_interval(1 / screen.console.options.frames_per_s, screen.tick)
