"""Rank facts in texts of a layout: names in braces such as `tcp://{address}:{port}`. Does not compute the facts."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from pydantic import JsonValue

FACTS = ("address", "dp_address", "first_address", "nic", "port", "dp_rank", "local_rank", "devices")
"""The facts of every rank; `first_address` is the address of the first node of the layout."""
KNOWN = f"{', '.join(FACTS)}, address:GROUP/INDEX"
"""All facts, for messages; `address:decode/1` is the address of the second node of a group."""
_IN_BRACES = re.compile(r"\{(address:[A-Za-z0-9][A-Za-z0-9._-]*/[0-9]{1,4}|" + "|".join(FACTS) + r")\}")


def named(value: JsonValue) -> Iterator[str]:
    """Every fact in a value, also inside lists and mappings."""
    if isinstance(value, str):
        yield from _IN_BRACES.findall(value)
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from named(item)


def filled(value: JsonValue, fact: Callable[[str], str | None]) -> JsonValue:
    """The value with all facts filled in; None when a fact is unknown."""
    if any(fact(name) is None for name in named(value)):
        return None
    return _put(value, fact)


def _put(value: JsonValue, fact: Callable[[str], str | None]) -> JsonValue:
    if isinstance(value, str):
        return _IN_BRACES.sub(lambda found: fact(found[1]) or "", value)
    if isinstance(value, dict):
        return {key: _put(item, fact) for key, item in value.items()}
    return [_put(item, fact) for item in value] if isinstance(value, list) else value
