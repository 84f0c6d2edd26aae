"""Reads the host from /proc with one short script: name, load, memory, boot id, IPv4 addresses with their interfaces.

The caller computes the clock offset from the time of the sample.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping

from console.model.run import Probe
from console.model.snapshot import Host
from console.probes.sanitize import decode

_SCRIPT = """export LC_ALL=C
echo '== name'; uname -n
echo '== load'; cat /proc/loadavg
echo '== memory'; head -n 5 /proc/meminfo
echo '== cores'; getconf _NPROCESSORS_ONLN 2>/dev/null || grep -c '^processor' /proc/cpuinfo
echo '== ssh'; echo "$SSH_CONNECTION"
echo '== boot'; cat /proc/sys/kernel/random/boot_id
echo '== addresses'; ip -o -4 addr show 2>/dev/null || { cat /proc/net/fib_trie; echo '== routes'; cat /proc/net/route; }
echo '== disk'; at="$1"; while [ -n "$at" ] && [ ! -d "$at" ]; do at="${at%/*}"; done; timeout 2 df -Pk "${at:-/}" 2>/dev/null
echo '== end'"""

_MARK = "== "
_LOCAL = re.compile(r"\|-- (\d+\.\d+\.\d+\.\d+)\n\s+/32 host LOCAL")


def host_probe(base: str = "/", every_s: float = 10.0) -> Probe:
    """The script; it starts a few short processes and needs neither root nor `ip`. `base` is the directory of the runs."""
    return Probe("host", ("sh", "-c", _SCRIPT, "sh", base), every_s=every_s, timeout_s=5.0)


def parse_host(data: bytes) -> Host:
    """The host in the output of the script; missing and incomplete values are None or empty. Memory in MiB. Never raises."""
    sections = _sections(data)
    memory = dict(_memory(sections.get("memory", "")))
    return Host(
        hostname=_word(sections.get("name", "")),
        load_1m=_number(sections.get("load", "")),
        cores=_count(sections.get("cores", "")),
        memory_total_mib=memory.get("MemTotal"),
        memory_available_mib=memory.get("MemAvailable"),
        boot_id=_word(sections.get("boot", "")),
        addresses=tuple(_addresses(sections)),
        ssh_address=_ssh_address(sections.get("ssh", "")),
        disk_free_mib=_free(sections.get("disk", "")),
    )


def _free(text: str) -> int | None:
    """Available MiB of the file system in the output of `df -Pk`."""
    rows = text.splitlines()
    words = rows[-1].split() if len(rows) > 1 else []
    return int(words[3]) // 1024 if len(words) >= 6 and words[3].isdecimal() else None


def _ssh_address(text: str) -> str:
    """The address of the node in the SSH connection, from SSH_CONNECTION (sshd(8)); empty with sudo or without IPv4."""
    words = text.split()
    try:
        return str(ipaddress.IPv4Address(words[2])) if len(words) == 4 else ""
    except ValueError:
        return ""


def _sections(data: bytes) -> Mapping[str, str]:
    """Section → its text. A section counts only with the mark after it, so an incomplete section is missing."""
    found: dict[str, list[str]] = {}
    name = ""
    for line in data.split(b"\n"):
        text = decode(line)
        if text.startswith(_MARK):
            name = text.removeprefix(_MARK).strip()
            found.setdefault(name, [])
        elif name:
            found[name].append(text)
    if name != "end":
        found.pop(name, None)
    return {name: "\n".join(lines) for name, lines in found.items()}


def _word(text: str) -> str:
    return text.strip().split()[0] if text.strip() else ""


def _number(text: str) -> float | None:
    return float(_word(text)) if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", _word(text)) else None


def _count(text: str) -> int | None:
    return int(_word(text)) if re.fullmatch(r"[1-9][0-9]{0,5}", _word(text)) else None


def _memory(text: str) -> Iterator[tuple[str, int]]:
    for name, kib in re.findall(r"^(\w+):\s+([0-9]{1,15}) kB$", text, re.MULTILINE):
        yield name, int(kib) // 1024


def _addresses(sections: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """(address, interface) of every address except loopback; the interface is empty when no route shows it."""
    text = sections.get("addresses", "")
    if "|-- " in text:
        networks = list(_routes(sections.get("routes", "")))
        seen = dict.fromkeys(found for found in _LOCAL.findall(text) if _is_address(found))
        pairs = [(each, next((nic for net, nic in networks if ipaddress.ip_address(each) in net), "")) for each in seen]
    else:
        found = re.findall(r"^\d+:\s+(\S+)\s+inet (\d+\.\d+\.\d+\.\d+)/", text, re.MULTILINE)
        pairs = [(address, nic.partition("@")[0]) for nic, address in found if _is_address(address)]
    yield from ((address, nic) for address, nic in pairs if not ipaddress.ip_address(address).is_loopback)


def _routes(text: str) -> Iterator[tuple[ipaddress.IPv4Network, str]]:
    """The directly connected networks of /proc/net/route, the smallest first; numbers are hexadecimal in host byte order."""
    rows = [line.split() for line in text.splitlines()]
    networks = []
    for row in rows:
        if len(row) >= 8 and all(re.fullmatch(r"[0-9A-F]{8}", row[at]) for at in (1, 2, 7)) and row[2] == "00000000":
            mask = int.from_bytes(bytes.fromhex(row[7])[::-1], "big")
            start = int.from_bytes(bytes.fromhex(row[1])[::-1], "big") & mask
            networks.append((ipaddress.IPv4Network((start, mask.bit_count())), row[0]))
    yield from sorted((each for each in networks if each[0].prefixlen), key=lambda each: -each[0].prefixlen)


def _is_address(text: str) -> bool:
    try:
        return bool(ipaddress.IPv4Address(text))
    except ValueError:
        return False
