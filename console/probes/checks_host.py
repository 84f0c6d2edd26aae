"""Preflight checks of the host: network (26 to 35), limits and tuning (41 to 49). Tuning is advice and never blocks."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable

from console.model.counting import counted
from console.model.shortening import list_text
from console.probes.check_types import (
    Answer,
    Check,
    CheckOutcome,
    NodeRequirements,
    ProbeCommand,
    failed,
    passed,
    unknown,
    warned,
)
from console.probes.listeners import listens, parse_listeners

_ADDRESSES = "ip -o -4 addr show || exit 1; echo '== end'"
_INET = re.compile(r"^\d+:\s+(\S+)\s+inet (\d+\.\d+\.\d+\.\d+)/(\d{1,2})\b")
_ROUTE = "ip route get 8.8.8.8 2>&1"
_REACH = """command -v ping >/dev/null 2>&1 || { echo '== no ping'; exit 0; }
for peer in "$@"; do ( ping -c 1 -W 2 "$peer" >/dev/null 2>&1 && echo "$peer reached" || echo "$peer silent" ) & done
wait; echo '== end'"""
_NAME = """echo "== name"; uname -n; echo "== address"; getent hosts "$(uname -n)"; echo '== end'"""
_LISTENERS = "cat /proc/net/tcp /proc/net/tcp6; echo '== end'; ss -ltnpH 2>/dev/null"
"""`ss` adds the names of processes; it can be missing, and without root it shows only processes of the same user."""
_HOLDER = re.compile(r'\S+:(\d+) +\S+ +users:\(\("([^"]*)",pid=(\d+)')
_SETTINGS = """for name in net/ipv4/ip_local_port_range net/ipv4/ip_local_reserved_ports vm/swappiness kernel/numa_balancing \
kernel/sched_migration_cost_ns; do echo "== $name"; cat "/proc/sys/$name" 2>/dev/null; done
echo "== governor"; cat /sys/devices/system/cpu/cpu0/cpufreq/scaling_governor 2>/dev/null
echo "== memory"; cat /proc/meminfo; echo "== cores"; nproc; echo "== taskset"; command -v taskset; echo '== end'"""
_FIREWALL = """echo "== firewalld"; firewall-cmd --state 2>&1 | head -n 1
echo "== iptables"; iptables -S INPUT 2>/dev/null
echo "== nftables"; nft list ruleset 2>/dev/null | head -n 400; echo '== end'"""
_LIMITS = """echo "== files"; ulimit -n; echo "== locked"; ulimit -l; echo "== shm"; df -Pk /dev/shm 2>/dev/null | tail -n 1
echo '== end'"""
_ROOM = """place="$1"; while [ ! -d "$place" ] && [ "$place" != / ]; do place="$(dirname "$place")"; done
df -Pk "$place" | tail -n 1; echo '== end'"""

EPHEMERAL = (32768, 60999)
"""The kernel's default ports for outgoing connections."""
RESERVED = (60000, 60031)
"""Ports of HCCL on the host."""
FILES = 65535
CLOCK_S = 2.0
ROOM_KIB = 10 * 1024 * 1024

PROBE_COMMANDS = (
    ProbeCommand("addresses", "host", _ADDRESSES),
    ProbeCommand("route", "container", _ROUTE),
    ProbeCommand("reach", "host", _REACH, lambda wanted: wanted.peers, 10.0, lambda wanted: bool(wanted.peers)),
    ProbeCommand("name", "container", _NAME),
    ProbeCommand("listeners", "host", _LISTENERS),
    ProbeCommand("settings", "host", _SETTINGS),
    ProbeCommand("firewall", "host", _FIREWALL),
    ProbeCommand("limits", "container", _LIMITS),
    ProbeCommand("room", "host", _ROOM, lambda wanted: (wanted.log_dir,)),
)


class _Held:
    """The addresses of a machine with their interfaces, from `ip addr`."""

    def __init__(self, lines: Iterable[str]) -> None:
        matches = [row for line in lines if (row := _INET.match(line))]
        rows = [row for row in matches if valid_address(row[2]) and int(row[3]) <= 32]
        self._of = {row[2]: row[1].partition("@")[0] for row in rows}
        self._loops = [ipaddress.IPv4Interface(f"{row[2]}/{row[3]}").network for row in rows if row[1] == "lo"]

    def interface(self, address: str) -> str:
        """The interface of an address; empty when the machine does not have the address.

        The loopback interface has the whole network of each of its addresses (Linux, table `local`), also 127.0.0.2.
        """
        if address in self._of or ":" in address:
            return self._of.get(address, "")
        return "lo" if any(ipaddress.IPv4Address(address) in each for each in self._loops) else ""


def _held(answer: Answer) -> _Held | None:
    """The addresses of a node; None when the list is incomplete."""
    return _Held(answer.lines) if "== end" in answer.lines else None


def _address(answer: Answer, wanted: NodeRequirements) -> CheckOutcome:
    found = _held(answer)
    if found is None:
        return unknown("no list of addresses", "install iproute2")
    nic = found.interface(wanted.address)
    if not nic:
        return failed(f"no interface of this node has {wanted.address}")
    if wanted.nic and nic != wanted.nic:
        return failed(f"{wanted.address} is on {nic}, not on {wanted.nic}", f"set nic: {nic}")
    return passed(f"{wanted.address} on {nic}")


def _dp_address(answer: Answer, wanted: NodeRequirements) -> CheckOutcome:
    found = _held(answer)
    if found is None:
        return unknown("no list of addresses", "install iproute2")
    absent = [each for each in wanted.dp_addresses if not (valid_address(each) and found.interface(each))]
    return failed(f"this node does not have {', '.join(absent)}") if absent else passed(", ".join(wanted.dp_addresses))


def _route(answer: Answer, wanted: NodeRequirements) -> CheckOutcome:
    source = re.search(r"\bsrc (\d+\.\d+\.\d+\.\d+)", answer.stdout.decode("ascii", "replace"))
    if source is None:
        return warned(
            "no default route; engines can advertise a wrong address", f"export VLLM_HOST_IP={wanted.address}"
        )
    if source[1] == wanted.address:
        return passed(source[1])
    return warned(f"outgoing connections use {source[1]}", f"export VLLM_HOST_IP={wanted.address}")


def _reach(answer: Answer, wanted: NodeRequirements) -> CheckOutcome:
    if "== no ping" in answer.lines:
        return unknown("ping is not installed", "install iputils-ping")
    reported = dict(words for line in answer.lines if len(words := line.split()) == 2 and words[0] != "==")
    silent = [peer for peer in wanted.peers if reported.get(peer) == "silent"]
    if silent:
        return failed("no answer from " + ", ".join(silent))
    missing = [peer for peer in wanted.peers if peer not in reported]
    if missing:
        return unknown("not reported: " + ", ".join(missing))
    return passed("all other nodes answer" if len(wanted.peers) > 1 else "the other node answers")


def _name(answer: Answer, wanted: NodeRequirements) -> CheckOutcome:
    found = answer.sections
    if "address" not in found:
        return unknown("not reported")
    words = found["address"].split()
    if not words:
        return warned(f"{found.get('name')} cannot be resolved")
    loopback = words[0].startswith("127.") or words[0] == "::1"
    return failed(f"{found.get('name')} resolves to {words[0]}") if loopback else passed(words[0])


def _ports(answer: Answer, wanted: NodeRequirements) -> CheckOutcome:
    if "== end" not in answer.lines:
        return unknown("no list of listeners")
    found = parse_listeners(answer.stdout)
    holders = {int(line[1]): f"pid {line[3]} {line[2]}" for each in answer.lines if (line := _HOLDER.search(each))}
    taken = [
        f"{port} ({what})" + (f" by {holders[port]}" if port in holders else "")
        for port, what in wanted.ports
        if listens(found, wanted.address, port)
    ]
    return failed(f"taken: {list_text(taken, 6)}") if taken else passed(f"{counted(len(wanted.ports), 'port')} free")


def _spans(text: str) -> list[tuple[int, int]]:
    pairs = re.findall(r"(\d{1,5})(?:-(\d{1,5}))?", text)
    return [(int(low), int(high or low)) for low, high in pairs]


def _ephemeral(answer: Answer, wanted: NodeRequirements) -> CheckOutcome:
    found = answer.sections
    words = found.get("net/ipv4/ip_local_port_range", "").split()
    if len(words) != 2 or not all(word.isdecimal() for word in words):
        return unknown("the kernel's port range is not reported")
    low, high = int(words[0]), int(words[1])
    reserved = _spans(found.get("net/ipv4/ip_local_reserved_ports", ""))
    fixed = {port for port, _ in wanted.ports} | (set(range(RESERVED[0], RESERVED[1] + 1)) if wanted.devices else set())
    loose = sorted(
        port for port in fixed if low <= port <= high and not any(one <= port <= other for one, other in reserved)
    )
    if not loose:
        return passed(f"outgoing connections use {low}-{high}")
    return warned(
        f"an outgoing connection can take {list_text([str(each) for each in loose], 4)}",
        f"sysctl -w net.ipv4.ip_local_reserved_ports={_joined(loose)}",
    )


def _joined(ports: list[int]) -> str:
    """Ports in the format of the kernel: 7100-7107,60000-60031."""
    spans: list[list[int]] = []
    for port in ports:
        if spans and port == spans[-1][1] + 1:
            spans[-1][1] = port
        else:
            spans.append([port, port])
    return ",".join(str(low) if low == high else f"{low}-{high}" for low, high in spans)


def _firewall(answer: Answer, wanted: NodeRequirements) -> CheckOutcome:
    found = answer.sections
    if "nftables" not in found:
        return unknown("not reported; it needs root")
    if found.get("firewalld") == "running":
        return warned("firewalld is running")
    closed = re.search(
        r"^-P INPUT (?:DROP|REJECT)|^-A INPUT .*-j (?:DROP|REJECT)$", found.get("iptables", ""), re.MULTILINE
    )
    closed = closed or re.search(r"hook input .*policy drop", found["nftables"])
    return (
        warned("a packet filter drops incoming packets")
        if closed
        else passed("no packet filter drops incoming packets")
    )


def _clock(answer: Answer, wanted: NodeRequirements) -> CheckOutcome:
    offset = wanted.clock_offset_s
    if offset is None:
        return unknown("not measured")
    shown = round(offset, 1) or 0.0  # never -0.0
    text = f"{shown:+.1f} s to this machine"
    return warned(text) if abs(offset) > CLOCK_S else passed(text)


def _files(answer: Answer, wanted: NodeRequirements) -> CheckOutcome:
    text = answer.sections.get("files", "")
    if text == "unlimited":
        return passed(text)
    if not text.isdecimal():
        return unknown("not reported")
    remedy = "" if wanted.tool else f"raise nofile to {FILES} in /etc/security/limits.conf, then log in again"
    return passed(text) if int(text) >= FILES else failed(f"{text}, wanted {FILES}", remedy)


def _locked(answer: Answer, wanted: NodeRequirements) -> CheckOutcome:
    text = answer.sections.get("locked", "")
    return (
        passed(text) if text == "unlimited" else warned(f"{text} KiB") if text.isdecimal() else unknown("not reported")
    )


def _free_kib(text: str) -> int | None:
    words = text.split()
    return int(words[3]) if len(words) >= 6 and words[3].isdecimal() else None


def _shared_memory(answer: Answer, wanted: NodeRequirements) -> CheckOutcome:
    free = _free_kib(answer.sections.get("shm", ""))
    if free is None:
        return unknown("df /dev/shm printed nothing")
    text = f"{free / 2**20:.1f} GiB free for {counted(wanted.engines, 'engine')}"
    return failed(text) if free < wanted.engines * 2**20 else passed(text)


def _memory(answer: Answer, wanted: NodeRequirements) -> CheckOutcome:
    found = re.search(r"^MemAvailable:\s+(\d{1,12}) kB$", answer.sections.get("memory", ""), re.MULTILINE)
    if found is None:
        return unknown("not reported")
    text = f"{int(found[1]) / 2**20:.0f} GiB available"
    return warned(text) if int(found[1]) < wanted.devices * 8 * 2**20 else passed(text)


def _room(answer: Answer, wanted: NodeRequirements) -> CheckOutcome:
    free = _free_kib(answer.lines[0]) if answer.lines and "== end" in answer.lines else None
    if free is None:
        return unknown("df printed nothing")
    text = f"{free / 2**20:.1f} GiB free for logs"
    return failed(text) if free < 2**20 else warned(text) if free < ROOM_KIB else passed(text)


def _tuned(answer: Answer, wanted: NodeRequirements) -> CheckOutcome:
    found = answer.sections
    drift = [
        f"{name.replace('/', '.')}={found[name]}"
        for name in ("vm/swappiness", "kernel/numa_balancing")
        if found.get(name, "0") != "0"
    ]
    return warned(", ".join(drift)) if drift else passed("both are 0")


def _migration(answer: Answer, wanted: NodeRequirements) -> CheckOutcome:
    text = answer.sections.get("kernel/sched_migration_cost_ns", "")
    return passed(text or "this kernel does not have it") if text in ("", "50000") else warned(text)


def _governor(answer: Answer, wanted: NodeRequirements) -> CheckOutcome:
    text = answer.sections.get("governor", "")
    return passed(text or "no frequency control") if text in ("", "performance") else warned(text)


def _cores(answer: Answer, wanted: NodeRequirements) -> CheckOutcome:
    text = answer.sections.get("cores", "")
    if not text.isdecimal():
        return unknown("not reported")
    if int(text) < 2 * wanted.devices:
        return warned(f"{counted(int(text), 'core')} for {counted(wanted.devices, 'device')}")
    return passed(f"{text} cores") if answer.sections.get("taskset") else warned("taskset is not installed")


def valid_address(text: str) -> bool:
    """Whether the text is an IPv4 or IPv6 address."""
    try:
        return bool(ipaddress.ip_address(text))
    except ValueError:
        return False


_TUNE = (
    "dsv4-console tune set, or sysctl -w vm.swappiness=0 kernel.numa_balancing=0 kernel.sched_migration_cost_ns=50000"
)

CHECKS = (
    Check("26", "service address", "addresses", _address, "Engines bind this address and advertise it.",
          "correct ip and nic of the node",
          applies=lambda wanted: valid_address(wanted.address)),
    Check("27", "address of outgoing connections", "route", _route, "A connector can advertise this address (E8).",
          "export VLLM_HOST_IP",
          blocks=False, applies=lambda wanted: valid_address(wanted.address)),
    Check("28", "data-parallel address", "addresses", _dp_address, "Rank 0 binds this address (A6).",
          "run rank 0 on the node that has the address",
          applies=lambda wanted: any(valid_address(each) for each in wanted.dp_addresses)),
    Check("29", "other nodes", "reach", _reach, "The ranks of all nodes connect to each other.",
          "check routes and cables of the service network",
          blocks=False, applies=lambda wanted: bool(wanted.peers)),
    Check("30", "host name", "name", _name, "gloo can bind the address of the host name (B10).",
          "set the address of the name in /etc/hosts",
          blocks=False),
    Check("31", "ports", "listeners", _ports, "With a taken port the start fails, or two servers share the requests (A11, A12).",
          "find the process with ss -ltnp and stop it", applies=lambda wanted: bool(wanted.ports)),
    Check("32", "ports of outgoing connections", "settings", _ephemeral, "An outgoing connection can take a port of an engine.",
          "reserve the ports of the layout", blocks=False),
    Check("33", "packet filter", "firewall", _firewall, "Nodes use many ports between each other (B1, B5).",
          "allow connections between the nodes", blocks=False),
    Check("35", "clock", "settings", _clock, "Clocks order the logs of several nodes.", "run chrony or ntpd", blocks=False),
    Check("41", "open files", "limits", _files, "Many connections need many file descriptors (C17).",
          "create the container with --ulimit nofile=65535:65535", blocks=False),
    Check("42", "locked memory", "limits", _locked, "Pinned buffers need locked memory.",
          "create the container with --ulimit memlock=-1:-1", blocks=False,
          applies=lambda wanted: wanted.devices > 0),
    Check("43", "shared memory", "limits", _shared_memory, "Engine and workers exchange data in shared memory (C16).",
          "create the container with a larger --shm-size", applies=lambda wanted: wanted.devices > 0),
    Check("44", "host memory", "settings", _memory, "Loading uses the page cache for the weights.", "free memory", blocks=False,
          applies=lambda wanted: wanted.devices > 0),
    Check("45", "disk space for logs", "room", _room, "A full disk stops the log and can stop the engine.",
          "free disk space, or set base of the node"),
    Check("46", "swapping and NUMA balancing", "settings", _tuned, "Both cost latency.", _TUNE, blocks=False),
    Check("47", "migration cost", "settings", _migration, "A lower value moves threads too often.", _TUNE, blocks=False),
    Check("48", "frequency governor", "settings", _governor, "Slow cores slow down every step.",
          "cpupower frequency-set -g performance", blocks=False),
    Check("49", "cores", "settings", _cores, "Workers are bound to cores.",
          "give the container more cores and taskset", blocks=False,
          applies=lambda wanted: wanted.devices > 0),
)  # fmt: skip
