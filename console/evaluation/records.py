"""The result of one evaluation as plain data, and the names of its numbers. Does not read files and does not judge.

The names of numbers are the same for all tools, so that runs of different tools can be compared: `ttft`, `tpot`,
`itl`, `e2el` with `_mean`, `_p50`, `_p90`, `_p99` …; throughputs; `accuracy`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from pydantic import JsonValue

from console.model.layout import Layout

LONGEST_GAP_S = 15.0
"""With more time than this between two samples the time between them is unknown (npu-smi runs every 5 s)."""


class Kind(StrEnum):
    """The kind of an evaluation."""

    ACCURACY = "accuracy"
    PERFORMANCE = "performance"


class Tool(StrEnum):
    """The tool that measured; a result never mixes numbers of two tools."""

    AISBENCH = "aisbench"
    VLLM_BENCH = "vllm-bench"
    BUILT_IN = "built-in"


class Ending(StrEnum):
    """How a run ended."""

    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Figure:
    """A number and its unit: `ms`, `s`, `token/s`, `req/s`, `token`, `%`, or empty for a count or a ratio."""

    value: float
    unit: str = ""

    def __str__(self) -> str:
        digits = 0 if self.value == int(self.value) and abs(self.value) < 1e15 else 2
        text = f"{self.value:.{digits}f}"
        return f"{text} {self.unit}" if self.unit else text


@dataclass(frozen=True, slots=True)
class NpuSample:
    """The devices of one node at one time, to compare their load with the throughput."""

    at: float
    """Seconds since the epoch on the jump host's clock."""
    node: str
    aicore_percent: float | None
    """Mean of the devices that report it."""
    hbm_used_mib: int | None
    """The largest value of all devices."""
    power_w: float | None
    """Sum of the cards that report it."""


@dataclass(frozen=True, slots=True)
class ServedSample:
    """The generation speed that the engines of the deployment report, at one time."""

    at: float
    """Seconds since the epoch on the jump host's clock."""
    tokens_per_s: float
    running: int


@dataclass(frozen=True, slots=True)
class NpuUse:
    """NPU use during a run, for the time in which a console watched it."""

    aicore_percent_mean: float | None = None
    aicore_percent_max: float | None = None
    hbm_used_mib_max: int | None = None
    power_w_mean: float | None = None
    """Sum of all watched nodes, in watts."""
    watched_share: float | None = None
    """Share of the run in which samples arrived, 0–1; None when the duration of the run is unknown."""
    samples: tuple[NpuSample, ...] = ()


@dataclass(frozen=True, slots=True)
class TimePoint:
    """Throughput at one time of a run."""

    at_s: float
    """Seconds since the run started."""
    tokens: float
    """Output tokens per second, at the client, or from the logs of engines when the tool records no times."""
    running: float | None = None
    """Requests in flight."""


@dataclass(frozen=True, slots=True)
class Record:
    """One result with everything that a later comparison needs. `numbers` is empty when the run gave no figures."""

    run: str
    cluster: str
    deployment: str
    layout_hash: str
    tool: Tool
    kind: Kind
    subject: str
    """The dataset (`gsm8k`, `gpqa`) or the shape of the load (`random 3500/1500`)."""
    node: str
    """The node on which the tool ran; for the built-in generator the name of the jump host."""
    endpoint: str
    """`HOST:PORT` of the endpoint."""
    model: str
    """The model name in the requests."""
    started_at: float
    ended_at: float | None = None
    by: str = ""
    ending: Ending = Ending.DONE
    error: str = ""
    """Why there are no numbers."""
    failed_requests: int | None = None
    """Number of failed requests, shown before all numbers, because the numbers describe only requests that did not fail."""
    total_requests: int | None = None
    empty_answers: int | None = None
    """Number of empty answers; a proxy can turn errors into empty answers."""
    numbers: Mapping[str, Figure] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, JsonValue] = field(default_factory=dict)
    reference: float | None = None
    """The published accuracy of the model on this dataset in percent; None when there is none."""
    warnings: tuple[str, ...] = ()
    npu: NpuUse | None = None
    timeline: tuple[TimePoint, ...] = ()

    @property
    def clean(self) -> bool:
        """Whether the run ended normally and no request is known to have failed."""
        return self.ending is Ending.DONE and not self.failed_requests and not self.empty_answers

    def number(self, name: str) -> float | None:
        """A number by its name; None when it was not measured."""
        figure = self.numbers.get(name)
        return figure.value if figure else None


HIGHER_IS_BETTER: Mapping[str, bool] = {
    "accuracy": True,
    "request_throughput": True,
    "request_goodput": True,
    "input_throughput": True,
    "output_throughput": True,
    "total_throughput": True,
    "prefill_throughput": True,
    "peak_output_throughput": True,
    "spec_acceptance_rate": True,
    "spec_acceptance_length": True,
    "duration": False,
    "ttft": False,
    "tpot": False,
    "itl": False,
    "e2el": False,
}
"""Name of a number without the statistic → whether higher is better; other numbers have no direction."""


def base_name(name: str) -> str:
    """`ttft` of `ttft_p99`: the name without its statistic."""
    stem, _, statistic = name.rpartition("_")
    known = statistic in ("mean", "median", "std", "min", "max") or (statistic[:1] == "p" and statistic[1:].isdigit())
    return stem if stem and known else name


def higher_is_better(name: str) -> bool | None:
    """Whether a higher value is better; None when the number has no direction (counts, spreads)."""
    return None if name.endswith("_std") else HIGHER_IS_BETTER.get(base_name(name))


def layout_hash(layout: Layout) -> str:
    """Twelve hexadecimal digits that change when a setting of the layout that affects engines changes."""
    shown = layout.model_dump(mode="json", exclude={"title": True, "assign": True, "model": {"accuracy", "source"}})
    text = json.dumps(shown, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:12]
