"""The message of an empty log pane: why it is empty, and what to do."""

from __future__ import annotations

from typing import Any

from console.model.snapshot import EngineState
from screens.actions import BY_ID
from screens.key_map import Keys
from screens.logs.view_base import View
from screens.pane_moment import PaneMoment
from screens.styled_lines import shown


def why_no_log(moment: PaneMoment | None, engine: str | None, keys: Keys) -> str:
    """Why there is no log of an engine here."""
    if engine is None or moment is None:
        return "no engine under the cursor"
    seen = moment.snapshot.engines.get(engine)
    name, key = shown(engine), keys.word(BY_ID["start"])
    if seen is not None and seen.connecting:
        return f"connecting to {shown(seen.node)}: whether {name} runs is not known yet"
    if seen is not None and seen.state is EngineState.UNREACHABLE and seen.run is None:
        return f"{shown(seen.node)} is out of reach: whether {name} has run is not known"
    if seen is None or seen.run is None:
        start = f"; {key} shows what a start would do" if key and not moment.snapshot.read_only else ""
        return f"{name} has not run, so it has no log{start}"
    return f"no log of {name} here yet"


def why_no_line(view: View[Any], keys: Keys) -> str:
    """Why no line of a log is shown."""
    if not view.has_lines:
        return "the log is empty so far"
    if view.sieve:
        return f"no line passes {shown(view.sieve.words())}; esc shows all"
    return f"only the console's own polling so far; {keys.word(BY_ID['polls'])} shows it"
