"""Parses the output of `hccn_tool`: addresses, links, gateways, TLS and pings of the network of the NPUs.

The probe asks every device of a node, one after the other, and marks each answer with device, query and exit code. Success
text is on stdout and errors are on stderr; the probe joins them. Preflight judges the facts.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace

from console.model.run import Probe
from console.probes.npu_smi import SEARCH_PATH
from console.probes.sanitize import decode
from console.probes.tool_lock import BUSY, BUSY_CODE, TURN_S, turn_function

_SURVEY = """export LC_ALL=C
PATH="$PATH:{search}"
command -v hccn_tool >/dev/null 2>&1 || {{ echo "hccn_tool: command not found"; exit 127; }}
{turn}
for device in {devices}; do for query in {queries}; do
echo "== $device $query"
turn timeout -k 1 {limit} hccn_tool -i "$device" "-$query" -g 2>&1
echo "== rc $?"
done; done"""
_PING = """export LC_ALL=C
PATH="$PATH:{search}"
{turn}
while read -r device query address; do
echo "== $device $query $address"
turn timeout -k 1 {limit} hccn_tool -i "$device" "-$query" -g address "$address" pkt 3 2>&1
echo "== rc $?"
done <<'END'
{pairs}
END"""

EXITS = {
    1: "failed", 2: "no gateway", 3: "health timeout", 4: "no such device", 12: "not permitted", 13: "no address",
    BUSY_CODE: BUSY, 124: "no answer in time", 127: "hccn_tool is not installed", 137: "no answer in time",
}  # fmt: skip
"""Exit code → what it means (CANN driver, hccn_tool)."""

_MARK = re.compile(r"^== (\d{1,3}) ([a-z_]+)(?: (\S+))?$")
_END = re.compile(r"^== rc (\d{1,3})$")
_FACTS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("link", re.compile(r"^link status:\s*(\w+)$")),
    ("net_health", re.compile(r"^net health status:\s*(.+)$")),
    ("netdetect", re.compile(r"^netdetect addr(?:ess)?:\s*([0-9.]+)$")),
    ("gateway", re.compile(r"^default gateway:\s*([0-9.]+), Iface:\s*\S+$")),
    ("interface", re.compile(r"^default gateway:\s*[0-9.]+, Iface:\s*(\S+)$")),
    ("address", re.compile(r"^ipaddr:\s*([0-9.]+)$")),
    ("netmask", re.compile(r"^netmask:\s*([0-9.]+)$")),
    ("switch_port", re.compile(r"^Ifname:\s*(\S.*)$")),
    ("vnic_link", re.compile(r"^vnic link status:\s*(\w+)$")),
    ("vnic_address", re.compile(r"^vnic ipaddr:\s*([0-9.]+)$")),
    ("vnic_netmask", re.compile(r"^vnic netmask:\s*([0-9.]+)$")),
    ("tls", re.compile(r"tls switch(?:\[|:\s*)([01])\b")),
)
_ADDRESSES = ("netdetect", "gateway", "address", "netmask", "vnic_address", "vnic_netmask")
_ERRORS = (
    ("no ip was preset", 13), ("no gateway was preset", 2), ("device is not exist", 4), ("command not found", 127),
    ("ermission denied", 12), ("Command execute failed", 1),
)  # fmt: skip
_TALLY = re.compile(r"^(\d{1,6}) packets transmitted, (\d{1,6}) received, [0-9.]+% packets? loss$")
_TIME = re.compile(r"^recv seq[ =]\d+,\s?time ?= ?([0-9.]{1,20})(ms|us)\b")
_PINGED = re.compile(r"^device (\d{1,3}) PING ([0-9a-fA-F.:]+)$")
_GOOD_PACKET = "This pkt ping success!"


@dataclass(frozen=True, slots=True)
class DeviceNet:
    """The network of one device; None is unknown or unset, see `failures`."""

    device: int | None = None
    link: str | None = None
    """UP or DOWN. Whole A3 racks reported DOWN while hccs_ping worked, so DOWN alone is not a failure."""
    net_health: str | None = None
    """Success, Init, Fault, Socket fail, Receive timeout, …; Init when no netdetect address is set."""
    netdetect: str | None = None
    gateway: str | None = None
    interface: str | None = None
    address: str | None = None
    netmask: str | None = None
    switch_port: str | None = None
    vnic_link: str | None = None
    vnic_address: str | None = None
    vnic_netmask: str | None = None
    tls: int | None = None
    """1 enabled, 0 disabled; must be the same on all devices of all nodes."""
    failures: Mapping[str, str] = field(default_factory=dict)
    """Query → why it failed."""


@dataclass(frozen=True, slots=True)
class Ping:
    """The result of one `-ping` or `-hccs_ping`."""

    device: int | None
    peer: str
    sent: int | None = None
    """None when the tool did not report a result."""
    received: int | None = None
    times_ms: tuple[float, ...] = ()
    """Round trip times of the answered packets."""
    failure: str = ""

    @property
    def ok(self) -> bool | None:
        """Whether all packets were answered; None when unknown."""
        return None if self.sent is None else self.sent > 0 and self.received == self.sent


def hccn_probe(devices: Iterable[int], queries: Iterable[str], limit_s: int = 5) -> Probe:
    """A command that runs all queries for all devices, one after the other; runs on request only. Needs root."""
    ids, names = [str(each) for each in devices], list(queries)
    script = _SURVEY.format(
        search=SEARCH_PATH, turn=turn_function(), devices=" ".join(ids), queries=" ".join(names), limit=limit_s
    )
    timeout_s = TURN_S + len(ids) * len(names) * (limit_s + 1.0) + 5.0
    return Probe("hccn", ("sh", "-c", script), every_s=86400.0, timeout_s=timeout_s)


def ping_probe(pairs: Iterable[tuple[int, str]], *, hccs: bool, limit_s: int = 10) -> Probe:
    """The command that pings a peer address from each given device, three packets each; `hccs` for the A3 vNIC plane."""
    query = "hccs_ping" if hccs else "ping"
    lines = [f"{int(device)} {query} {ipaddress.ip_address(address)}" for device, address in pairs]
    script = _PING.format(search=SEARCH_PATH, turn=turn_function(), limit=limit_s, pairs="\n".join(lines))
    timeout_s = TURN_S + len(lines) * (limit_s + 1.0) + 5.0
    return Probe("hccn-ping", ("sh", "-c", script), every_s=86400.0, timeout_s=timeout_s)


def parse_hccn(data: bytes) -> dict[int, DeviceNet]:
    """Device → its answers. An answer counts only with its end mark, so that incomplete output has no wrong values."""
    found: dict[int, DeviceNet] = {}
    for device, query, _, lines, code in _sections(data):
        facts = parse_answer("\n".join(lines).encode() + b"\n")
        before = found.get(device, DeviceNet(device))
        known = {
            each.name: value
            for each in fields(DeviceNet)
            if (value := getattr(facts, each.name)) and each.name != "failures"
        }
        if facts.tls is not None:
            known["tls"] = facts.tls
        failures = dict(before.failures)
        if code or not known:
            failures[query] = EXITS.get(code) or next(iter(facts.failures.values()), "") or _first(lines) or "no answer"
        found[device] = replace(before, **known, failures=failures)
    return found


def parse_answer(data: bytes) -> DeviceNet:
    """The values in one answer of one device. The first of duplicate values counts."""
    found: dict[str, str] = {}
    failures: dict[str, str] = {}
    for line in _lines(data):
        text = line.strip()
        for name, pattern in _FACTS:
            value = pattern.search(text)
            if value and name not in found and (name not in _ADDRESSES or _is_address(value[1])):
                found[name] = value[1].strip()
        for mark, code in _ERRORS:
            if mark in text:
                failures.setdefault("answer", EXITS[code])
    tls = found.pop("tls", None)
    return DeviceNet(**found, tls=None if tls is None else int(tls), failures=failures)  # type: ignore[arg-type]


def parse_pings(data: bytes) -> tuple[Ping, ...]:
    """Every ping in the text, with or without marks, RoCE (`packet loss`) or HCCS (`packets loss`)."""
    found: list[Ping] = []
    success = False
    for line in _lines(data):
        text = line.strip()
        if mark := _MARK.match(text):
            found.append(Ping(int(mark[1]), mark[3] or ""))
        elif start := _PINGED.match(text):
            if (
                not found
                or (found[-1].device, found[-1].peer) != (int(start[1]), start[2])
                or found[-1].sent is not None
            ):
                found.append(Ping(int(start[1]), start[2]))
        elif not found:
            continue
        elif tally := _TALLY.match(text):
            found[-1] = replace(found[-1], sent=int(tally[1]), received=min(int(tally[1]), int(tally[2])))
        elif time := _TIME.match(text):
            if success or time[2] == "ms":
                found[-1] = replace(found[-1], times_ms=(*found[-1].times_ms, _milliseconds(time[1], time[2])))
        elif (end := _END.match(text)) and int(end[1]) and found[-1].sent is None:
            found[-1] = replace(found[-1], failure=found[-1].failure or EXITS.get(int(end[1]), f"exit {end[1]}"))
        elif why := next((EXITS[code] for text_mark, code in _ERRORS if text_mark in text), ""):
            found[-1] = replace(found[-1], failure=why)
        success = text == _GOOD_PACKET
    return tuple(found)


def parse_conf(data: bytes) -> dict[int, dict[str, str]]:
    """/etc/hccn.conf: device → its keys without the number (`address_3=…` → 3: address). The last of equal keys counts."""
    found: dict[int, dict[str, str]] = {}
    for line in _lines(data):
        if pair := re.match(r"^([A-Za-z_]+)_(\d{1,3})=(.*)$", line.strip()):
            found.setdefault(int(pair[2]), {})[pair[1]] = pair[3].strip()
    return found


def _sections(data: bytes) -> Iterator[tuple[int, str, str, list[str], int]]:
    mark: re.Match[str] | None = None
    lines: list[str] = []
    for line in _lines(data):
        if start := _MARK.match(line):
            mark, lines = start, []
        elif (end := _END.match(line)) and mark is not None:
            yield int(mark[1]), mark[2], mark[3] or "", lines, int(end[1])
            mark = None
        else:
            lines.append(line)


def _lines(data: bytes) -> Iterator[str]:
    yield from (decode(line) for line in data.split(b"\n")[:-1])


def _first(lines: list[str]) -> str:
    return next((line.strip()[:120] for line in lines if line.strip()), "")


def _is_address(text: str) -> bool:
    try:
        return bool(ipaddress.IPv4Address(text))
    except ValueError:
        return False


def _milliseconds(number: str, unit: str) -> float:
    value = float(number) if re.fullmatch(r"\d{1,9}(\.\d{1,9})?", number) else 0.0
    return round(value / (1000.0 if unit == "us" else 1.0), 6)
