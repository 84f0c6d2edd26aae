"""Kernel settings and limits for engines: reads them and reports differences. Sets nothing.

They are the settings of the tutorial (vllm-ascend, optimization and tuning), and reserved ports of the layout.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from console.probes.check_types import Answer, NodeRequirements
from console.probes.checks_host import FILES, RESERVED

SWAPPINESS = "vm.swappiness"
BALANCING = "kernel.numa_balancing"
MIGRATION = "kernel.sched_migration_cost_ns"
PORT_RANGE = "net.ipv4.ip_local_port_range"
PORTS = "net.ipv4.ip_local_reserved_ports"
GOVERNOR = "scaling_governor"
PATHS = {
    SWAPPINESS: "/proc/sys/vm/swappiness",
    BALANCING: "/proc/sys/kernel/numa_balancing",
    MIGRATION: "/proc/sys/kernel/sched_migration_cost_ns",
    PORTS: "/proc/sys/net/ipv4/ip_local_reserved_ports",
}
"""Setting → file, for settings that a plan can set."""
_READ = {
    **PATHS,
    PORT_RANGE: "/proc/sys/net/ipv4/ip_local_port_range",
    GOVERNOR: "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor",
}
READ = """i=0; for path in "$@"; do echo "== $i"; cat "$path" 2>/dev/null; i=$((i + 1)); done
echo "== files"; ulimit -n; echo "== locked"; ulimit -l; echo '== end'"""
"""Reads the files of `read_arguments`; the limits are those of its shell."""
WHY = {
    SWAPPINESS: "swapped pages cost latency",
    BALANCING: "moving pages between sockets costs latency",
    MIGRATION: "with a lower value the kernel moves threads too often",
    PORTS: "an outgoing connection can take a port of the layout",
    GOVERNOR: "slow cores slow down every step",
    "files": "many connections need many file descriptors",
    "locked": "pinned buffers need locked memory",
}


@dataclass(frozen=True, slots=True)
class Drift:
    """One setting that differs from the wanted value."""

    name: str
    now: str
    wanted: str
    remedy: str = ""
    """What an operator must do by hand; empty when a plan can set it."""

    @property
    def why(self) -> str:
        """Why it matters."""
        return WHY[self.name]


def read_arguments() -> tuple[str, ...]:
    """The arguments of the script `READ`."""
    return tuple(_READ.values())


def drifts(answer: Answer, wanted: NodeRequirements) -> tuple[Drift, ...] | None:
    """The differences of a node; None when the answer is incomplete. A setting that the kernel does not have is ignored."""
    found = answer.sections
    if not answer.whole or "locked" not in found:
        return None
    values = {name: found.get(str(number), "") for number, name in enumerate(_READ)}
    return (*_settings(values, wanted), *_limits(values, found, wanted))


def settled(name: str, now: str, wanted: str) -> bool:
    """Whether a setting has the wanted value, in any notation of the kernel."""
    return spans(now) == spans(wanted) if name == PORTS else now.strip() == wanted


def spans(text: str) -> tuple[tuple[int, int], ...]:
    """`60000-60031,7100` as sorted ranges; adjacent ranges are joined."""
    pairs = sorted((int(low), int(high or low)) for low, high in re.findall(r"(\d{1,5})(?:-(\d{1,5}))?", text))
    joined: list[tuple[int, int]] = []
    for low, high in pairs:
        if joined and low <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(high, joined[-1][1]))
        else:
            joined.append((low, high))
    return tuple(joined)


def _settings(values: dict[str, str], wanted: NodeRequirements) -> Iterator[Drift]:
    for name, value in ((SWAPPINESS, "0"), (BALANCING, "0"), (MIGRATION, "50000")):
        if values[name] and values[name] != value:
            yield Drift(name, values[name], value)
    words = values[PORT_RANGE].split()
    if len(words) == 2 and all(word.isdecimal() for word in words):
        kept = spans(values[PORTS])
        loose = [port for port in _fixed(wanted) if int(words[0]) <= port <= int(words[1]) and not _within(port, kept)]
        if loose:
            yield Drift(PORTS, values[PORTS] or "none", _written((*kept, *((port, port) for port in loose))))


def _limits(values: dict[str, str], limits: dict[str, str], wanted: NodeRequirements) -> Iterator[Drift]:
    if values[GOVERNOR] not in ("", "performance"):
        yield Drift(GOVERNOR, values[GOVERNOR], "performance", "cpupower frequency-set -g performance")
    where = (
        "in /etc/security/limits.d, for new sessions" if not wanted.container else "in run_flags, for a new container"
    )
    files, locked = limits.get("files", ""), limits.get("locked", "")
    if files.isdecimal() and int(files) < FILES:
        flag = f"--ulimit nofile={FILES}:{FILES}" if wanted.container else f"* - nofile {FILES}"
        yield Drift("files", files, str(FILES), f"write `{flag}` {where}")
    if wanted.devices and locked.isdecimal():
        flag = "--ulimit memlock=-1:-1" if wanted.container else "* - memlock unlimited"
        yield Drift("locked", f"{locked} KiB", "unlimited", f"write `{flag}` {where}")


def _fixed(wanted: NodeRequirements) -> Sequence[int]:
    ports = {port for port, _ in wanted.ports}
    return sorted(ports | (set(range(RESERVED[0], RESERVED[1] + 1)) if wanted.devices else set()))


def _within(port: int, kept: Sequence[tuple[int, int]]) -> bool:
    return any(low <= port <= high for low, high in kept)


def _written(pairs: Sequence[tuple[int, int]]) -> str:
    text = ",".join(f"{low}-{high}" for low, high in pairs)
    return ",".join(str(low) if low == high else f"{low}-{high}" for low, high in spans(text))
