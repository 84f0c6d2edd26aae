"""The result of one evaluation as plain data, and which numbers exist. Reading files and judging do not enter here.

Names of numbers are one vocabulary for all tools, so that a run of `vllm bench serve` and one of AISBench can stand side by
side: `ttft`, `tpot`, `itl`, `e2el` with `_mean`, `_p50`, `_p90`, `_p99` …; throughputs; `accuracy`.
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
"""Two samples further apart than this say nothing about the time between them (npu-smi is asked every 5 s)."""


class Kind(StrEnum):
    """What an evaluation is about."""

    ACCURACY = "accuracy"
    PERFORMANCE = "performance"


class Tool(StrEnum):
    """Who measured; numbers of two tools are never mixed in one result."""

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
    """The devices of one node at one moment, for setting load against throughput."""

    at: float
    """Seconds since the epoch on the jump host's clock."""
    node: str
    aicore_percent: float | None
    """Mean over the devices that reported it."""
    hbm_used_mib: int | None
    """Largest of any device."""
    power_w: float | None
    """Sum over the cards that reported it."""


@dataclass(frozen=True, slots=True)
class ServedSample:
    """What the deployment's engines said they generate, at one moment."""

    at: float
    """Seconds since the epoch on the jump host's clock."""
    tokens_per_s: float
    running: int


@dataclass(frozen=True, slots=True)
class NpuUse:
    """NPU use while a run was going, as far as a console watched it."""

    aicore_percent_mean: float | None = None
    aicore_percent_max: float | None = None
    hbm_used_mib_max: int | None = None
    power_w_mean: float | None = None
    """Watts of all watched nodes together."""
    watched_share: float | None = None
    """0–1 of the run's time in which samples arrived; None when the run's time is not known."""
    samples: tuple[NpuSample, ...] = ()


@dataclass(frozen=True, slots=True)
class TimePoint:
    """Throughput at one time of a run."""

    at_s: float
    """Seconds since the run started."""
    tokens: float
    """Output tokens per second: as they arrived at the client, or as the engines' logs say where the tool keeps no times."""
    running: float | None = None
    """Requests in flight."""


@dataclass(frozen=True, slots=True)
class Record:
    """One result, with everything needed to compare it later. `numbers` is empty unless the run came to figures."""

    run: str
    cluster: str
    deployment: str
    layout_hash: str
    tool: Tool
    kind: Kind
    subject: str
    """The dataset (`gsm8k`, `gpqa`) or the shape of the load (`random 3500/1500`)."""
    node: str
    """Where the tool ran; the jump host's name for the built-in generator."""
    endpoint: str
    """`HOST:PORT` the requests went to."""
    model: str
    """Id the requests named."""
    started_at: float
    ended_at: float | None = None
    by: str = ""
    ending: Ending = Ending.DONE
    error: str = ""
    """Why there are no numbers."""
    failed_requests: int | None = None
    """Shown before any number: figures of a run with failures describe the requests that did not fail."""
    total_requests: int | None = None
    empty_answers: int | None = None
    """Answers without text; through a proxy that swallows errors they look like wrong answers."""
    numbers: Mapping[str, Figure] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, JsonValue] = field(default_factory=dict)
    reference: float | None = None
    """Of an accuracy: what is printed for this model on this dataset, percent; None when nothing is."""
    warnings: tuple[str, ...] = ()
    npu: NpuUse | None = None
    timeline: tuple[TimePoint, ...] = ()

    @property
    def clean(self) -> bool:
        """Whether it ended well and no request of it is known to have failed."""
        return self.ending is Ending.DONE and not self.failed_requests and not self.empty_answers

    def number(self, name: str) -> float | None:
        """A number by name, None when it was not measured."""
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
"""Direction of each number, by its name without the statistic; numbers that are missing here have none."""


def base_name(name: str) -> str:
    """`ttft` of `ttft_p99`: the name without its statistic."""
    stem, _, statistic = name.rpartition("_")
    known = statistic in ("mean", "median", "std", "min", "max") or (statistic[:1] == "p" and statistic[1:].isdigit())
    return stem if stem and known else name


def higher_is_better(name: str) -> bool | None:
    """Whether more of a number is good; None when it says nothing about quality (counts, spreads)."""
    return None if name.endswith("_std") else HIGHER_IS_BETTER.get(base_name(name))


def layout_hash(layout: Layout) -> str:
    """Twelve hexadecimal digits that change when anything of a layout changes that an engine could see."""
    shown = layout.model_dump(mode="json", exclude={"title": True, "assign": True, "model": {"accuracy", "source"}})
    text = json.dumps(shown, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:12]
