"""What a person reads of the steps of a plan: their exact commands, derived from what they carry, with secrets masked.

The dialog, `--dry-run`, JSON and the journal all take their text from here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import singledispatch
from typing import Literal, NotRequired

from typing_extensions import TypedDict

from console.commands.container import engine_container_text
from console.commands.masking import masked_argv, masked_env
from console.commands.quoting import join, quote
from console.model.deployment import Command
from console.model.findings import Finding
from console.model.payload import (
    AssignmentChange,
    EngineLaunch,
    EngineLaunches,
    EngineStop,
    EngineStops,
    KernelSettings,
    NodeCommands,
    ProcessEnd,
    ProcessId,
    ProxyChange,
)
from console.model.plan import Act, Plan, Step, Verb
from console.model.role import RankRole
from console.probes.listeners import listeners_probe

_FLAG = re.compile(r"--?[A-Za-z]")
Words = tuple[tuple[str, str], ...]
"""What a command is made of, as `(name, value)` in order; commands that do the same differ only in values with a name."""


@dataclass(frozen=True, slots=True)
class StepCommand:
    """What a person would type on the step's node to do the same, or a part of it; secrets masked."""

    text: str
    words: Words
    engine: str = ""
    """The engine it is for; empty for the whole node."""


def step_commands(step: Step) -> tuple[str, ...]:
    """What a person would type on the step's node to do the same; secrets masked."""
    return tuple(command.text for command in commands_of(step))


def commands_of(step: Step) -> tuple[StepCommand, ...]:
    """The same with what each command is made of."""
    return _commands(step.payload, step)


def command_text(command: Command) -> str:
    """The command as a person would type it: variables, then words; secrets masked, one line."""
    env = " ".join(f"{name}={quote(value)}" for name, value in masked_env(command.env).items())
    words = join(masked_argv(command.argv))
    return f"{env} {words}" if env else words


def launch_text(launch: EngineLaunch) -> str:
    """The engine's command, below that of its own container where it has one."""
    text = command_text(launch.command)
    return f"{engine_container_text(launch.container)} \\\n  {text}" if launch.container else text


class RunData(TypedDict):
    """What a run is launched with; secrets masked."""

    group: str
    role: RankRole
    dp_rank: int
    """Rank in the data-parallel group, from 0."""
    devices: list[int]
    port: int | None
    headless: bool
    """Whether another rank answers for it."""
    part: NotRequired[int]
    """Only of an engine that spans nodes: which part of it, from 0."""
    release: NotRequired[str]
    """Release that the layout names; left out when it names none."""
    argv: list[str]
    env: dict[str, str]


class LaunchData(RunData):
    """A run that a step launches; secrets masked."""

    engine: str
    run: str
    address: str | None
    """Of its node; null when it is not known."""


class StepData(TypedDict):
    """One thing that is done on one node."""

    id: str
    act: Act
    title: str
    node: str
    engines: list[str]
    commands: list[str]
    """What a person would type on the node to do the same; secrets masked."""
    launches: NotRequired[list[LaunchData]]
    """Only of a step that launches."""


class StageData(TypedDict):
    """Steps that run at once; the next stage waits for all of them."""

    title: str
    group: str
    """Group that it is about; empty when it is about several."""
    steps: list[StepData]


class ConfirmData(TypedDict):
    """What is typed to confirm a plan."""

    kind: Literal["key", "count", "name", "pid"]
    expected: str
    """`y`, the number of engines, the cluster's name, or the pid of an unmanaged process."""


class ReassignmentData(TypedDict):
    """How a plan changes which nodes run which group: group to nodes, rank 0's node first."""

    before: dict[str, list[str]]
    after: dict[str, list[str]]


class UsualStartData(TypedDict):
    """How long the start of a group took before."""

    seconds: float
    """The median."""
    starts: int
    """How many starts that rests on."""


class PlanData(TypedDict):
    """What an operation does; with `--dry-run` the whole document."""

    verb: Verb
    cluster: str
    deployment: str
    engines: list[str]
    stages: list[StageData]
    """In this order; empty when there is nothing to do."""
    confirm: ConfirmData
    findings: list[Finding]
    """What is wrong with it; an error forbids to run it."""
    losses: list[str]
    """What is lost by it, for example `decode-3: 12 running requests`."""
    usual: dict[str, UsualStartData]
    """Group to how long its start took before; groups whose start was never watched are left out."""
    runs: dict[str, str]
    """Engine to the id of the run that is launched."""
    process: ProcessId | None
    """The unmanaged process that it ends; null when the plan concerns engines or nodes."""
    change: ReassignmentData | None
    """Null when no node changes its group."""
    drain_s: float
    """How long requests may go on after their engine left the proxy."""
    restarts: list[float]
    """When a restart policy restarted these engines, this time last; empty when an operator does."""
    by_node: bool
    """Whether the other nodes go on when one fails."""


def plan_data(plan: Plan) -> PlanData:
    """The plan for programs; secrets masked."""
    change = plan.change
    return {
        "verb": plan.verb,
        "cluster": plan.cluster,
        "deployment": plan.deployment,
        "engines": [*plan.engines],
        "stages": [
            {"title": stage.title, "group": stage.group, "steps": [_step_data(step) for step in stage.steps]}
            for stage in plan.stages
        ],
        "confirm": {"kind": plan.confirm.kind, "expected": plan.confirm.expected},
        "findings": [*plan.findings],
        "losses": [*plan.losses],
        "usual": {group: {"seconds": took.seconds, "starts": took.of} for group, took in plan.usual.items()},
        "runs": dict(plan.runs),
        "process": plan.process,
        "change": {"before": _nodes(change.before.nodes), "after": _nodes(change.after.nodes)} if change else None,
        "drain_s": plan.drain_s,
        "restarts": [*plan.restarts],
        "by_node": plan.by_node,
    }


def run_data(launch: EngineLaunch) -> RunData:
    """What one run is launched with; secrets masked."""
    rank = launch.rank
    data: RunData = {
        "group": rank.group,
        "role": rank.role,
        "dp_rank": rank.dp_rank,
        "devices": [*rank.devices],
        "port": rank.port,
        "headless": rank.headless,
        "argv": [*masked_argv(launch.command.argv)],
        "env": {**masked_env(launch.command.env)},
    }
    if rank.parts > 1:
        data["part"] = rank.part
    if launch.release:
        data["release"] = launch.release
    return data


def _step_data(step: Step) -> StepData:
    data: StepData = {
        "id": step.id,
        "act": step.act,
        "title": step.title,
        "node": step.node,
        "engines": [*step.engines],
        "commands": [*step_commands(step)],
    }
    if step.act == "launch" and step.launches:
        data["launches"] = [
            {"engine": each.rank.id, "run": each.key.run, "address": each.rank.address, **run_data(each)}
            for each in step.launches
        ]
    return data


def _nodes(nodes: Mapping[str, tuple[str, ...]]) -> dict[str, list[str]]:
    return {group: [*names] for group, names in nodes.items()}


@singledispatch
def _commands(payload: object, step: Step) -> tuple[StepCommand, ...]:
    """Of a step that types nothing anywhere."""
    return ()


@_commands.register
def _launches(payload: EngineLaunches, step: Step) -> tuple[StepCommand, ...]:
    if step.act == "launch":
        return tuple(StepCommand(launch_text(each), _launch_words(each), each.rank.id) for each in payload.launches)
    if step.act != "check":
        return ()
    look = []
    ports = ", ".join(str(each.rank.port) for each in payload.launches if each.rank.port is not None)
    if ports:
        command = join(listeners_probe().argv)
        text = f"{command}   # nothing may listen on {ports}"
        look.append(StepCommand(text, (("", command), ("ports", ports))))
    if payload.preflight:
        what = "what can stop a launch: devices, HBM, versions, weights"
        text = f"dsv4-console preflight {quote(step.node)}   # {what}"
        look.append(StepCommand(text, (("", "preflight"), ("node", step.node))))
    return tuple(look)


def _launch_words(launch: EngineLaunch) -> Words:
    box, command = launch.container, launch.command
    own = (
        (
            *(("", word) for word in box.tool),
            ("container", box.name),
            *_argv_words(masked_argv(box.flags)),
            ("image", box.image),
        )
        if box
        else ()
    )
    return (*own, *masked_env(command.env).items(), *_argv_words(masked_argv(command.argv)))


def _argv_words(argv: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The words of a command line; the values behind a flag have its name."""
    flag = ""
    for word in argv:
        if not _FLAG.match(word):
            yield flag, word
            continue
        flag, equals, value = word.partition("=")
        yield "", flag + equals
        if equals:
            yield flag, value


@_commands.register
def _stops(payload: EngineStops, step: Step) -> tuple[StepCommand, ...]:
    if step.act == "verify":
        npus = ["npu-smi info"] if any(each.devices for each in payload.stops) else []
        return _literal(join(listeners_probe().argv), *npus)
    return tuple(_ending(each, payload) for each in payload.stops)


def _ending(stop: EngineStop, payload: EngineStops) -> StepCommand:
    if not payload.grace_s:
        text = "kill -KILL every remaining process of this run"
        return StepCommand(f"{stop.engine}: {text}", (("", text),), stop.engine)
    pid = str(stop.pid or "its main process")
    then = f"after {payload.grace_s:.0f} s kill -KILL the remaining processes of this run"
    return StepCommand(
        f"{stop.engine}: kill -TERM {pid}; {then}", (("", "TERM"), ("pid", pid), ("", then)), stop.engine
    )


@_commands.register
def _proxy_change(payload: ProxyChange, step: Step) -> tuple[StepCommand, ...]:
    host = f"[{payload.address}]" if ":" in payload.address else payload.address
    body = quote(json.dumps({"type": payload.role, "instances": [str(each) for each in payload.endpoints]}))
    url = f"http://{host}:{payload.port}/instances/{payload.verb}"
    return _literal(f"curl -s -X POST {url} -H 'Content-Type: application/json' -d {body}")


@_commands.register
def _assignment_change(payload: AssignmentChange, step: Step) -> tuple[StepCommand, ...]:
    return _literal("# kept on this machine: assignments/ in the console's state directory")


@_commands.register
def _process_end(payload: ProcessEnd, step: Step) -> tuple[StepCommand, ...]:
    pid = payload.process.pid
    if payload.kill:
        return _literal(f"kill -KILL {pid} and every process below it")
    return _literal(f"kill -TERM {pid}   # then {payload.limit_s:.0f} s to end; nothing is killed")


@_commands.register
def _node_commands(payload: NodeCommands, step: Step) -> tuple[StepCommand, ...]:
    argvs = [masked_argv(argv) for argv in payload.argvs]
    words = tuple(word for argv in argvs for word in (*_argv_words(argv), ("", "&&")))
    return (StepCommand(" && ".join(join(argv) for argv in argvs), words),)


@_commands.register
def _kernel_settings(payload: KernelSettings, step: Step) -> tuple[StepCommand, ...]:
    return tuple(
        StepCommand(
            f"echo {quote(each.value)} > {each.path}   # was {each.now}",
            (("", each.path), ("", each.value), (f"{each.name} was", each.now)),
        )
        for each in payload.settings
    )


def _literal(*texts: str) -> tuple[StepCommand, ...]:
    """Commands that are alike only when they are equal."""
    return tuple(StepCommand(text, (("", text),)) for text in texts)
