"""`-o`: one way to ask for the form of what is printed, and to print data in it. Talk goes to stderr and is not printed here."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict

from console.cli.printer import print_json
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


class ActData:
    """What an act tells a program: with `json` one document at its end, with `jsonl` plan, events and end as they come."""

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
