"""What the commands of maintenance share: a plan shown, confirmed, run step by step, and what it came to."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Awaitable, Sequence

from console.cli.lifecycle import empty_plan, show_plan
from console.cli.output import OperationData, add_output
from console.cli.printer import print_message
from console.model.errors import ExitCode, NothingToDo, Refused
from console.model.plan import Outcome, Plan, StepEvent, Verb
from console.services.maintenance.node_tasks import MaintenancePlan
from console.services.session import Session


def add_plan_options(parser: argparse.ArgumentParser) -> None:
    """`--yes`, `--dry-run`, `--takeover`, `-o`."""
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument("--dry-run", action="store_true", help="print the plan, change nothing")
    parser.add_argument("--takeover", action="store_true", help="go on although another operator holds the lease")
    add_output(parser)


def add_words(parser: argparse.ArgumentParser, acts: Sequence[str]) -> None:
    """`[ACT] [NODE …]`: what to do, the first of the acts when it is left out, and to which nodes."""
    text = f"{', '.join(acts)}; left out: {acts[0]}"
    parser.add_argument("act", nargs="?", default=acts[0], metavar="ACT", help=text)
    parser.add_argument("nodes", nargs="*", metavar="NODE", help="nodes; none means all assigned nodes")
    parser.set_defaults(acts=tuple(acts))


def settle_words(args: argparse.Namespace) -> None:
    """A first word that is no operation is a node."""
    if args.act not in args.acts:
        args.nodes, args.act = [args.act, *args.nodes], args.acts[0]


async def carry_out(
    session: Session, verb: Verb, made: Awaitable[MaintenancePlan], args: argparse.Namespace, *, only_plan: bool
) -> int:
    """Show a plan of maintenance and, unless only that is asked for, have it confirmed and run it; gives the exit code."""
    data = OperationData(args.output)
    try:
        chore = await made
    except NothingToDo as error:
        return data.nothing(empty_plan(verb, session), error, only=only_plan)
    plan = chore.plan
    data.plan(plan, only=only_plan)
    if not data.wanted:
        show_plan(plan, as_result=only_plan)
    if only_plan:
        return ExitCode.FAILED if plan.blocked else ExitCode.OK
    titles = {step.id: step.title for step in plan.steps}

    def notice(event: StepEvent) -> None:
        clock = time.strftime("%H:%M:%S", time.localtime(event.at))
        line = f"{clock} {event.outcome:8} {titles[event.step]}  {event.message}"
        print_message(line.rstrip())

    confirmed = plan.confirm.expected if args.yes else _confirmation(plan)
    result = await session.maintenance.run(chore, data.heard(notice), confirmed, takeover=args.takeover)
    data.end(result)
    bad = (Outcome.FAILED, Outcome.UNKNOWN)
    return ExitCode.FAILED if any(outcome in bad for outcome in result.outcomes.values()) else ExitCode.OK


def _confirmation(plan: Plan) -> str:
    if not sys.stdin.isatty():
        raise Refused("not confirmed", hint="type the confirmation in a terminal, or give --yes")
    print_message(f"To go on type {plan.confirm.what} ({plan.confirm.expected}): ", end="")
    return sys.stdin.readline().strip()
