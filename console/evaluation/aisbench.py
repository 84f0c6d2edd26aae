"""Reads the files of AISBench: the accuracy summary, the two performance tables, and the errors in its log.

Formats: AISBench benchmark, summarizers/default.py, summarizers/default_perf.py, calculators/base_perf_metric_calculator.py.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping

from console.evaluation.figures import ResultError, ToolFigures, csv_rows, figure
from console.evaluation.records import Figure

_LATENCIES = {"E2EL": "e2el", "TTFT": "ttft", "TPOT": "tpot", "ITL": "itl"}
_STATISTICS = {"Average": "mean", "Min": "min", "Max": "max", "Median": "p50"}
_COMMON = {
    "benchmark duration": "duration",
    "request throughput": "request_throughput",
    "total input tokens": "input_tokens",
    "total generated tokens": "output_tokens",
    "total output tokens": "output_tokens",
    "prefill token throughput": "prefill_throughput",
    "input token throughput": "input_throughput",
    "output token throughput": "output_throughput",
    "total token throughput": "total_throughput",
    "concurrency": "concurrency",
    "max concurrency": "max_concurrency",
}

_ERROR = re.compile(r"(?:\[ERROR\]|\bERROR\b|AISBench - ERROR|Traceback \(most recent call last\))")
_NO_DATA = re.compile(r"FileNotFoundError.*?(?:'([^']+)'|(\S+))\s*$")


def first_error(lines: Iterable[str]) -> str:
    """The first error in the lines of its log, with an explanation for a missing file of the dataset; empty without an error."""
    for line in lines:
        if (found := _NO_DATA.search(line)) is not None:
            return f"a file of the dataset is missing: {found.group(1) or found.group(2)}"
        if _ERROR.search(line):
            return line.strip()[:400]
    return ""


def read_accuracy(text: str, dataset: str) -> ToolFigures:
    """The accuracy of a dataset in percent, from the summary csv (`dataset,version,metric,mode,ABBR`).

    `dataset` is the start of the name of the row, in any case (`gsm8k`, `gpqa`). Raises ResultError.
    """
    rows = csv_rows(text)
    if not rows or [cell.strip() for cell in rows[0][:4]] != ["dataset", "version", "metric", "mode"]:
        raise ResultError(
            "the file is not an AISBench summary", hint="the first line of a summary is `dataset,version,metric,mode,…`"
        )
    if not text.endswith("\n"):
        raise ResultError("the summary is incomplete")
    named = [row for row in rows[1:] if row[0].lower().startswith(dataset.lower())]
    if not named:
        have = ", ".join(sorted({row[0] for row in rows[1:]})) or "no dataset"
        raise ResultError(f"the summary has no row for {dataset}", hint=f"it has {have}")
    chosen = next((row for row in named if len(row) > 4 and "accuracy" in row[2]), named[0])
    if len(chosen) < 5:
        raise ResultError(f"the row for {dataset} in the summary is incomplete")
    found = figure(chosen[4])
    if found is None or found.unit not in ("", "%") or not 0 <= found.value <= 100:
        raise ResultError(
            f"the summary has no number for {dataset}: {chosen[4]!r}",
            hint="AISBench writes `-` when the inference or the evaluation of the dataset failed; see its log",
        )
    facts = {"metric": chosen[2], "mode": chosen[3], "dataset_version": chosen[1], "row": chosen[0]}
    return ToolFigures(numbers={"accuracy": Figure(found.value, "%")}, parameters=facts)


def read_performance(table: str, common: str) -> ToolFigures:
    """The figures of `DATASET.csv` and `DATASET.json` of a performance run. Raises ResultError when one is incomplete."""
    counts = _common(common)
    failed, total = counts.pop("failed requests", None), counts.pop("total requests", None)
    success = counts.pop("success requests", None)
    if total is None or failed is None:
        raise ResultError("the json has no Total Requests or no Failed Requests", hint="the run did not finish")
    all_failed = failed.value >= total.value or (success is not None and success.value == 0)
    if all_failed:
        raise ResultError(
            f"all {total.value:.0f} requests failed", hint="check the endpoint, and see the first error in the log"
        )
    numbers: dict[str, Figure] = {}
    for name, key in _COMMON.items():
        found = counts.get(name)
        if found is not None:
            numbers[key] = _in_our_unit(key, found)
    numbers |= _table(table)
    if "output_throughput" not in numbers:
        raise ResultError("the json has no Output Token Throughput", hint="the run did not finish")
    if not numbers["output_throughput"].value:
        raise ResultError("no tokens were generated", hint="the engine gives empty answers")
    warnings: tuple[str, ...] = ()
    if "ttft_mean" not in numbers:
        warnings = ("no TTFT: the run used a configuration that does not stream (use vllm_api_stream_chat)",)
    return ToolFigures(numbers, int(failed.value), int(total.value), warnings=warnings)


def _common(text: str) -> dict[str, Figure]:
    """`{"Total Requests": {"total": 8}, …}`, names in lower case (releases differ in their capitals)."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ResultError(
            f"the json of the performance run cannot be read: {error}", hint="the file can be incomplete"
        ) from error
    if not isinstance(data, dict):
        raise ResultError("the json of the performance run is not an object")
    found: dict[str, Figure] = {}
    for name, stages in data.items():
        value = next(iter(stages.values()), None) if isinstance(stages, Mapping) else stages
        one = figure(str(value)) if isinstance(value, str | int | float) and not isinstance(value, bool) else None
        if one is not None:
            found[str(name).lower()] = one
    return found


def _in_our_unit(key: str, found: Figure) -> Figure:
    if key == "duration":
        return Figure(found.value / 1000.0 if found.unit == "ms" else found.value, "s")
    return Figure(found.value, "token") if key.endswith("_tokens") else found


def _table(text: str) -> dict[str, Figure]:
    rows = csv_rows(text)
    if not rows or rows[0][0].strip() != "Performance Parameters":
        raise ResultError("the csv of the performance run has no header", hint="the file can be incomplete")
    header = [cell.strip() for cell in rows[0]]
    numbers: dict[str, Figure] = {}
    for row in rows[1:]:
        key = _LATENCIES.get(row[0].strip())
        if key is None:
            continue
        if len(row) < len(header):
            raise ResultError(f"the csv ends in the middle of {row[0]}", hint="the file can be incomplete")
        numbers |= _row(key, header, row)
    if "e2el_mean" not in numbers:
        raise ResultError("the csv has no E2EL", hint="the run did not finish")
    return numbers


def _row(key: str, header: list[str], row: Iterable[str]) -> dict[str, Figure]:
    found: dict[str, Figure] = {}
    for column, cell in zip(header, row, strict=False):
        statistic = _STATISTICS.get(column) or (column.lower() if re.fullmatch(r"P\d{1,2}", column) else None)
        one = figure(cell) if statistic else None
        if statistic and one is not None and one.unit == "ms":
            found[f"{key}_{statistic}"] = one
    return found
