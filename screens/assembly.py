"""Makes the parts of the main screen that are loaded after the first frame: panes, prompt and controllers.

`_controllers` and `_changing_controllers` list all controllers. A new controller is a class in `screens.controllers` and a line
there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from screens.bell import Bell
from screens.controllers.assigning import Assigning
from screens.controllers.assignment_board import AssignmentActions
from screens.controllers.base import Controller
from screens.controllers.command_line import CommandLine
from screens.controllers.console_actions import ConsoleActions
from screens.controllers.engine_actions import EngineActions
from screens.controllers.evaluations import EvaluationActions
from screens.controllers.file_editing import FileEditing
from screens.controllers.file_reloading import FileReloading
from screens.controllers.layout_upgrade import LayoutUpgrade
from screens.controllers.live_changes import LiveChanges
from screens.controllers.log_actions import LogActions
from screens.controllers.lookup import Lookup
from screens.controllers.maintenance import MaintenanceActions
from screens.controllers.menus import Menus
from screens.controllers.node_connection import NodeConnection
from screens.controllers.plan_offer import PlanOffer
from screens.controllers.replay_controls import ReplayControls
from screens.controllers.restart_policies import RestartPolicies
from screens.controllers.status_text import StatusText
from screens.controllers.support_bundle import SupportBundle
from screens.controllers.unmanaged_list import UnmanagedList
from screens.panes.diagnosis import DiagnosisPane
from screens.panes.evaluation import EvaluationPane
from screens.panes.log import LogPane
from screens.panes.npus import NpuPane
from screens.panes.plan import PlanPane
from screens.panes.roles import RolePane
from screens.panes.verify import VerifyPane
from screens.prompt import Prompt
from screens.remembered_settings import recall, remember
from screens.welcome import Welcome, is_new_here
from screens.widgets import ListWidget

if TYPE_CHECKING:
    from collections.abc import Callable

    from screens.main import MainScreen
    from screens.options import Options
    from screens.startup import Startup


class Assembly:
    """The parts of one screen that are loaded late."""

    def __init__(
        self, screen: MainScreen, startup: Startup, options: Options, set_theme: Callable[[str], bool]
    ) -> None:
        self._screen = screen
        self._startup = startup
        self._options = options
        self._set_theme = set_theme

    async def mount(self) -> None:
        """Make panes, prompt and controllers; nothing is asked of a node."""
        screen = self._screen
        screen.panes.load()
        screen.prompt = Prompt(id="prompt")
        screen.controllers = self._controllers()
        screen.observers = [Bell(screen.interaction, screen.fleet).update, screen.panes.of(NpuPane).observe]
        for pane in screen.panes.values():
            pane.on_title = screen.draw_tabs
            pane.keys = screen.interaction.keys
            if isinstance(pane, ListWidget):
                pane.on_beyond = screen.draw_tabs
        screen.panes.of(VerifyPane).on_copy = screen.interaction.copy_out
        log = screen.panes.of(LogPane)
        log.numbers = False if self._options.low_bandwidth else None
        log.extraction.run_away = screen.interaction.run_program
        await screen.query_one("#panes").mount_all(screen.panes.values())
        await screen.mount(screen.prompt.list, screen.prompt, before=screen.footer)

    def _controllers(self) -> tuple[Controller, ...]:
        """All controllers."""
        screen = self._screen
        say, fleet, grid, arrangement = screen.interaction, screen.fleet, screen.grid, screen.arrangement
        panes, log = screen.panes, screen.panes.of(LogPane)
        command_line = CommandLine(
            say,
            fleet,
            grid,
            panes,
            log,
            screen.prompt,
            arrangement,
            controllers=lambda: screen.controllers,
            do_action=screen.action_do,
            draw_footer=screen.draw_footer,
        )
        menus = Menus(say, fleet, grid, arrangement, command_line, screen.action_do)
        logs = LogActions(say, fleet, grid, arrangement, log, menus.offer, screen.pin_log, screen.follow_cursor)
        lookup = Lookup(say, fleet, grid, arrangement, panes, log, logs.show_line)
        grid.on_menu = menus.menu
        panes.of(EvaluationPane).on_log = logs.show_run
        panes.of(DiagnosisPane).on_engine = lookup.show_engine
        screen.prompt.on_done, screen.prompt.on_typing = command_line.prompted, command_line.typing
        screen.take_paste = command_line.pasted
        return (
            arrangement,
            command_line,
            menus,
            logs,
            lookup,
            ReplayControls(say, fleet),
            StatusText(say, fleet),
            SupportBundle(say, fleet),
            NodeConnection(say, fleet, grid, screen.terminal.redraw),
            ConsoleActions(
                say,
                fleet,
                grid,
                arrangement,
                screen.terminal,
                leave=screen.leave,
                suspend=screen.app.action_suspend_process,
                set_theme=self._set_theme,
            ),
            *self._changing_controllers(command_line.begin, menus),
        )

    def _changing_controllers(self, begin: Callable[[str], None], menus: Menus) -> tuple[Controller, ...]:
        """The controllers that change files, the assignment or, through a plan, nodes; `begin` opens the command line."""
        screen, panes = self._screen, self._screen.panes
        say, fleet, grid, arrangement = screen.interaction, screen.fleet, screen.grid, screen.arrangement
        roles, plan_pane = panes.of(RolePane), panes.of(PlanPane)
        self._restarts = RestartPolicies(say, fleet, plan_pane, screen.draw)
        reloading = FileReloading(say, fleet, grid, self._startup.again, menus.offer, self._restarts.attach)
        self._offer_layouts = reloading.offer_layouts
        plans = PlanOffer(say, fleet, grid, panes, plan_pane, screen.draw_header)
        engines = EngineActions(say, fleet, grid, arrangement, plans, reloading.offer_layouts)
        assigning = Assigning(say, fleet, grid, reloading.offer_layouts, screen.draw)
        board = AssignmentActions(say, fleet, roles, begin, screen.draw)
        roles.on_place, roles.board_acts = assigning.fill, board
        return (
            self._restarts,
            reloading,
            engines,
            assigning,
            board,
            FileEditing(say, fleet, arrangement, reloading, self._startup.copies),
            EvaluationActions(say, fleet, arrangement, panes.of(EvaluationPane), begin),
            LiveChanges(say, fleet, grid, arrangement, roles, panes.of(VerifyPane), plans, begin),
            LayoutUpgrade(say, fleet, begin),
            MaintenanceActions(fleet, grid, plans),
            UnmanagedList(say, fleet, grid, engines.end_process),
        )

    async def start(self) -> None:
        """Show the clusters for the first time, as they were shown in the last session."""
        screen, session = self._screen, self._screen.fleet.session
        self._restarts.attach()
        recall(session, screen.grid, screen.panes.of(LogPane), screen.prompt)
        if self._options.hints and is_new_here(session.state_dir):
            screen.welcome = Welcome(screen.interaction.keys)
            await screen.mount(screen.welcome, before=screen.prompt)
        screen.dress()
        if screen.grid.cluster:
            screen.grid.move(1)
        if not session.deployment.layout.chosen:
            self._offer_layouts()
        screen.set_interval(1 / self._options.frames_per_s, screen.tick)

    def remember(self) -> None:
        """Keep for the next session how things are shown."""
        screen = self._screen
        remember(screen.fleet.session, screen.grid, screen.panes.of(LogPane), screen.prompt)
