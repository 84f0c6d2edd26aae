"""What is found while scripts are followed: the servers they start, what was not carried over, and where the way is open."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from console.model.errors import FileError, Problem
from console.services.importing.shell_scripts.unknowns import Unknown, Unknowns

if TYPE_CHECKING:
    from console.services.importing.shell_scripts.variables import Variables

MOST_WAYS = 64
_MOST_STEPS = 20_000


class Stop(Exception):
    """`exit` of a shell."""


class Return(Exception):
    """`return` of a function or a file that is read."""


class Leave(Exception):
    """`break` and `continue`: how many loops, and whether the last goes on."""

    def __init__(self, loops: int, goes_on: bool) -> None:
        super().__init__()
        self.loops = loops
        self.goes_on = goes_on


@dataclass(frozen=True, slots=True)
class Started:
    """One `vllm serve` that a file starts."""

    file: str
    line: int
    words: tuple[str, ...]
    """Those behind `vllm serve`; with the API server's module, its options."""
    env: Mapping[str, str]
    image: str = ""
    node: str = ""
    """What tells its node from others: a host, a pod, a line that is run on a node of its own; empty: the file's own."""
    group: str = ""
    """What engines of one group have in common where the file says it; empty: the address they meet at."""
    way: int = 0
    """Which way through the script leads to it."""


@dataclass(frozen=True, slots=True)
class ProxyStart:
    """A proxy that a file starts."""

    file: str
    line: int
    script: str
    words: tuple[str, ...]
    kind: str


@dataclass(frozen=True, slots=True)
class ServiceStart:
    """A service beside the engines that a file starts, such as the master of a KV pool."""

    file: str
    line: int
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Script:
    """The text of a script, where it comes from and the line its first line has there."""

    path: str
    text: str
    line: int = 1


@dataclass(frozen=True, slots=True)
class Question:
    """A condition that the script alone does not decide."""

    file: str
    line: int
    text: str
    unknowns: tuple[Unknown, ...]
    of_files: bool
    """It only asks whether files are there."""


@dataclass(slots=True)
class Ways:
    """Which way is followed where a condition is open; every way is followed once. Files are taken as there."""

    absent: frozenset[Question] = frozenset()
    """Questions for files that are answered with no."""
    for_files: dict[Question, None] = field(default_factory=dict)
    """Questions for files on this way."""
    replayed: dict[Question, list[int]] | None = None
    """The choices of a way that is followed again, by question."""
    taken: list[int] = field(default_factory=list)
    widths: list[int] = field(default_factory=list)
    questions: list[Question] = field(default_factory=list)

    def choose(self, question: Question, width: int) -> int:
        """The choice of this way at its next open condition: 0 for yes."""
        if question.of_files:
            self.for_files[question] = None
            return int(question in self.absent)
        if self.replayed is not None:
            choices = self.replayed.get(question, [])
            return choices.pop(0) if choices else 0
        at = len(self.questions)
        self.questions.append(question)
        if at == len(self.taken):
            self.taken.append(0)
            self.widths.append(width)
        return self.taken[at]

    def further(self) -> bool:
        """Go to the next way; False when all were followed."""
        self.questions, self.for_files = [], {}
        while self.taken:
            if self.taken[-1] + 1 < self.widths[-1]:
                self.taken[-1] += 1
                return True
            self.taken.pop()
            self.widths.pop()
        return False


@dataclass(slots=True)
class World:
    """What all shells of one import share."""

    unknowns: Unknowns
    files: dict[str, Script] = field(default_factory=dict)
    """Scripts by their file name: those given, and those a script writes."""
    ways: Ways = field(default_factory=Ways)
    started: list[Started] = field(default_factory=list)
    proxies: list[ProxyStart] = field(default_factory=list)
    services: list[ServiceStart] = field(default_factory=list)
    notes: dict[str, None] = field(default_factory=dict)
    ran: set[str] = field(default_factory=set)
    """Paths of given scripts that another one runs."""
    images: dict[str, str] = field(default_factory=dict)
    """Containers by name, and the image of each."""
    last_image: str = ""
    """Of the container that a script made last."""
    templates: tuple[Script, ...] = ()
    """Given scripts that take their sizes as arguments."""
    way: int = 0
    """The way that is followed now."""
    steps: int = 0
    terminals: dict[str, Variables] = field(default_factory=dict)
    """What the shells know that lines are typed into, by terminal."""

    def note(self, file: str, line: int, message: str) -> None:
        """Keep what the operator must know."""
        self.notes[f"{file}:{line}: {message}"] = None

    def step(self, file: str, line: int) -> None:
        """Count a command. Raises FileError when there is no end of them."""
        self.steps += 1
        if self.steps > _MOST_STEPS:
            raise fault(file, line, f"more than {_MOST_STEPS} commands would be run; write out what the loops do")

    def trial(self) -> World:
        """A world for trying something out: nothing that happens in it stays."""
        return replace(
            self,
            files=dict(self.files),
            started=[],
            proxies=[],
            services=[],
            notes={},
            ran=set(),
            images=dict(self.images),
            terminals={name: each.copy() for name, each in self.terminals.items()},
        )


def fault(file: str, line: int, message: str, key: str = "", hint: str = "") -> FileError:
    """A file that cannot be imported, with line and reason."""
    return FileError((Problem(file, line, 0, key, message),), hint=hint)
