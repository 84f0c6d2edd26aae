"""Results as CSV, JSON and Markdown, with failed requests before all numbers. Does not write files."""

from __future__ import annotations

import csv
import io
import json
import time
from collections.abc import Callable, Mapping, Sequence

from console.evaluation.records import Figure, Record
from console.evaluation.result_store import as_json

_FACTS: Mapping[str, Callable[[Record], object]] = {
    "run": lambda record: record.run,
    "started": lambda record: stamp(record.started_at),
    "cluster": lambda record: record.cluster,
    "deployment": lambda record: record.deployment,
    "layout_hash": lambda record: record.layout_hash,
    "tool": lambda record: record.tool,
    "kind": lambda record: record.kind,
    "subject": lambda record: record.subject,
    "node": lambda record: record.node,
    "endpoint": lambda record: record.endpoint,
    "model": lambda record: record.model,
    "ending": lambda record: record.ending,
    "error": lambda record: record.error,
    "failed_requests": lambda record: record.failed_requests,
    "empty_answers": lambda record: record.empty_answers,
    "total_requests": lambda record: record.total_requests,
}

_MD_FACTS = (
    *("failed_requests", "empty_answers", "total_requests", "ending", "error", "started"),
    *("deployment", "layout_hash", "tool", "subject", "model", "endpoint"),
)


def to_csv(records: Sequence[Record]) -> str:
    """One line per result, one column per number with its unit in the head; unknown cells are empty."""
    columns = number_columns(records)
    versions = sorted({name for record in records for name in record.versions})
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    heads = [f"{name} ({unit})" if unit else name for name, unit in columns]
    writer.writerow([*_FACTS, *(f"version {name}" for name in versions), *heads])
    for record in records:
        cells = [_cell(read(record)) for read in _FACTS.values()]
        cells += [_cell(record.versions.get(name)) for name in versions]
        cells += [_number(record.numbers.get(name), unit) for name, unit in columns]
        writer.writerow(cells)
    return out.getvalue()


def to_json(records: Sequence[Record]) -> str:
    """All data, one object per result."""
    return json.dumps([as_json(record) for record in records], ensure_ascii=False, indent=2) + "\n"


def to_markdown(records: Sequence[Record]) -> str:
    """A table with one line per number and one column per result; failures come first."""
    lines = ["| | " + " | ".join(_md(record.run) for record in records) + " |"]
    lines.append("|---|" + "---:|" * len(records))
    lines += [
        _md_row(name.replace("_", " "), [_cell(_FACTS[name](record)) for record in records]) for name in _MD_FACTS
    ]
    for name, unit in number_columns(records):
        head = f"{name} ({unit})" if unit else name
        lines += [_md_row(head, [_number(record.numbers.get(name), unit) for record in records])]
    return "\n".join(lines) + "\n"


FORMATS: Mapping[str, Callable[[Sequence[Record]], str]] = {"csv": to_csv, "json": to_json, "md": to_markdown}


def number_columns(records: Sequence[Record]) -> tuple[tuple[str, str], ...]:
    """(name, unit) of all numbers, in the order of their first appearance."""
    found: dict[tuple[str, str], None] = {}
    for record in records:
        for name, figure in record.numbers.items():
            found.setdefault((name, figure.unit))
    return tuple(found)


def stamp(at: float) -> str:
    """A time as UTC text."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))


def _cell(value: object) -> str:
    """Text for a spreadsheet; text that starts like a formula gets a quote, because it can come from a node."""
    text = "" if value is None else str(value)
    return "'" + text if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text


def _number(figure: Figure | None, unit: str) -> str:
    return f"{figure.value:.6g}" if figure is not None and figure.unit == unit else ""


def _md(text: str) -> str:
    plain = " ".join(text.split())
    for char in "\\|`*_<>[]":
        plain = plain.replace(char, "\\" + char)
    return plain


def _md_row(head: str, cells: Sequence[str]) -> str:
    return "| " + " | ".join([_md(head), *(_md(cell) for cell in cells)]) + " |"
