"""Prepares plans and runs them step by step, with an outcome for each step. Only this module changes anything on a node.

No step is retried blindly: when the link is lost during a step, the outcome is unknown until the node's list of runs has
been read again.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Literal

from pydantic import JsonValue

from console.journal import Journal
from console.model.errors import ConsoleError, LinkLost, NothingToDo, Refused, Unreachable, UsageError
from console.model.payload import EngineLaunches
from console.model.plan import Outcome, Plan, PlanResult, Step, StepEvent, Verb
from console.model.snapshot import EventLevel
from console.remote.link import NodeLink
from console.services.monitoring.monitor import Monitor
from console.services.monitoring.snapshot_builder import current_run
from console.services.operations import proxy_routing
from console.services.operations.lease import (
    hold_lease,
    lease_link,
    lease_plan,
    lease_warning,
    own_plan,
    under_way_error,
)
from console.services.operations.live_plans import proxy_sync_plan, rolling_restart_plan, scale_plan
from console.services.operations.plan_findings import unreached
from console.services.operations.plan_maker import DRAIN_S, PlanMaker
from console.services.operations.proxy_steps import read_list
from console.services.operations.shared_notes import SharedNotes
from console.services.operations.step_context import Runner, StepContext
from console.services.operations.step_runner import StepRunner
from console.services.operations.step_text import step_commands
from console.services.operations.unmanaged_plan import end_process_plan
from console.services.placement.layout_choice import require_layout
from console.services.placement.live_assignment import LiveAssignment, free_devices
from console.services.readiness.preflight import Preflight
from console.services.readiness.preflight_gate import PreflightGate

Notice = Callable[[StepEvent], None]


class Operator:
    """Changes the cluster of one session, one plan at a time."""

    def __init__(
        self,
        monitor: Monitor,
        links: Mapping[str, NodeLink],
        journal: Journal,
        *,
        who: str,
        preflight: Preflight | None = None,
        roles: LiveAssignment | None = None,
        notes: SharedNotes | None = None,
    ) -> None:
        """`roles` changes the assignment, and saves it before engines are launched, so that a later console finds the engines
        under the same names. Without `roles` no plan can change the assignment.
        """
        self._monitor = monitor
        self._links = links
        self._journal = journal
        self._who = who
        self._preflight = preflight
        self._roles = roles
        self._notes = notes
        self._cancelled = asyncio.Event()
        self._overtaken = ""
        self.running: Plan | None = None

    async def prepare(
        self, verb: Verb, engines: Sequence[str], *, in_turn: bool = False, drain_s: float = DRAIN_S
    ) -> Plan:
        """The plan of a verb on these engines, or on all when empty; `in_turn` restarts one group after another.

        `drain_s` is how long requests may continue after their engine was removed from the proxy. Raises Refused in
        read-only mode, NothingToDo when nothing would change, UnderWay when another operator's plan has just started,
        Unreachable when the state is unknown because nodes are unreachable, UsageError for unknown names.
        """
        self._require_write_access()
        if verb in ("start", "restart"):
            require_layout(self._monitor.deployment)
        maker = PlanMaker(self._monitor.deployment, self._monitor.snapshot, drain_s=drain_s)
        plan = rolling_restart_plan(maker, engines) if in_turn else maker.make(verb, engines)
        if not plan.stages:
            raise await self._nothing_to_do(verb, maker.chosen(verb, engines))
        return await self._with_lease_warning(plan)

    async def prepare_scale(
        self, group: str, count: int, nodes: Sequence[str] = (), *, drain_s: float = DRAIN_S
    ) -> Plan:
        """The plan after which `count` groups like `group` serve. New groups use `nodes`, or free nodes when none is given.

        Raises Refused when nodes are missing, NothingToDo when the count is right already, UsageError for unknown names.
        """
        self._require_write_access()
        deployment, snapshot = self._monitor.deployment, self._monitor.snapshot

        def previous_run(engine: str, node: str) -> str | None:
            run = current_run(self._monitor.nodes[node], deployment.name, engine)
            return run.key.run if run else None

        free = free_devices(snapshot)
        plan = scale_plan(
            deployment, snapshot, group, count, nodes=nodes, free=free, previous_run=previous_run, drain_s=drain_s
        )
        return await self._with_lease_warning(plan)

    async def prepare_proxy_sync(self) -> Plan:
        """The plan that makes the proxy list exactly the engines that are ready; asks the proxy for its list first.

        Raises NothingToDo when the list is right already or there is no proxy, Refused when the proxy is not serving,
        UsageError when its kind cannot be changed at run time.
        """
        self._require_write_access()
        deployment, proxy = self._monitor.deployment, proxy_routing.live_proxy(self._monitor.snapshot)
        if deployment.layout.proxy is None:
            raise NothingToDo("nothing to do: the layout has no proxy")
        if not proxy_routing.can_be_changed(deployment):
            raise UsageError("only a load-balance proxy can be changed while it runs", hint="restart proxy")
        key = self._monitor.current(proxy.id) if proxy else None
        if proxy is None or key is None:
            raise Refused("the proxy is not serving, so its list cannot be changed", hint="start proxy")
        listing = await read_list(self._links[proxy.node].http(), deployment.address(proxy.node), proxy.port or 0)
        isolated = frozenset(self._monitor.run_record(key).isolated)
        return await self._with_lease_warning(proxy_sync_plan(deployment, self._monitor.snapshot, listing, isolated))

    async def prepare_end(self, verb: Literal["stop", "kill"], node: str, pid: int) -> Plan:
        """The plan to stop or kill an unmanaged process of a node. Raises Refused or UsageError when there is no such process."""
        self._require_write_access()
        record = self._monitor.nodes.get(node)
        boot_id = record.hello.boot_id if record is not None and record.hello is not None else ""
        return await self._with_lease_warning(end_process_plan(verb, self._monitor.snapshot, node, pid, boot_id))

    async def _with_lease_warning(self, plan: Plan) -> Plan:
        """The plan, with a warning when another operator's plan runs, so that the operator reads it before confirming."""
        work = None if self.running else await lease_plan(self._lease_link(), plan.deployment)
        return replace(plan, findings=(lease_warning(work, time.time()), *plan.findings)) if work else plan

    async def _nothing_to_do(self, verb: Verb, chosen: Sequence[str]) -> ConsoleError:
        if verb in ("start", "restart") and not self._monitor.deployment.ranks():
            hint = "give nodes to groups: key a on the screen, or --assign GROUP=NODE,NODE"
            return Refused(f"nothing to {verb}: no node is assigned to a group", hint=hint)
        unreachable = unreached(self._monitor.snapshot, chosen)
        if unreachable:
            names = ", ".join(unreachable)
            return Unreachable(
                f"nothing to {verb} on reachable nodes; {names} cannot be reached, so what runs there is unknown",
                hint="restore the link first; status shows why it is down",
            )
        work = await lease_plan(self._lease_link(), self._monitor.deployment.name)
        if work is not None:
            return under_way_error(work, verb, time.time())
        return NothingToDo(f"nothing to do: {'all engines run already' if verb == 'start' else 'no engine runs'}")

    async def run(
        self,
        plan: Plan,
        notice: Notice,
        *,
        confirmed: str,
        runner: Runner | None = None,
        takeover: bool = False,
        override: frozenset[str] = frozenset(),
        recheck: Callable[[], Awaitable[None]] | None = None,
    ) -> PlanResult:
        """Run a plan to its end and pass each change of a step to `notice`. The checks in `override` do not stop the plan.

        `recheck` runs after the lease was taken and raises to cancel the plan. Raises Refused when the plan is not confirmed
        as it asks, a finding blocks it, or another plan runs here; Busy when another operator holds the deployment's lease
        and `takeover` is not given.
        """
        self._require_write_access()
        here = self._monitor.deployment.cluster.name
        if plan.cluster != here:
            raise Refused(f"the plan is for {plan.cluster}, this is {here}")
        if confirmed != plan.confirm.expected:
            raise Refused(f"not confirmed: expected {plan.confirm.expected!r}")
        if plan.blocked:
            first = next(finding for finding in plan.findings if finding.severity == "error")
            raise Refused(f"{first.rule}: {first.message}", hint=first.fix)
        if self.running is not None:
            raise Refused(f"a plan to {self.running.verb} is still running", hint="wait for it, or stop it first")
        self._require_same_deployment(plan)
        self.running = plan
        self._cancelled.clear()
        self._overtaken = ""
        try:
            with self._monitor.current_deployment.locked(f"a {plan.verb}"):
                return await self._run_held(plan, notice, runner, takeover, override, recheck)
        finally:
            self.running = self._monitor.work = None

    async def _run_held(
        self,
        plan: Plan,
        notice: Notice,
        runner: Runner | None,
        takeover: bool,
        override: frozenset[str],
        recheck: Callable[[], Awaitable[None]] | None,
    ) -> PlanResult:
        """Run the plan while holding the lease; record its start and its end in the journal."""
        plan_id: dict[str, JsonValue] = {"plan": secrets.token_hex(8)}
        lease = hold_lease(
            self._lease_link(), plan, self._who, takeover=takeover, report=self._warn, overtaken=self._note_overtaken
        )
        async with lease:
            self._monitor.work = own_plan(plan, self._who, time.time())
            if recheck is not None:
                await recheck()
            if plan.runs and not plan.restarts and self._roles is not None:
                self._roles.save()
            facts: dict[str, JsonValue] = {
                **plan_id,
                "takeover": takeover,
                "override": [*sorted(override)],
                **self._journal_facts(plan),
                "commands": _commands(plan),
            }
            missing = self._record("begin", facts, must=not plan.emergency)
            result = await self._stages(plan, notice, self._gate(plan, override), runner)
        outcomes: dict[str, JsonValue] = {step: str(outcome) for step, outcome in result.outcomes.items()}
        outcome_facts: dict[str, JsonValue] = {"outcomes": outcomes, "messages": dict(result.messages)}
        ended = {**plan_id, "taken_over": result.taken_over, **outcome_facts, **self._journal_facts(plan)}
        missing += self._record("end", ended, must=False)
        return replace(result, unrecorded=tuple(dict.fromkeys(missing)))

    def _record(self, what: str, facts: Mapping[str, JsonValue], *, must: bool) -> list[str]:
        """Write to the journal. Gives the errors of writing; with `must` raises ConsoleError instead."""
        try:
            self._journal.record(what, **facts)
        except ConsoleError as error:
            if must:
                raise
            self._warn(f"not recorded: {error}")
            return [str(error)]
        return []

    def _require_same_deployment(self, plan: Plan) -> None:
        """Raises Refused when the deployment has changed since the launches of the plan were computed."""
        made_from = plan.made_from
        if (plan.launches or plan.change) and made_from is not None and made_from != self._monitor.deployment:
            text = "nodes, groups or addresses have changed since the plan was made"
            raise Refused(text, hint="make the plan again: the old one would start the wrong engines")

    def cancel(self) -> None:
        """Start no further step. Engines that have been started keep running: cancelling never kills."""
        self._cancelled.set()

    def _note_overtaken(self, who: str) -> None:
        """Stop this plan when another operator takes the lease over: two plans would undo each other."""
        verb = self.running.verb if self.running else "plan"
        self._warn(f"taken over by {who} while this {verb} runs: no further step starts")
        self._overtaken = who
        self.cancel()

    def _gate(self, plan: Plan, override: frozenset[str]) -> PreflightGate | None:
        if self._preflight is None:
            return None
        by_stage = [[step.node for step in stage.steps if _asks_preflight(step)] for stage in plan.stages]
        return PreflightGate(self._preflight, self._monitor, [nodes for nodes in by_stage if nodes], override)

    def _lease_link(self) -> NodeLink | None:
        return lease_link(tuple(rank.node for rank in self._monitor.deployment.ranks()), self._links)

    def _warn(self, text: str) -> None:
        self._monitor.note(EventLevel.WARNING, text)

    def _require_write_access(self) -> None:
        if self._monitor.read_only:
            raise Refused("this session is read-only", hint="start the console with --write to change this cluster")

    def _journal_facts(self, plan: Plan) -> dict[str, JsonValue]:
        return {
            "verb": plan.verb,
            "nodes": [*dict.fromkeys(step.node for step in plan.steps)],
            "cluster": plan.cluster,
            "deployment": plan.deployment,
            "engines": list(plan.engines),
            **({"restarts": list(plan.restarts)} if plan.restarts else {}),
            **({"runs": dict(plan.runs), "awaited": plan.awaited} if plan.launches else {}),
            **({"process": asdict(plan.process)} if plan.process else {}),
        }

    async def _stages(
        self, plan: Plan, notice: Notice, gate: PreflightGate | None, runner: Runner | None = None
    ) -> PlanResult:
        outcomes = {step.id: Outcome.PENDING for step in plan.steps}
        messages: dict[str, str] = {}

        def report(step: str, outcome: Outcome, message: str = "") -> None:
            outcomes[step] = outcome
            if message:
                messages[step] = message
            notice(StepEvent(step, outcome, message, time.time()))

        who = f"{self._who} (restart policy)" if plan.restarts else self._who
        runner = runner or StepRunner(
            StepContext(
                plan,
                self._monitor,
                self._links,
                who,
                self._cancelled,
                gate,
                self._roles.change_by_plan if self._roles else None,
                self._notes,
            )
        )
        halted: set[str] = set()
        for stage in plan.stages:
            to_run = [step for step in stage.steps if not self._cancelled.is_set() and step.node not in halted]
            for step in stage.steps:
                if step not in to_run:
                    report(step.id, Outcome.SKIPPED)
            await self._stage(to_run, runner, report)
            failed = {step.node for step in to_run if outcomes[step.id] is not Outcome.DONE}
            if failed and stage.steps[0].act == "prepare":
                await runner.discard(stage)
            if failed:
                halted |= failed if plan.by_node else {step.node for step in plan.steps}
        checks = tuple(sorted(gate.stopped)) if gate else ()
        return PlanResult(dict(outcomes), messages, self._cancelled.is_set(), checks, taken_over=self._overtaken)

    async def _stage(self, steps: Sequence[Step], runner: Runner, report: Callable[..., None]) -> None:
        async def run_one(step: Step) -> None:
            report(step.id, Outcome.RUNNING)
            try:
                message = await runner.run(step, lambda text: report(step.id, Outcome.RUNNING, text))
            except LinkLost as error:
                outcome, message = await runner.settle(step, error)
                report(step.id, outcome, message)
            except ConsoleError as error:
                report(step.id, Outcome.FAILED, f"{error}" + (f" — {error.hint}" if error.hint else ""))
            else:
                can_stop_waiting = step.act in ("check", "wait-ready")
                skipped = self._cancelled.is_set() and can_stop_waiting and message.startswith("stopped waiting")
                report(step.id, Outcome.SKIPPED if skipped else Outcome.DONE, message)

        async with asyncio.TaskGroup() as group:
            for step in steps:
                group.create_task(run_one(step), name=f"step {step.id}")


def _asks_preflight(step: Step) -> bool:
    return step.act == "check" and isinstance(step.payload, EngineLaunches) and step.payload.preflight


def _commands(plan: Plan) -> dict[str, JsonValue]:
    """The commands of each step, by step id, as the dialog showed them; secrets masked."""
    return {step.id: [*commands] for step in plan.steps if (commands := step_commands(step))}
