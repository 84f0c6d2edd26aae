"""The view settings of the grid, the keys of its rows, and the texts for ages, ranks and states. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING

from console.model.state import EngineState
from screens.styled_lines import Line, Pen, Row, Span
from screens.themes import sign_of, signs_of

if TYPE_CHECKING:
    from console.model.snapshot import EngineSnapshot

SORTS = ("written", "name", "state", "hbm", "temperature")


class Unfold(IntEnum):
    """How much of their engines nodes and groups show by themselves: as much as has room."""

    NOTHING = 0
    TROUBLED = 1
    """Those with an engine in trouble show theirs, equal ones in one row."""
    FOLDED = 2
    """Those whose engines differ show theirs, equal ones in one row."""
    ALL = 3
    """Every engine has a row, but for equal ones that are not ready."""


@dataclass(frozen=True, slots=True)
class FoldedRow(Row):
    """One row for several equal engines."""

    engines: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class GridView:
    """What of the snapshot is shown, and how; changed by keys, remembered between sessions."""

    expanded: frozenset[str] = frozenset()
    """Nodes or groups whose engines have a row each, because the operator asked for them."""
    collapsed: frozenset[str] = frozenset()
    """Nodes or groups whose engines have no rows, because the operator asked for that."""
    unfolds: Unfold = Unfold.NOTHING
    """What the others show."""
    marks: frozenset[str] = frozenset()
    """Row keys."""
    problems: bool = False
    needle: str = ""
    sort: str = "written"
    reverse: bool = False
    by_group: bool = False
    pen: Pen = field(default_factory=Pen)


def node_key(name: str) -> str:
    """Row key of a node."""
    return f"node/{name}"


def engine_key(name: str) -> str:
    """Row key of an engine."""
    return f"engine/{name}"


def group_key(name: str) -> str:
    """Row key of a group."""
    return f"group/{name}"


def fold_key(first: str) -> str:
    """Row key of several equal engines, by the first of them."""
    return f"fold/{first}"


def age_words(age_s: float | None) -> str:
    """An age in words that change seldom, of four cells at most: tens of seconds, then minutes, hours, days; `none` for None."""
    if age_s is None:
        return "none"
    if age_s < 60:
        return f"{int(age_s // 10) * 10}s"
    if age_s < 5400:
        return f"{int(age_s // 60)}m"
    return f"{int(age_s // 3600)}h" if age_s < 48 * 3600 else f"{int(age_s // 86400)}d"


def rank_words(engines: Sequence[EngineSnapshot], ranks: Sequence[str]) -> str:
    """Data-parallel ranks of a node in short: `0`, `0-7`; `0.1` for a further part of an engine that spans nodes."""
    if parts := [engine for engine in engines if engine.part and engine.id in ranks]:
        return ",".join(f"{engine.dp_rank}.{engine.part}" for engine in parts)
    numbers = sorted({engine.dp_rank for engine in engines if engine.id in ranks})
    if not numbers:
        return ""
    whole = numbers == list(range(numbers[0], numbers[-1] + 1))
    return f"{numbers[0]}-{numbers[-1]}" if whole and len(numbers) > 1 else ",".join(str(each) for each in numbers)


def count_words(engines: Sequence[EngineSnapshot], pen: Pen) -> Line:
    """States by count, the worst first: `1 FAILED 7 ready`; a single engine that starts says how far it is."""
    from console.model.durations import about

    spans: list[Span] = []
    counts = signs_of(engines)
    for sign, state, count in counts:
        if spans:
            spans.append((" ", ""))
        word = sign.word
        if state is EngineState.STARTING:
            known = [engine.progress for engine in engines if engine.state is state and engine.progress is not None]
            word = f"{word} {int(100 * min(known))}%" if known else word
            left = max((engine.start_left_s for engine in engines if engine.start_left_s), default=None)
            word += f" ~{about(left)}" if left and len(counts) == 1 else ""
        spans.append((f"{pen.sign(sign)} {count} {word}", sign.role))
    return tuple(spans)


def engine_strip(engines: Sequence[EngineSnapshot], cells: int, pen: Pen) -> Line:
    """One glyph for each engine, in rank order; the end is cut with `~` when there are too many."""
    spans: list[Span] = [(pen.sign(sign), sign.role) for sign in map(sign_of, engines[:cells])]
    if len(engines) > cells:
        spans[-1:] = [("~", "dim")]
    return tuple(spans)
