"""Shows, confirms and runs the plans of the maintenance commands, and gives their exit codes."""

from __future__ import annotations

import argparse
from collections.abc import Awaitable, Sequence

from console.cli.lifecycle import ask_confirmation, empty_plan, step_printer
from console.cli.output import OperationData
from console.cli.plan_text import print_end, show_plan
from console.model.errors import ExitCode, NothingToDo
from console.model.plan import Outcome, Verb
from console.services.maintenance.node_tasks import MaintenancePlan
from console.services.session import Session


def add_action(parser: argparse.ArgumentParser, actions: Sequence[str]) -> None:
    """Add `[ACTION] [NODE …]`; the default is the first action, on all assigned nodes."""
    text = f"one of {', '.join(actions)} (default: {actions[0]})"
    parser.add_argument("action", nargs="?", default=actions[0], metavar="ACTION", help=text)
    parser.add_argument("nodes", nargs="*", metavar="NODE", help="names of nodes (default: all assigned nodes)")
    parser.set_defaults(actions=tuple(actions))


def resolve_action(args: argparse.Namespace) -> None:
    """Takes a first word that is not an action as the name of a node."""
    if args.action not in args.actions:
        args.nodes, args.action = [args.action, *args.nodes], args.actions[0]


async def run_maintenance(
    session: Session, verb: Verb, made: Awaitable[MaintenancePlan], args: argparse.Namespace, *, only_plan: bool
) -> int:
    """Show a maintenance plan and, unless `only_plan`, confirm and run it; returns the exit code."""
    data = OperationData(args.output)
    try:
        prepared = await made
    except NothingToDo as error:
        return data.nothing(empty_plan(verb, session), error, only=only_plan)
    plan = prepared.plan
    data.plan(plan, only=only_plan)
    if not data.wanted:
        show_plan(plan, as_result=only_plan, verbose=args.verbose)
    if only_plan:
        return ExitCode.FAILED if plan.blocked else ExitCode.OK
    confirmed = plan.confirm.expected if args.yes else ask_confirmation(plan)
    notice = data.with_events(step_printer(plan))
    result = await session.maintenance.run(prepared, notice, confirmed, takeover=args.takeover)
    data.end(result)
    print_end(plan, result)
    bad = (Outcome.FAILED, Outcome.UNKNOWN)
    return ExitCode.FAILED if any(outcome in bad for outcome in result.outcomes.values()) else ExitCode.OK
