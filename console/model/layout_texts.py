"""What texts of a layout must look like: variables, names, and values that are left to each rank."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, JsonValue

from console.model.rank_facts import FACTS, KNOWN, named


def env_text(value: object) -> object:
    """YAML scalars as the text a shell would see: 10 → "10", True → "true"; anything else is left for validation to refuse."""
    if not isinstance(value, dict):
        return value
    return {
        key: str(item).lower() if isinstance(item, bool) else str(item) if isinstance(item, int | float) else item
        for key, item in value.items()
    }


def env_names(value: dict[str, str]) -> dict[str, str]:
    """The same variables; ValueError when a name is none a shell can export."""
    for name in value:
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise ValueError(f"{name!r} is no name for a variable (letters, digits and _, no digit first)")
    return value


Environment = Annotated[dict[str, str], BeforeValidator(env_text), AfterValidator(env_names)]
"""Variables of engines and services: names a shell can export → text."""


def with_facts(value: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """The same values; ValueError when one names no fact, for then it belongs where plain values are."""
    for name, text in value.items():
        if text not in FACTS and not any(named(text)):
            raise ValueError(f"{name}: {text!r} names no fact (facts: {KNOWN})")
    return value


def plain_name(value: str) -> str:
    """The same text; ValueError when it cannot be part of an engine's name and a directory's on every node."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", value):
        raise ValueError(f"{value!r} is no plain name (letters, digits, dot, dash and _, at most 64)")
    return value
