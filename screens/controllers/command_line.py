"""The command line at the bottom: it finds the command, search or filter that was typed, and calls its controller."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from console.files import shipped_layouts
from console.model.deployment import EVERY
from console.model.suggestions import did_you_mean, suggestions
from console.releases.facts import names
from screens.actions import ACTIONS, BY_ID, CHANGING, find_action, starting_with
from screens.candidates import Candidate, plain_width
from screens.controllers.base import Commands, Controller
from screens.controllers.engine_actions import OPERATIONS
from screens.controllers.evaluations import BEGINNINGS
from screens.controllers.log_actions import LASTS
from screens.panes.table import PANES
from screens.paste_guard import TOO_FAST
from screens.prompt import Kind, Prompt
from screens.styled_lines import shown
from screens.text_inputs import one_line
from screens.themes import LOOKS
from screens.widgets import Verbs

if TYPE_CHECKING:
    from screens.controllers.arrangement import Arrangement
    from screens.fleet import Fleet
    from screens.grid.grid import Grid
    from screens.interaction import Interaction
    from screens.panes.log import LogPane
    from screens.panes.table import Panes

_NARROW = str.maketrans("：／、＆", "://&")
"""What an input method makes of the signs of the prompts."""
_TABS = {name: each.id for each in PANES if (name := each.title.casefold()) not in {*BY_ID, "bench"}}
"""Tabs by the words that stand on them, where those do not mean something else already."""
_SHAPING = ("take", "size", "reset", "scale")
"""What changes which node runs which group, by the name of a node or a group."""
_FILTERS = (
    Candidate("ERROR|CRITICAL|Traceback", "Errors and the start of each traceback"),
    Candidate("WARNING", "Warnings"),
    Candidate("!POST /v1", "All but lines of requests"),
)


@dataclass(eq=False)
class CommandLine(Controller):
    """Opens the prompt and takes what was typed."""

    interaction: Interaction
    fleet: Fleet
    grid: Grid
    panes: Panes
    log: LogPane
    prompt: Prompt
    arrangement: Arrangement
    controllers: Callable[[], Sequence[Controller]]
    """Gives everything whose commands can be typed."""
    do_action: Callable[[str], object]
    """Runs an action by its id."""
    draw_footer: Callable[[], None]
    """Draws the footer, whose place the prompt takes while it is open."""
    _searched: object = field(default=None, init=False)

    def verbs(self) -> Verbs:
        """Keys that open the prompt."""
        words = "an action, node NAME, log ENGINE, a line number, last 5m, at HH:MM, q"
        return {
            "command": lambda: self._open(":", self.candidates(), words),
            "find": self.find,
            "filter": self.filter,
        }

    def commands(self) -> Commands:
        """What is typed to go somewhere in the grid, or to show only some of its rows."""
        return {
            "node": lambda name: self._found(self.grid.show_node(name), "node", name),
            "engine": lambda name: self._found(self.grid.show_engine(name), "engine", name),
            "cluster": lambda name: self._found(self.grid.show_cluster(name), "cluster", name),
            "log": self._show_log,
            "logs": self._show_log,
            "filter": self.grid.look_for,
        }

    def pasted(self, text: str) -> None:
        """Text that was pasted where nothing is typed: a prompt for what starts like one; nothing of it runs by itself."""
        line = one_line(text)
        sign, rest = line[:1].translate(_NARROW), line[1:].strip()
        if sign == ":":
            self.begin(rest)
        elif sign == "&":
            self.filter(rest)
        elif sign == "/":
            self.find(rest)
        elif line:
            self.interaction.warn("a paste does nothing here; press : / or & first, or start what you paste with it")

    def filter(self, value: str = "") -> None:
        """Only some lines of the log of the engine."""
        self._open(
            "&", _FILTERS, "show only log lines that contain this text; !TEXT hides them; empty shows all", value
        )

    def find(self, value: str = "") -> None:
        """Search in a log, filter anywhere else."""
        in_log = self.arrangement.focused is self.log
        words = "search; n and N go on" if in_log else "show only rows that contain this text; empty shows all"
        self._open("/", (), words, value)

    def begin(self, text: str) -> None:
        """Open the command line with a beginning that the operator completes."""
        self._open(":", self.candidates(), "", text)

    def _open(self, kind: Kind, candidates: Sequence[Candidate], placeholder: str, value: str = "") -> None:
        self._searched = self.arrangement.focused
        self.prompt.open(kind, candidates, placeholder, value)
        self.draw_footer()

    def typing(self, kind: Kind, text: str) -> None:
        """Lists follow the typing."""
        if kind == "/" and self._searched is not self.log:
            self._filter_list(text)

    def _filter_list(self, text: str) -> None:
        pane = self.panes.current
        (pane if self._searched is pane and pane is not self.log else self.grid).look_for(text)

    def prompted(self, kind: Kind, text: str | None) -> None:
        """What was typed takes effect; the keys go back where they were."""
        self.draw_footer()
        in_log = self._searched is self.log
        in_pane = self._searched is self.panes.current
        self.arrangement.focus(self.log if in_log else self.panes.current if in_pane else self.grid)
        if text is None:
            if kind == "/" and not in_log:
                self._filter_list("")
        elif kind == "&":
            self.arrangement.go("logs")
            self.log.filter(text)
        elif kind == "/" and in_log:
            self.log.look_for(text)
        elif kind == ":":
            self.command(text)

    def candidates(self) -> list[Candidate]:
        """What may be typed and what each does; what can change something comes last."""
        fleet, snapshot = self.fleet, self.fleet.snapshot
        groups = tuple(fleet.session.deployment.layout.groups)
        clusters = [each.cluster.name for each in fleet.sessions] if fleet.several else []
        operations = () if snapshot.read_only else OPERATIONS
        named: tuple[tuple[str, str, Sequence[str]], ...] = (
            ("log", "Log of the engine", tuple(snapshot.engines)),
            ("node", "Put the cursor on the node", tuple(snapshot.nodes)),
            ("cluster", "Put the cursor on the cluster", clusters),
            ("last", "Go back by this time in the log", (*LASTS, "all")),
            ("layout", "Use this layout", tuple(shipped_layouts())),
            ("theme", "Use this theme", tuple(LOOKS)),
            ("edit", "Open the file in your $EDITOR", ("layout", "cluster")),
            *((verb, BY_ID[verb].help, tuple(snapshot.nodes) if verb == "take" else groups) for verb in _SHAPING),
            ("upgrade", BY_ID["upgrade"].help, tuple(f"v{name}" for name in names())),
            *((verb, f"Plan to {verb} it", (*snapshot.engines, *groups, EVERY)) for verb in operations),
        )
        found: list[Candidate] = []
        for verb, help, names_of_it in named:
            danger = verb in CHANGING
            head = [Candidate(f"{verb} ", help, danger)] if names_of_it else []
            found += [*head, *(Candidate(f"{verb} {name}", help, danger) for name in names_of_it)]
        found += [Candidate(each.id, each.help, each.danger) for each in ACTIONS]
        found += [Candidate(name, "Open this tab") for name in _TABS]
        found += [Candidate("layout", "Choose a layout"), *(Candidate(*each) for each in BEGINNINGS)]
        return sorted(found, key=lambda each: each.danger or each.words.partition(" ")[0] in CHANGING)

    def words(self) -> list[str]:
        """The lines that may be typed as they stand."""
        return [each.words for each in self.candidates() if not each.words.endswith(" ")]

    def command(self, text: str) -> None:
        """Run a line of the command line.

        A command is written in full, an action may be shortened; what is an action without a rest of the line is a command
        with one.
        """
        word, _, rest = plain_width(text).strip().lstrip(":").partition(" ")
        rest = rest.strip()
        if not word:
            return
        action = find_action(word)
        if action is not None and action.danger and rest and self.interaction.key_times.burst:
            self.interaction.warn(TOO_FAST)
            return
        commands = {name: run for each in self.controllers() for name, run in each.commands().items()}
        if word in commands and (rest or word not in BY_ID):
            commands[word](rest)
        elif word in _TABS and not rest:
            self.arrangement.go(_TABS[word])
        elif word.isdecimal():
            self.arrangement.go("logs")
            self.log.navigation.line(int(word))
        elif action is not None and not rest:
            self.do_action(action.id)
        elif action is not None and action.id in commands:
            commands[action.id](rest)
        elif len(near := starting_with(word)) > 1:
            self.interaction.warn(f"{word} is not clear: {', '.join(near)}")
        else:
            self._unknown(word)

    def _unknown(self, word: str) -> None:
        known = dict.fromkeys(each.partition(" ")[0] for each in self.words())
        meant = did_you_mean(suggestions(word, known, CHANGING)) or "press : and then Tab to see the names"
        self.interaction.warn(f"no command {shown(word)!r}; {meant}")

    def _found(self, found: bool, kind: str, name: str) -> None:
        if not found:
            self.interaction.warn(f"no {kind} {shown(name)!r}; press : and then Tab to see the names")

    def _show_log(self, engine: str) -> None:
        found = self.grid.show_engine(engine)
        self._found(found, "engine", engine)
        if found:
            self.arrangement.go("logs")
