"""`start`, `stop`, `restart`, `kill`: make the same plans as the dialogs of the screen, and run them after a confirmation.

Also the options, the confirmation and the printed steps that all commands with a plan share.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Callable

from console.cli.options import add_cluster_options, remember_layout
from console.cli.output import OPERATION, OperationData, add_output
from console.cli.plan_text import print_end, show_plan
from console.cli.printer import print_message
from console.cli.session_context import connected, opened, settled
from console.cli.status import anything_down
from console.cli.step_lines import StepLines
from console.model.errors import ExitCode, NothingToDo, Refused, UsageError
from console.model.plan import Confirm, Outcome, Plan, PlanResult, StepEvent, Verb
from console.services.operations.plan_findings import UNREACHED
from console.services.operations.plan_maker import DRAIN_S, without_waiting
from console.services.readiness.preflight_gate import overrides
from console.services.session import Session

HELP: dict[Verb, str] = {
    "start": "start all engines, or the groups of the named engines",
    "stop": "stop all engines, or the groups of the named engines: drain, send TERM, then KILL to remaining processes, verify",
    "restart": "stop all engines, or the groups of the named engines, then start them",
    "kill": "kill all engines, or the groups of the named engines, at once: without drain and without TERM",
}


_ENGINES = "an engine such as decode-3, or a group (default: all); an engine always includes its whole group"
_NO_WAIT: dict[Verb, str] = {
    "start": "return when the engines are started, not when they are ready",
    "stop": "ignored: a stop returns when it is verified",
    "restart": "return when the engines are started, not when they are ready",
    "kill": "ignored: a kill returns when it is verified",
}

_UNMANAGED: dict[Verb, str] = {
    "stop": "send TERM to an unmanaged process that `status` lists, instead of stopping engines; nothing is killed",
    "kill": "send KILL to an unmanaged process that `status` lists and to its child processes, instead of killing engines",
}

_HOW_TO_CONFIRM = {
    True: "type the confirmation in a terminal, or give --yes",
    False: "type the confirmation in a terminal, or give --yes-stop PID",
}


def add_parsers(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the four commands."""
    for verb, text in HELP.items():
        parser = subparsers.add_parser(verb, help=text, description=text)
        parser.add_argument("engines", nargs="*", metavar="ENGINE", help=_ENGINES)
        parser.add_argument("--no-wait", action="store_true", help=_NO_WAIT[verb])
        if verb in ("stop", "kill"):
            text = _UNMANAGED[verb]
            parser.add_argument("--unmanaged", metavar="NODE:PID", help=text)
            parser.add_argument(
                "--yes-stop",
                type=int,
                metavar="PID",
                help="with --unmanaged: confirm without a prompt; PID is the same pid",
            )
        if verb in ("stop", "restart"):
            add_drain_option(parser)
        if verb == "restart":
            parser.add_argument(
                "--rolling", action="store_true", help="restart one group after the other, while the others serve"
            )
        if verb in ("start", "restart"):
            add_override_option(parser)
        add_plan_options(parser)
        add_cluster_options(parser)
        parser.set_defaults(run=run, verb=verb, prepare=_prepared)


def add_plan_options(parser: argparse.ArgumentParser, listed: str = "") -> None:
    """Add `--yes`, `--dry-run`, `--verbose`, `--takeover`, `-o`; `listed` names what the command prints without a plan."""
    parser.add_argument("--yes", action="store_true", help="run the plan without a confirmation")
    parser.add_argument("--dry-run", action="store_true", help="print the plan, change nothing")
    parser.add_argument("-v", "--verbose", action="store_true", help="print every command of the plan, not a summary")
    parser.add_argument("--takeover", action="store_true", help="run the plan even if another operator holds the lease")
    each = {"json": f"for show: every {listed}; else ", "jsonl": f"for show: a line for each {listed}; else "}
    add_output(parser, **{form: (each[form] if listed else "") + what for form, what in OPERATION.items()})


def add_override_option(parser: argparse.ArgumentParser) -> None:
    """Add `--override`."""
    text = "start even if this preflight check fails; repeatable"
    parser.add_argument("--override", action="append", default=[], metavar="CHECK-ID", help=text)


def add_drain_option(parser: argparse.ArgumentParser) -> None:
    """Add `--drain`."""
    text = f"time limit in seconds for running requests, after the proxy sends no new ones (default {DRAIN_S:.0f})"
    parser.add_argument("--drain", type=_seconds, default=DRAIN_S, metavar="S", help=text)


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 86400:
        raise ValueError("a time must be 0 to 86400 seconds")
    return value


def run(args: argparse.Namespace) -> int:
    """Run the operation. Exit code 0: done; 1: a step failed or its outcome is unknown; 3: a node is unreachable; 4: refused."""
    return asyncio.run(_run(args))


async def _run(args: argparse.Namespace) -> int:
    override = overrides(getattr(args, "override", ()))
    async with opened(
        args,
        read_only=False if args.dry_run else None,
        changes=not args.dry_run,
        look=getattr(args, "unmanaged", None) is not None,
    ) as session:
        await connected(session, listed=args.verb == "kill")
        if args.verb != "kill" and (session.deployment.layout.proxy is not None or anything_down(session.snapshot)):
            await settled(session)
        data = OperationData(args.output)
        try:
            made = await args.prepare(args, session)
        except NothingToDo as error:
            return data.nothing(empty_plan(args.verb, session), error, only=args.dry_run)
        plan = without_waiting(made) if args.no_wait else made
        data.plan(plan, only=args.dry_run)
        if not data.wanted:
            show_plan(plan, as_result=args.dry_run, verbose=args.verbose)
        if args.dry_run:
            return ExitCode.FAILED if plan.blocked else ExitCode.OK
        confirmed = _plan_confirmation(args, plan)
        remember_layout(session.cluster, session.deployment.layout)
        notice = data.with_events(step_printer(plan))
        result = await session.operator.run(
            plan, notice, confirmed=confirmed, takeover=args.takeover, override=override
        )
        data.end(result)
        print_end(plan, result)
        for why in result.unrecorded:
            print_message(f"done, but not recorded in the journal: {why}")
        if result.taken_over:
            print_message(f"{result.taken_over} took the lease over: the remaining steps were not started")
        return _code(plan, result)


async def _prepared(args: argparse.Namespace, session: Session) -> Plan:
    """The plan of the options. Raises UsageError for options that cannot be combined."""
    unmanaged = getattr(args, "unmanaged", None)
    if unmanaged is None:
        if getattr(args, "yes_stop", None) is not None:
            raise UsageError("--yes-stop needs --unmanaged NODE:PID", hint="to stop engines use --yes")
        in_turn, drain_s = getattr(args, "rolling", False), getattr(args, "drain", DRAIN_S)
        return await session.operator.prepare(args.verb, args.engines, in_turn=in_turn, drain_s=drain_s)
    node, colon, pid = unmanaged.rpartition(":")
    if not colon or not pid.isdecimal() or args.engines:
        hint = "for example: stop --unmanaged d0:4711, without engine names"
        raise UsageError(f"--unmanaged {unmanaged}: expected NODE:PID and no engine names", hint=hint)
    await settled(session)
    return await session.operator.prepare_end(args.verb, node, int(pid))


def _plan_confirmation(args: argparse.Namespace, plan: Plan) -> str:
    """The confirmation of a plan. `--yes` does not confirm the stop of an unmanaged process: its pid must be typed or given."""
    if plan.process is None:
        return plan.confirm.expected if args.yes else ask_confirmation(plan)
    return str(args.yes_stop) if args.yes_stop is not None else ask_confirmation(plan)


def empty_plan(verb: Verb, session: Session) -> Plan:
    """A plan without stages, for an operation that has nothing to do."""
    return Plan(verb, session.cluster.name, session.deployment.name, (), (), Confirm("key", "y"))


def ask_confirmation(plan: Plan) -> str:
    """What the operator types to confirm the plan. Raises Refused when stdin is not a terminal."""
    if not sys.stdin.isatty():
        raise Refused("not confirmed", hint=_HOW_TO_CONFIRM[plan.process is None])
    print_message(f"To confirm type {plan.confirm.what} ({plan.confirm.expected}): ", end="")
    return sys.stdin.readline().strip()


def step_printer(plan: Plan) -> Callable[[StepEvent], None]:
    """A listener that prints to stderr how far the plan is, as folded as the plan itself."""
    told = StepLines(plan)

    def print_event(event: StepEvent) -> None:
        for line in told.lines(event):
            print_message(line)

    return print_event


def _code(plan: Plan, result: PlanResult) -> int:
    bad = [step.id for step in plan.steps if result.outcomes[step.id] in (Outcome.FAILED, Outcome.UNKNOWN)]
    if bad or result.taken_over:
        return ExitCode.FAILED
    return ExitCode.UNREACHABLE if any(each.rule == UNREACHED for each in plan.findings) else ExitCode.OK
