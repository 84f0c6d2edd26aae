"""What the simulated programs of one node share: its settings from the environment, and who holds memory on which
device.

A worker writes one file per process under `devices/`; a reader counts it only while that very process lives (pid
and start time), so a killed worker
frees its memory as a real one does.

Environment: `DSV4_DEMO_DIR` (state folder), `DSV4_DEMO_ADDRESS`, `DSV4_DEMO_HARDWARE` (a2, a3),
`DSV4_DEMO_DEVICES`, `DSV4_DEMO_SPEED` (divides durations),
`DSV4_DEMO_DRIVER` (25.x or 26.x), `DSV4_DEMO_FAIL` (see `console.demo.engine.failures`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

HBM_MIB = 65536


@dataclass(frozen=True, slots=True)
class DemoNode:
    """The node this program runs on."""

    directory: Path
    address: str
    hardware: str
    devices: int
    speed: float
    driver: str

    @property
    def dies_per_card(self) -> int:
        """Two dies share a card on A3."""
        return 2 if self.hardware == "a3" else 1

    def seconds(self, real: float) -> float:
        """Seconds that the demo takes for `real` seconds on hardware."""
        return real / self.speed


def this_node(environment: Mapping[str, str] = os.environ) -> DemoNode:
    """The node as its environment describes it; sensible values where a variable is missing, so that a tool can be
    tried by hand."""
    return DemoNode(
        directory=Path(environment.get("DSV4_DEMO_DIR", "/tmp/dsv4-demo")),
        address=environment.get("DSV4_DEMO_ADDRESS", "127.0.0.1"),
        hardware=environment.get("DSV4_DEMO_HARDWARE", "a3"),
        devices=int(environment.get("DSV4_DEMO_DEVICES", "16")),
        speed=max(0.01, float(environment.get("DSV4_DEMO_SPEED", "20"))),
        driver=environment.get("DSV4_DEMO_DRIVER", "25.5.0"),
    )


@dataclass(frozen=True, slots=True)
class Holding:
    """The HBM that one living process holds."""

    pid: int
    name: str
    """As `npu-smi` prints it: the kernel's 15 characters without colons (`VLLMWorker_DP`)."""
    mib: Mapping[int, int]
    """Device → MiB."""
    busy: bool
    """Whether it computes right now."""


def start_time(pid: int) -> int | None:
    """Clock ticks after boot at which the process started; None when there is no such process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    fields = stat.rpartition(b")")[2].split()
    return None if fields[0] in (b"Z", b"X") else int(fields[19])


def hold(directory: Path, mib: Mapping[int, int], busy: bool = False) -> None:
    """Record the HBM that this process holds, in place of its earlier record."""
    pid = os.getpid()
    text = json.dumps(
        {"start": start_time(pid), "mib": {str(device): size for device, size in mib.items()}, "busy": busy}
    )
    path = directory / "devices" / str(pid)
    draft = path.with_suffix(".new")
    draft.write_text(text)
    draft.rename(path)


def release(directory: Path) -> None:
    """Remove the record of this process."""
    (directory / "devices" / str(os.getpid())).unlink(missing_ok=True)


def _comm(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text(errors="replace").strip().replace(":", "")
    except OSError:
        return ""


def holdings(directory: Path) -> tuple[Holding, ...]:
    """The HBM that living processes hold, by pid; removes the records of ended processes."""
    found = []
    try:
        entries = sorted(os.listdir(directory / "devices"))
    except OSError:
        return ()
    for name in entries:
        if not name.isdecimal():
            continue
        path = directory / "devices" / name
        try:
            said = json.loads(path.read_text())
        except (OSError, ValueError):
            continue
        pid = int(name)
        if start_time(pid) != said["start"]:
            path.unlink(missing_ok=True)
            continue
        found.append(Holding(pid, _comm(pid), {int(key): size for key, size in said["mib"].items()}, said["busy"]))
    return tuple(sorted(found, key=lambda each: each.pid))
