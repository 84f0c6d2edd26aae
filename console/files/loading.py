"""Finds files, and reads them as validated model values. `yaml_documents` reads the YAML itself."""

from __future__ import annotations

import os
from importlib import resources
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, Field, ValidationError, field_validator

from console.files.problems import nearest, problems
from console.files.yaml_documents import Document, Schema, read_document, shown
from console.model.cluster import Cluster, Written
from console.model.deployment import Assignment
from console.model.errors import FileError, Problem, UsageError
from console.model.layout import Layout, Shape
from console.model.layout_texts import plain_name

Model = TypeVar("Model", bound=BaseModel)


class AssignmentFile(Written):
    """The content of an assignment file."""

    assign: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    shapes: dict[str, Shape] = Field(default_factory=dict)
    copies: dict[str, str] = Field(default_factory=dict)

    @field_validator("copies")
    @classmethod
    def _plain(cls, value: dict[str, str]) -> dict[str, str]:
        return {plain_name(name): like for name, like in value.items()}


def load_cluster(path: Path) -> Cluster:
    """The cluster of a file, with `source` set. Raises FileError with every problem."""
    document = load_document(path)
    cluster = _validated(Cluster, document)
    if not cluster.nodes:
        mark = document.source.mark("nodes")
        raise FileError(
            (Problem(str(path), mark.line if mark else 0, 0, "nodes", "a cluster needs at least one node"),)
        )
    return cluster.model_copy(update={"source": document.source})


def load_layout(name_or_path: str) -> Layout:
    """A shipped layout by its name, else the layout of a file, with `source` set.

    Raises FileError, and UsageError for an unknown name.
    """
    if name_or_path in shipped_layouts():
        found = resources.files("layouts").joinpath(f"{name_or_path}.yaml")
        return _layout(read_document(found.read_bytes(), str(found)))
    path = Path(name_or_path)
    if "/" not in name_or_path and path.suffix not in (".yaml", ".yml") and not os.path.exists(path):
        raise _no_layout(name_or_path)
    return _layout(load_document(path))


def shipped_text(name: str) -> str:
    """The text of a shipped layout. Raises UsageError for an unknown name."""
    if name not in shipped_layouts():
        raise _no_layout(name)
    return resources.files("layouts").joinpath(f"{name}.yaml").read_text(encoding="utf-8")


def _no_layout(name: str) -> UsageError:
    near = nearest(name, shipped_layouts())
    hint = f"did you mean {near}?" if near else "give the path of a file, or one of: " + ", ".join(shipped_layouts())
    return UsageError(f"there is no layout {shown(name)}", hint=hint)


def parse_layout(data: bytes, path: str) -> Layout:
    """The layout in `data`; messages use `path` as its name. Raises FileError."""
    return _layout(read_document(data, path))


def shipped_layouts() -> tuple[str, ...]:
    """The names of the shipped layouts, sorted."""
    files = (entry.name for entry in resources.files("layouts").iterdir())
    return tuple(sorted(name.removesuffix(".yaml") for name in files if name.endswith(".yaml")))


def is_shipped(layout: Layout) -> bool:
    """Whether a layout was read from the shipped files; a copy with the same name is not shipped."""
    source = layout.source
    return source is not None and Path(source.path).parent == Path(str(resources.files("layouts")))


def load_assignment(path: Path) -> Assignment:
    """The assignment of a file that the console wrote. Raises FileError."""
    held = _validated(AssignmentFile, load_document(path))
    return Assignment(held.assign, held.shapes, held.copies)


def assignment_data(assignment: Assignment) -> dict[str, object]:
    """An assignment as plain data, in the form of its file."""
    held = AssignmentFile(assign=dict(assignment.nodes), shapes=dict(assignment.shapes), copies=dict(assignment.copies))
    return held.model_dump(mode="json")


def assignment_of_data(data: object) -> Assignment:
    """The assignment in such data. Raises ValueError for other data."""
    held = AssignmentFile.model_validate(data)
    return Assignment(held.assign, held.shapes, held.copies)


def load_document(path: Path, *, schema: Schema = "core") -> Document:
    """The YAML document of a file. Raises FileError, also when the file cannot be read."""
    try:
        data = path.read_bytes()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise FileError((Problem(shown(str(path), 300), 0, 0, "", f"cannot be read: {reason}"),)) from error
    return read_document(data, str(path), schema=schema)


def _layout(document: Document) -> Layout:
    return _validated(Layout, document).model_copy(update={"source": document.source})


def _validated(model: type[Model], document: Document) -> Model:
    source = document.source
    found = list(document.problems)
    if not isinstance(document.value, dict):
        raise FileError((*found, Problem(source.path, 1, 1, "", "the file must be a mapping of keys to values")))
    for internal in ("source", "written"):
        if internal in document.value and internal in model.model_fields:
            mark = source.mark(internal)
            found.append(Problem(source.path, mark.line if mark else 0, 1, internal, "is not a known key here"))
            document.value.pop(internal)
    try:
        value = model.model_validate(document.value)
    except ValidationError as error:
        found.extend(problems(error, model, source))
        raise FileError(tuple(found)) from None
    if found:
        raise FileError(tuple(found))
    return value


def load_keys(path: Path) -> dict[str, tuple[str, ...]]:
    """Action id → keys, from a file that maps ids to one key or a list of keys. Raises FileError with the line."""
    document = load_document(path)
    content = document.value
    if not isinstance(content, dict):
        problem = Problem(
            str(path), 1, 1, "", "this is not a mapping", "action ids and their keys, for example stop: [x]"
        )
        raise FileError((problem,))
    found: dict[str, tuple[str, ...]] = {}
    wrong: list[Problem] = []
    for name, value in content.items():
        keys = [value] if isinstance(value, str) else value
        if isinstance(keys, list) and all(isinstance(key, str) for key in keys):
            found[str(name)] = tuple(str(key) for key in keys)
            continue
        mark = document.source.mark(str(name))
        line, column = (mark.line, mark.column) if mark else (0, 0)
        wrong.append(Problem(str(path), line, column, str(name), "is not a list of keys", "a key or a list of keys"))
    if wrong:
        raise FileError(tuple(wrong))
    return found
