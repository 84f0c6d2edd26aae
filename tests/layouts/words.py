"""Command lines as a mapping from flag to value, so that two can be compared whatever their order and spelling."""

from __future__ import annotations

import json
from collections.abc import Sequence


def flags(argv: Sequence[str]) -> dict[str, object]:
    """`vllm serve MODEL --a 1 --b` → {"": MODEL, "a": "1", "b": True}; JSON values are parsed, `--a=1` is `--a 1`."""
    assert list(argv[:2]) == ["vllm", "serve"]
    found: dict[str, object] = {}
    key, values = "", list[str]()

    def keep() -> None:
        assert key not in found, f"--{key} is given twice"
        found[key] = (
            True if not values and key else [_value(each) for each in values] if len(values) > 1 else _value(values[0])
        )

    for word in argv[2:]:
        if word.startswith("--"):
            keep()
            key, equals, value = word[2:].partition("=")
            key, values = key.replace("_", "-"), [value] if equals else []
        else:
            values.append(word)
    keep()
    return found


def _value(word: str) -> object:
    if word.lstrip()[:1] in ("{", "["):
        return json.loads(word)
    return word
