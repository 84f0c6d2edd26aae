"""A plan as the command line prints it: the summary and the steps, folded; with `--verbose` every command of every engine."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from console.cli.printer import print_line, print_message
from console.cli.tables import terminal_cells, wrap
from console.model.plan import Plan, PlanResult
from console.services.operations.plan_progress import PlanProgress
from console.services.operations.plan_summary import plan_summary
from console.services.operations.step_folding import folded_plan, turns
from console.services.operations.step_text import step_commands

INDENT = 14
"""Where the sentences of the summary start."""


def show_plan(plan: Plan, *, as_result: bool, verbose: bool, title: str = "") -> None:
    """Print the plan: to stdout when it is what was asked for, else to stderr before it is confirmed.

    `title` is its first line where its verb says too little.
    """
    room = terminal_cells(sys.stdout if as_result else sys.stderr)
    for line in plan_lines(plan, verbose=verbose, room=room, title=title):
        (print_line if as_result else print_message)(line)


def print_end(plan: Plan, result: PlanResult) -> None:
    """Print to stderr how the plan ended: what failed first, else that it is done."""
    progress = PlanProgress(plan)
    progress.end(result)
    print_message(progress.verdict())


def plan_lines(plan: Plan, *, verbose: bool, room: int | None = None, title: str = "") -> Iterator[str]:
    """The plan as lines of at most `room` cells; commands are never broken, so that they can be copied."""
    yield title or f"{plan.verb} {plan.target} of {plan.deployment} on {plan.cluster}"
    yield from _summary_lines(plan, verbose, room)
    yield ""
    if verbose:
        yield from _command_lines(plan)
    else:
        yield from _step_lines(plan, room)


def _summary_lines(plan: Plan, verbose: bool, room: int | None) -> Iterator[str]:
    label = ""
    for row in plan_summary(plan):
        more = row.more if verbose or row.grade in ("warning", "error") else ()
        head = "" if row.label == label else row.label
        label = row.label
        for text in (row.text, *more):
            for piece in wrap(text, room and room - INDENT):
                yield f"  {head:{INDENT - 3}} {piece}"
                head = ""


def _step_lines(plan: Plan, room: int | None) -> Iterator[str]:
    """One line for each row of folded steps; the turns of a rolling restart have a heading."""
    for turn, rows in turns(folded_plan(plan), plan):
        if turn:
            yield f"  then {turn}:" if rows[0].stage > 1 else f"  {turn}:"
        number = 0
        for row in rows:
            text = f"{row.title} ({row.same_but})" if row.same_but else row.title
            head = "" if row.stage == number else f"{row.stage}."
            number = row.stage
            for piece in wrap(text, room and room - 7):
                yield f"  {head:>4} {piece}"
                head = ""
    yield "  --verbose prints every command"


def _command_lines(plan: Plan) -> Iterator[str]:
    for number, stage in enumerate(plan.stages, 1):
        yield f"  {number}. {stage.title}"
        for step in stage.steps:
            yield f"     {step.title}"
            for command in step_commands(step):
                first, *rest = command.split("\n")
                yield f"       $ {first}"
                yield from (f"         {line}" for line in rest)
