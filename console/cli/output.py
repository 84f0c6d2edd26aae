"""`-o`: one way to ask for the form of what is printed, and to print data in it. Talk goes to stderr and is not printed here."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, replace

from console.cli.printer import print_json, print_line, print_message
from console.model.errors import NothingToDo
from console.model.findings import Finding, Severity
from console.model.plan import Plan, PlanResult, StepEvent
from console.services.operations.step_text import plan_data

DATA = ("json", "jsonl")


def add_output(parser: argparse.ArgumentParser, *more: str) -> None:
    """`-o table|json|jsonl`, and other forms a command has."""
    text = "table for people; json: one document; jsonl: a line for each thing"
    parser.add_argument("-o", "--output", choices=("table", *DATA, *more), default="table", help=text)


def print_data(output: str, whole: object, things: Iterable[object] | None = None) -> None:
    """One document, or with `jsonl` the things it is made of (a list's own when none are given), a line each."""
    if output == "json":
        print_json(whole, indent=2)
        return
    for thing in things if things is not None else whole if isinstance(whole, list) else (whole,):
        print_json(thing, flush=True)


class OperationData:
    """What an operation tells a program: with `json` one document at its end, with `jsonl` plan, events and end as they come."""

    def __init__(self, output: str) -> None:
        self._output = output
        self._plan: Mapping[str, object] = {}

    @property
    def wanted(self) -> bool:
        """Whether a program reads."""
        return self._output in DATA

    def plan(self, plan: Plan, *, only: bool) -> None:
        """The plan; alone when nothing is run."""
        self._plan = plan_data(plan)
        if self.wanted and (only or self._output == "jsonl"):
            print_data(self._output, self._plan, ({"plan": self._plan},))

    def nothing(self, plan: Plan, why: NothingToDo, *, only: bool) -> int:
        """There is no plan because all is so already; gives the exit code. `plan` has no stage."""
        finding = Finding("NOTHING", Severity.NOTE, str(why), plan.deployment, fix=why.hint)
        if self.wanted:
            self.plan(replace(plan, findings=(finding,)), only=only)
            if not only:
                self.end(PlanResult({}, {}))
        for line in (str(why), *([f"  {why.hint}"] if why.hint else [])):
            (print_line if only and not self.wanted else print_message)(line)
        return why.exit_code

    def heard(self, notice: Callable[[StepEvent], None]) -> Callable[[StepEvent], None]:
        """The same listener, with each event told as it comes."""
        if self._output != "jsonl":
            return notice

        def tell(event: StepEvent) -> None:
            print_data("jsonl", {"event": asdict(event)})
            notice(event)

        return tell

    def end(self, result: PlanResult) -> None:
        """How it ended."""
        if not self.wanted:
            return
        end = {"outcomes": result.outcomes, "messages": result.messages, "cancelled": result.cancelled}
        print_data(self._output, {"plan": self._plan, **end}, ({"end": end},))
