"""The load of each device in the last two minutes, from snapshots, for the curves of the NPU pane."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from screens.figures import device_figures

if TYPE_CHECKING:
    from console.model.snapshot import ClusterSnapshot, NodeSnapshot

STEP_S = 5.0
"""Seconds that one value stands for: the interval of the NPU probe."""
STEPS = 24
"""Two minutes."""


class _Sample(NamedTuple):
    at: float
    aicore: dict[int, int | None]
    """By device."""
    power_w: float | None
    """Of all devices together."""


class DeviceHistory:
    """AICore use of devices and power of nodes. A node costs one entry for each sample it takes."""

    def __init__(self) -> None:
        self._samples: dict[tuple[str, str], deque[_Sample]] = {}

    def observe(self, snapshot: ClusterSnapshot) -> None:
        """Keep what is new in a snapshot; an older one, as a replay gives when it goes back, starts again."""
        for node in snapshot.nodes.values():
            if node.sampled_at is None:
                continue
            samples = self._samples.setdefault((snapshot.cluster, node.name), deque(maxlen=STEPS))
            if samples and node.sampled_at < samples[-1].at:
                samples.clear()
            if not samples or node.sampled_at > samples[-1].at:
                aicore = {each.id: each.aicore_percent for each in node.devices}
                samples.append(_Sample(node.sampled_at, aicore, device_figures(node.devices).power_w))

    def aicore(self, cluster: str, node: NodeSnapshot, device: int) -> tuple[float | None, ...]:
        """The percentages of the two minutes up to the node's newest sample, oldest first; None where there was none."""
        return self._steps(cluster, node, lambda sample: sample.aicore.get(device))

    def power(self, cluster: str, node: NodeSnapshot) -> tuple[float | None, ...]:
        """The watts of all devices of the node together, in the same steps."""
        return self._steps(cluster, node, lambda sample: sample.power_w)

    def _steps(
        self, cluster: str, node: NodeSnapshot, value: Callable[[_Sample], float | None]
    ) -> tuple[float | None, ...]:
        steps: list[float | None] = [None] * STEPS
        for sample in self._samples.get((cluster, node.name), ()):
            step = STEPS - 1 - round(((node.sampled_at or sample.at) - sample.at) / STEP_S)
            if 0 <= step < STEPS:
                steps[step] = value(sample)
        return tuple(steps)
