"""Writes files atomically: a reader sees either the old text or the new text."""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
from pathlib import Path
from typing import Any

import yaml

from console.files.yaml_documents import is_text
from console.model.deployment import Assignment
from console.model.errors import ConsoleError
from console.model.hardware import HARDWARE, Hardware
from console.model.layout import Layout
from console.private_files import private_directory

_ASSIGNMENT_HEAD = "# Written by dsv4-console: the nodes of each group, the node of rank 0 first.\n"


def save_assignment(path: Path, assignment: Assignment) -> None:
    """Write an assignment file with mode 0600. Raises ConsoleError when it cannot be written."""
    data: dict[str, object] = {"assign": {group: list(nodes) for group, nodes in assignment.nodes.items()}}
    if assignment.shapes:
        data["shapes"] = {group: shape.model_dump(mode="json") for group, shape in assignment.shapes.items()}
    if assignment.copies:
        data["copies"] = dict(assignment.copies)
    save_text(path, _ASSIGNMENT_HEAD + _yaml(data))


def layout_text(layout: Layout) -> str:
    """A layout as YAML without defaults; `load_layout` reads it back as an equal value."""
    return _yaml(layout_data(layout))


def layout_data(layout: Layout) -> dict[str, Any]:
    """A layout as plain data in the form of its file, without defaults."""
    data = layout.model_dump(mode="json", exclude_defaults=True)
    data["hardware"] = _hardware(layout.hardware)
    return data


def yaml_text(data: object) -> str:
    """Plain data as YAML that is easy to read."""
    return _yaml(data)


def line_text(value: object, *, inside_flow: bool = False) -> str:
    """A value as YAML on one line, to follow a key; with `inside_flow` the key is in a mapping in braces."""
    stream = io.StringIO()
    dumper = _Dumper(stream, sort_keys=False, allow_unicode=True, width=1 << 20)
    try:
        dumper.open()
        node = dumper.represent_data([value])
        _choose_style(node, "")
        _flow(node)
        node.flow_style = inside_flow  # type: ignore[attr-defined]
        dumper.serialize(node)
        dumper.close()
    finally:
        dumper.dispose()
    text = stream.getvalue().strip()
    return text[1:-1] if inside_flow else text.removeprefix("- ")


def _flow(node: yaml.Node) -> None:
    """Set the style of all collections to one line, and of multi-line texts to quotes."""
    if isinstance(node, yaml.ScalarNode) and node.style == "|":
        node.style = '"'
    if isinstance(node, yaml.CollectionNode):
        node.flow_style = True
        for each in node.value:
            for part in each if isinstance(each, tuple) else (each,):
                _flow(part)


def save_text(path: Path, text: str) -> None:
    """Replace a file by `text` with mode 0600: write a temporary file, sync it, rename it. Raises ConsoleError."""
    try:
        private_directory(path.parent)
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name[:80]}.", dir=path.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(text.encode())
                file.flush()
                os.fsync(file.fileno())
            os.replace(name, path)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name)
        _sync_directory(path.parent)
    except OSError as error:
        raise ConsoleError(
            f"{path} cannot be written: {error.strerror}",
            hint="the file is unchanged; free space on the disk or fix the permissions",
        ) from error


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _hardware(hardware: Hardware) -> object:
    named = next((name for name, known in HARDWARE.items() if known == hardware), None)
    return named or hardware.model_dump(mode="json", exclude_defaults=True)


_TEXT = "tag:yaml.org,2002:str"
_BLOCK_KEYS = ("env", "env_from", "args", "args_from")
_FLOW_ITEMS = 4


class _Dumper(yaml.SafeDumper):
    """Does not write aliases, and quotes texts that YAML would read as another type."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def _yaml(data: object) -> str:
    """YAML with small mappings on one line, and variables and flags one per line."""
    stream = io.StringIO()
    dumper = _Dumper(stream, sort_keys=False, allow_unicode=True, width=120)
    try:
        dumper.open()
        node = dumper.represent_data(data)
        _choose_style(node, "")
        dumper.serialize(node)
        dumper.close()
    finally:
        dumper.dispose()
    return stream.getvalue()


def _choose_style(node: yaml.Node, key: str) -> int:
    """Choose the style of every collection; returns the number of scalars in the node."""
    if isinstance(node, yaml.MappingNode):
        for name, _ in node.value:
            name.style = None if name.value.isprintable() else '"'
        count = sum(_choose_style(value, str(name.value)) for name, value in node.value)
        node.flow_style = (count <= _FLOW_ITEMS and key not in ("", *_BLOCK_KEYS)) or not node.value
        return count
    if isinstance(node, yaml.SequenceNode):
        count = sum(_choose_style(value, "item") for value in node.value)
        node.flow_style = all(isinstance(value, yaml.ScalarNode) for value in node.value)
        return count
    if isinstance(node, yaml.ScalarNode) and not node.value.isprintable():
        plain_lines = all(line.isprintable() for line in node.value.split("\n"))
        node.style = "|" if plain_lines else '"'
        return _FLOW_ITEMS + 1
    if isinstance(node, yaml.ScalarNode) and node.tag == _TEXT and not is_text(str(node.value)):
        node.style = "'"
    return 1
