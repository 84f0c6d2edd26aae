"""What is typed at the bottom line: commands by name, searches and filters; it finds out what is meant and lets others do it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from console.files import shipped_layouts
from console.model.deployment import EVERY
from console.model.plan import Verb
from console.model.suggestions import did_you_mean, suggestions
from console.releases.facts import names
from screens.actions import ACTIONS, BY_ID, CHANGING, find_action, starting_with
from screens.candidates import Candidate, plain_width
from screens.controllers.engine_names import engines_named
from screens.controllers.evaluations import BEGINNINGS
from screens.controllers.log_actions import LASTS
from screens.panes.log import LogPane
from screens.panes.table import PANES
from screens.paste_guard import TOO_FAST
from screens.prompt import Kind
from screens.styled_lines import shown
from screens.text_inputs import one_line
from screens.themes import LOOKS
from screens.widgets import Verbs

if TYPE_CHECKING:
    from screens.main import MainScreen

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
_VERBS: dict[str, Verb] = {"start": "start", "stop": "stop", "restart": "restart", "kill": "kill"}


class CommandLine:
    """Opens the prompt and takes what was typed."""

    def __init__(self, screen: MainScreen) -> None:
        self._screen = screen
        self._searched: object = None

    def verbs(self) -> Verbs:
        """Keys that open the prompt."""
        words = "an action, node NAME, log ENGINE, a line number, last 5m, at HH:MM, q"
        return {
            "command": lambda: self._prompt(":", self.candidates(), words),
            "find": self.find,
            "filter": self.filter,
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
            words = "a paste does nothing here; press : / or & first, or start what you paste with it"
            self._screen.notify(words, severity="warning", markup=False)

    def filter(self, value: str = "") -> None:
        """Only some lines of the log of the engine."""
        self._prompt("&", _FILTERS, "only log lines with this; !text hides; empty shows all", value)

    def find(self, value: str = "") -> None:
        """Search in a log, filter anywhere else."""
        in_log = isinstance(self._screen.focused, LogPane)
        words = "search; n and N go on" if in_log else "only rows with this text; empty shows all"
        self._prompt("/", (), words, value)

    def begin(self, text: str) -> None:
        """Open the command line with a beginning that the operator completes."""
        self._prompt(":", self.candidates(), "", text)

    def _prompt(self, kind: Kind, candidates: Sequence[Candidate], placeholder: str, value: str = "") -> None:
        screen = self._screen
        self._searched = screen.focused
        screen.prompt.open(kind, candidates, placeholder, value)
        screen.draw_footer()

    def typing(self, kind: Kind, text: str) -> None:
        """Lists follow the typing."""
        if kind == "/" and not isinstance(self._searched, LogPane):
            self._filter_list(text)

    def _filter_list(self, text: str) -> None:
        screen = self._screen
        if self._searched is screen.pane and not isinstance(screen.pane, LogPane):
            screen.pane.look_for(text)
        else:
            screen.grid.look_for(text)

    def prompted(self, kind: Kind, text: str | None) -> None:
        """What was typed takes effect; the keys go back where they were."""
        screen = self._screen
        screen.draw_footer()
        in_log = isinstance(self._searched, LogPane)
        place = screen.panes["logs"] if in_log else screen.pane if self._searched is screen.pane else screen.grid
        screen.set_focus(place)
        if text is None:
            if kind == "/" and not in_log:
                self._filter_list("")
            return
        log = screen.panes["logs"]
        assert isinstance(log, LogPane)
        if kind == "&":
            screen.arrangement.go("logs")
            log.filter(text)
        elif kind == "/" and in_log:
            log.look_for(text)
        elif kind == ":":
            self.command(text)

    def candidates(self) -> list[Candidate]:
        """What may be typed and what each does; what can change something comes last."""
        snapshot, session = self._screen.snapshot, self._screen.console.session
        groups = tuple(session.deployment.layout.groups)
        fleet = self._screen.console.fleet
        clusters = [each.cluster.name for each in fleet.sessions] if fleet and fleet.several else []
        verbs = () if snapshot.read_only else _VERBS
        named: tuple[tuple[str, str, Sequence[str]], ...] = (
            ("log", "Log of the engine", tuple(snapshot.engines)),
            ("node", "Put the cursor on the node", tuple(snapshot.nodes)),
            ("cluster", "Put the cursor on the cluster", clusters),
            ("last", "Go back so far in the log", (*LASTS, "all")),
            ("layout", "Use this layout", tuple(shipped_layouts())),
            ("theme", "Use this theme", tuple(LOOKS)),
            ("edit", "Open the file in your $EDITOR", ("layout", "cluster")),
            *((verb, BY_ID[verb].help, tuple(snapshot.nodes) if verb == "take" else groups) for verb in _SHAPING),
            ("upgrade", BY_ID["upgrade"].help, tuple(f"v{name}" for name in names())),
            *((verb, f"Plan to {verb} it", (*snapshot.engines, *groups, EVERY)) for verb in verbs),
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
        """Run a line of the command line."""
        verb, _, rest = plain_width(text).strip().lstrip(":").partition(" ")
        rest = rest.strip()
        screen = self._screen
        table: dict[str, Callable[[], object]] = {
            "q": screen.lookup.quit,
            "quit": screen.lookup.quit,
            "node": lambda: self._found(screen.grid.show_node(rest), "node", rest),
            "engine": lambda: self._found(screen.grid.show_engine(rest), "engine", rest),
            "cluster": lambda: self._found(screen.grid.show_cluster(rest), "cluster", rest),
            "seek": lambda: screen.replaying.seek(rest),
            "log": lambda: self._log(rest),
            **({"logs": lambda: self._log(rest)} if rest else {}),
            "filter": lambda: screen.grid.look_for(rest),
            "layout": lambda: screen.editing.layout(rest),
            "theme": lambda: self._found(screen.console.set_theme(rest), "theme", rest),
        }
        if not verb:
            return
        action = find_action(verb)
        if action is not None and action.danger and rest and screen.console.keys.burst:
            screen.notify(TOO_FAST, severity="warning", markup=False)
            return
        changing = (screen.board_acts, screen.live_changes, screen.layout_upgrade, screen.node_upkeep)
        reshaping = {name: do for each in changing for name, do in each.commands().items()}
        measuring = {**screen.evaluation_acts.commands(), **(screen.editing.commands() if rest else {})}
        if verb in table:
            table[verb]()
        elif verb in _TABS and not rest:
            screen.arrangement.go(_TABS[verb])
        elif verb in measuring:
            measuring[verb](rest)
        elif rest and verb in (reading := screen.log_actions.commands()):
            reading[verb](rest)
        elif verb.isdecimal():
            screen.log_actions.open().navigation.line(int(verb))
        elif action is not None and not rest:
            screen.action_do(action.id)
        elif action is not None and action.id in reshaping:
            reshaping[action.id](rest.replace(",", " ").split())
        elif action is not None and action.id in _VERBS:
            self._act_on(_VERBS[action.id], rest)
        elif len(near := starting_with(verb)) > 1:
            screen.notify(f"{shown(verb)} is not clear: {', '.join(near)}", severity="warning", markup=False)
        else:
            self._unknown(verb)

    def _act_on(self, verb: Verb, names: str) -> None:
        if (engines := engines_named(self._screen, names.replace(",", " ").split())) is not None:
            self._screen.engine_acts.act(verb, engines)

    def _unknown(self, verb: str) -> None:
        known = dict.fromkeys(each.partition(" ")[0] for each in self.words())
        meant = did_you_mean(suggestions(verb, known, CHANGING)) or ": then tab completes"
        self._screen.notify(f"no command {shown(verb)!r}; {meant}", severity="warning", markup=False)

    def _found(self, found: bool, kind: str, name: str) -> None:
        if not found:
            self._screen.notify(f"no {kind} {shown(name)!r}; : then tab completes", severity="warning", markup=False)

    def _log(self, engine: str) -> None:
        if not self._screen.grid.show_engine(engine):
            self._found(False, "engine", engine)
            return
        self._screen.arrangement.go("logs")
