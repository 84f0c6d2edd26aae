"""Follows given scripts along every way that is open, and tells what each way starts."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from console.model.errors import FileError
from console.services.importing.shell.expanding import Variables
from console.services.importing.shell.launchers import LAUNCHER
from console.services.importing.shell.programs import execute
from console.services.importing.shell.running import Shell
from console.services.importing.shell.unknowns import Unknowns, names
from console.services.importing.shell.world import (
    MOST_WAYS,
    ProxyStart,
    Question,
    Script,
    Started,
    Stop,
    Ways,
    World,
    fault,
)

_TAKES_SIZES = re.compile(
    r"--(data-parallel-(size|rank)|tensor-parallel-size)[= ]+[\"']?\$\{?[0-9]|VLLM_DP_SIZE=[\"']?\$\{?[0-9]"
)


@dataclass(slots=True)
class Followed:
    """What scripts start."""

    unknowns: Unknowns
    started: list[Started] = field(default_factory=list)
    proxies: list[ProxyStart] = field(default_factory=list)
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
) -> Followed:
    """Follow every script that no other one runs. Raises FileError where one cannot be read."""
    found = Followed(unknowns)
    files = {_file_name(script): script for script in scripts}
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
    error: FileError | None = None

    @property
    def started(self) -> tuple[tuple[object, ...], ...]:
        """What is started, whichever way leads there."""
        return tuple(
            (each.file, each.line, each.words, tuple(each.env.items()), each.node) for each in self.world.started
        )

    @property
    def starts(self) -> bool:
        return bool(self.world.started or self.world.proxies)


def _follow_one(start: _Start, found: Followed) -> set[str]:
    """Follow one script along all of its ways; gives the paths of the other scripts that it runs."""
    ways, outcomes, file = Ways(), list[_Outcome](), start.script.path
    while True:
        outcomes.append(_outcome(start, found, ways, len(found.started) + len(outcomes)))
        if not ways.further():
            break
        if len(outcomes) >= MOST_WAYS:
            open_ = [unknown for question in ways.questions for unknown in question.unknowns]
            message = f"more than {MOST_WAYS} ways lead through it; what decides them is not in it"
            raise fault(file, 0, message, hint=f"decide some of them: {names(open_)}" if names(open_) else "")
    good = [each for each in outcomes if each.error is None and each.starts]
    failed = [each for each in outcomes if each.error is not None]
    if failed and not good:
        assert failed[0].error is not None
        raise failed[0].error
    kept = _distinct(_files_there(good, found), found)
    for outcome in kept or outcomes[:1]:
        found.started += [each for each in outcome.world.started if each not in found.started]
        found.proxies += [each for each in outcome.world.proxies if each not in found.proxies]
        found.notes += [each for each in outcome.world.notes if each not in found.notes]
        found.image = found.image or outcome.world.last_image
    for each in failed:
        found.notes.append(f"{each.error}; this way through the script is left out")
    return set().union(*(outcome.world.ran for outcome in outcomes))


def _outcome(start: _Start, found: Followed, ways: Ways, way: int) -> _Outcome:
    unknowns = found.unknowns
    unknowns.assumed.clear()
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
    unknowns.assumed.clear()
    return _Outcome(world, tuple(zip(ways.questions, ways.taken, strict=False)), error)


def _files_there(outcomes: list[_Outcome], found: Followed) -> list[_Outcome]:
    """Of ways that only differ in which files are there, the first: it takes them as there where that starts a server."""
    kept: dict[tuple[object, ...], _Outcome] = {}
    for outcome in outcomes:
        key = tuple((each.file, each.line, each.text, at) for each, at in outcome.choices if not each.of_files)
        first = kept.setdefault(key, outcome)
        if first is outcome or first.started == outcome.started:
            continue
        for question, at in first.choices:
            if question.of_files:
                note = f"{question.file}:{question.line}: {question.text}: taken as {'no' if at else 'yes'}"
                found.notes += [note] if note not in found.notes else []
    return list(kept.values())


def _distinct(outcomes: list[_Outcome], found: Followed) -> list[_Outcome]:
    """One way to each thing that can be started; what decides between them is kept."""
    kept: dict[object, _Outcome] = {}
    for outcome in outcomes:
        kept.setdefault((outcome.started, tuple(outcome.world.proxies)), outcome)
    if len(kept) > 1:
        asked = {question for outcome in kept.values() for question, _ in outcome.choices if not question.of_files}
        found.questions += sorted(asked, key=lambda each: (each.file, each.line))
    return list(kept.values())
