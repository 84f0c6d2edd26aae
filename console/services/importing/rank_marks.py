"""Marks in imported texts: they stand for values that differ between ranks, until the layout expresses them as facts.

A mark is a name between two characters of Unicode's private use area, which have no meaning in shells or JSON. Ranks are compared
by the value of a mark on placeholder nodes (`plain`); the layout keeps its fact (`as_facts`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from pydantic import JsonValue

from console.commands.flags import json_text
from console.services.placement.edits import example_address

NIC = "nic0"
"""Stands for the interface of every node while a file is read."""

_BEGIN, _END = "\ue000", "\ue001"
_MARK = re.compile(f"{_BEGIN}([a-z_]+)(?::([0-9]+))?{_END}")
_ADDRESSES: Mapping[str, tuple[str, ...]] = {
    "local": ("address", "dp_address", "first_address"),
    "node": ("dp_address", "first_address", "address"),
    "master": ("first_address", "dp_address", "address"),
}
"""What an address was called in the file → the facts that can say it, the likeliest meaning first."""
Value = TypeVar("Value", bound=JsonValue)


@dataclass(frozen=True, slots=True)
class LayoutPosition:
    """The place of a node of the file in the layout."""

    node: int
    group: str
    position: int
    head: int
    """The node that has its group's rank 0."""
    first: int
    """The node that has the first rank of all."""


def mark(name: str, node: int | None = None) -> str:
    """A mark for a fact of the rank, or for the address of a node (`local`, `node`, `master`)."""
    return f"{_BEGIN}{name}{'' if node is None else f':{node}'}{_END}"


def plainly(text: str) -> str:
    """The text for an operator: facts in braces instead of marks."""
    return _MARK.sub(lambda found: f"{{{found[1]}}}", text)


def address_of(index: int) -> str:
    """The placeholder address of a node of the file."""
    return example_address(index)


def marked(value: JsonValue) -> bool:
    """Whether a mark is anywhere in the value."""
    return any(_MARK.search(text) for text in _texts(value))


def plain(value: Value, facts: Mapping[str, str]) -> Value:
    """The value for one rank: with placeholder addresses, and other marks from `facts`."""

    def put(found: re.Match[str]) -> str:
        return facts.get(found[1], "") if found[2] is None else address_of(int(found[2]))

    return _changed(value, lambda text: _MARK.sub(put, text))


def as_facts(rows: Sequence[tuple[LayoutPosition, JsonValue]], seats: Mapping[int, LayoutPosition]) -> JsonValue:
    """One value with facts in braces that is correct on every seat; None when there is none."""
    texts = [value if isinstance(value, str) else json_text(value) for _, value in rows]
    pieces = {tuple(_MARK.sub("\0", text).split("\0")) for text in texts}
    if len(pieces) != 1 or len({isinstance(value, str) for _, value in rows}) != 1:
        return None
    literal = pieces.pop()
    choices: list[list[str]] | None = None
    for (seat, _), text in zip(rows, texts, strict=True):
        here = [list(_facts(found, seat, seats)) for found in _MARK.finditer(text)]
        choices = (
            here
            if choices is None
            else [[fact for fact in known if fact in also] for known, also in zip(choices, here, strict=True)]
        )
    if not choices or not all(choices):
        return None
    text = literal[0] + "".join(f"{{{facts[0]}}}{after}" for facts, after in zip(choices, literal[1:], strict=True))
    value: JsonValue = text if isinstance(rows[0][1], str) else json.loads(text)
    return value


def _facts(found: re.Match[str], seat: LayoutPosition, seats: Mapping[int, LayoutPosition]) -> Iterator[str]:
    """Every fact that gives a mark's value on a seat."""
    if found[2] is None:
        yield found[1]
        return
    node = int(found[2])
    true = {"address": seat.node == node, "dp_address": seat.head == node, "first_address": seat.first == node}
    yield from (fact for fact in _ADDRESSES[found[1]] if true[fact])
    if node in seats:
        yield f"address:{seats[node].group}/{seats[node].position}"


def _texts(value: JsonValue) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _texts(item)


def _changed(value: Value, change: Callable[[str], str]) -> Value:
    changed: JsonValue = value
    if isinstance(value, str):
        changed = change(value)
    elif isinstance(value, dict):
        changed = {key: _changed(item, change) for key, item in value.items()}
    elif isinstance(value, list):
        changed = [_changed(item, change) for item in value]
    return changed  # type: ignore[return-value]
