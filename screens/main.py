"""The main screen: header, grid, tabs with panes, footer; it takes snapshots to what is visible and keys to what they mean."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Protocol, cast

from textual import events
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.screen import Screen

from screens.actions import BY_ID, Place, bindings
from screens.arrangement import Arrangement
from screens.bars import Footer, Rule
from screens.bell import Bell
from screens.grid.grid import Grid
from screens.header import Header
from screens.messages import Messages
from screens.panes.base import PaneMoment
from screens.panes.table import PANES
from screens.paste_guard import TOO_FAST
from screens.styled_lines import shown
from screens.tabs import PaneTitle, Tab, Tabs
from screens.too_small import TooSmall
from screens.widgets import LineWidget, ListWidget, Verbs

if TYPE_CHECKING:
    from console.model.plan import Plan
    from console.model.snapshot import ClusterSnapshot
    from screens.app import ConsoleApp
    from screens.controllers.assignment_board import AssignmentActions
    from screens.controllers.command_line import CommandLine
    from screens.controllers.engine_actions import EngineActions
    from screens.controllers.evaluations import EvaluationActions
    from screens.controllers.file_editing import FileEditing
    from screens.controllers.layout_upgrade import LayoutUpgrade
    from screens.controllers.live_changes import LiveChanges
    from screens.controllers.log_actions import LogActions
    from screens.controllers.lookup import Lookup
    from screens.controllers.maintenance import MaintenanceActions
    from screens.controllers.replay_controls import ReplayControls
    from screens.controllers.restart_policies import RestartPolicies
    from screens.controllers.unmanaged_list import UnmanagedList
    from screens.panes.base import Pane, Target
    from screens.panes.log import LogPane
    from screens.prompt import Prompt


class ScreenPart(Protocol):
    """A part of the screen that is no widget."""

    def verbs(self) -> Verbs:
        """What it does for action ids."""


class MainScreen(Screen[None]):
    """One screen for everything; dialogs lie over it.

    It is painted before any file is read; `furnishing.mount_panes` then brings panes, prompt and everything that acts.
    """

    BINDINGS: ClassVar = bindings("everywhere", "screen.do")
    prompt: Prompt
    engine_acts: EngineActions
    lookup: Lookup
    command_line: CommandLine
    log_actions: LogActions
    replaying: ReplayControls
    board_acts: AssignmentActions
    evaluation_acts: EvaluationActions
    unmanaged_list: UnmanagedList
    editing: FileEditing
    restart_policies: RestartPolicies
    live_changes: LiveChanges
    layout_upgrade: LayoutUpgrade
    node_upkeep: MaintenanceActions

    def __init__(self) -> None:
        super().__init__()
        self.header = Header(id="header")
        self.grid = Grid(id="grid")
        self.tabs = Tabs(id="tabs")
        self.pane_title = PaneTitle(id="pane-title")
        self.footer = Footer(id="footer")
        self.messages = Messages(id="messages")
        self.messages.on_lines_changed = self.draw_footer
        self.panes: dict[str, Pane | LogPane] = {}
        self.opened = PANES[0].id
        """Id of the open pane."""
        self.arrangement = Arrangement(self)
        self.pinned: tuple[Target, Target] | None = None
        """Where the grid's cursor was when something else was given to the log pane, and that; a move of it ends it."""
        self.alarm = Bell(self)
        self.observers: list[Callable[[ClusterSnapshot], None]] = []
        """Who keeps something of every snapshot, though it may be hidden."""
        self.greeted = False
        """Whether the words for who is new here are on the screen."""
        self.parts: tuple[ScreenPart, ...] = (self.arrangement,)
        """Whoever does something for keys that count everywhere."""

    @property
    def console(self) -> ConsoleApp:
        """The app, by its own type."""
        return cast("ConsoleApp", self.app)

    def compose(self) -> ComposeResult:
        """Header, body, footer."""
        yield self.header
        yield Rule(classes="level")
        with Horizontal(id="body"):
            yield self.grid
            yield Rule(classes="upright")
            with Vertical(id="detail"):
                yield Rule(classes="level")
                yield self.tabs
                yield self.pane_title
                yield Vertical(id="panes")
        yield TooSmall(id="tiny")
        yield self.messages
        yield self.footer

    def on_mount(self) -> None:
        """Paint what is known: that something is being opened."""
        self.grid.on_target = self.follow_cursor
        self.grid.on_rows = self.arrangement.fit
        self.grid.empty = self.console.opening.words
        self.dress()
        self.grid.focus()

    def dress(self) -> None:
        """Give every widget the look of the app."""
        for widget in self.query(LineWidget):
            widget.dress(self.console.look, self.console.pen)
        self.draw()

    @property
    def snapshot(self) -> ClusterSnapshot:
        """The shown snapshot of the selected cluster: the newest one, or the frozen one."""
        assert self.console.fleet is not None
        return self.console.fleet.snapshot

    @property
    def pane(self) -> Pane | LogPane:
        """The open pane."""
        return self.panes[self.opened]

    @property
    def place(self) -> Place:
        """Where keys go."""
        return cast(Place, getattr(self.focused, "place", "grid"))

    def take(self, snapshot: ClusterSnapshot) -> None:
        """Show another snapshot, unless the operator has frozen them."""
        fleet = self.console.fleet
        if fleet is None or not self.is_mounted:
            return
        self.alarm.hear(each.snapshot for each in fleet.sessions)
        for observe in self.observers:
            observe(snapshot)
        if not fleet.frozen and not self.console.terminal.behind:
            self.draw()

    def draw(self) -> None:
        """Draw what is visible."""
        fleet = self.console.fleet
        if fleet is None:
            self.header.say(self.console.opening.words)
            self.grid.show(())
            self.draw_tabs()
        else:
            self.grid.take(fleet.snapshots)
            self.follow_cursor()
        self.draw_footer()

    def draw_header(self) -> None:
        """Draw the top line."""
        fleet = self.console.fleet
        if fleet is None:
            return
        running = fleet.acting
        self.header.draw(
            fleet.snapshot,
            marks=len(self.grid.view.marks),
            frozen_at=fleet.snapshot.at if fleet.frozen else None,
            running=_words(running, fleet.snapshot) if running else "",
            problems=len(fleet.current.findings),
            keys=self.console.options.keys,
            elsewhere=fleet.bad_elsewhere,
            replay=self.replaying.words(),
            only=self.grid.only,
        )

    def draw_footer(self) -> None:
        """Draw the bottom line, unless a message or the prompt takes its place."""
        tiny, prompts = self.has_class("tiny"), bool(self.panes) and self.prompt.display
        self.messages.display = bool(self.messages.texts) and not tiny
        self.footer.display = not (tiny or prompts or self.messages.display)
        read_only = self.console.fleet is None or self.snapshot.read_only
        back = self.arrangement.alone or self.focused not in (None, self.grid)
        self.footer.draw(self.place, self.console.options.keys, read_only=read_only, back=back)

    def draw_tabs(self) -> None:
        """Draw the tabs, and the title of the open pane below them."""
        keys = self.console.options.keys
        tabs = [Tab(entry.id, entry.title, keys.word(BY_ID[entry.action]), entry.part) for entry in PANES]
        self.tabs.draw(tabs, self.opened, here=bool(self.panes) and self.focused is self.pane)
        title = self.pane.title() if self.panes else ()
        self.pane_title.draw(title, self.pane.beyond if self.panes and isinstance(self.pane, ListWidget) else "")

    def follow_cursor(self) -> None:
        """Give the open pane what the cursor is on."""
        fleet = self.console.fleet
        if not self.panes or fleet is None:
            return
        if self.is_current and self.grid.cluster:
            fleet.select(self.grid.cluster)
        target = self.grid.target
        if self.pinned is not None and self.pinned[0] != target:
            self.pinned = None
        if self.pinned is not None and self.opened == "logs":
            target = self.pinned[1]
        self.pane.take(PaneMoment(self.snapshot, target, self.console.session))
        self.draw_tabs()
        self.draw_header()

    def open_pane(self, name: str) -> None:
        """Show a pane."""
        self.opened = name
        for pane in self.panes.values():
            pane.display = pane.id == name
        self.follow_cursor()
        self.draw_footer()

    def tick(self) -> None:
        """Draw what changes with time alone; a terminal that does not keep up is drawn anew once it does."""
        if self.console.terminal.behind:
            return
        self.draw_header()
        tick = getattr(self.pane, "tick", None)
        if tick is not None and self.pane.is_on_screen:
            tick()

    def verbs(self) -> Verbs:
        """Everything that can be done from anywhere."""
        return {name: verb for part in self.parts for name, verb in part.verbs().items()}

    def action_do(self, name: str) -> None:
        """Run an action by its id: here, else where the keys go, else in the widget that knows it."""
        action = BY_ID[name]
        if self.console.fleet is None:
            early = {
                "quit": self.console.leave,
                "quit-now": self.console.leave,
                "interrupt": self.console.action_nothing,
            }
            early.get(name, lambda: self.notify("a moment: still opening", markup=False, timeout=2))()
            return
        if (action.danger or action.guarded) and self.console.keys.burst:
            self.notify(TOO_FAST, severity="warning", markup=False)
            return
        elsewhere = self.grid.marked_in
        if action.danger and elsewhere not in ("", self.grid.cluster):
            words = f"marks are in {shown(elsewhere)}, the cursor is not: go there, or take them away with -"
            self.notify(words, severity="warning", markup=False)
            return
        if action.guarded:
            self.console.keys_are_calm(partial(_run, self, name))
        else:
            _run(self, name)

    def on_descendant_focus(self, _event: events.DescendantFocus) -> None:
        """Other keys count now; where there is room for one half, it is the one they go to."""
        self.arrangement.fit()
        self.draw_tabs()
        self.draw_footer()

    def on_resize(self, event: events.Resize) -> None:
        """Another size has another arrangement."""
        self.arrangement.fit()
        self.call_after_refresh(self.draw)


def _run(screen: MainScreen, name: str) -> None:
    """Run an action in the first table that knows it; a pane that is not open is opened first, to show what comes of it."""
    widgets = [screen.focused, screen.pane, screen.grid]
    tables = [screen.verbs(), *(each.verbs() for each in widgets if isinstance(each, LineWidget))]
    for table in tables:
        if name in table:
            table[name]()
            return
    for pane in screen.panes.values():
        if name in pane.verbs():
            screen.arrangement.go(pane.id or "")
            pane.verbs()[name]()
            return


def _words(plan: Plan, snapshot: ClusterSnapshot) -> str:
    """What is at work."""
    where = f" on {shown(plan.cluster)}" if plan.cluster != snapshot.cluster else ""
    return f"{plan.verb} runs{where}"
