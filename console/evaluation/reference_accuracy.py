"""The accuracies that upstream prints, and which of them belongs to what a layout serves. Pure; judging is `comparison`'s job."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pydantic import JsonValue

from console.commands.evaluation import DATASETS
from console.model.layout import Layout, flag_name


@dataclass(frozen=True, slots=True)
class _Printed:
    """Figures of one model, percent."""

    model: str
    method: str
    """Of its speculative decoding, where the figures were measured with one of their own."""
    figures: Mapping[str, float]


PRINTED = (
    _Printed("DeepSeek-V4-Pro", "", {"gpqa": 89.90, "gsm8k": 96.21}),
    _Printed("DeepSeek-V4-Flash", "", {"gpqa": 88.17, "gsm8k": 96.30}),
    _Printed("DeepSeek-V4-Flash", "dspark", {"gpqa": 90.40}),
)
"""vllm-ascend's tutorials of these models (GPQA diamond, GSM8K; AISBench with the configurations of its guide)."""


def reference_accuracy(layout: Layout, dataset: str, config: str = "") -> float | None:
    """The figure to expect of what a layout serves, percent; None when nobody has printed one.

    `config` is AISBench's dataset configuration: with another one than the guide's the figures do not hold.
    """
    if config and config != DATASETS.get(dataset):
        return None
    if layout.model.accuracy:
        return layout.model.accuracy.get(dataset)
    return printed_figures(layout).get(dataset)


def printed_figures(layout: Layout) -> Mapping[str, float]:
    """What upstream prints for the model of a layout, known by the name in its path; empty for any other."""
    method = next((each for each in _methods(layout) if any(each == one.method for one in PRINTED)), "")
    name = layout.model.path.replace("_", "-")
    for each in PRINTED:
        if each.method == method and re.search(rf"(?i)\b{re.escape(each.model)}(?![\w.]|-base\b)", name):
            return each.figures
    return {}


def _methods(layout: Layout) -> Iterator[str]:
    """The methods of speculative decoding of a layout's groups."""
    groups: list[Mapping[str, JsonValue]] = [layout.args, *(each.args for each in layout.groups.values())]
    for args in groups:
        for key, value in args.items():
            if flag_name(key) == "speculative-config.method" and isinstance(value, str):
                yield value
            elif flag_name(key) == "speculative-config" and isinstance(value, Mapping):
                yield str(value.get("method", ""))
