"""Prepares plans and runs them, step by step, with an outcome for each. The one place that changes anything on a node.

Nothing is retried blindly: when a link is lost under a step its outcome is unknown until the node's own list
of runs has been read again.
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
from console.services.operations.lease import at_work, held, keeper, own_work, under_way, warning
from console.services.operations.live_plans import proxy_sync_plan, rolling_restart_plan, scale_plan
from console.services.operations.plan_findings import unreached
from console.services.operations.plan_maker import DRAIN_S, PlanMaker
from console.services.operations.proxy_steps import listed
from console.services.operations.shared_notes import SharedNotes
from console.services.operations.step_context import Runner, StepContext
from console.services.operations.step_runner import StepRunner
from console.services.operations.step_text import step_commands
from console.services.operations.unmanaged_plan import ending_plan
from console.services.placement.layout_choice import must_be_chosen
from console.services.placement.live_assignment import LiveAssignment, free_devices
from console.services.readiness.preflight import Preflight
from console.services.readiness.preflight_gate import PreflightGate

Notice = Callable[[StepEvent], None]


class Operator:
    """Acts on one session's cluster, one plan at a time."""

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
        """`roles` carry a change of the assignment out, and keep it before engines are launched by it: whoever comes later
        must find them under the names they have. Without them no plan can change it.
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
        """The plan of a verb on these engines, all when empty; `in_turn` restarts one group after another.

        `drain_s` is how long requests may go on once their engine has left the proxy. Raises Refused in read-only mode,
        NothingToDo when all is so already, UnderWay when somebody's plan has only just started, Unreachable when nobody knows
        that, UsageError for unknown names.
        """
        self._must_be_armed()
        if verb in ("start", "restart"):
            must_be_chosen(self._monitor.deployment)
        maker = PlanMaker(self._monitor.deployment, self._monitor.snapshot, drain_s=drain_s)
        plan = rolling_restart_plan(maker, engines) if in_turn else maker.make(verb, engines)
        if not plan.stages:
            raise await self._nothing(verb, maker.chosen(verb, engines))
        return await self._beside(plan)

    async def prepare_scale(
        self, group: str, count: int, nodes: Sequence[str] = (), *, drain_s: float = DRAIN_S
    ) -> Plan:
        """The plan after which `count` groups like `group` serve; new ones on `nodes`, else on free ones.

        Raises Refused when that cannot be done, NothingToDo when there are as many, UsageError for unknown names.
        """
        self._must_be_armed()
        now, snapshot = self._monitor.deployment, self._monitor.snapshot

        def earlier(engine: str, node: str) -> str | None:
            run = current_run(self._monitor.nodes[node], now.name, engine)
            return run.key.run if run else None

        free = free_devices(snapshot)
        plan = scale_plan(now, snapshot, group, count, nodes=nodes, free=free, earlier=earlier, drain_s=drain_s)
        return await self._beside(plan)

    async def prepare_proxy_sync(self) -> Plan:
        """The plan that makes the proxy list exactly what is ready, after it was asked what it lists.

        Raises NothingToDo when it is so already or there is no proxy, Refused when it does not serve, UsageError when
        it cannot be told.
        """
        self._must_be_armed()
        deployment, proxy = self._monitor.deployment, proxy_routing.live_proxy(self._monitor.snapshot)
        if deployment.layout.proxy is None:
            raise NothingToDo("nothing to do: the layout has no proxy")
        if not proxy_routing.tellable(deployment):
            raise UsageError("only a load-balance proxy can be changed while it runs", hint="restart proxy")
        key = self._monitor.current(proxy.id) if proxy else None
        if proxy is None or key is None:
            raise Refused("the proxy does not serve, so its list cannot be changed", hint="start proxy")
        said = await listed(self._links[proxy.node].http(), deployment.address(proxy.node), proxy.port or 0)
        isolated = frozenset(self._monitor.learnt(key).isolated)
        return await self._beside(proxy_sync_plan(deployment, self._monitor.snapshot, said, isolated))

    async def prepare_end(self, verb: Literal["stop", "kill"], node: str, pid: int) -> Plan:
        """The plan to end an unmanaged process of a node. Raises Refused or UsageError when there is no such process."""
        self._must_be_armed()
        record = self._monitor.nodes.get(node)
        boot_id = record.hello.boot_id if record is not None and record.hello is not None else ""
        return await self._beside(ending_plan(verb, self._monitor.snapshot, node, pid, boot_id))

    async def _beside(self, plan: Plan) -> Plan:
        """The plan with a word on who else is at work, so that it is read before anything is typed."""
        work = None if self.running else await at_work(self._keeper(), plan.deployment)
        return replace(plan, findings=(warning(work, time.time()), *plan.findings)) if work else plan

    async def _nothing(self, verb: Verb, chosen: Sequence[str]) -> ConsoleError:
        if verb in ("start", "restart") and not self._monitor.deployment.ranks():
            hint = "give nodes to groups: key a on the screen, or --assign GROUP=NODE,NODE"
            return Refused(f"nothing to {verb}: no node is assigned to a group", hint=hint)
        away = unreached(self._monitor.snapshot, chosen)
        if away:
            names = ", ".join(away)
            return Unreachable(
                f"nothing that can be reached is to {verb}: {names} out of reach, and what runs there is not known",
                hint="bring the link back first; status shows why it is down",
            )
        work = await at_work(self._keeper(), self._monitor.deployment.name)
        if work is not None:
            return under_way(work, verb, time.time())
        return NothingToDo(
            f"nothing to do: {'every engine of it runs already' if verb == 'start' else 'nothing of it runs'}"
        )

    async def run(
        self,
        plan: Plan,
        notice: Notice,
        *,
        confirmed: str,
        runner: Runner | None = None,
        takeover: bool = False,
        override: frozenset[str] = frozenset(),
        still: Callable[[], Awaitable[None]] | None = None,
    ) -> PlanResult:
        """Run a plan to its end; each change of a step goes to `notice`. Failures of the checks in `override` stop nothing.

        `still` is asked once the lease is held and may raise to call it off. Raises Refused when it is not confirmed as
        the plan asks, blocked by a finding, or another plan runs here; Busy when another operator holds the
        deployment's lease and `takeover` is not given.
        """
        self._must_be_armed()
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
        self._must_fit(plan)
        self.running = plan
        self._cancelled.clear()
        self._overtaken = ""
        try:
            with self._monitor.current_deployment.holding(f"a {plan.verb}"):
                return await self._run_held(plan, notice, runner, takeover, override, still)
        finally:
            self.running = self._monitor.work = None

    async def _run_held(
        self,
        plan: Plan,
        notice: Notice,
        runner: Runner | None,
        takeover: bool,
        override: frozenset[str],
        still: Callable[[], Awaitable[None]] | None,
    ) -> PlanResult:
        """Run it under the lease, with its beginning and its end in the journal."""
        own: dict[str, JsonValue] = {"plan": secrets.token_hex(8)}
        lease = held(
            self._keeper(), plan, self._who, takeover=takeover, tell=self._tell, overtaken=self._note_overtaken
        )
        async with lease:
            self._monitor.work = own_work(plan, self._who, time.time())
            if still is not None:
                await still()
            if plan.runs and not plan.restarts and self._roles is not None:
                self._roles.keep()
            facts: dict[str, JsonValue] = {
                **own,
                "takeover": takeover,
                "override": [*sorted(override)],
                **self._facts(plan),
                "commands": _commands(plan),
            }
            missing = self._record("begin", facts, must=not plan.emergency)
            result = await self._stages(plan, notice, self._gate(plan, override), runner)
        outcomes: dict[str, JsonValue] = {step: str(outcome) for step, outcome in result.outcomes.items()}
        how: dict[str, JsonValue] = {"outcomes": outcomes, "messages": dict(result.messages)}
        ended = {**own, "taken_over": result.taken_over, **how, **self._facts(plan)}
        missing += self._record("end", ended, must=False)
        return replace(result, unrecorded=tuple(dict.fromkeys(missing)))

    def _record(self, what: str, facts: Mapping[str, JsonValue], *, must: bool) -> list[str]:
        """Write to the journal; gives why it could not, where that forbids nothing. Raises ConsoleError where it must."""
        try:
            self._journal.record(what, **facts)
        except ConsoleError as error:
            if must:
                raise
            self._tell(f"not recorded: {error}")
            return [str(error)]
        return []

    def _must_fit(self, plan: Plan) -> None:
        """What a launch carries was worked out from one deployment. Raises Refused when another one counts now."""
        made_from = plan.made_from
        if (plan.launches or plan.change) and made_from is not None and made_from != self._monitor.deployment:
            text = "nodes, groups or addresses have changed since the plan was made"
            raise Refused(text, hint="make the plan again: it would start other things now")

    def cancel(self) -> None:
        """Begin no further step. What has been started is left as it is: cancelling never kills."""
        self._cancelled.set()

    def _note_overtaken(self, who: str) -> None:
        """Somebody else is at work now: two plans side by side would undo each other."""
        verb = self.running.verb if self.running else "plan"
        self._tell(f"taken over by {who} while this {verb} runs: no further step begins")
        self._overtaken = who
        self.cancel()

    def _gate(self, plan: Plan, override: frozenset[str]) -> PreflightGate | None:
        if self._preflight is None:
            return None
        turns = [[step.node for step in stage.steps if _asks_preflight(step)] for stage in plan.stages]
        return PreflightGate(self._preflight, self._monitor, [nodes for nodes in turns if nodes], override)

    def _keeper(self) -> NodeLink | None:
        return keeper(tuple(rank.node for rank in self._monitor.deployment.ranks()), self._links)

    def _tell(self, text: str) -> None:
        self._monitor.note(EventLevel.WARNING, text)

    def _must_be_armed(self) -> None:
        if self._monitor.read_only:
            raise Refused("this session is read-only", hint="start the console with --write to change this cluster")

    def _facts(self, plan: Plan) -> dict[str, JsonValue]:
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

        def tell(step: str, outcome: Outcome, message: str = "") -> None:
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
            going = [step for step in stage.steps if not self._cancelled.is_set() and step.node not in halted]
            for step in stage.steps:
                if step not in going:
                    tell(step.id, Outcome.SKIPPED)
            await self._stage(going, runner, tell)
            failed = {step.node for step in going if outcomes[step.id] is not Outcome.DONE}
            if failed and stage.steps[0].act == "prepare":
                await runner.discard(stage)
            if failed:
                halted |= failed if plan.by_node else {step.node for step in plan.steps}
        checks = tuple(sorted(gate.stopped)) if gate else ()
        return PlanResult(dict(outcomes), messages, self._cancelled.is_set(), checks, taken_over=self._overtaken)

    async def _stage(self, steps: Sequence[Step], runner: Runner, tell: Callable[..., None]) -> None:
        async def one(step: Step) -> None:
            tell(step.id, Outcome.RUNNING)
            try:
                message = await runner.run(step, lambda text: tell(step.id, Outcome.RUNNING, text))
            except LinkLost as error:
                outcome, message = await runner.settle(step, error)
                tell(step.id, outcome, message)
            except ConsoleError as error:
                tell(step.id, Outcome.FAILED, f"{error}" + (f" — {error.hint}" if error.hint else ""))
            else:
                waits = step.act in ("check", "wait-ready")
                skipped = self._cancelled.is_set() and waits and message.startswith("not waited")
                tell(step.id, Outcome.SKIPPED if skipped else Outcome.DONE, message)

        async with asyncio.TaskGroup() as group:
            for step in steps:
                group.create_task(one(step), name=f"step {step.id}")


def _asks_preflight(step: Step) -> bool:
    return step.act == "check" and isinstance(step.payload, EngineLaunches) and step.payload.preflight


def _commands(plan: Plan) -> dict[str, JsonValue]:
    """What each step runs, as it was shown, by its id; secrets masked."""
    return {step.id: [*commands] for step in plan.steps if (commands := step_commands(step))}
