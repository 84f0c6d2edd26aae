"""The main screen: header, grid, tabs with panes, footer; it takes snapshots to what is visible and keys to what they mean."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, cast

from textual import events
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.screen import Screen
from textual.widgets import ContentSwitcher

from console.model.pace import about
from console.model.plan import Plan
from console.model.snapshot import ClusterSnapshot
from screens import remembering
from screens.actions import BY_ID, Place, bindings
from screens.arrangement import Arrangement
from screens.bars import Footer, Header, Tabs
from screens.command_line import CommandLine
from screens.deeds import Deeds
from screens.evaluating import Evaluating
from screens.grid import Grid
from screens.panes.base import Pane, Shown, Target
from screens.panes.evaluation import EvaluationPane
from screens.panes.log import LogPane
from screens.panes.roles import RolePane
from screens.panes.table import PANES
from screens.prompt import Prompt
from screens.reading import Reading
from screens.reshaping import Reshaping
from screens.restarting import Restarting
from screens.room import Room, Verbs
from screens.sayings import Sayings
from screens.tiny import Tiny
from screens.unmanaged import Strangers

if TYPE_CHECKING:
    from screens.app import ConsoleApp


class MainScreen(Screen[None]):
    """One screen for everything; dialogs lie over it."""

    BINDINGS: ClassVar = bindings("everywhere", "screen.do")

    def __init__(self) -> None:
        super().__init__()
        self.header = Header(id="header")
        self.grid = Grid(id="grid")
        self.tabs = Tabs(id="tabs")
        self.panes: dict[str, Pane | LogPane] = {entry.id: entry.make() for entry in PANES}
        self.footer = Footer(id="footer")
        self.prompt = Prompt(id="prompt")
        self.frozen: ClusterSnapshot | None = None
        self.deeds = Deeds(self)
        self.arrangement = Arrangement(self)
        self.sayings = Sayings(self)
        self.reading = Reading(self)
        self.command_line = CommandLine(self)
        self.reshaping = Reshaping(self)
        self.evaluating = Evaluating(self)
        self.pinned: tuple[Target, Target] | None = None
        """Where the grid's cursor was when something else was given to the log pane, and that; a move of it ends it."""
        self.strangers = Strangers(self)
        self.restarting = Restarting(self)

    @property
    def console(self) -> ConsoleApp:
        """The app, by its own type."""
        return cast("ConsoleApp", self.app)

    def compose(self) -> ComposeResult:
        """Header, body, footer."""
        yield self.header
        with Horizontal(id="body"):
            yield self.grid
            with Vertical(id="detail"):
                yield self.tabs
                with ContentSwitcher(id="panes", initial=PANES[0].id):
                    yield from self.panes.values()
        yield Tiny(id="tiny")
        yield self.prompt
        yield self.footer

    def on_mount(self) -> None:
        """Join the parts; nothing is asked of a node yet."""
        self.grid.on_target = self.follow_cursor
        self.grid.on_menu = self.sayings.menu
        self.grid.on_rows = self.arrangement.fit
        for pane in self.panes.values():
            pane.on_title = self.draw_tabs
        roles = self.panes["roles"]
        if isinstance(roles, RolePane):
            roles.on_place = self.deeds.fill
            roles.reshaping = self.reshaping
        runs = self.panes["evaluation"]
        if isinstance(runs, EvaluationPane):
            runs.on_log = self.evaluating.show_log
        self.reading.join()
        self.prompt.on_done = self.command_line.prompted
        self.prompt.on_typing = self.command_line.typing
        log = self.panes["logs"]
        if isinstance(log, LogPane):
            log.numbers = not self.console.options.low_bandwidth
        self.restarting.attach()
        remembering.recall(self)
        self.dress()
        self.take(self.console.session.snapshot)
        self.grid.focus()
        self.set_interval(1 / self.console.options.frames_per_s, self._tick)

    def dress(self) -> None:
        """Give every room the look of the app."""
        for room in self.query(Room):
            room.dress(self.console.look, self.console.pen)
        self.draw()

    @property
    def snapshot(self) -> ClusterSnapshot:
        """What is shown: the newest picture, or the one held still."""
        return self.frozen or self.console.session.snapshot

    @property
    def pane(self) -> Pane | LogPane:
        """The open pane."""
        current = self.query_one("#panes", ContentSwitcher).current or PANES[0].id
        return self.panes[current]

    @property
    def place(self) -> Place:
        """Where keys go."""
        room = self.focused
        return cast(Place, getattr(room, "place", "grid"))

    def take(self, _snapshot: ClusterSnapshot) -> None:
        """Show another picture, unless the operator holds one still."""
        if self.frozen is None and self.is_mounted:
            self.draw()

    def draw(self) -> None:
        """Draw what is visible."""
        self.grid.take(self.snapshot)
        self.draw_header()
        self.follow_cursor()
        self.draw_footer()

    def draw_header(self) -> None:
        """Draw the top line."""
        session = self.console.session
        running = session.operator.running
        self.header.draw(
            self.snapshot,
            marks=len(self.grid.view.marks),
            frozen_at=self.frozen.at if self.frozen else None,
            running=_words(running, self.snapshot) if running else "",
            problems=len(session.findings),
        )

    def draw_footer(self) -> None:
        """Draw the bottom line."""
        self.footer.draw(
            self.place, self.console.options.keys, read_only=self.snapshot.read_only, back=self.arrangement.alone
        )

    def draw_tabs(self) -> None:
        """Draw the tabs with the open pane's words."""
        keys = self.console.options.keys
        names = [
            (entry.id, entry.title, keys.word(BY_ID[f"pane-{number}"])) for number, entry in enumerate(PANES, start=2)
        ]
        self.tabs.draw(names, self.pane.id or "", self.pane.title())

    def follow_cursor(self) -> None:
        """Give the open pane what the cursor is on."""
        target = self.grid.target
        if self.pinned is not None and self.pinned[0] != target:
            self.pinned = None
        if self.pinned is not None and isinstance(self.pane, LogPane):
            target = self.pinned[1]
        self.pane.take(Shown(self.snapshot, target, self.console.session))
        self.draw_tabs()
        self.draw_header()

    def open_pane(self, name: str) -> None:
        """Show a pane."""
        self.query_one("#panes", ContentSwitcher).current = name
        self.follow_cursor()
        self.draw_footer()

    def _tick(self) -> None:
        self.draw_header()
        if isinstance(self.pane, LogPane) and self.pane.is_on_screen:
            self.pane.tick()

    def verbs(self) -> Verbs:
        """Everything that can be done from anywhere."""
        acts = (self.deeds, self.evaluating, self.reshaping, self.strangers, self.restarting)
        parts = (*acts, self.arrangement, self.sayings, self.reading, self.command_line)
        return {name: verb for part in parts for name, verb in part.verbs().items()}

    def action_do(self, name: str) -> None:
        """Run an action by its id: here, else where the keys go, else in the room that knows it."""
        action = BY_ID[name]
        if action.danger and self.console.keys.burst:
            self.notify("ignored: keys came too fast to be meant", severity="warning", markup=False)
            return
        rooms = [self.focused, self.pane, self.grid, *self.panes.values()]
        tables = [self.verbs(), *(room.verbs() for room in rooms if isinstance(room, Room))]
        for table in tables:
            if name in table:
                table[name]()
                return

    def on_descendant_focus(self, _event: events.DescendantFocus) -> None:
        """Other keys count now."""
        self.draw_footer()

    def on_resize(self, event: events.Resize) -> None:
        """Another size has another arrangement."""
        self.arrangement.fit()
        self.call_after_refresh(self.draw)


def _words(plan: Plan, snapshot: ClusterSnapshot) -> str:
    """What is at work, and about how long it takes yet where earlier starts tell."""
    left = max((each.left_s for each in snapshot.paces.values() if each.left_s), default=None)
    return f"{plan.verb} runs" + (f", about {about(left)} left" if left and plan.verb in ("start", "restart") else "")
