"""Reads failure signatures: the shipped ones, and a file of the operator in the same format. Does not search logs."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from console.model.errors import FileError, Problem
from console.model.suggestions import suggestions

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The C loader when it is installed, because the file is read at every start."""
Severity = Literal["fatal", "running", "advice"]
Where = Literal["engine", "proxy", "driver", "tool", "container", "kernel", "console"]


@dataclass(frozen=True, slots=True)
class Signature:
    """One known failure: how to find it, what it means, what to do. The head of signatures.yaml explains the fields."""

    id: str
    severity: Severity
    title: str
    cause: str
    remedy: str
    source: str
    where: Where = "engine"
    find: tuple[str, ...] = ()
    pattern: re.Pattern[str] | None = None
    also: tuple[str, ...] = ()
    unless: tuple[str, ...] = ()
    repeat: int = 1
    silence_s: float | None = None
    lasts_s: float | None = None
    waits: tuple[str, ...] = ()
    fact: str = ""
    info: bool = False
    echo: bool = False
    vague: bool = False
    wrapper: bool = False
    mild: bool = False
    explains: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()

    def matches(self, text: str) -> bool:
        """Whether a line fulfils `find` and `pattern`; `also`, `repeat` and `silence_s` are not checked."""
        return any(word in text for word in self.find) and (
            self.pattern is None or self.pattern.search(text) is not None
        )


class _Entry(BaseModel):
    """A signature as it is in a file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = Field(min_length=1)
    severity: Severity
    title: str = Field(min_length=1)
    cause: str = Field(min_length=1)
    remedy: str = Field(min_length=1)
    source: str = ""
    where: Where = "engine"
    find: tuple[str, ...] = ()
    pattern: str | None = None
    also: tuple[str, ...] = ()
    unless: tuple[str, ...] = ()
    repeat: int = Field(default=1, ge=1)
    silence_s: float | None = Field(default=None, gt=0)
    lasts_s: float | None = Field(default=None, gt=0)
    waits: tuple[str, ...] = ()
    fact: str = ""
    info: bool = False
    echo: bool = False
    vague: bool = False
    wrapper: bool = False
    mild: bool = False
    explains: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()

    @field_validator("find", "also", "unless", "waits")
    @classmethod
    def _words(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if any(len(word) < 4 for word in value):
            raise ValueError("each text needs at least four characters")
        return value

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, value: str | None) -> str | None:
        try:
            re.compile(value or "")
        except re.error as problem:
            raise ValueError(f"not a regular expression: {problem}") from problem
        return value


def load_signatures(path: Path | None = None) -> tuple[Signature, ...]:
    """The shipped signatures, or those of a file. Raises FileError with file, line and key of everything that is wrong."""
    if path is None:
        return _read(
            resources.files("console.diagnosis").joinpath("signatures.yaml").read_text(encoding="utf-8"),
            "signatures.yaml",
        )
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        raise FileError((Problem(str(path), 0, 0, "", str(problem)),), hint="give the path of a YAML file") from problem
    return _read(text, str(path))


def joined(shipped: Iterable[Signature], own: Iterable[Signature]) -> tuple[Signature, ...]:
    """Both lists; an entry of the operator replaces the shipped one with the same id."""
    found = {each.id: each for each in shipped}
    return tuple((found | {each.id: each for each in own}).values())


def explain(signatures: Iterable[Signature], text: str) -> Signature | None:
    """The signature that a line shows, the most exact one (exact cause, vague cause, echo, wrapper); None without a match."""
    found = [
        each
        for each in signatures
        if each.repeat == 1 and not each.also and each.silence_s is None and each.matches(text)
    ]
    return min(found, key=lambda each: (each.wrapper, each.echo, each.vague, each.severity == "advice"), default=None)


def waiting_words(signatures: Iterable[Signature]) -> tuple[bytes, ...]:
    """The texts of lines that an engine repeats while it waits; such lines are not activity."""
    return tuple(dict.fromkeys(word.encode() for each in signatures for word in each.waits))


def of_fact(signatures: Iterable[Signature], fact: str) -> Signature | None:
    """The signature of a fact that the console found itself, for example `port-shared`."""
    return next((each for each in signatures if fact and each.fact == fact), None)


def _read(text: str, path: str) -> tuple[Signature, ...]:
    try:
        loader = _LOADER(text)
        root = loader.get_single_node()
        data = loader.construct_document(root) if root is not None else None
    except yaml.MarkedYAMLError as problem:
        mark = problem.problem_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
        raise FileError((Problem(path, line, column, "", str(problem.problem)),)) from problem
    except (yaml.YAMLError, ValueError) as problem:
        raise FileError((Problem(path, 0, 0, "", str(problem)),)) from problem
    entries = data.get("signatures") if isinstance(data, dict) else None
    if not isinstance(entries, list):
        raise FileError((Problem(path, 1, 1, "signatures", "missing", "a list of signatures"),))
    problems: list[Problem] = []
    found: dict[str, Signature] = {}
    for number, entry in enumerate(entries):
        line = _line(root, number)
        try:
            made = _made(_Entry.model_validate(entry))
        except ValidationError as problem:
            problems += _problems(problem, path, line, number)
            continue
        if made.id in found:
            problems.append(Problem(path, line, 0, f"signatures.{number}.id", f"{made.id} exists twice"))
        if not (made.find or made.fact):
            problems.append(
                Problem(path, line, 0, f"signatures.{number}.find", "missing", "texts of the log, or a fact")
            )
        found[made.id] = made
    if problems:
        raise FileError(tuple(problems), hint="the head of the shipped signatures.yaml explains every key")
    return tuple(found.values())


def _made(entry: _Entry) -> Signature:
    values = {name: getattr(entry, name) for name in _Entry.model_fields if name != "pattern"}
    return Signature(pattern=None if entry.pattern is None else re.compile(entry.pattern), **values)


def _problems(error: ValidationError, path: str, line: int, number: int) -> Iterable[Problem]:
    for each in error.errors():
        key = ".".join(str(part) for part in each["loc"])
        unknown = each["type"] == "extra_forbidden"
        nearest = suggestions(key, _Entry.model_fields) if unknown else ()
        message = "unknown key" if unknown else each["msg"].removeprefix("Value error, ")
        yield Problem(path, line, 0, f"signatures.{number}.{key}", message, nearest=nearest[0] if nearest else "")


def _line(root: yaml.Node | None, number: int) -> int:
    """The line of an entry, from 1; 0 when it is unknown."""
    if not isinstance(root, yaml.MappingNode):
        return 0
    for key, value in root.value:
        if key.value == "signatures" and isinstance(value, yaml.SequenceNode) and number < len(value.value):
            return int(value.value[number].start_mark.line) + 1
    return 0
