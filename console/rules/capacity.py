"""An estimate of the HBM that the weights take on each device, and rule H1 about it. Does not measure anything."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from console.model.findings import Severity
from console.model.hardware import kind_of
from console.rules.rule import Rule, RuleContext, Violation

_DEFAULT_UTILIZATION = 0.9
"""Default of `--gpu-memory-utilization` (vLLM 0.21 config/cache.py)."""
_MIN_LEFT_GIB = 2.0


@dataclass(frozen=True, slots=True)
class Weights:
    """The size of weights, and the source of that figure."""

    total_gib: float
    source: str


@dataclass(frozen=True, slots=True)
class Capacity:
    """HBM of one device of a group, in GiB."""

    group: str
    weights: float
    hbm: float
    utilization: float
    left: float
    """Free for KV cache, activations and graphs within the utilization limit."""
    source: str

    def __str__(self) -> str:
        return (
            f"{self.group}: estimate: weights at least {self.weights:.1f} of {self.hbm:.0f} GiB per device, "
            f"about {self.left:.1f} GiB left for the KV cache at utilization {self.utilization:g}, after the driver's memory "
            f"({self.source})"
        )


# vLLM's "Loading model weights took" divides by 2^30, so its GB are GiB.
_KNOWN = (
    (
        re.compile(r"deepseek-v4-pro.*w4a8", re.IGNORECASE),
        Weights(35.9 * 32, "35.9 GB per die seen with DP2×TP16, vllm-ascend issue 16983"),
    ),
)


def weights_of(context: RuleContext) -> Weights | None:
    """The size of the weights: from the layout, else a known figure; None when it is unknown."""
    written = context.layout.model.weights_gib
    if written is not None:
        return Weights(written, "weights_gib of the layout")
    return next((weights for pattern, weights in _KNOWN if pattern.search(context.layout.model.path)), None)


def capacities(context: RuleContext) -> tuple[Capacity, ...]:
    """An estimate for every group; empty when the size of the weights is unknown or the hardware has no NPUs.

    The estimate spreads the weights evenly over the devices of the group. It does not count weights that each rank copies.
    """
    weights, hardware = weights_of(context), context.layout.hardware
    if weights is None or not hardware.devices or not hardware.hbm_mib:
        return ()
    return tuple(_capacity(context, name, weights) for name in context.groups)


def _capacity(context: RuleContext, name: str, weights: Weights) -> Capacity:
    group, hardware = context.groups[name], context.layout.hardware
    spread = group.data_parallel.size if context.args(name).get("enable-expert-parallel") is True else 1
    each = weights.total_gib / (group.devices_per_rank * spread)
    written = context.args(name).get("gpu-memory-utilization")
    utilization = float(written) if isinstance(written, int | float) else _DEFAULT_UTILIZATION
    hbm = hardware.hbm_mib / 1024
    driver = kind_of(hardware.name).driver_mib / 1024
    return Capacity(name, each, hbm, utilization, hbm * utilization - driver - each, weights.source)


def _fits(context: RuleContext) -> Iterator[Violation]:
    for capacity in capacities(context):
        if capacity.left < _MIN_LEFT_GIB:
            yield Violation(str(capacity), context.at(capacity.group, "tensor_parallel"))


RULES = (
    Rule(
        "H1",
        "The weights fit into HBM",
        Severity.WARNING,
        "The KV cache needs the HBM that the weights leave within the utilization limit. Without free HBM the start fails after "
        "the weights are loaded.",
        "Spread the group over more devices, or use a smaller quantization. The figures are estimates.",
        "vllm-ascend issue 16983; npu-smi samples; vLLM 0.21 --gpu-memory-utilization",
        _fits,
    ),
)
