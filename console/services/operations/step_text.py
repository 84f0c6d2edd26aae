"""What a person reads of the steps of a plan: their exact commands, derived from what they carry, with secrets masked.

The dialog, `--dry-run`, JSON and the journal all take their text from here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import singledispatch

from pydantic import JsonValue

from console.commands.container import engine_container_text
from console.commands.masking import masked_argv, masked_env
from console.commands.quoting import join, quote
from console.model.deployment import Command
from console.model.payload import (
    AssignmentChange,
    EngineLaunch,
    EngineLaunches,
    EngineStop,
    EngineStops,
    KernelSettings,
    NodeCommands,
    ProcessEnd,
    ProxyChange,
)
from console.model.plan import Plan, Step
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


def plan_data(plan: Plan) -> dict[str, JsonValue]:
    """The plan for programs; secrets masked."""
    change = plan.change
    data: dict[str, JsonValue] = {
        "verb": plan.verb,
        "cluster": plan.cluster,
        "deployment": plan.deployment,
        "engines": [*plan.engines],
        "stages": [
            {"title": stage.title, "group": stage.group, "steps": [_step_data(step) for step in stage.steps]}
            for stage in plan.stages
        ],
        "confirm": {"kind": plan.confirm.kind, "expected": plan.confirm.expected},
        "findings": [{**asdict(finding), "severity": str(finding.severity)} for finding in plan.findings],
        "losses": [*plan.losses],
        "usual": {group: {"seconds": took.seconds, "starts": took.of} for group, took in plan.usual.items()},
        "runs": dict(plan.runs),
        "process": asdict(plan.process) if plan.process else None,
        "change": {"before": _nodes(change.before.nodes), "after": _nodes(change.after.nodes)} if change else None,
        "drain_s": plan.drain_s,
        "restarts": [*plan.restarts],
        "by_node": plan.by_node,
    }
    return data


def run_data(launch: EngineLaunch) -> dict[str, JsonValue]:
    """What one run is launched with; secrets masked."""
    rank = launch.rank
    return {
        "group": rank.group,
        "role": rank.role,
        "dp_rank": rank.dp_rank,
        "devices": [*rank.devices],
        "port": rank.port,
        "headless": rank.headless,
        **({"part": rank.part} if rank.parts > 1 else {}),
        **({"release": launch.release} if launch.release else {}),
        "argv": [*masked_argv(launch.command.argv)],
        "env": {**masked_env(launch.command.env)},
    }


def _step_data(step: Step) -> dict[str, JsonValue]:
    data: dict[str, JsonValue] = {
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


def _nodes(nodes: Mapping[str, tuple[str, ...]]) -> dict[str, JsonValue]:
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
