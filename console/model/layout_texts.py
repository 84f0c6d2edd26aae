"""Validators for the texts of a layout: variables, names, and values with rank facts."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, JsonValue

from console.model.rank_facts import FACTS, KNOWN, named


def env_text(value: object) -> object:
    """YAML scalars as text for a shell: 10 → "10", True → "true"; other values are returned for the validation."""
    if not isinstance(value, dict):
        return value
    return {
        key: str(item).lower() if isinstance(item, bool) else str(item) if isinstance(item, int | float) else item
        for key, item in value.items()
    }


def env_names(value: dict[str, str]) -> dict[str, str]:
    """The same variables. Raises ValueError for a name that a shell cannot export."""
    for name in value:
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise ValueError(f"{name!r} is not a valid variable name (letters, digits and _, no digit first)")
    return value


Environment = Annotated[dict[str, str], BeforeValidator(env_text), AfterValidator(env_names)]
"""Variables of engines and services: name that a shell can export → text."""


def with_facts(value: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """The same values. Raises ValueError for a value without a fact, which belongs to the plain values."""
    for name, text in value.items():
        if text not in FACTS and not any(named(text)):
            raise ValueError(f"{name}: {text!r} contains no rank fact (facts: {KNOWN})")
    return value


def plain_name(value: str) -> str:
    """The same text. Raises ValueError when it cannot be part of the name of an engine and of a directory."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", value):
        raise ValueError(f"{value!r} is not a valid name (letters, digits, dot, dash and _, at most 64)")
    return value
