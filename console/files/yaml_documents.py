"""Reads YAML text as plain values and records the place of every key. Does not know which keys are valid.

It uses the events of the parser instead of its constructors: tags cannot create objects, depth and expanded size are limited,
a duplicate key is an error, and every key keeps its line and column.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal, Protocol

import yaml
from yaml.constructor import SafeConstructor
from yaml.nodes import ScalarNode
from yaml.resolver import Resolver

from console.model.errors import FileError, Problem
from console.model.key_positions import Mark, Source
from console.model.key_positions import Path as KeyPath
from console.model.shortening import shortened

MAX_BYTES = 4 << 20
MAX_DEPTH = 40
MAX_VALUES = 200_000
"""Most values after the expansion of aliases; a larger file is a mistake or an attack."""

Plain = None | bool | int | float | str | list["Plain"] | dict[str, "Plain"]
Schema = Literal["core", "1.1"]

_LOADER: type[yaml.CSafeLoader] | type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_NULL = {"", "~", "null", "Null", "NULL"}
_INT = re.compile(r"[-+]?[0-9]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_MAX_DIGITS = 400


class _Place(Protocol):
    """A position of one of the two YAML readers, counted from 0."""

    line: int
    column: int


@dataclass(slots=True)
class _Scalar:
    text: str
    plain: bool
    mark: Mark
    weight: int = 1


@dataclass(slots=True)
class _Sequence:
    mark: Mark
    items: list[_Node] = field(default_factory=list)
    weight: int = 1


@dataclass(slots=True)
class _Mapping:
    mark: Mark
    items: dict[str, tuple[Mark, _Node]] = field(default_factory=dict)
    merges: list[_Node] = field(default_factory=list)
    weight: int = 1
    key: tuple[str, bool, Mark] | None = None
    """A key whose value was not read yet: (name, plain, place)."""


_Node = _Scalar | _Sequence | _Mapping


@dataclass(frozen=True, slots=True)
class Document:
    """One YAML document: its value, the places of its keys, and its problems (duplicate keys)."""

    value: Plain
    source: Source
    problems: tuple[Problem, ...] = ()


def shown(text: object, limit: int = 60) -> str:
    """A value of a file as one short printable line for a message."""
    flat = text if isinstance(text, str) else repr(text)
    safe = "".join(char if char.isprintable() else char.encode("unicode_escape", "replace").decode() for char in flat)
    return shortened(safe, limit)


def read_document(data: bytes, path: str, *, schema: Schema = "core") -> Document:
    """The document in `data`; messages use `path` as its name.

    `core` reads scalars as YAML 1.2 does (`on`, `off` and `010` are text); `1.1` reads them as PyYAML's safe loader does, for
    imported files. Numbers and booleans below a key `env` stay text. Raises FileError.
    """
    return _Reader(path, schema).read(data)


class _Reader:
    """Reads one document; one instance per file."""

    def __init__(self, path: str, schema: Schema) -> None:
        self._path = path
        self._scalar: Callable[[_Scalar], Plain] = _core if schema == "core" else _yaml11
        self._duplicates: list[Problem] = []
        self._problems: list[Problem] = []
        self._marks: dict[KeyPath, Mark] = {}
        self._anchors: dict[str, _Node | None] = {}
        self._stack: list[_Sequence | _Mapping] = []
        self._names: list[str | None] = []
        self._root: _Node | None = None

    def read(self, data: bytes) -> Document:
        text = self._decode(data)
        try:
            for event in _events(text):
                self._take(event)
        except yaml.MarkedYAMLError as error:
            place = error.problem_mark or error.context_mark
            raise self._fault(_mark(place) if place else None, _sentence(error)) from None
        except yaml.reader.ReaderError as error:
            before = text[: error.position]
            mark = Mark(before.count("\n") + 1, len(before) - before.rfind("\n"))
            raise self._fault(mark, f"the character {shown(chr(error.character))} is not allowed in YAML") from None
        except yaml.YAMLError as error:
            raise self._fault(None, shown(str(error), 200)) from None
        if self._root is None:
            raise self._fault(None, "the file is empty")
        value = self._value(self._root, (), text_only=False)
        if self._problems:
            raise FileError(tuple(self._problems))
        return Document(value, Source(self._path, self._marks), tuple(self._duplicates))

    def _decode(self, data: bytes) -> str:
        if len(data) > MAX_BYTES:
            raise self._fault(None, f"the file has {len(data)} bytes, more than the limit of {MAX_BYTES}")
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            before = data[: error.start]
            mark = Mark(before.count(b"\n") + 1, error.start - before.rfind(b"\n"))
            raise self._fault(mark, f"byte 0x{data[error.start]:02x} is not UTF-8 text") from None
        if "\0" in text:
            before_nul = text[: text.index("\0")]
            mark = Mark(before_nul.count("\n") + 1, len(before_nul) - before_nul.rfind("\n"))
            raise self._fault(mark, "the file contains a NUL byte; it is not a text file")
        return text

    def _fault(self, mark: Mark | None, message: str, key: str = "") -> FileError:
        return FileError((self._problem(mark, message, key),))

    def _problem(self, mark: Mark | None, message: str, key: str = "") -> Problem:
        return Problem(self._path, mark.line if mark else 0, mark.column if mark else 0, key, message)

    def _take(self, event: yaml.Event) -> None:
        mark = _mark(event.start_mark)
        match event:
            case yaml.AliasEvent(anchor=anchor):
                self._add(self._alias(anchor or "", mark))
            case yaml.ScalarEvent():
                self._check_tag(event.tag, mark)
                plain = bool(event.implicit[0])
                self._anchor(event.anchor, self._add(_Scalar(event.value, plain, mark)))
            case yaml.SequenceStartEvent() | yaml.MappingStartEvent():
                self._check_tag(event.tag, mark)
                self._open(
                    _Sequence(mark) if isinstance(event, yaml.SequenceStartEvent) else _Mapping(mark), event.anchor
                )
            case yaml.CollectionEndEvent():
                done = self._stack.pop()
                name = self._names.pop()
                self._add(done)
                self._anchor(name, done)
            case yaml.DocumentStartEvent() if self._root is not None:
                raise self._fault(mark, "a second document starts here; a file must have one document")

    def _check_tag(self, tag: str | None, mark: Mark) -> None:
        if tag is not None and not re.fullmatch(r"!|tag:yaml\.org,2002:(str|int|float|bool|null|seq|map)", tag):
            raise self._fault(mark, f"the tag {shown(tag)} is not supported; write the value without a tag")

    def _open(self, node: _Sequence | _Mapping, anchor: str | None) -> None:
        if len(self._stack) >= MAX_DEPTH:
            raise self._fault(node.mark, f"nested deeper than {MAX_DEPTH} levels")
        if anchor is not None:
            self._anchors[anchor] = None
        self._stack.append(node)
        self._names.append(anchor)

    def _anchor(self, name: str | None, node: _Node) -> None:
        if name is not None:
            self._anchors[name] = node

    def _alias(self, name: str, mark: Mark) -> _Node:
        if name not in self._anchors:
            raise self._fault(mark, f"the alias *{shown(name)} has no anchor before it")
        node = self._anchors[name]
        if node is None:
            raise self._fault(mark, f"the alias *{shown(name)} is inside its own anchor")
        return node

    def _add(self, node: _Node) -> _Node:
        if not self._stack:
            self._root = node
            return node
        parent = self._stack[-1]
        parent.weight += node.weight
        if parent.weight > MAX_VALUES:
            raise self._fault(parent.mark, f"more than {MAX_VALUES} values after the expansion of aliases")
        if isinstance(parent, _Sequence):
            parent.items.append(node)
        elif parent.key is None:
            if not isinstance(node, _Scalar):
                raise self._fault(node.mark, "a key must be plain text")
            parent.key = (node.text, node.plain, node.mark)
        else:
            self._pair(parent, node)
        return node

    def _pair(self, parent: _Mapping, node: _Node) -> None:
        assert parent.key is not None
        name, plain, mark = parent.key
        parent.key = None
        if plain and name == "<<":
            merged = node.items if isinstance(node, _Sequence) else [node]
            if not all(isinstance(each, _Mapping) for each in merged):
                raise self._fault(mark, "<< needs a mapping, or a list of mappings", "<<")
            parent.merges.extend(merged)
            return
        if name in parent.items:
            first = parent.items[name][0].line
            self._duplicates.append(
                self._problem(mark, f"is a duplicate; the first one is on line {first}", shown(name))
            )
        parent.items[name] = (mark, node)

    def _value(self, node: _Node, path: KeyPath, *, text_only: bool) -> Plain:
        self._marks.setdefault(path, node.mark)
        if isinstance(node, _Sequence):
            return [self._value(item, (*path, index), text_only=False) for index, item in enumerate(node.items)]
        if isinstance(node, _Mapping):
            below_env = bool(path) and path[-1] == "env"
            value: dict[str, Plain] = {}
            for name, (mark, item) in _merged(node).items():
                self._marks[(*path, name)] = mark
                value[name] = self._value(item, (*path, name), text_only=below_env)
            return value
        try:
            found = self._scalar(node)
        except (ValueError, OverflowError, yaml.YAMLError):
            found = None
            self._problems.append(self._problem(node.mark, f"{shown(node.text)} cannot be read", _dotted(path)))
        if text_only and found is not None:
            found = node.text
        if isinstance(found, str) and (bad := re.search("[\0\ud800-\udfff]", found)):
            self._problems.append(
                self._problem(node.mark, f"contains {shown(bad.group())}, which is not allowed in text", _dotted(path))
            )
        return found


def _merged(node: _Mapping) -> dict[str, tuple[Mark, _Node]]:
    if not node.merges:
        return node.items
    items: dict[str, tuple[Mark, _Node]] = {}
    for merged in reversed(node.merges):
        assert isinstance(merged, _Mapping)
        items.update(_merged(merged))
    for name in node.items:
        items.pop(name, None)
    return {**items, **node.items}


def _events(text: str) -> Iterator[yaml.Event]:
    loader = _LOADER(text)
    try:
        while loader.check_event():
            event = loader.get_event()
            if event is not None:
                yield event
    finally:
        loader.dispose()


def _mark(mark: _Place | None) -> Mark:
    if mark is None:
        return Mark(1, 1)
    return Mark(mark.line + 1, mark.column + 1)


def _sentence(error: yaml.MarkedYAMLError) -> str:
    parts = [part for part in (error.context, error.problem) if part]
    return shown("this is not YAML: " + ", ".join(parts), 200)


def _dotted(path: KeyPath) -> str:
    return ".".join(shown(str(key)) for key in path)


def _core(node: _Scalar) -> Plain:
    text = node.text
    if not node.plain:
        return text
    if text in _NULL:
        return None
    if text in _BOOL:
        return _BOOL[text]
    if len(text) <= _MAX_DIGITS:
        if _INT.fullmatch(text) and not (text.lstrip("+-").startswith("0") and len(text.lstrip("+-")) > 1):
            return int(text)
        if _FLOAT.fullmatch(text) and not _INT.fullmatch(text):
            return float(text)
    return text


def is_text(text: str) -> bool:
    """Whether YAML reads this plain scalar as text, not as a number or another type."""
    return _core(_Scalar(text, True, Mark(0, 0))) == text


_RESOLVER = Resolver()
_CONSTRUCTOR = SafeConstructor()
_TEXT_TAGS = {"tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:merge", "tag:yaml.org,2002:value"}


def _yaml11(node: _Scalar) -> Plain:
    if not node.plain:
        return node.text
    tag: str = _RESOLVER.resolve(ScalarNode, node.text, (True, False))  # type: ignore[no-untyped-call]
    if tag in _TEXT_TAGS:
        return node.text
    value = _CONSTRUCTOR.construct_object(ScalarNode(tag, node.text))
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return node.text
