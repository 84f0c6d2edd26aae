"""Follows given scripts along every way that is open, and tells what each way starts."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from console.model.errors import FileError
from console.services.importing.shell_scripts.interpreter import Shell
from console.services.importing.shell_scripts.launchers import LAUNCHER
from console.services.importing.shell_scripts.programs import execute
from console.services.importing.shell_scripts.script_state import (
    MOST_WAYS,
    ProxyStart,
    Question,
    Script,
    ServiceStart,
    Started,
    Stop,
    Ways,
    World,
    fault,
)
from console.services.importing.shell_scripts.unknowns import Unknowns, names
from console.services.importing.shell_scripts.variables import Variables

_PRELOAD = "LD_PRELOAD"
_MOST_FILES = 24
"""Files whose absence is tried out."""
_TAKES_SIZES = re.compile(
    r"--(data-parallel-(size|rank)|tensor-parallel-size)[= ]+[\"']?\$\{?[0-9]|VLLM_DP_SIZE=[\"']?\$\{?[0-9]"
)


@dataclass(slots=True)
class Followed:
    """What scripts start."""

    unknowns: Unknowns
    started: list[Started] = field(default_factory=list)
    proxies: list[ProxyStart] = field(default_factory=list)
    services: list[ServiceStart] = field(default_factory=list)
    questions: list[Question] = field(default_factory=list)
    """Conditions on which it depends what is started."""
    notes: list[str] = field(default_factory=list)
    image: str = ""
    hosts: dict[str, str] = field(default_factory=dict)
    """Host names that stand in values, and the node that each belongs to."""


def follow(
    scripts: Sequence[Script],
    unknowns: Unknowns,
    arguments: Sequence[str] = (),
    more: Sequence[Script] = (),
) -> Followed:
    """Follow every script that no other one runs; `more` are files that they read. Raises FileError where one cannot be read."""
    found = Followed(unknowns)
    files = {_file_name(script): script for script in (*scripts, *more)}
    launches = any(LAUNCHER in script.text for script in scripts)
    templates = tuple(script for script in scripts if launches and _TAKES_SIZES.search(script.text))
    called = [each for each in scripts if any(_calls(other, each) for other in scripts if other is not each)]
    ran: set[str] = set()
    for script in sorted(scripts, key=lambda each: (each in templates, each in called)):
        if script.path in ran:
            continue
        if script in templates:
            found.notes.append(f"{script.path}: no line of {LAUNCHER} starts it; it is left out")
            continue
        start = _Start(script, files, templates, tuple(arguments))
        ran |= _follow_one(start, found)
    return found


def _file_name(script: Script) -> str:
    return script.path.rpartition("/")[2]


def _calls(script: Script, other: Script) -> bool:
    return re.search(rf"(?<![\w.-]){re.escape(_file_name(other))}(?![\w.-])", script.text) is not None


def contained_start(
    words: Sequence[str],
    env: Mapping[str, str],
    unknowns: Unknowns,
    place: tuple[str, int],
    *,
    image: str = "",
    node: str = "",
    files: Mapping[str, Script] | None = None,
) -> Followed:
    """What a container starts that is given these words and variables; `place` is the file and line that say so."""
    found = Followed(unknowns)
    start = _Start(
        Script(place[0], "", place[1]), dict(files or {}), env=env, node=node, words=tuple(words), image=image
    )
    _follow_one(start, found)
    return found


@dataclass(frozen=True, slots=True)
class _Start:
    """A script, or a command, and what it is started with."""

    script: Script
    files: Mapping[str, Script]
    templates: tuple[Script, ...] = ()
    arguments: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    node: str = ""
    words: tuple[str, ...] = ()
    image: str = ""

    def run(self, world: World) -> None:
        """Follow it in a world."""
        variables = Variables(dict(self.env), set(self.env), arguments=self.arguments, name=self.script.path)
        shell = Shell(world, self.script.path, variables, node=self.node, image=self.image)
        if not self.words:
            shell.top(self.script)
            return
        shell.expander.line = self.script.line
        with suppress(Stop):
            execute(shell, list(self.words), dict(self.env))


@dataclass(frozen=True, slots=True)
class _Outcome:
    """Where one way through a script leads."""

    world: World
    choices: tuple[tuple[Question, int], ...]
    for_files: tuple[Question, ...]
    error: FileError | None = None

    @property
    def started(self) -> tuple[tuple[object, ...], ...]:
        """What is started, whichever way leads there. What is preloaded is left out where it is not there anyway."""
        return tuple(
            (
                each.file,
                each.line,
                each.words,
                each.node,
                *((name, text) for name, text in each.env.items() if name != _PRELOAD),
            )
            for each in self.world.started
        )

    @property
    def starts(self) -> bool:
        """Whether anything is started."""
        return self.error is None and bool(self.world.started or self.world.proxies)


def _follow_one(start: _Start, found: Followed) -> set[str]:
    """Follow one script along all of its ways; gives the paths of the other scripts that it runs."""
    outcomes = _explored(start, found, frozenset())
    if not any(each.starts for each in outcomes):
        outcomes = next(filter(_any_starts, _without_a_file(start, found, outcomes)), outcomes)
    good = [each for each in outcomes if each.starts]
    failed = [each for each in outcomes if each.error is not None]
    if failed and not good:
        assert failed[0].error is not None
        raise failed[0].error
    kept = _distinct(good, found)
    for outcome in kept or outcomes[:1]:
        found.started += [each for each in outcome.world.started if each not in found.started]
        found.proxies += [each for each in outcome.world.proxies if each not in found.proxies]
        found.services += [each for each in outcome.world.services if each not in found.services]
        found.notes += [each for each in outcome.world.notes if each not in found.notes]
        found.image = found.image or outcome.world.last_image
        found.notes += [note for note in _decided_by_files(start, found, outcome) if note not in found.notes]
    for each in failed:
        found.notes.append(f"{each.error}; this way through the script is left out")
    return set().union(*(outcome.world.ran for outcome in outcomes))


def _explored(start: _Start, found: Followed, absent: frozenset[Question]) -> list[_Outcome]:
    """Every way through the script. Raises FileError when there are too many."""
    ways, outcomes = Ways(absent), list[_Outcome]()
    while True:
        outcomes.append(_outcome(start, found, ways, len(found.started) + len(outcomes)))
        if not ways.further():
            return outcomes
        if len(outcomes) >= MOST_WAYS:
            open_ = [unknown for question, _ in outcomes[-1].choices for unknown in question.unknowns]
            message = f"more than {MOST_WAYS} ways lead through it; what decides them is not in it"
            raise fault(
                start.script.path, 0, message, hint=f"decide some of them: {names(open_)}" if names(open_) else ""
            )


def _any_starts(outcomes: list[_Outcome]) -> bool:
    return any(each.starts for each in outcomes)


def _without_a_file(start: _Start, found: Followed, outcomes: Sequence[_Outcome]) -> Iterator[list[_Outcome]]:
    """The ways with one file not there, each file in turn: a pid file, a lock."""
    asked = dict.fromkeys(question for outcome in outcomes for question in outcome.for_files)
    for question in list(asked)[:_MOST_FILES]:
        yield _explored(start, found, frozenset((question,)))


def _decided_by_files(start: _Start, found: Followed, outcome: _Outcome) -> Iterator[str]:
    """Notes on files that decide what is started, and how they are taken."""
    for question in outcome.for_files[:_MOST_FILES]:
        ways = Ways(frozenset((question,)) ^ outcome.world.ways.absent, taken=[at for _, at in outcome.choices])
        ways.widths = [1] * len(ways.taken)
        other = _outcome(start, found, ways, outcome.world.way)
        if other.started != outcome.started:
            taken = "no" if question in outcome.world.ways.absent else "yes"
            yield f"{question.file}:{question.line}: {question.text}: taken as {taken}"


def _outcome(start: _Start, found: Followed, ways: Ways, way: int) -> _Outcome:
    """Where this way leads. What it assumes on its way is known from its beginning: it is followed again with that."""
    unknowns = found.unknowns
    unknowns.assumed.clear()
    world, error = _ran(start, found, ways, way)
    choices = tuple(zip(ways.questions, ways.taken, strict=False))
    if unknowns.assumed and error is None:
        replayed: dict[Question, list[int]] = {}
        for question, choice in choices:
            replayed.setdefault(question, []).append(choice)
        again, error = _ran(start, found, Ways(ways.absent, dict(ways.for_files), replayed), way)
        again.ways, world = ways, again
    unknowns.assumed.clear()
    return _Outcome(world, choices, tuple(ways.for_files), error)


def _ran(start: _Start, found: Followed, ways: Ways, way: int) -> tuple[World, FileError | None]:
    unknowns = found.unknowns
    world = World(unknowns, dict(start.files), ways, templates=start.templates, way=way)
    error = None
    try:
        start.run(world)
    except FileError as raised:
        error = raised
    world.started = [
        replace(
            each,
            words=tuple(map(unknowns.resolved, each.words)),
            env={name: unknowns.resolved(text) for name, text in each.env.items()},
        )
        for each in world.started
    ]
    return world, error


def _distinct(outcomes: list[_Outcome], found: Followed) -> list[_Outcome]:
    """One way to each thing that can be started; what decides between them is kept."""
    kept: dict[object, _Outcome] = {}
    for outcome in outcomes:
        kept.setdefault((outcome.started, tuple(outcome.world.proxies)), outcome)
    if len(kept) > 1:
        asked = {question for outcome in kept.values() for question, _ in outcome.choices}
        found.questions += sorted(asked, key=lambda each: (each.file, each.line))
    return list(kept.values())
