"""What each device did in the last two minutes, kept from the snapshots that pass: for the curves of the NPU pane."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from console.model.snapshot import ClusterSnapshot, NodeSnapshot

STEP_S = 5.0
"""Seconds that one value stands for: the interval of the NPU probe."""
STEPS = 24
"""Two minutes."""

_Sample = tuple[float, dict[int, int | None]]


class DeviceHistory:
    """AICore use by cluster, node and device. A node costs one entry for each sample it takes."""

    def __init__(self) -> None:
        self._samples: dict[tuple[str, str], deque[_Sample]] = {}

    def observe(self, snapshot: ClusterSnapshot) -> None:
        """Keep what is new in a snapshot; an older one, as a replay gives when it goes back, starts again."""
        for node in snapshot.nodes.values():
            if node.sampled_at is None:
                continue
            samples = self._samples.setdefault((snapshot.cluster, node.name), deque(maxlen=STEPS))
            if samples and node.sampled_at < samples[-1][0]:
                samples.clear()
            if not samples or node.sampled_at > samples[-1][0]:
                samples.append((node.sampled_at, {each.id: each.aicore_percent for each in node.devices}))

    def aicore(self, cluster: str, node: NodeSnapshot, device: int) -> tuple[float | None, ...]:
        """The percentages of the two minutes up to the node's newest sample, oldest first; None where there was none."""
        steps: list[float | None] = [None] * STEPS
        for at, values in self._samples.get((cluster, node.name), ()):
            step = STEPS - 1 - round(((node.sampled_at or at) - at) / STEP_S)
            if 0 <= step < STEPS:
                steps[step] = values.get(device)
        return tuple(steps)
