"""Folds the steps of a plan: what is done alike for many engines or nodes becomes one row that names what differs. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

from console.commands.flags import json_text
from console.model.deployment import is_address
from console.model.name_ranges import name_ranges
from console.model.payload import RunsAwaited
from console.model.plan import Plan, Stage, Step
from console.model.shortening import list_text
from console.services.operations.step_text import StepCommand, Words, commands_of

ADDRESS = "address"
_OWN = ("pid", "ports")
"""What is always another one, so that nobody needs to be told before looking."""
_LABELS = {
    "--port": "port",
    "--data-parallel-rank": "rank",
    "--data-parallel-start-rank": "start rank",
    "ASCEND_RT_VISIBLE_DEVICES": "devices",
}
"""Short names of what differs from rank to rank in every deployment; any other keeps the name it has in the command."""


@dataclass(frozen=True, slots=True)
class StepPart:
    """What a step does for one engine, or for its whole node."""

    step: Step
    engine: str
    """Empty for the whole node."""
    commands: tuple[StepCommand, ...]

    @property
    def name(self) -> str:
        """The engine, else the node."""
        return self.engine or self.step.node


@dataclass(frozen=True, slots=True)
class Difference:
    """What is not the same in all parts."""

    name: str
    """In a word, where there is one: `port`, `address`; else the setting itself."""
    values: tuple[str, ...]
    """One for each part, in their order."""
    settings: tuple[str, ...]
    """The flags and variables that have these values."""


@dataclass(frozen=True)
class FoldedSteps:
    """Parts of one stage whose commands are the same, but for values that `differences` shows."""

    stage: int
    """From 1; steps of one stage run at once."""
    parts: tuple[StepPart, ...]

    @property
    def key(self) -> str:
        """A name of its own within the plan."""
        return f"{self.stage}/{self.parts[0].step.id}/{self.parts[0].engine}"

    @cached_property
    def steps(self) -> tuple[Step, ...]:
        """The steps that these are parts of, each once."""
        return tuple({part.step.id: part.step for part in self.parts}.values())

    @cached_property
    def nodes(self) -> tuple[str, ...]:
        """Their nodes, each once."""
        return tuple(dict.fromkeys(part.step.node for part in self.parts))

    @cached_property
    def title(self) -> str:
        """What is done, to what, on which nodes: `start decode-0..15 on d0, d1`."""
        return _title(self)

    @cached_property
    def differences(self) -> tuple[Difference, ...]:
        """What is not the same in all parts, as the commands name it; what every rank has of its own first."""
        rows = [tuple(word for command in part.commands for word in command.words) for part in self.parts]
        return tuple(_differences(rows))

    @property
    def same_but(self) -> str:
        """`same but port, rank, devices`; empty for one part alone, and where no setting differs."""
        names = [each.name for each in self.differences if each.name not in _OWN]
        return f"same but {list_text(names, 4)}" if names else ""


def folded_plan(plan: Plan) -> tuple[FoldedSteps, ...]:
    """The whole plan, stage by stage."""
    return tuple(row for number, stage in enumerate(plan.stages, 1) for row in folded_stage(number, stage))


def folded_stage(number: int, stage: Stage) -> Iterator[FoldedSteps]:
    """One stage; `number` is its place in the plan, from 1."""
    alike: dict[object, list[StepPart]] = {}
    for step in stage.steps:
        for part in _parts(step):
            alike.setdefault(_likeness(part), []).append(part)
    return (FoldedSteps(number, tuple(parts)) for parts in alike.values())


def _parts(step: Step) -> Iterator[StepPart]:
    commands = commands_of(step)
    if any(command.engine for command in commands):
        return (StepPart(step, command.engine, (command,)) for command in commands)
    if step.act == "prepare":
        return (StepPart(step, engine, ()) for engine in step.engines)
    return iter((StepPart(step, "", commands),))


def _likeness(part: StepPart) -> object:
    """What two parts must have in common to be one row."""
    shape = tuple((name, "" if name else value) for command in part.commands for name, value in command.words)
    step = part.step
    if step.act == "prepare":
        return step.act
    if part.engine:
        role = next((each.rank.role for each in step.launches if each.rank.id == part.engine), "")
        return step.act, role, shape
    return step.act, "" if step.act == "wait-ready" else title_without_node(step), shape


def title_without_node(step: Step) -> str:
    """What the step does, without the node that its title may begin with."""
    return step.title.removeprefix(f"{step.node}: ")


def _title(row: FoldedSteps) -> str:
    first, act = row.parts[0].step, row.parts[0].step.act
    nodes, names = name_ranges(row.nodes), name_ranges([part.name for part in row.parts], 3)
    if act == "check":
        return f"check {nodes}: {title_without_node(first)}"
    if act == "prepare":
        count = len(row.parts)
        return f"write {count} run {'directory' if count == 1 else 'directories'} on {nodes}"
    if act == "wait-ready":
        groups = [part.step.payload.group for part in row.parts if isinstance(part.step.payload, RunsAwaited)]
        return f"wait until {name_ranges(groups, 6)} {'is' if len(groups) == 1 else 'are'} ready"
    if row.parts[0].engine:
        return f"{'start' if act == 'launch' else act} {names} on {nodes}"
    if act == "verify":
        return f"verify {nodes}: {title_without_node(first)}"
    return first.title if act == "reassign" else f"{nodes}: {title_without_node(first)}"


def _differences(rows: Sequence[Words]) -> Iterator[Difference]:
    """The columns of the rows, which have one shape, that are not the same all the way down; equal ones as one."""
    found: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for column in zip(*rows, strict=True):
        name, first = column[0]
        if name not in ("", "node") and any(value != first for _, value in column):
            for setting, values in _inside(name, [value for _, value in column]):
                found.setdefault((_LABELS.get(setting, ""), values), []).append(setting)
    made = [
        Difference(label or _name(settings, values), values, tuple(settings))
        for (label, values), settings in found.items()
    ]
    order = [*_LABELS.values(), ADDRESS]
    return iter(sorted(made, key=lambda each: order.index(each.name) if each.name in order else len(order)))


def _name(settings: Sequence[str], values: Sequence[str]) -> str:
    return ADDRESS if all(is_address(each) for each in values) else settings[0]


def _inside(name: str, values: Sequence[str], in_json: bool = False) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Of values that are JSON objects of the same keys the keys that differ, with their values; else the values as they are."""
    data = [_object(value) for value in values]
    if any(each is None or tuple(each) != tuple(data[0] or ()) for each in data):
        yield (
            name,
            tuple(json.loads(value) if in_json and value.startswith('"') else _short(name, value) for value in values),
        )
        return
    for key in data[0] or ():
        own = [each[key] for each in data if each is not None]
        if len(set(own)) > 1:
            yield from _inside(key, own, True)


@lru_cache(maxsize=4096)
def _object(text: str) -> dict[str, str] | None:
    """The members of a JSON object as JSON; None for any other text, and for one that the console does not write so."""
    if not text.startswith("{"):
        return None
    try:
        data = json.loads(text)
    except ValueError:
        return None
    if not isinstance(data, dict) or json_text(data) != text:
        return None
    return {key: json_text(value) for key, value in data.items()}


def _short(name: str, value: str) -> str:
    """A value for a table; a row of devices as its first and last."""
    parts = value.split(",")
    if name == "ASCEND_RT_VISIBLE_DEVICES" and len(parts) > 1 and all(each.isdecimal() for each in parts):
        first = int(parts[0])
        if [int(each) for each in parts] == list(range(first, first + len(parts))):
            return f"{first}-{first + len(parts) - 1}"
    return value


def turns(rows: Iterable[FoldedSteps], plan: Plan) -> list[tuple[str, list[FoldedSteps]]]:
    """The rows in blocks: those of one group's turn together under its name, the others under no name."""
    blocks: list[tuple[str, list[FoldedSteps]]] = []
    for row in rows:
        turn = plan.stages[row.stage - 1].turn
        if not blocks or blocks[-1][0] != turn:
            blocks.append((turn, []))
        blocks[-1][1].append(row)
    return blocks
