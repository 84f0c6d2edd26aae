"""Turns the free-form `args` of a layout into the words of a command line. Does not know single flags."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from pydantic import JsonValue


def flag_words(args: Mapping[str, JsonValue]) -> tuple[str, ...]:
    """The words of all flags, in the order of `args`.

    true → `--key`; false → `--no-key`; null → no flag (this also removes a computed flag of that name);
    a mapping → `--key JSON`; a list → `--key` and one word per item; other values → `--key VALUE`.
    """
    return tuple(word for key, value in args.items() for word in _words(key, value))


def json_text(value: JsonValue) -> str:
    """A value as compact JSON, without escaping other letters than ASCII."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _words(key: str, value: JsonValue) -> Iterator[str]:
    flag = key if key.startswith("-") else f"--{key}"
    if value is None:
        return
    if value is True:
        yield flag
    elif value is False:
        yield f"--no-{flag.lstrip('-')}"
    elif isinstance(value, list):
        yield flag
        yield from (_text(item) for item in value)
    else:
        text = _text(value)
        if text.startswith("-") and not _is_number(text):
            yield f"{flag}={text}"
        else:
            yield from (flag, text)


def _text(value: JsonValue) -> str:
    if isinstance(value, str):
        return value
    return json_text(value)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
