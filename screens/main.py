"""The main screen: header, grid, tabs with panes, footer. It gives snapshots to the visible widgets and keys to their actions."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, ClassVar

from textual import events
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.screen import Screen

from screens.actions import BY_ID, bindings
from screens.bars import Footer, Rule
from screens.controllers.arrangement import Arrangement
from screens.grid.grid import Grid
from screens.header import Header
from screens.messages import Messages
from screens.pane_moment import PaneMoment, Target
from screens.panes.table import PANES, Panes
from screens.paste_guard import TOO_FAST
from screens.styled_lines import shown
from screens.tabs import PaneTitle, Tab, Tabs
from screens.too_small import TooSmall
from screens.widgets import LineWidget, ListWidget

if TYPE_CHECKING:
    from collections.abc import Callable

    from console.model.plan import Plan
    from console.model.snapshot import ClusterSnapshot
    from screens.controllers.base import Controller
    from screens.fleet import Fleet
    from screens.interaction import Interaction
    from screens.panes.base import Pane
    from screens.panes.log import LogPane
    from screens.prompt import Prompt
    from screens.terminal import Terminal
    from screens.welcome import Welcome


class MainScreen(Screen[None]):
    """One screen for everything; dialogs lie over it.

    It is painted before any file is read; `screens.assembly` then brings panes, prompt and everything that acts.
    """

    BINDINGS: ClassVar = bindings("everywhere", "screen.do")
    prompt: Prompt

    def __init__(
        self, interaction: Interaction, fleet: Fleet, terminal: Terminal, opening: str, leave: Callable[[], None]
    ) -> None:
        """`opening` says what is being opened until a cluster is shown; `leave` ends the console."""
        super().__init__()
        self.interaction = interaction
        self.fleet = fleet
        self.terminal = terminal
        self._opening = opening
        self.leave = leave
        self.header = Header(id="header")
        self.grid = Grid(id="grid")
        self.tabs = Tabs(id="tabs")
        self.pane_title = PaneTitle(id="pane-title")
        self.footer = Footer(id="footer")
        self.messages = Messages(id="messages")
        self.messages.on_lines_changed = self.draw_footer
        self.panes = Panes()
        self.panes.on_open = self._pane_opened
        self.arrangement = Arrangement(self, self.grid, self.panes, self.header, self.draw_footer)
        self.pinned: tuple[Target, Target] | None = None
        """Where the grid's cursor was when something else was given to the log pane, and that; a move of it ends it."""
        self.observers: list[Callable[[ClusterSnapshot], None]] = []
        """Who keeps something of every snapshot, though it may be hidden."""
        self.welcome: Welcome | None = None
        """The words for who is new here, while they are on the screen."""
        self.take_paste: Callable[[str], None] = lambda text: None
        """What is done with a paste where nothing is typed."""
        self.controllers: tuple[Controller, ...] = ()
        """Whoever does something for keys that count everywhere and for the command line."""

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
        self.grid.empty = self._opening
        self.dress()
        self.grid.focus()

    def dress(self) -> None:
        """Give every widget the look of the app."""
        for widget in self.query(LineWidget):
            widget.dress(self.interaction.look, self.interaction.pen)
        self.draw()

    @property
    def pane(self) -> Pane | LogPane:
        """The open pane."""
        return self.panes.current

    def take(self, snapshot: ClusterSnapshot) -> None:
        """Show another snapshot, unless the operator has frozen them."""
        if not self.is_mounted:
            return
        for observe in self.observers:
            observe(snapshot)
        if not self.fleet.frozen and not self.terminal.behind:
            self.draw()

    def draw(self) -> None:
        """Draw what is visible."""
        if not self.fleet.opened:
            self.header.say(self._opening)
            self.grid.show(())
            self.draw_tabs()
        else:
            self.grid.take(self.fleet.snapshots)
            self.follow_cursor()
        self.draw_footer()

    def draw_header(self) -> None:
        """Draw the top line."""
        fleet = self.fleet
        if not fleet.opened:
            return
        running = fleet.acting
        self.header.draw(
            fleet.snapshot,
            marks=len(self.grid.view.marks),
            frozen_at=fleet.snapshot.at if fleet.frozen else None,
            running=_words(running, fleet.snapshot) if running else "",
            problems=len(fleet.session.findings),
            keys=self.interaction.keys,
            elsewhere=fleet.bad_elsewhere,
            replay=fleet.replay.words if fleet.replay else "",
            only=self.grid.only,
        )

    def draw_footer(self) -> None:
        """Draw the bottom line, unless a message or the prompt takes its place."""
        self.share_last_line()
        read_only = not self.fleet.opened or self.fleet.snapshot.read_only
        back = self.arrangement.alone or self.focused not in (None, self.grid)
        self.footer.draw(self.arrangement.place, self.interaction.keys, read_only=read_only, back=back)

    def share_last_line(self) -> None:
        """Show messages in place of the footer; with the prompt open no footer, in too small a terminal neither."""
        tiny, prompts = self.has_class("tiny"), bool(self.panes) and self.prompt.display
        self.messages.display = bool(self.messages.texts) and not tiny
        self.footer.display = not (tiny or prompts or self.messages.display)

    def draw_tabs(self) -> None:
        """Draw the tabs, and the title of the open pane below them."""
        keys = self.interaction.keys
        tabs = [Tab(entry.id, entry.title, keys.word(BY_ID[entry.action]), entry.part) for entry in PANES]
        self.tabs.draw(tabs, self.panes.opened, here=bool(self.panes) and self.focused is self.pane)
        title = self.pane.title() if self.panes else ()
        self.pane_title.draw(title, self.pane.beyond if self.panes and isinstance(self.pane, ListWidget) else "")

    def follow_cursor(self) -> None:
        """Give the open pane what the cursor is on."""
        if not self.panes or not self.fleet.opened:
            return
        if self.is_current and self.grid.cluster:
            self.fleet.select(self.grid.cluster)
        target = self.grid.target
        if self.pinned is not None and self.pinned[0] != target:
            self.pinned = None
        if self.pinned is not None and self.panes.opened == "logs":
            target = self.pinned[1]
        self.pane.take(PaneMoment(self.fleet.snapshot, target, self.fleet.session))
        self.draw_tabs()
        self.draw_header()

    def pin_log(self, engine: str) -> None:
        """Give the log pane this engine instead of what the cursor is on, until the cursor moves."""
        self.pinned = (self.grid.target, Target(engine=engine))

    def _pane_opened(self) -> None:
        self.follow_cursor()
        self.draw_footer()

    def tick(self) -> None:
        """Draw what changes with time alone; a terminal that does not keep up is drawn anew once it does."""
        if self.terminal.behind:
            return
        self.draw_header()
        tick = getattr(self.pane, "tick", None)
        if tick is not None and self.pane.is_on_screen:
            tick()

    def action_do(self, name: str) -> None:
        """Run an action by its id: here, else where the keys go, else in the widget that knows it."""
        action = BY_ID[name]
        if not self.fleet.opened:
            early = {"quit": self.leave, "quit-now": self.leave, "interrupt": self.interaction.explain_quit}
            early.get(name, lambda: self.interaction.notify("still opening; try again in a moment", timeout=2))()
            return
        if (action.danger or action.guarded) and self.interaction.key_times.burst:
            self.interaction.warn(TOO_FAST)
            return
        elsewhere = self.grid.marked_in
        if action.danger and elsewhere not in ("", self.grid.cluster):
            self.interaction.warn(
                f"marks are in {shown(elsewhere)}, the cursor is not: go there, or take them away with -"
            )
            return
        if action.guarded:
            self.interaction.unless_pasting(partial(_run, self, name))
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
        self.share_last_line()
        self.call_after_refresh(self.draw)


def _run(screen: MainScreen, name: str) -> None:
    """Run an action in the first table that knows it; a pane that is not open is opened first, to show what comes of it."""
    widgets = [screen.focused, screen.pane, screen.grid]
    everywhere = (each.verbs() for each in screen.controllers)
    here = (each.verbs() for each in widgets if isinstance(each, LineWidget))
    for table in (*everywhere, *here):
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
