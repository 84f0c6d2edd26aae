"""Marks values that differ between ranks and follow from facts of the rank: ports, numbers, devices, addresses."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from pydantic import JsonValue

from console.services.importing.external_deployment import ExternalRank
from console.services.importing.rank_marks import mark, marked

_FACTS = ("port", "dp_rank", "local_rank", "devices")
_TOKEN = re.compile(r"[0-9]+(?:,[0-9]+)*")


def marked_by_rank(ranks: Sequence[ExternalRank]) -> list[ExternalRank]:
    """The ranks with marks in texts that differ between them in the same way as a fact."""
    if len(ranks) < 2:
        return list(ranks)
    facts = [rank.facts for rank in ranks]
    args = _marked([rank.left_args for rank in ranks], facts)
    env = _marked([rank.left_env for rank in ranks], facts)
    return [
        replace(rank, left_args=own, left_env={key: str(value) for key, value in own_env.items()})
        for rank, own, own_env in zip(ranks, args, env, strict=True)
    ]


def _marked(rows: Sequence[Mapping[str, JsonValue]], facts: Sequence[Mapping[str, str]]) -> list[dict[str, JsonValue]]:
    changed = [dict(row) for row in rows]
    for name in rows[0]:
        if not all(name in row for row in rows):
            continue
        values = [row[name] for row in rows]
        if all(value == values[0] for value in values) or name.replace("_", "-") in ("port", "data-parallel-rank"):
            continue
        said = _with_marks(values, facts)
        for row, value in zip(changed, said or values, strict=True):
            row[name] = value
    return changed


def _with_marks(values: Sequence[JsonValue], facts: Sequence[Mapping[str, str]]) -> list[JsonValue] | None:
    """The values with marks; None when no fact explains the difference."""
    if all(isinstance(value, dict) for value in values):
        return _mapping_with_marks([value for value in values if isinstance(value, dict)], facts)
    texts = [str(value) for value in values if isinstance(value, str | int) and not isinstance(value, bool)]
    if len(texts) != len(values) or any(marked(text) for text in texts):
        return None
    literal = [tuple(_TOKEN.split(text)) for text in texts]
    if len(set(literal)) != 1:
        return None
    out = [literal[0][0]] * len(texts)
    tokens = [_TOKEN.findall(text) for text in texts]
    for at, after in enumerate(literal[0][1:]):
        column = [row[at] for row in tokens]
        fact = next((name for name in _FACTS if [own.get(name) for own in facts] == column), None)
        same = len(set(column)) == 1
        if not same and fact is None:
            return None
        piece = column[0] if same else mark(fact or "")
        out = [text + piece + after for text in out]
    return list(out)


def _mapping_with_marks(
    values: Sequence[dict[str, JsonValue]], facts: Sequence[Mapping[str, str]]
) -> list[JsonValue] | None:
    if len({tuple(value) for value in values}) != 1:
        return None
    changed: list[dict[str, JsonValue]] = [dict(value) for value in values]
    for key in values[0]:
        column = [value[key] for value in values]
        if all(each == column[0] for each in column):
            continue
        if any(isinstance(each, int | float) for each in column):
            return None
        said = _with_marks(column, facts)
        if said is None:
            return None
        for row, value in zip(changed, said, strict=True):
            row[key] = value
    return list(changed)
