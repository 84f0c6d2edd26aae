"""Command lines as a mapping from flag to value, so that two can be compared whatever their order and spelling."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence


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


def servers_said(given: Mapping[str, object]) -> dict[str, object]:
    """The flags with the API servers said that vLLM makes of their absence on the node that serves a group over several nodes.

    They are as many as the node has ranks where it is given start rank 0 (which is left out), else as many as the group has.
    """
    size, local = given.get("data-parallel-size"), given.get("data-parallel-size-local")
    if "headless" in given or local is None or size == local:
        return dict(given)
    said = {key: value for key, value in given.items() if key != "data-parallel-start-rank"}
    return {"api-server-count": local if given.get("data-parallel-start-rank") == "0" else size, **said}


def defaults_said(given: Mapping[str, object]) -> dict[str, object]:
    """The flags with what vLLM takes without them: all addresses and port 8000 to listen on, one device."""
    serving: dict[str, object] = {} if "headless" in given else {"host": "0.0.0.0", "port": "8000"}
    return {"tensor-parallel-size": "1", **serving, **given}


def _value(word: str) -> object:
    if word.lstrip()[:1] in ("{", "["):
        return json.loads(word)
    return word
