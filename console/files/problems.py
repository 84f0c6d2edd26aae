"""Turns a validation error into problems with file, line, dotted key, the expected value and the nearest known key."""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from typing import Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from console.files.yaml_documents import shown
from console.model.errors import Problem
from console.model.key_positions import Path as KeyPath
from console.model.key_positions import Source
from console.model.suggestions import suggestions

_EXPECTED = {
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing_size": "a smaller number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "string_type": "text; put it in quotes",
    "dict_type": "a mapping of keys to values",
    "model_type": "a mapping of keys to values",
    "model_attributes_type": "a mapping of keys to values",
    "tuple_type": "a list",
    "list_type": "a list",
    "literal_error": "{expected}",
    "greater_than_equal": "at least {ge}",
    "greater_than": "more than {gt}",
    "less_than_equal": "at most {le}",
    "finite_number": "a number",
}
_MESSAGES = {
    "missing": "is missing",
    "extra_forbidden": "is not a known key here",
    "string_type": "is not text",
    "invalid-json-value": "is not a value of YAML",
}


def problems(error: ValidationError, model: type[BaseModel], source: Source) -> tuple[Problem, ...]:
    """Every problem of `error` once, in the order of the file."""
    found = dict.fromkeys(_problem(detail, model, source) for detail in error.errors(include_url=False))
    return tuple(sorted(found, key=lambda problem: (problem.line, problem.column)))


def nearest(word: str, known: Sequence[str]) -> str:
    """The known word that is most similar to `word`; empty when none is similar."""
    return next(iter(suggestions(word, known)), "")


def _problem(detail: ErrorDetails, model: type[BaseModel], source: Source) -> Problem:
    path, known = _written_path(detail["loc"], model, source)
    kind = detail["type"]
    context: Mapping[str, object] = detail.get("ctx") or {}
    message, expected, near = _MESSAGES.get(kind, ""), _EXPECTED.get(kind, ""), ""
    if kind == "value_error":
        message = shown(str(context.get("error", detail["msg"])), 200)
    elif kind == "extra_forbidden":
        near = nearest(str(path[-1]), known)
        expected = "" if near else "one of " + ", ".join(known)
    elif not message:
        message = f"{shown(_input(detail['input']))} does not fit" if expected else shown(detail["msg"], 200)
    if kind == "literal_error":
        near = nearest(str(detail["input"]), re.findall("'([^']*)'", str(context.get("expected", ""))))
    mark = source.mark(*path)
    text = expected.format_map({key: shown(str(value), 200) for key, value in context.items()}) if expected else ""
    return Problem(
        source.path, mark.line if mark else 0, mark.column if mark else 0, _dotted(path), message, text, near
    )


def _input(value: object) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, dict | list | tuple):
        return "a mapping" if isinstance(value, dict) else "a list"
    return shown(str(value).lower() if isinstance(value, bool) else value)


def _dotted(path: KeyPath) -> str:
    return ".".join(shown(str(key)) for key in path)


def _written_path(
    loc: tuple[int | str, ...], model: type[BaseModel], source: Source
) -> tuple[KeyPath, tuple[str, ...]]:
    """The path in the file, and the known keys at its last step.

    A value that comes from `defaults` has its path there. Steps that only the validator knows (branches of a union) are left
    out.
    """
    steps = tuple(_steps(loc, model))
    path: KeyPath = tuple(step for step, _ in steps)
    known = steps[-1][1] if steps else ()
    if path[:1] == ("nodes",) and len(path) > 2 and path not in source.marks:
        shared = ("defaults", *path[2:])
        if shared[:2] in source.marks:
            return shared, known
    return path, known


def _steps(loc: tuple[int | str, ...], model: type[BaseModel]) -> Iterator[tuple[int | str, tuple[str, ...]]]:
    kind: object = model
    for step in loc:
        fields = _fields(kind)
        if fields is not None:
            yield step, tuple(fields)
            kind = fields.get(str(step), object)
            continue
        inner = _inner(kind)
        if inner is None and not isinstance(step, int):
            return
        yield step, ()
        kind = inner


def _fields(kind: object) -> dict[str, object] | None:
    for each in (kind, *_branches(kind)):
        if isinstance(each, type) and issubclass(each, BaseModel):
            return {
                name: field.annotation for name, field in each.model_fields.items() if name not in ("source", "written")
            }
    return None


def _branches(kind: object) -> tuple[object, ...]:
    return get_args(kind) if get_origin(kind) in (Union, types.UnionType) else ()


def _inner(kind: object) -> object | None:
    """The type of the values of a mapping or of the items of a list."""
    for each in (kind, *_branches(kind)):
        origin = get_origin(each)
        if origin is dict:
            return typing.cast(object, get_args(each)[1])
        if origin in (tuple, list):
            return typing.cast(object, get_args(each)[0])
    return None
