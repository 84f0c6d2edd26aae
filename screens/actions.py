"""The table of all actions of an operator. Key bindings, footer, help, command line and documents are made from it.

What an action does is not here; each widget and part of the screen maps the ids it knows to its own methods.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from textual.binding import Binding, BindingType

Place = Literal["everywhere", "grid", "list", "log", "plan", "roles", "preflight", "diagnosis", "verify", "evaluation"]

PLACES: dict[Place, str] = {
    "everywhere": "Everywhere",
    "grid": "Grid",
    "log": "Log",
    "list": "Other panes",
    "plan": "Plan pane",
    "roles": "Roles pane",
    "preflight": "Preflight pane",
    "diagnosis": "Diagnosis pane",
    "verify": "Verify pane",
    "evaluation": "Evaluation pane",
}


@dataclass(frozen=True, slots=True)
class Action:
    """One thing an operator can do."""

    id: str
    keys: tuple[str, ...]
    """Names as Textual reports them; the first is the one that is shown."""
    label: str
    """One or two words, for the footer."""
    help: str
    group: str
    where: tuple[Place, ...] = ("everywhere",)
    danger: bool = False
    """Whether it can end in a change on a node: gone in read-only mode, ignored in a burst of keys."""
    footer: int = 0
    """Place in the footer, 1 first; 0 is not shown."""

    @property
    def guarded(self) -> bool:
        """Whether it leaves the screen or starts something: it runs only after a moment without further keys."""
        return self.id in _GUARDED


_MOVES: tuple[Place, ...] = ("grid", "list", "log", "plan", "roles", "preflight", "diagnosis", "verify", "evaluation")

_LISTS: tuple[Place, ...] = tuple(place for place in _MOVES if place not in ("grid", "log"))

_OPENING = ("left_square_bracket", "fullwidth_left_square_bracket", "left_black_lenticular_bracket")
_CLOSING = ("right_square_bracket", "fullwidth_right_square_bracket", "right_black_lenticular_bracket")
_QUOTES = ("quotation_mark", "left_double_quotation_mark", "right_double_quotation_mark")
"""A key and what a Chinese input method makes of it."""

ACTIONS: tuple[Action, ...] = (
    Action("help", ("question_mark", "f1", "fullwidth_question_mark"), "Help", "Every key; Enter runs it", "Console", footer=1),
    Action("quit", ("q",), "Quit", "One level back; in the grid: quit, engines keep running", "Console", footer=2),
    Action("start", ("s",), "Start", "Plan a start of the marked or current engines", "Engines", danger=True, footer=3),
    Action("stop", ("x",), "Stop", "Plan a stop: drain, TERM, then KILL remaining processes", "Engines", danger=True, footer=4),
    Action("restart", ("r",), "Restart", "Plan a stop and a start", "Engines", danger=True, footer=5),
    Action("rolling", ("W",), "Rolling", "Plan a restart of one group after another; the others serve", "Engines", danger=True),
    Action("sync-proxy", ("D",), "Sync proxy", "Plan to make the proxy list the ready engines only", "Engines", danger=True),
    Action("kill", ("X",), "Kill", "Plan a KILL without TERM; must be confirmed by typing", "Engines", danger=True),
    Action("pause-auto-restart", ("R",), "Pause auto-restart", "Pause or resume automatic restarts", "Engines", danger=True),
    Action("assign", ("a",), "Assign", "Assign the marked nodes, or this one, to a group", "Engines", danger=True, footer=6),
    Action("undo", ("u",), "Undo", "Undo the last change of the assignment", "Engines", danger=True),
    Action("redo", ("ctrl+y",), "Redo", "Redo the undone change of the assignment", "Engines", danger=True),
    Action("support-bundle", ("Q",), "Support bundle", "Write logs, causes and settings to one masked file here", "Engines"),
    Action("verify", ("enter",), "Verify", "Start a verification, or unfold; `:verify TEXT`", "Verify", ("verify",), footer=8),
    Action("copy-curl", ("c",), "Copy curl", "Copy a curl command for the endpoint", "Verify", ("verify",), footer=9),
    Action("preflight", ("P",), "Preflight", "Check whether nodes are ready to start; changes nothing", "Engines"),
    Action("describe", ("d",), "Describe", "Environment and exact command of the engine", "Engines"),
    Action("status", ("f3",), "Status", "Full verdict, alerts, links and running work", "View"),
    Action("logs", ("l",), "Logs", "Show the log of the engine", "Engines", footer=7),
    Action("previous-run", ("p",), "Earlier run", "Log of the previous run; again: the run before that", "Engines"),
    Action("command", ("colon", "fullwidth_colon"), "Command", "Any action by name, `:node d0`, `:log p-0`, `:q`", "Console"),
    Action("find", ("slash", "fullwidth_solidus", "ideographic_comma"), "Find", "Filter a list; search a log", "View", footer=9),
    Action("back", ("escape",), "Back", "One level up: prompt, filter, full screen, grid. Never quits", "Console"),
    Action("quit-now", ("ctrl+q",), "Quit", "Quit from anywhere; engines keep running", "Console"),
    Action("next-pane", _CLOSING, "Next tab", "Next tab", "View"),
    Action("previous-pane", _OPENING, "Previous tab", "Previous tab", "View"),
    Action("focus-next", ("tab",), "Switch focus", "Move between the grid and the pane", "View"),
    Action("focus-previous", ("shift+tab",), "Switch focus", "Move between the pane and the grid", "View"),
    Action("full", ("f",), "Full", "Show this half alone, or both again", "View"),
    Action("grow", ("plus", "fullwidth_plus_sign"), "Grow", "Give the focused half more room", "View"),
    Action("shrink", ("underscore",), "Shrink", "Give the focused half less room", "View"),
    Action("problems", ("exclamation_mark", "fullwidth_exclamation_mark"), "Problems", "Only what is wrong", "View", footer=10),
    Action("freeze", ("Z",), "Freeze", "Freeze the screen, or unfreeze it; data is still collected", "View"),
    Action("refresh", ("ctrl+r", "f5"), "Refresh", "Connect to the current node again now, and repaint the screen", "View"),
    Action("redraw", ("ctrl+l",), "Redraw", "Redraw the screen without asking any node", "View"),
    Action("shell", ("dollar_sign",), "Shell", "Shell on the node, or in the engine's container", "Engines", danger=True),
    Action("unmanaged", ("U",), "Unmanaged", "Unmanaged vLLM processes and HBM holders of the node; stop one", "Engines"),
    Action("accept-key", ("K",), "Trust key", "Show the host key of a blocked node, and trust it if you confirm", "Engines"),
    Action("copy", ("y",), "Copy", "Copy the pane, or the row's command, to your clipboard and a file", "View"),
    Action("interrupt", ("ctrl+c",), "Copy", "Copy the selection; never stops or quits anything", "Console"),
    Action("plain", _QUOTES, "Plain text", "Print the pane to the normal screen, to select text by hand", "View"),
    Action("mouse", ("f2",), "Mouse", "Mouse on or off; when off, the terminal selects text", "View"),
    Action("theme", ("T",), "Theme", "Next theme: dark, light, high contrast, colour-blind safe, no colour", "View"),
    Action("replay-hold", ("f7",), "Hold", "Replay: pause it, or continue it", "Replay"),
    Action("replay-back", ("comma", "fullwidth_comma"), "Back", "Replay: one snapshot back, and pause", "Replay"),
    Action("replay-on", ("full_stop",), "Forward", "Replay: one snapshot forward, and pause; `:seek HH:MM:SS`", "Replay"),
    Action("replay-minute-back", ("left_curly_bracket",), "-1 minute", "Replay: a minute back", "Replay"),
    Action("replay-minute-on", ("right_curly_bracket",), "+1 minute", "Replay: a minute forward", "Replay"),
    Action("replay-faster", ("f8",), "Faster", "Replay: 1, 4, 16 or 60 times the recorded speed", "Replay"),
    Action("palette", ("ctrl+p",), "Palette", "Search all actions, nodes, engines and commands; Enter runs", "Console"),
    Action("reload", ("f6",), "Reload", "Read the files again; if they have errors, nothing changes", "Console"),
    Action("edit", ("ctrl+e",), "Edit", "Edit the layout in `$EDITOR`, then read it again; `:edit cluster`", "Console"),
    Action("suspend", ("ctrl+z",), "Suspend", "Back to the shell; `fg` returns", "Console"),
    Action("up", ("k", "up"), "Up", "One row up", "Move", _MOVES),
    Action("down", ("j", "down"), "Down", "One row down", "Move", _MOVES),
    Action("page-up", ("pageup",), "Page up", "One page up", "Move", _MOVES),
    Action("page-down", ("pagedown",), "Page down", "One page down", "Move", _MOVES),
    Action("half-up", ("ctrl+u",), "Half up", "Half a page up", "Move", _MOVES),
    Action("half-down", ("ctrl+d",), "Half down", "Half a page down", "Move", _MOVES),
    Action("top", ("g", "home"), "Top", "To the first row", "Move", _MOVES),
    Action("end", ("G", "end"), "End", "To the last row; in a log: follow", "Move", _MOVES),
    Action("sideways-left", ("left",), "Left", "Scroll left", "Move", _LISTS),
    Action("sideways-right", ("right",), "Right", "Scroll right, to the rest of a row that ends in `~`", "Move", _LISTS),
    Action("open", ("enter",), "Open", "Node: show its engines. Engine: list its actions", "Grid", ("grid",), footer=8),
    Action("expand", ("right",), "Expand", "Show the node's engines", "Grid", ("grid",)),
    Action("collapse", ("left",), "Collapse", "Hide the node's engines", "Grid", ("grid",)),
    Action("expand-all", ("E",), "Expand all", "Show or hide the engines of all nodes", "Grid", ("grid",)),
    Action("mark", ("space",), "Mark", "Mark the row; operations take all marked rows", "Grid", ("grid",)),
    Action("mark-range", ("v",), "Mark range", "Mark all rows from the last marked one to this", "Grid", ("grid",)),
    Action("mark-all", ("asterisk", "fullwidth_asterisk"), "Mark all", "Mark every row shown", "Grid", ("grid",)),
    Action("unmark", ("minus",), "No marks", "Remove all marks", "Grid", ("grid",)),
    Action("sort", ("o",), "Sort", "Next order: as written, name, state, HBM, temperature", "Grid", ("grid",)),
    Action("sort-reverse", ("O",), "Reverse", "Reverse the order", "Grid", ("grid",)),
    Action("group-view", ("V",), "By group", "Rows by node, or by group", "Grid", ("grid",)),
    Action("pane-grid", ("1",), "Grid alone", "The grid alone, or both again", "Panes"),
    Action("pane-logs", ("2",), "Logs", "Log of the engine", "Panes"),
    Action("pane-npus", ("3",), "NPUs", "Devices of the node", "Panes"),
    Action("pane-health", ("4",), "Health", "Health of all engines, the worst first", "Panes"),
    Action("pane-metrics", ("5",), "Metrics", "Load, KV cache and speed of groups and engines", "Panes"),
    Action("pane-diagnosis", ("6",), "Diagnosis", "The engine that failed first, the cause and the remedy", "Panes"),
    Action("pane-roles", ("7",), "Roles", "Groups, places and ranks; rules that do not hold", "Panes"),
    Action("pane-plan", ("8",), "Plan", "The running or last plan and its steps", "Panes"),
    Action("pane-events", ("9",), "Events", "What happened", "Panes"),
    Action("pane-preflight", ("0",), "Preflight", "Whether the nodes are ready for a start", "Panes"),
    Action("pane-verify", ("Y",), "Verify", "Test chats to every rank; Enter starts them", "Panes"),
    Action("pane-evaluation", ("B",), "Bench", "Runs of bench and eval: figures, curves, accuracy", "Panes"),
    Action("pane-journal", ("J",), "Journal", "Who did what on this cluster, and how it ended", "Panes"),
    Action("place", ("enter",), "Choose", "Choose the node of this place", "Roles", ("roles",), footer=8),
    Action("earlier", ("less_than_sign",), "Earlier", "Move the node a place up: lower ranks", "Roles", ("roles",), danger=True),
    Action("later", ("greater_than_sign",), "Later", "Move the node a place down", "Roles", ("roles",), danger=True),
    Action("mark-place", ("space",), "Mark", "Mark this place for a swap; again unmarks", "Roles", ("roles",)),
    Action("swap", ("S",), "Swap", "Swap with the marked node; `:swap NODE NODE`", "Roles", ("roles",), danger=True, footer=9),
    Action("take", ("t",), "Take away", "Free the node of this place; `:take NODE…`", "Roles", ("roles",), danger=True),
    Action("fill", ("A",), "Fill", "Fill the empty places of groups with free nodes", "Roles", ("roles",), danger=True, footer=9),
    Action("scale", ("C",), "Scale", "Add or remove copies: `:scale GROUP COUNT [NODE…]`", "Roles", ("roles",), danger=True),
    Action("size", ("z",), "Size", "Size of the group: `:size GROUP NODES [RANKS-EACH [TP]]`", "Roles", ("roles",), danger=True),
    Action("reset", ("equals_sign",), "Reset size", "Back to the layout size; `:reset GROUP`", "Roles", ("roles",), danger=True),
    Action("upgrade", ("v",), "Upgrade", "What another release changes: `:upgrade RELEASE [FILE]`", "Roles", ("roles",)),
    Action("follow", ("F",), "Follow", "Follow the end of the log, or stop", "Log", ("log",)),
    Action("space-down", ("space",), "Page down", "One page down", "Log", ("log",)),
    Action("space-up", ("b",), "Page up", "One page up", "Log", ("log",)),
    Action("next-hit", ("n",), "Next hit", "Next search result", "Log", ("log",)),
    Action("previous-hit", ("N",), "Previous hit", "Previous search result", "Log", ("log",)),
    Action("filter", ("ampersand", "fullwidth_ampersand"), "Filter", "Log: only lines with a text; `!TEXT` hides them", "View"),
    Action("next-error", ("e",), "Next error", "Next error or traceback", "Log", ("log",)),
    Action("previous-error", ("E",), "Previous error", "Previous error or traceback", "Log", ("log",)),
    Action("next-warning", ("i",), "Next warning", "Next warning", "Log", ("log",)),
    Action("previous-warning", ("I",), "Previous warning", "Previous warning", "Log", ("log",)),
    Action("wrap", ("w",), "Wrap", "Wrap long lines, or cut them", "Log", ("log",)),
    Action("numbers", ("number_sign",), "Line numbers", "Line numbers of the node's file on or off", "Log", ("log",)),
    Action("mark-line", ("m",), "Mark", "Mark the line found, or the top one; again unmarks", "Log", ("log",)),
    Action("next-mark", ("apostrophe",), "Next mark", "To the next marked line", "Log", ("log",)),
    Action("last", ("at", "fullwidth_commercial_at"), "Go to time", "Go to a time: `:last 5m`, `:at HH:MM`", "Log", ("log",)),
    Action("merge", ("M",), "Merge", "Merge logs of marked engines or the group", "Log", ("grid", "log"), footer=13),
    Action("fold", ("z",), "Fold", "Merged log: show equal lines of ranks once, or each line", "Log", ("log",)),
    Action("stamps", ("t",), "Times", "Head of lines: short, as written, no time, age, since the start", "Log", ("log",)),
    Action("polls", ("h",), "Polls", "Show or hide what the console itself asks: /health, /metrics, /v1/models", "Log", ("log",)),
    Action("context", ("C",), "Context", "0, 1, 3 or 10 lines around each filtered line; `:context N`", "Log", ("log",)),
    Action("select", ("v",), "Select", "Select lines: move, then `y` copies, esc ends", "Log", ("log",)),
    Action("pager", ("o",), "Pager", "Open the shown log in your `$PAGER`, at this line", "Log", ("log",)),
    Action("save", ("ctrl+s",), "Save", "Save the log, or the filtered lines, to a file", "Log", ("log",)),
    Action("left", ("left", "H"), "Left", "Scroll left", "Log", ("log",)),
    Action("right", ("right", "L"), "Right", "Scroll right", "Log", ("log",)),
    Action("network", ("n",), "Network", "Links of all NPUs, and pings between them", "Preflight", ("preflight",), footer=8),
    Action("network-full", ("N",), "Full mesh", "The same, pings between all NPUs; slow", "Preflight", ("preflight",)),
    Action("cancel-preflight", ("c",), "Stop", "Stop the running preflight", "Preflight", ("preflight",), footer=12),
    Action("containers", ("C",), "Containers", "Plan what is missing; `NODE=NAME` adopts", "Preflight", ("preflight",), True, 9),
    Action("weights", ("w",), "Weights", "Plan a copy of the model; `:weights FROM NODE…`", "Preflight", ("preflight",), True, 9),
    Action("tune", ("t",), "Tune", "Plan to set host settings that differ; `:tune NODE…`", "Preflight", ("preflight",), True),
    Action("go-there", ("enter",), "To engine", "Unfold, or go to the engine", "Diagnosis", ("diagnosis",)),
    Action("unfold", ("enter",), "Unfold", "Show details of the row; again hides them", "View", ("list", "plan", "preflight")),
    Action("cancel-plan", ("c",), "No more steps", "Start no more steps; engines keep running", "Plan", ("plan",), footer=12),
    Action("open-run", ("enter",), "Open", "Figures, percentiles and curves of the run", "Bench", ("evaluation",), footer=2),
    Action("mark-run", ("space",), "Mark", "Mark the run; again unmarks", "Bench", ("evaluation",)),
    Action("compare", ("equals_sign",), "Compare", "The two marked runs and what differs", "Bench", ("evaluation",), footer=2),
    Action("sweep-curve", ("w",), "Sweep", "Throughput against latency", "Bench", ("evaluation",), footer=2),
    Action("targets", ("t",), "Targets", "Published accuracy; thresholds of the CI", "Bench", ("evaluation",), footer=2),
    Action("run-log", ("L",), "Log", "Log of the run", "Bench", ("evaluation",)),
    Action("new-run", ("n",), "New run", "Measure; also `:bench …`, `:eval …`", "Bench", ("evaluation",), danger=True, footer=2),
    Action("cancel-run", ("C",), "Cancel", "Stop the run under the cursor", "Bench", ("evaluation",), danger=True, footer=2),
)  # fmt: skip

_GUARDED = frozenset(
    ["support-bundle", "verify", "preflight", "shell", "plain", "theme", "reload", "edit", "suspend", "pager",
     "network", "network-full"]
)  # fmt: skip

BY_ID = {action.id: action for action in ACTIONS}
CHANGING = frozenset(action.id for action in ACTIONS if action.danger)
"""Ids of the actions that can end in a change: never the first to be suggested."""

FOOTERS: dict[Place, tuple[tuple[str, str], ...]] = {
    "log": (
        ("help", "Help"),
        ("quit", "Back"),
        ("next-pane", "Next tab"),
        ("focus-next", "Grid"),
        ("follow", "Follow"),
        ("filter", "Filter"),
        ("find", "Find"),
        ("next-error", "Error"),
        ("merge", "Merge"),
    ),
    "diagnosis": (
        ("help", "Help"),
        ("quit", "Back"),
        ("go-there", "To engine"),
        ("logs", "Log there"),
        ("restart", "Restart"),
        ("next-pane", "Next tab"),
        ("focus-next", "Grid"),
        ("find", "Find"),
    ),
}
"""What the footer says in places where other things help than acts on engines: id and word."""

_SHOWN_KEYS = {
    "question_mark": "?",
    "colon": ":",
    "slash": "/",
    "escape": "esc",
    "right_square_bracket": "]",
    "left_square_bracket": "[",
    "plus": "+",
    "underscore": "_",
    "exclamation_mark": "!",
    "asterisk": "*",
    "minus": "-",
    "ampersand": "&",
    "number_sign": "#",
    "pageup": "PgUp",
    "pagedown": "PgDn",
    "fullwidth_question_mark": "？",
    "fullwidth_colon": "：",
    "fullwidth_solidus": "／",
    "ideographic_comma": "、",
    "fullwidth_ampersand": "＆",
    "fullwidth_exclamation_mark": "！",
    "fullwidth_asterisk": "＊",
    "fullwidth_plus_sign": "＋",
    "fullwidth_right_square_bracket": "］",
    "fullwidth_left_square_bracket": "［",
    "greater_than_sign": ">",
    "less_than_sign": "<",
    "equals_sign": "=",
    "apostrophe": "'",
    "quotation_mark": '"',
    "at": "@",
    "fullwidth_commercial_at": "＠",
    "comma": ",",
    "fullwidth_comma": "，",
    "full_stop": ".",
    "left_curly_bracket": "{",
    "right_curly_bracket": "}",
}


def key_word(key: str) -> str:
    """A key as it is written for people: `question_mark` → `?`, `ctrl+z` → `ctrl-z`, `f5` → `F5`."""
    if key in _SHOWN_KEYS:
        return _SHOWN_KEYS[key]
    if len(key) in (2, 3) and key[0] == "f" and key[1:].isdigit():
        return key.upper()
    return key.replace("+", "-")


def actions_of(place: Place) -> Iterator[Action]:
    """The actions of a place, in the order of the table."""
    return (action for action in ACTIONS if place in action.where)


def bindings(place: Place, target: str) -> list[BindingType]:
    """Textual's bindings of a place; `target` is the action that takes an id, for example `screen.do`."""
    return [
        Binding(
            ",".join(action.keys), f"{target}('{action.id}')", action.label, show=False, id=action.id, priority=False
        )
        for action in actions_of(place)
    ]


def starting_with(words: str) -> tuple[str, ...]:
    """Ids of the actions that start with `words`; those that change nothing come first."""
    begun = (action.id for action in ACTIONS if words and action.id.startswith(words))
    return tuple(sorted(begun, key=lambda name: name in CHANGING))


def find_action(words: str) -> Action | None:
    """The action with this id, or the only one whose id starts with it."""
    if words in BY_ID:
        return BY_ID[words]
    near = [action for action in ACTIONS if action.id.startswith(words)] if words else []
    return near[0] if len(near) == 1 else None
