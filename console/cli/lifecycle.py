"""`start`, `stop`, `restart`, `kill`: the same plans as the dialogs, confirmed by `--yes` or by typing."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Callable, Iterator

from console.cli.options import add_cluster_options, remember_layout
from console.cli.output import OperationData, add_output
from console.cli.printer import print_line, print_message
from console.cli.session_context import connected, opened, settled
from console.cli.status import anything_down
from console.model.errors import ExitCode, NothingToDo, Refused, UsageError
from console.model.plan import Confirm, Outcome, Plan, PlanResult, StepEvent, Verb
from console.services.operations.plan_findings import UNREACHED
from console.services.operations.plan_maker import DRAIN_S, without_waiting
from console.services.operations.step_text import step_commands
from console.services.readiness.preflight_gate import overrides
from console.services.session import Session

HELP: dict[Verb, str] = {
    "start": "start engines (all, or the groups of those named)",
    "stop": "stop engines: TERM, wait, KILL what is left, verify",
    "restart": "stop, then start",
    "kill": "kill engines at once, without asking them to end",
}


_NO_WAIT: dict[Verb, str] = {
    "start": "return when started, not when ready",
    "stop": "no difference: a stop returns when it is proven",
    "restart": "return when started, not when ready",
    "kill": "no difference: a kill returns when it is proven",
}

_UNASKED = {
    True: "type the confirmation in a terminal, or give --yes",
    False: "type it in a terminal, or give --yes-stop PID",
}


def add_parsers(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the four acts."""
    for verb, text in HELP.items():
        parser = subparsers.add_parser(verb, help=text, description=text)
        parser.add_argument(
            "engines", nargs="*", metavar="ENGINE", help="engine ids such as decode-3, or groups; none means all"
        )
        parser.add_argument("--yes", action="store_true", help="do not ask")
        parser.add_argument("--dry-run", action="store_true", help="print the plan, change nothing")
        parser.add_argument("--no-wait", action="store_true", help=_NO_WAIT[verb])
        if verb in ("stop", "kill"):
            text = "instead of engines: an unmanaged process that `status` lists"
            parser.add_argument("--unmanaged", metavar="NODE:PID", help=text)
            parser.add_argument(
                "--yes-stop", type=int, metavar="PID", help="do not ask; the pid again, as typed by hand"
            )
        parser.add_argument("--takeover", action="store_true", help="go on although another operator holds the lease")
        if verb in ("stop", "restart"):
            add_drain_option(parser)
        if verb == "restart":
            parser.add_argument(
                "--rolling", action="store_true", help="one group after another, while the others serve"
            )
        if verb in ("start", "restart"):
            text = "launch although this check of the preflight fails; repeatable"
            parser.add_argument("--override", action="append", default=[], metavar="CHECK-ID", help=text)
        add_output(parser)
        add_cluster_options(parser)
        parser.set_defaults(run=run, verb=verb, prepare=_prepared)


def add_drain_option(parser: argparse.ArgumentParser) -> None:
    """`--drain`."""
    text = f"how long requests may go on after their engine left the proxy, seconds (default {DRAIN_S:.0f})"
    parser.add_argument("--drain", type=_seconds, default=DRAIN_S, metavar="S", help=text)


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 86400:
        raise ValueError("a time is 0 to 86400 seconds")
    return value


def run(args: argparse.Namespace) -> int:
    """Carry the operation out; returns the exit code."""
    return asyncio.run(_run(args))


async def _run(args: argparse.Namespace) -> int:
    override = overrides(getattr(args, "override", ()))
    async with opened(
        args, read_only=False if args.dry_run else None, acts=not args.dry_run, look=_of_no_layout(args)
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
            show_plan(plan, as_result=args.dry_run)
        if args.dry_run:
            return ExitCode.FAILED if plan.blocked else ExitCode.OK
        confirmed = _confirmed(args, plan)
        remember_layout(session.cluster, session.deployment.layout)
        notice = data.heard(_notice(plan))
        result = await session.operator.run(
            plan, notice, confirmed=confirmed, takeover=args.takeover, override=override
        )
        data.end(result)
        for why in result.unrecorded:
            print_message(f"done, but not recorded: {why}")
        if result.taken_over:
            print_message(f"taken over by {result.taken_over}: no further step was begun")
        return _code(plan, result)


def _of_no_layout(args: argparse.Namespace) -> bool:
    """Whether it is about a process that no layout plans."""
    return getattr(args, "unmanaged", None) is not None


async def _prepared(args: argparse.Namespace, session: Session) -> Plan:
    """The plan that is asked for. Raises UsageError for words that do not go together."""
    unmanaged = getattr(args, "unmanaged", None)
    if unmanaged is None:
        if getattr(args, "yes_stop", None) is not None:
            raise UsageError("--yes-stop goes with --unmanaged NODE:PID", hint="for engines of ours: --yes")
        in_turn, drain_s = getattr(args, "rolling", False), getattr(args, "drain", DRAIN_S)
        return await session.operator.prepare(args.verb, args.engines, in_turn=in_turn, drain_s=drain_s)
    node, colon, pid = unmanaged.rpartition(":")
    if not colon or not pid.isdecimal() or args.engines:
        hint = "for example: stop --unmanaged d0:4711, without engine names"
        raise UsageError(f"--unmanaged {unmanaged}: not NODE:PID alone", hint=hint)
    await settled(session)
    return await session.operator.prepare_end(args.verb, node, int(pid))


def _confirmed(args: argparse.Namespace, plan: Plan) -> str:
    """What confirms it. An unmanaged process is never ended by `--yes`: its pid is to be typed or given."""
    if plan.process is None:
        return plan.confirm.expected if args.yes else _ask(plan)
    return str(args.yes_stop) if args.yes_stop is not None else _ask(plan)


def empty_plan(verb: Verb, session: Session) -> Plan:
    """The plan of an operation that has nothing to do."""
    return Plan(verb, session.cluster.name, session.deployment.name, (), (), Confirm("key", "y"))


def show_plan(plan: Plan, *, as_result: bool) -> None:
    """The plan as a person reads it: on stdout when it is what was asked for, else on stderr before it is confirmed."""
    for line in _plan_lines(plan):
        (print_line if as_result else print_message)(line)


def _plan_lines(plan: Plan) -> Iterator[str]:
    yield f"{plan.verb} {plan.target} of {plan.deployment} on {plan.cluster}"
    for finding in plan.findings:
        yield f"  {finding.severity} {finding.rule} {finding.where}: {finding.message}"
        if finding.fix:
            yield f"     {finding.fix}"
    for loss in plan.losses:
        yield f"  lost: {loss}"
    for number, stage in enumerate(plan.stages, 1):
        yield f"  {number}. {stage.title}"
        for step in stage.steps:
            yield f"     {step.title}"
            for command in step_commands(step):
                first, *rest = command.split("\n")
                yield f"       $ {first}"
                yield from (f"         {line}" for line in rest)


def _ask(plan: Plan) -> str:
    if not sys.stdin.isatty():
        raise Refused("not confirmed", hint=_UNASKED[plan.process is None])
    print_message(f"To go on type {plan.confirm.what} ({plan.confirm.expected}): ", end="")
    return sys.stdin.readline().strip()


def _notice(plan: Plan) -> Callable[[StepEvent], None]:
    """Prints each step as it goes."""
    titles = {step.id: step.title for step in plan.steps}

    def notice(event: StepEvent) -> None:
        clock = time.strftime("%H:%M:%S", time.localtime(event.at))
        print_message(f"{clock} {event.outcome:8} {titles[event.step]}  {event.message}".rstrip())

    return notice


def _code(plan: Plan, result: PlanResult) -> int:
    bad = [step.id for step in plan.steps if result.outcomes[step.id] in (Outcome.FAILED, Outcome.UNKNOWN)]
    if bad or result.taken_over:
        return ExitCode.FAILED
    return ExitCode.UNREACHABLE if any(each.rule == UNREACHED for each in plan.findings) else ExitCode.OK
