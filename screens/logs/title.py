"""The title of the log pane: the engine, the run, filter and search, and the position."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from screens.logs.merged import Merged
from screens.logs.view_base import View
from screens.logs.window import Window
from screens.styled_lines import Line, Span, brief, shown

SOUGHT = 24
"""Cells of what is filtered or searched for: who typed it knows it, and what was found tells more."""
_RUN = re.compile(r"\d{4}(\d\d)(\d\d)T(\d\d)(\d\d)\d\dZ-")


def head_of_one(engine: str, run: str | None) -> Line:
    """Whose log, and which run unless it is the current one."""
    return ((f"Log of {shown(engine)}", "bold"), *(((f" run {_run_words(run)}", "warn"),) if run else ()))


def _run_words(run: str) -> str:
    """When it was prepared, which is what its id starts with; the id itself where it is another's."""
    found = _RUN.match(run)
    return f"{found[1]}-{found[2]} {found[3]}:{found[4]}Z" if found else shown(run)


def head_of_several(wanted: Sequence[str], present: Sequence[str], view: Merged, *, folded: bool) -> Line:
    """Whose logs, how many of them are here, and what the line stands for that the search is on."""
    groups = {name.rpartition("-")[0] or name for name in wanted}
    name = shown(groups.pop()) if len(groups) == 1 else f"{len(wanted)} engines"
    spans: list[Span] = [(f"Logs of {name} x{len(present)}", "bold"), *([] if folded else [(" unfolded", "dim")])]
    absent = [each for each in wanted if each not in present]
    if absent:
        names = ", ".join(absent[:3]) + (f" +{len(absent) - 3}" if len(absent) > 3 else "")
        spans.append((f" no log of {shown(names)}", "warn"))
    if (words := view.writers()) and view.following is False:
        spans.append((f" {shown(words)}", "key"))
    return tuple(spans)


def title(view: View[Any], head: Line, *, past: bool = False, gone: int = 0, polls_key: str = "") -> Line:
    """One line; what an operator reads first comes first. `past` says that it is an earlier run's, to which nothing
    comes; `gone` is how many bytes of it are not here any more; `polls_key` shows the polls that are hidden.
    """
    spans: list[Span] = [*head]
    if gone:
        spans.append((f" CUT: oldest {gone / 2**20:.0f} MiB not here", "warn"))
    if view.anchor is not None:
        return (*spans, (f" selecting {len(view.chosen())} lines; y copies, esc ends", "key"))
    if view.sieve:
        wide = f" +-{view.around}" if view.around else ""
        spans.append((f" & {brief(shown(view.sieve.words()), SOUGHT)}{wide}{_sieved(view)}", "key"))
    if view.needle is not None:
        spans.append((f" / {brief(shown(view.needle.text), SOUGHT)}{_hits(view)}", "key"))
    spans.extend(_place(view))
    if past and view.following:
        spans[-1] = (" to its end; esc leaves it", "dim")
    if polls := view.hidden_lines():
        spans.append((f"  {polls} polls hidden, {polls_key} shows", "dim"))
    return tuple(spans)


def _sieved(view: View[Any]) -> str:
    kept = view.kept_lines()
    if kept is None:
        return ""
    share, found, hidden = kept
    if share < 1.0:
        return f" {share:.0%} searched"
    return f" {found} shown" + ("" if hidden is None else f", {hidden} hidden")


def _hits(view: View[Any]) -> str:
    found = view.hits()
    if found is None:
        return ""
    position, total = found
    return f" {position}/{total}" if position is not None else f" {total} hits" if total else " no hit"


def _place(view: View[Any]) -> list[Span]:
    if isinstance(view, Merged):
        words = f" {view.when()}" if view.when() else ""
        if view.following:
            return [(f"{words}", "dim"), (" following", "ok")]
        return [(words, "dim"), (f" PAUSED +{view.fresh} new" if view.fresh else " PAUSED", "warn")]
    assert isinstance(view, Window)
    line, total = view.place()
    if view.following:
        return [(f" {total} lines" if total is not None else "", "dim"), (" following", "ok")]
    place = f" line {line if line is not None else '?'} of {total if total is not None else '?'}"
    fresh = view.new_lines()
    return [(place, "dim"), (f" PAUSED +{fresh} new" if fresh else " PAUSED", "warn")]
