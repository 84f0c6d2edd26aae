"""Sums device figures: HBM, AICore, temperature and power of a node, a group or the deployment. Pure; unknown is None."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from console.model.series import known_sum, summed
from console.model.state import LinkState

if TYPE_CHECKING:
    from console.model.snapshot import ClusterSnapshot, Device, NodeSnapshot, Serving


STALE_S = 15.0
"""Age from which NPU data is called old: three intervals of the NPU probe."""


def stale(node: NodeSnapshot, now: float) -> bool:
    """Whether what is shown of a node is old."""
    age = node.age_s(now)
    return node.link.state is not LinkState.UP or (node.expected_devices > 0 and (age is None or age > STALE_S))


@dataclass(frozen=True, slots=True)
class DeviceFigures:
    """Of several devices, as far as they report it."""

    hbm: float | None
    """Share in use over all of them, 0-1."""
    aicore: float | None
    """The mean, 0-1."""
    temperature_c: int | None
    """Of the hottest."""
    power_w: float | None
    """The sum."""


def device_figures(devices: Iterable[Device]) -> DeviceFigures:
    """The figures of these devices together."""
    found = tuple(devices)
    busy = [each.aicore_percent for each in found if each.aicore_percent is not None]
    power = [each.power_w for each in found if each.power_w is not None]
    return DeviceFigures(
        hbm_share(found),
        sum(busy) / len(busy) / 100 if busy else None,
        max((each.temperature_c for each in found if each.temperature_c is not None), default=None),
        sum(power) if power else None,
    )


def hbm_share(devices: Iterable[Device]) -> float | None:
    """HBM in use over all devices that report it, 0-1."""
    known = [
        (each.hbm_used_mib, each.hbm_total_mib)
        for each in devices
        if each.hbm_used_mib is not None and each.hbm_total_mib
    ]
    total = sum(total or 0 for _, total in known)
    return sum(used or 0 for used, _ in known) / total if total else None


def deployed_devices(snapshot: ClusterSnapshot) -> list[Device]:
    """Devices of the nodes that have a role, as far as their data is not old; of all nodes where none has one."""
    nodes = [each for each in snapshot.nodes.values() if each.group] or list(snapshot.nodes.values())
    return [device for node in nodes if not stale(node, snapshot.at) for device in node.devices]


def percent(share: float | None) -> str:
    """`42%`; empty where it is unknown."""
    return "" if share is None else f"{share:.0%}"


def power(watts: float | None) -> str:
    """`420W`, `3.2kW`; empty where it is unknown."""
    return "" if watts is None else f"{watts:.0f}W" if watts < 1000 else f"{watts / 1000:.1f}kW"


@dataclass(frozen=True, slots=True)
class LoadFigures:
    """Of several engines, as far as their metrics are known."""

    running: int | None
    waiting: int | None
    kv_usage: float | None
    """0-1, of the fullest."""
    prompt_tokens_s: float | None
    generation_tokens_s: float | None
    prompt_history: tuple[float | None, ...]
    """Of the last intervals, oldest first."""
    history: tuple[float | None, ...]

    @property
    def queues(self) -> bool:
        """Whether more requests wait than run."""
        return (self.waiting or 0) > (self.running or 0)


def load_of(servings: Iterable[Serving | None]) -> LoadFigures | None:
    """The load of engines together; None where no metrics are known."""
    found = [each for each in servings if each is not None]
    if not found:
        return None
    return LoadFigures(
        known_sum(each.running for each in found),
        known_sum(each.waiting for each in found),
        max((each.kv_usage for each in found if each.kv_usage is not None), default=None),
        known_sum(each.prompt_tokens_s for each in found),
        known_sum(each.generation_tokens_s for each in found),
        summed([each.prompt_history for each in found]),
        summed([each.history for each in found]),
    )
