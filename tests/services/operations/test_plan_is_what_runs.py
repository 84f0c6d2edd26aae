"""The plan that is shown is what runs: whatever changes around it, the nodes get exactly what it carries."""

from __future__ import annotations

import asyncio
import json
import shlex
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from console.cli.printer import json_text
from console.commands.masking import masked_argv, masked_env
from console.commands.script import cmd_sh
from console.model.deployment import Deployment
from console.model.errors import ConsoleError, Refused
from console.model.payload import EngineStops, ProxyChange
from console.model.plan import Outcome, Plan, Step, StepEvent
from console.services.operations import proxy_steps, stop_steps
from console.services.operations.start_steps import StartSteps
from console.services.operations.step_context import StepContext
from console.services.operations.step_text import plan_data, step_commands
from console.services.placement import edits
from console.services.placement.live_assignment import Change
from tests.services.operations.carried import SECRET, Nodes, Record, keyed_deployment

NODE = st.sampled_from(("p0", "p1", "d0", "d1", "e0", "e1"))
CHANGES: st.SearchStrategy[Change] = st.one_of(
    st.builds(lambda one, other: lambda now: edits.swap(now, one, other), NODE, NODE),
    st.builds(lambda node: lambda now: edits.unassign(now, (node,)), NODE),
    st.builds(lambda node, at: lambda now: edits.move(now, node, at), NODE, st.integers(0, 1)),
    st.builds(
        lambda group, node: lambda now: edits.assign(now, group, (node,)), st.sampled_from(("prefill", "decode")), NODE
    ),
    st.builds(lambda size: lambda now: edits.resize(now, "decode", tensor_parallel=size), st.sampled_from((4, 8))),
    st.just(edits.auto_assign),
)  # fmt: skip
ENGINES = st.sampled_from(((), ("prefill",), ("decode",), ("proxy",), ("decode-1",), ("prefill", "decode")))
Prepare = Callable[[Nodes], Awaitable[Plan]]
PLANS: st.SearchStrategy[Prepare] = st.one_of(
    st.builds(
        lambda verb, engines: lambda nodes: nodes.operator.prepare(verb, engines, drain_s=0.0),
        st.sampled_from(("start", "start", "restart", "stop", "kill")), ENGINES,
    ),
    st.builds(lambda engines: lambda nodes: nodes.operator.prepare("restart", engines, in_turn=True, drain_s=0.0), ENGINES),
    st.builds(
        lambda group, count: lambda nodes: nodes.operator.prepare_scale(group, count, drain_s=0.0),
        st.sampled_from(("prefill", "decode")), st.integers(1, 2),
    ),
    st.just(lambda nodes: nodes.operator.prepare_proxy_sync()),
)  # fmt: skip


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (stop_steps, proxy_steps):
        monkeypatch.setattr(module, "POLL_S", 0.0)


def _changed(nodes: Nodes, change: Change) -> bool:
    """Try a change as an operator does; whether it took."""
    before = nodes.monitor.deployment
    try:
        nodes.roles.change(change)
    except ConsoleError:
        assert nodes.monitor.deployment == before
        return False
    return nodes.monitor.deployment != before


def _disturb(nodes: Nodes, data: st.DataObject, told: list[bool]) -> Callable[[StepEvent], None]:
    """At each news of a step somebody tries to change the assignment, or a node tells its address."""

    def notice(news: StepEvent) -> None:
        if news.outcome is Outcome.SKIPPED or not data.draw(st.booleans()):
            return
        before = nodes.monitor.deployment
        change = data.draw(st.one_of(CHANGES, st.just(None)))
        if change is None:
            nodes.learn("10.0.0.77")
        elif _makes_another(before, change):
            with pytest.raises(Refused, match="is running: nodes, groups and addresses cannot change"):
                nodes.roles.change(change)
            told.append(True)
        assert nodes.monitor.deployment == before, "nothing changes under a plan"

    return notice


def _makes_another(now: Deployment, change: Change) -> bool:
    try:
        return change(now).assignment != now.assignment
    except ConsoleError:
        return False


def _shown(plan: Plan) -> dict[str, tuple[str, ...]]:
    return {step.id: step_commands(step) for step in plan.steps}


def _assert_text_is_the_masked_form(plan: Plan) -> None:
    """What was printed for a launch, read back by a shell, is the carried command with its secrets masked."""
    for step in plan.steps:
        if step.act == "launch":
            for launch, text in zip(step.launches, step_commands(step), strict=True):
                env = [f"{name}={value}" for name, value in masked_env(launch.command.env).items()]
                assert shlex.split(text) == [*env, *masked_argv(launch.command.argv)]
                assert SECRET in launch.script
    for text in (json_text(plan_data(plan)), repr(plan), repr(_shown(plan))):
        assert SECRET not in text


def _assert_done_as_carried(plan: Plan, done: Record) -> None:
    launches = [(step.node, each) for step in plan.steps if step.act == "prepare" for each in step.launches]
    assert [(one.node, one.key, one.script, one.expected, one.container) for one in done.written] == [
        (node, each.key, each.script, each.expected, None) for node, each in launches
    ]
    for one, (_, each) in zip(done.written, launches, strict=True):
        assert one.spec["argv"] == [*masked_argv(each.command.argv)]
        assert one.spec["env"] == masked_env(each.command.env)
        assert (one.spec["port"], one.spec["devices"]) == (each.rank.port, [*each.rank.devices])
        assert SECRET not in json.dumps(one.spec)
    assert done.launched == [
        (step.node, each.key) for step in plan.steps if step.act == "launch" for each in step.launches
    ]
    assert done.ended == [
        (step.node, each.key)
        for step in plan.steps
        if step.act in ("stop", "kill") and isinstance(step.payload, EngineStops)
        for each in step.payload.stops
    ]
    changes = {(change.role, change.verb): change for step in plan.steps if (change := _change(step))}
    for address, port, path, role, names in done.told:
        change = changes[role, "add" if path.endswith("add") else "remove"]
        assert (address, port, path) == (change.address, change.port, f"/instances/{change.verb}")
        assert set(names) <= {str(each) for each in change.endpoints}


def _change(step: Step) -> ProxyChange | None:
    return step.payload if isinstance(step.payload, ProxyChange) else None


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_what_was_launched_is_what_the_confirmed_plan_printed_byte_for_byte(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_live_through(Path(folder), data))


async def _live_through(folder: Path, data: st.DataObject) -> None:
    nodes = Nodes(folder, keyed_deployment())
    if data.draw(st.booleans()):
        every = await nodes.operator.prepare("start", [])
        assert (await nodes.operator.run(every, lambda _: None, confirmed=every.confirm.expected)).ok
    for prepare in data.draw(st.lists(PLANS, min_size=1, max_size=4)):
        for change in data.draw(st.lists(CHANGES, max_size=2)):
            _changed(nodes, change)
        try:
            plan = await prepare(nodes)
        except ConsoleError:
            continue
        shown, nodes.done = _shown(plan), Record()
        _assert_text_is_the_masked_form(plan)
        late = any(_changed(nodes, change) for change in data.draw(st.lists(CHANGES, max_size=1)))
        if plan.blocked or (late and (plan.launches or plan.change)):
            with pytest.raises(Refused):
                await nodes.operator.run(plan, lambda _: None, confirmed=plan.confirm.expected)
            assert nodes.done == Record(), "not a byte of it"
            continue
        event(f"{plan.verb} ran: {', '.join(dict.fromkeys(step.act for step in plan.steps))}")
        tried: list[bool] = []
        result = await nodes.operator.run(plan, _disturb(nodes, data, tried), confirmed=plan.confirm.expected)
        assert result.ok, result.messages
        _assert_done_as_carried(plan, nodes.done)
        assert _shown(plan) == shown
        journal = nodes.journal.path.read_text()
        assert SECRET not in journal
        begun = [entry for entry in map(json.loads, journal.splitlines()) if entry["what"] == "begin"][-1]
        assert begun["commands"] == {step: [*texts] for step, texts in shown.items() if texts}


async def test_a_step_does_what_it_carries_even_where_the_deployment_is_another_by_then(tmp_path: Path) -> None:
    nodes = Nodes(tmp_path, keyed_deployment())
    plan = await nodes.operator.prepare("start", [])
    other = edits.unassign(nodes.monitor.deployment, ("d1",))
    nodes.monitor.current_deployment.change(edits.swap(other, "p0", "d0"))
    links = nodes.operator._links
    steps = StartSteps(StepContext(plan, nodes.monitor, links, "me", asyncio.Event()))
    for step in plan.steps:
        if step.act in ("check", "prepare", "launch"):
            await getattr(steps, step.act)(step, print)
    _assert_done_as_carried(plan, nodes.done)
    proxy = next(each for each in nodes.done.written if each.key.engine == "proxy")
    before = keyed_deployment()
    assert "10.0.0.3 10.0.0.3 10.0.0.4 10.0.0.4" in proxy.script, "the proxy gets the endpoints that were shown"
    (launch,) = [each for each in plan.launches if each.key.engine == "decode-3"]
    assert launch.script == cmd_sh(launch.command, before.node("d1"))


async def test_an_address_that_is_learned_while_a_plan_runs_counts_after_it(tmp_path: Path) -> None:
    nodes = Nodes(tmp_path, keyed_deployment())
    nodes.roles.change(lambda now: edits.swap(now, "d1", "e1"))
    plan = await nodes.operator.prepare("start", ["decode"])
    seen: list[str] = []

    def notice(event: StepEvent) -> None:
        nodes.learn("10.0.0.77")
        seen.append(nodes.monitor.deployment.address("e1"))

    assert (await nodes.operator.run(plan, notice, confirmed=plan.confirm.expected)).ok
    assert set(seen) == {"e1.lab"}
    assert nodes.monitor.deployment.address("e1") == "10.0.0.77"
    _assert_done_as_carried(plan, nodes.done)
    again = await nodes.operator.prepare("restart", ["decode"])
    assert "10.0.0.77" in json_text(plan_data(again))


async def test_a_plan_made_before_the_deployment_changed_is_refused_and_a_stop_is_not(tmp_path: Path) -> None:
    nodes = Nodes(tmp_path, keyed_deployment())
    first = await nodes.operator.prepare("start", ["decode"])
    assert (await nodes.operator.run(first, lambda _: None, confirmed=first.confirm.expected)).ok
    start, stop = await nodes.operator.prepare("start", ["prefill"]), await nodes.operator.prepare("stop", ["decode"])
    nodes.roles.change(lambda now: edits.swap(now, "p1", "e0"))
    with pytest.raises(Refused, match="have changed since the plan was made") as refused:
        await nodes.operator.run(start, lambda _: None, confirmed=start.confirm.expected)
    assert "make the plan again" in refused.value.hint
    assert (await nodes.operator.run(stop, lambda _: None, confirmed=stop.confirm.expected)).ok


async def test_a_stop_ends_the_runs_it_was_shown_for_and_no_newer_one(tmp_path: Path) -> None:
    nodes = Nodes(tmp_path, keyed_deployment())
    first = await nodes.operator.prepare("start", ["decode"])
    assert (await nodes.operator.run(first, lambda _: None, confirmed=first.confirm.expected)).ok
    stop = await nodes.operator.prepare("stop", ["decode"])
    again = await nodes.operator.prepare("restart", ["decode"])
    assert (await nodes.operator.run(again, lambda _: None, confirmed=again.confirm.expected)).ok
    nodes.done = Record()
    result = await nodes.operator.run(stop, lambda _: None, confirmed=stop.confirm.expected)
    assert not result.ok
    assert (
        "launched again since the plan was made, and not stopped: decode-0, decode-1"
        in result.messages["stop:decode:d0"]
    )
    assert {key.run for _, key in nodes.done.ended} <= set(first.runs.values())
    assert all(nodes.monitor.snapshot.engines[name].state.alive for name in ("decode-0", "decode-3"))
