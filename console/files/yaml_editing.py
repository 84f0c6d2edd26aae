"""Changes single keys of a YAML text and keeps comments, order and spacing. Does not know what the keys mean."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import unified_diff
from typing import Any

import yaml

from console.files.saving import line_text, yaml_text
from console.files.yaml_documents import Plain, read_document
from console.model.errors import FileError

_LOADER: type[yaml.CSafeLoader] | type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True)
class Edit:
    """One change: set the key at `path` to `value`, or with `remove` turn it into a comment that ends with `note`."""

    path: tuple[str, ...]
    value: Any = None
    remove: bool = False
    note: str = ""


def edited(text: str, edits: Sequence[Edit]) -> tuple[str, bool]:
    """The changed text, and whether the rest of the text is unchanged.

    When keys cannot be changed in place (aliases, merged mappings), the whole content is written again without comments.
    Raises FileError for a text that is not a YAML document.
    """
    wanted = read_document(text.encode(), "text").value
    for edit in edits:
        wanted = applied(wanted, edit)
    result = text
    try:
        for edit in edits:
            result = _spliced(result, edit)
        if read_document(result.encode(), "text").value == wanted:
            return result, True
    except (FileError, yaml.YAMLError, LookupError):
        pass
    return yaml_text(wanted), False


def difference(before: str, after: str, name: str, other: str) -> Iterator[str]:
    """The differences between two texts, in the format of `diff -u`."""
    yield from unified_diff(before.splitlines(), after.splitlines(), name, other, lineterm="")


def applied(document: Plain, edit: Edit) -> Plain:
    """The content after a change; a mapping that a removal leaves empty is removed too."""
    whole = copy.deepcopy(document)
    path = edit.path
    while True:
        *parents, last = path
        place: Any = whole
        for key in parents:
            if not isinstance(place.get(key), dict):
                if edit.remove:
                    return whole
                place[key] = {}
            place = place[key]
        if not edit.remove:
            place[last] = edit.value
            return whole
        place.pop(last, None)
        if place or not parents:
            return whole
        path = tuple(parents)


def _spliced(text: str, edit: Edit) -> str:
    root = yaml.compose(text, Loader=_LOADER)
    if not isinstance(root, yaml.MappingNode):
        raise LookupError("not a mapping")
    mapping, path = root, list(edit.path)
    trail = [root]
    while len(path) > 1 and (value := _entry(mapping, path[0])) is not None and isinstance(value[1], yaml.MappingNode):
        mapping = value[1]
        trail.append(mapping)
        path.pop(0)
    found = _entry(mapping, path[0])
    if edit.remove:
        while found is not None and len(mapping.value) == 1 and len(trail) > 1:
            inner = trail.pop()
            mapping = trail[-1]
            found = next(pair for pair in mapping.value if pair[1] is inner)
        return _without(text, mapping, found, edit.note) if found is not None and len(path) == 1 else text
    below: Any = edit.value
    for key in reversed(path[1:]):
        below = {key: below}
    return _with_entry(text, mapping, path[0], found, line_text(below, inside_flow=bool(mapping.flow_style)))


def _entry(mapping: yaml.MappingNode, key: str) -> tuple[yaml.Node, yaml.Node] | None:
    return next((pair for pair in mapping.value if isinstance(pair[0], yaml.ScalarNode) and pair[0].value == key), None)


def _with_entry(
    text: str, mapping: yaml.MappingNode, key: str, found: tuple[yaml.Node, yaml.Node] | None, value: str
) -> str:
    if found is not None:
        old = found[1]
        start = old.start_mark.index if _end(old) > old.start_mark.index else found[0].end_mark.index + 1
        block = isinstance(old, yaml.CollectionNode) and not old.flow_style
        begin, gap = (found[0].end_mark.index, ": ") if block else (start, "" if text[start - 1] == " " else " ")
        return f"{text[:begin]}{gap}{value}{text[max(begin, _end(old)) :]}"
    entry = f"{line_text(key)}: {value}"
    if mapping.flow_style:
        at = mapping.end_mark.index - 1
        return f"{text[:at].rstrip()}{', ' if mapping.value else ''}{entry}{text[at:]}"
    last = _end(mapping)
    at = _line_end(text, last - 1 if text[last - 1] == "\n" else last)
    indent = " " * mapping.value[0][0].start_mark.column
    return f"{text[:at]}\n{indent}{entry}{text[at:]}"


def _without(text: str, mapping: yaml.MappingNode, found: tuple[yaml.Node, yaml.Node], note: str) -> str:
    begin, end = found[0].start_mark.index, _end(found[1]) or found[0].end_mark.index + 1
    if mapping.flow_style:
        after = text[end:]
        if after.lstrip().startswith(","):
            return text[:begin] + after.lstrip()[1:].lstrip(" ")
        return text[:begin].rstrip().removesuffix(",") + after
    line = text.rfind("\n", 0, begin) + 1
    stop = _line_end(text, end - 1 if text[end - 1] == "\n" else end)
    indent = " " * found[0].start_mark.column
    lines = text[line:stop].split("\n")
    kept = [f"{indent}# {each.removeprefix(indent)}".rstrip() for each in lines]
    return text[:line] + "\n".join([kept[0] + (f"   # {note}" if note else ""), *kept[1:]]) + text[stop:]


def _end(node: yaml.Node) -> int:
    """The end of the text of a node; the end mark of a block collection is at the text after it."""
    if isinstance(node, yaml.MappingNode) and not node.flow_style and node.value:
        return max(_end(node.value[-1][1]), int(node.value[-1][0].end_mark.index))
    if isinstance(node, yaml.SequenceNode) and not node.flow_style and node.value:
        return _end(node.value[-1])
    return int(node.end_mark.index)


def _line_end(text: str, at: int) -> int:
    found = text.find("\n", at)
    return len(text) if found < 0 else found
