"""What the weights take of each device's HBM, and rule H1 about it. An estimate, and named as one; nothing is measured here."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from console.model.findings import Severity
from console.model.hardware import kind_of
from console.rules.rule import Hit, Rule, RuleContext

_DEFAULT_UTILIZATION = 0.9
"""Of `--gpu-memory-utilization` (vLLM 0.21 config/cache.py)."""
_MIN_LEFT_GIB = 2.0


@dataclass(frozen=True, slots=True)
class Weights:
    """How large weights are, and who says so."""

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
    """For KV cache, activations and graphs below the utilization limit."""
    source: str

    def __str__(self) -> str:
        return (
            f"{self.group}: estimate: weights at least {self.weights:.1f} of {self.hbm:.0f} GiB per device, "
            f"about {self.left:.1f} GiB left at utilization {self.utilization:g} ({self.source})"
        )


# vLLM's "Loading model weights took" divides by 2^30, so its GB are GiB.
_KNOWN = (
    (
        re.compile(r"deepseek-v4-pro.*w4a8", re.IGNORECASE),
        Weights(35.9 * 32, "35.9 GB per die seen with DP2×TP16, vllm-ascend issue 16983"),
    ),
)


def weights_of(scene: RuleContext) -> Weights | None:
    """Size of the model's weights: the layout's own figure, else a known one; None when nobody says."""
    written = scene.layout.model.weights_gib
    if written is not None:
        return Weights(written, "weights_gib of the layout")
    return next((weights for pattern, weights in _KNOWN if pattern.search(scene.layout.model.path)), None)


def capacities(scene: RuleContext) -> tuple[Capacity, ...]:
    """An estimate for every group; empty when the size of the weights is not known or the machines have no NPUs.

    The weights are spread evenly over the devices of the group; what each data-parallel rank holds a copy of comes on top.
    """
    weights, hardware = weights_of(scene), scene.layout.hardware
    if weights is None or not hardware.devices or not hardware.hbm_mib:
        return ()
    return tuple(_capacity(scene, name, weights) for name in scene.groups)


def _capacity(scene: RuleContext, name: str, weights: Weights) -> Capacity:
    group, hardware = scene.groups[name], scene.layout.hardware
    spread = group.data_parallel.size if scene.args(name).get("enable-expert-parallel") is True else 1
    each = weights.total_gib / (group.devices_per_rank * spread)
    written = scene.args(name).get("gpu-memory-utilization")
    utilization = float(written) if isinstance(written, int | float) else _DEFAULT_UTILIZATION
    hbm = hardware.hbm_mib / 1024
    driver = kind_of(hardware.name).driver_mib / 1024
    return Capacity(name, each, hbm, utilization, hbm * utilization - driver - each, weights.source)


def _fits(scene: RuleContext) -> Iterator[Hit]:
    for capacity in capacities(scene):
        if capacity.left < _MIN_LEFT_GIB:
            yield Hit(str(capacity), scene.at(capacity.group, "tensor_parallel"))


RULES = (
    Rule(
        "H1",
        "The weights fit into HBM",
        Severity.WARNING,
        "What the weights leave below the utilization limit holds the KV cache; with nothing left the start ends after loading.",
        "Spread the group over more devices, or use a smaller quantization. The figure is an estimate.",
        "vllm-ascend issue 16983; npu-smi samples; vLLM 0.21 --gpu-memory-utilization",
        _fits,
    ),
)
