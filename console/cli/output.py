"""The option `-o` and the printing of data in the form that it names. Does not print messages for people."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from dataclasses import replace

from typing_extensions import TypedDict

from console.cli.printer import print_json, print_line, print_message
from console.model.errors import NothingToDo
from console.model.findings import Finding, Severity
from console.model.plan import Outcome, Plan, PlanResult, StepEvent
from console.services.operations.step_text import PlanData, plan_data

DATA = ("json", "jsonl")


OPERATION = {
    "json": "the plan and the outcome of each step, at the end",
    "jsonl": "a line for the plan, for each event and for the end",
}
"""What the forms of `OperationData` hold."""


def add_output(parser: argparse.ArgumentParser, default: str = "table", **forms: str) -> None:
    """Add `-o`: the form `default` is for people; `forms` are the others, each with what it prints."""
    text = "; ".join((f"{default} (default): for people", *(f"{form}: {what}" for form, what in forms.items())))
    parser.add_argument("-o", "--output", choices=(default, *forms), default=default, help=text)


def print_data(output: str, whole: object, items: Iterable[object] | None = None) -> None:
    """Print `whole` as one document, or with `jsonl` its items, one a line: `items`, else the items of a list."""
    if output == "json":
        print_json(whole, indent=2)
        return
    for item in items if items is not None else whole if isinstance(whole, list) else (whole,):
        print_json(item, flush=True)


class EndData(TypedDict):
    """How an operation ended."""

    outcomes: dict[str, Outcome]
    """Step to what became of it. `unknown` means that the link was lost: it may be done or not."""
    messages: dict[str, str]
    """Step to its last message."""
    cancelled: bool
    """Whether it was stopped before its last step."""


class OperationDocument(EndData):
    """An operation that has run."""

    plan: PlanData


class PlanLine(TypedDict):
    """What is done."""

    plan: PlanData


class StepLine(TypedDict):
    """A step changed its outcome, or has a message."""

    event: StepEvent


class EndLine(TypedDict):
    """The last line."""

    end: EndData


class OperationData:
    """Prints an operation for a program: `json` one document at the end; `jsonl` one line each for plan, events and end."""

    def __init__(self, output: str) -> None:
        self._output = output

    @property
    def wanted(self) -> bool:
        """Whether a program reads the output."""
        return self._output in DATA

    def plan(self, plan: Plan, *, only: bool) -> None:
        """Print the plan; with `only` nothing else follows, because the plan is not run."""
        self._plan: PlanData = plan_data(plan)
        if self.wanted and (only or self._output == "jsonl"):
            print_data(self._output, self._plan, (PlanLine(plan=self._plan),))

    def nothing(self, plan: Plan, why: NothingToDo, *, only: bool) -> int:
        """Print that there is nothing to do, and why; returns the exit code. `plan` has no stages."""
        finding = Finding("NOTHING", Severity.NOTE, str(why), plan.deployment, fix=why.hint)
        if self.wanted:
            self.plan(replace(plan, findings=(finding,)), only=only)
            if not only:
                self.end(PlanResult({}, {}))
        for line in (str(why), *([f"  {why.hint}"] if why.hint else [])):
            (print_line if only and not self.wanted else print_message)(line)
        return why.exit_code

    def with_events(self, notice: Callable[[StepEvent], None]) -> Callable[[StepEvent], None]:
        """A listener that prints each event with `jsonl` and then calls `notice`."""
        if self._output != "jsonl":
            return notice

        def print_event(event: StepEvent) -> None:
            print_data("jsonl", StepLine(event=event))
            notice(event)

        return print_event

    def end(self, result: PlanResult) -> None:
        """Print the outcomes of the operation."""
        if not self.wanted:
            return
        end = EndData(outcomes=dict(result.outcomes), messages=dict(result.messages), cancelled=result.cancelled)
        print_data(self._output, OperationDocument(plan=self._plan, **end), (EndLine(end=end),))
