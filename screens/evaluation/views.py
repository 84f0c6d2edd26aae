"""The views of the evaluation pane as rows: all runs, one run, a comparison of two, a sweep, the target figures. Pure."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from console.evaluation import report_text
from console.evaluation.comparison import compare, sweep_points
from console.evaluation.records import Ending, Kind, Record
from screens.evaluation.running import RunningEvaluation, load_word, progress_words
from screens.styled_lines import Line, Pen, Row, fit, length, shown, wrap

View = Literal["runs", "run", "compare", "sweep", "targets"]

WIDE = 104
"""Columns from which the table has latencies and run ids too."""


@dataclass(frozen=True, slots=True)
class ViewContext:
    """Everything a view is drawn from."""

    cells: int
    pen: Pen
    live: tuple[RunningEvaluation, ...] = ()
    records: tuple[Record, ...] = ()
    """Newest first, without what was seen second by second."""
    whole: Mapping[str, Record] = field(default_factory=dict)
    """The opened ones, complete."""
    chosen: tuple[str, ...] = ()
    """Run ids the view is about."""
    marked: tuple[str, ...] = ()


def rows(view: View, board: ViewContext) -> tuple[Line, list[Row]]:
    """Heading and rows of a view."""
    return _VIEWS[view](board)


def _runs(board: ViewContext) -> tuple[Line, list[Row]]:
    wide = board.cells >= WIDE
    words = f"  {'FAILED':7}{'BEGUN':12}{'TOOL':11}{'SUBJECT':16}{'LOAD':6}"
    if wide:
        words += f"{'TTFT p99':>9} {'ITL p50':>8}  "
    made = [Row(f"run/{each.key.run}", _live(each, board, wide)) for each in board.live]
    lives = {each.key.run for each in board.live}
    made += [Row(f"run/{each.run}", _record(each, board, wide)) for each in board.records if each.run not in lives]
    return ((words + "RESULT", "dim"),), made


def _lead(run: str, board: ViewContext) -> str:
    return f"{board.pen.marked if run in board.marked else ' '} "


def _started_text(at: float | None) -> str:
    return time.strftime("%m-%d %H:%M", time.localtime(at)) if at else "-"


def _live(each: RunningEvaluation, board: ViewContext, wide: bool) -> Line:
    failed = each.progress.failed if each.progress else None
    gap = " " * 20 if wide else ""
    words = "being cancelled" if each.stopping else progress_words(each.progress)
    return (
        (_lead(each.key.run, board), "key"),
        (f"{'-' if failed is None else failed!s:7}", "fail" if failed else "plain"),
        (f"{_started_text(each.started_at):12}{fit(shown(each.tool), 10)} {fit(shown(each.subject), 15)} ", "bold"),
        (f"{load_word(each.parameters):6}{gap}", "plain"),
        (f"runs: {words}" if wide else words, "busy"),
    )


def _record(each: Record, board: ViewContext, wide: bool) -> Line:
    failed = each.failed_requests
    good = each.clean
    first, gap = each.number("ttft_p99"), each.number("itl_p50")
    latencies = f"{_ms(first):>9} {_ms(gap):>8}  " if wide else ""
    result = report_text.headline(each)
    if each.empty_answers:
        result = f"{each.empty_answers} EMPTY ANSWERS, {result}"
    tone = "ok" if good and each.numbers else "dim" if each.ending is Ending.CANCELLED else "plain" if good else "fail"
    return (
        (_lead(each.run, board), "key"),
        (f"{'?' if failed is None else failed!s:7}", "fail" if failed else "plain"),
        (f"{_started_text(each.started_at):12}{fit(shown(each.tool), 10)} {fit(shown(each.subject), 15)} ", "plain"),
        (f"{load_word(each.parameters):6}{latencies}", "plain"),
        (fit(shown(result), board.cells - 97 if wide else max(12, board.cells - 54)), tone),
        (f"  {each.run}" if wide else "", "dim"),
    )


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}ms" if value >= 10 else f"{value:.1f}ms"


def _run(board: ViewContext) -> tuple[Line, list[Row]]:
    (run,) = board.chosen
    alive = next((each for each in board.live if each.key.run == run), None)
    if alive is not None:
        return (), list(_numbered(_live_lines(alive, board), board.cells))
    record = board.whole.get(run)
    if record is None:
        return (), [Row("wait", (("reading the result", "busy"),))]
    return (), _line_rows(report_text.run_lines(record, width=board.cells, ascii_only=board.pen.ascii), board)


def _live_lines(each: RunningEvaluation, board: ViewContext) -> Iterable[Line]:
    asked = " ".join(f"{name}={value}" for name, value in each.parameters.items())
    yield ((f"{each.key.run}  ", "bold"), (shown(f"{each.tool}  {each.subject}"), "plain"))
    yield ((shown(f"  {each.key.engine} on {each.node or 'this machine'}, {asked}"), "dim"),)
    failed = each.progress.failed if each.progress else None
    if failed:
        yield ((f"  FAILED REQUESTS so far  {failed}", "fail"),)
    yield ((f"  {progress_words(each.progress)}", "busy"),)
    if each.progress is not None:
        room = max(10, min(board.cells, 100) - 4)
        done = round(each.progress.share * room)
        full, rest = ("#", ".") if board.pen.ascii else ("⣿", "⣀")
        yield (("  " + full * done, "busy"), (rest * (room - done), "dim"))
    ends = "it ends with this console" if not each.node else "it continues when this console ends; L shows its log"
    yield ((f"  {ends}; C cancels it", "dim"),)


def _compare(board: ViewContext) -> tuple[Line, list[Row]]:
    found = [board.whole[run] for run in board.chosen if run in board.whole]
    if len(found) != 2:
        return (), [Row("wait", (("reading the results", "busy"),))]
    before, after = sorted(found, key=lambda each: each.started_at)
    return (), _line_rows(report_text.comparison_lines(compare(before, after)), board)


def _sweep(board: ViewContext) -> tuple[Line, list[Row]]:
    taken = [each for each in board.records if each.run in board.chosen]
    parameter = sweep_parameter(taken)
    points = sweep_points(newest_of_each_load(taken, parameter), parameter)
    lines = report_text.sweep_lines(points, parameter, width=board.cells, ascii_only=board.pen.ascii)
    return (), _line_rows(lines, board)


def sweep_parameter(records: Sequence[Record]) -> str:
    """What most of the runs differ in: the request rate where they have one, else the concurrency."""
    rates = sum("rate" in each.parameters for each in records)
    return "rate" if rates * 2 > len(records) else "concurrency"


def newest_of_each_load(records: Sequence[Record], parameter: str) -> list[Record]:
    """One run for each load; `records` are newest first."""
    found: dict[str, Record] = {}
    for each in records:
        found.setdefault(str(each.parameters.get(parameter)), each)
    return list(found.values())


def alike(record: Record, records: Sequence[Record]) -> tuple[str, ...]:
    """Runs that differ from this one in nothing but their load and their time."""
    return tuple(each.run for each in records if _likeness(each) == _likeness(record))


def _likeness(record: Record) -> tuple[object, ...]:
    given = {name: value for name, value in record.parameters.items() if name in ("input_tokens", "output_tokens")}
    return (
        record.tool, record.kind, record.subject, record.model, record.endpoint, record.cluster, record.layout_hash, given
    )  # fmt: skip


def _targets(board: ViewContext) -> tuple[Line, list[Row]]:
    marked = (each for each in board.records if each.run in board.marked and each.kind is Kind.PERFORMANCE)
    return (), _line_rows(report_text.goal_lines(board.records, next(marked, None)), board)


def _line_rows(lines: Iterable[Line], board: ViewContext) -> list[Row]:
    return list(_numbered(lines, board.cells))


def _numbered(lines: Iterable[Line], cells: int) -> Iterable[Row]:
    """Rows of lines; what is too long goes on below, indented."""
    for number, line in enumerate(lines):
        for part, piece in enumerate(folded(line, cells)):
            yield Row(f"{number}/{part}", piece)


def folded(line: Line, cells: int) -> list[Line]:
    """A line as rows of at most that many cells: its last piece is broken, the rest stays in the first row."""
    if length(line) <= cells or not line:
        return [line]
    *head, (text, tone) = line
    room = cells - length(tuple(head))
    if room < 12:
        return [line]
    first, *others = wrap(text, room)
    more = wrap(" ".join(others), max(12, cells - 4)) if others else []
    return [(*head, (first, tone)), *((("    " + piece, tone),) for piece in more)]


_VIEWS: Mapping[View, Callable[[ViewContext], tuple[Line, list[Row]]]] = {
    "runs": _runs,
    "run": _run,
    "compare": _compare,
    "sweep": _sweep,
    "targets": _targets,
}
