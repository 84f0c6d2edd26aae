"""Parses the detail queries of npu-smi (`info -t …`), for the preflight and for data that the main table does not have.

Only complete lines are read, because a part of a value is another value. `npu_smi` parses the main table.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from console.model.snapshot import Process
from console.probes.npu_smi import NpuTable
from console.probes.sanitize import decode

_PAIR = re.compile(r"^\s*([^:]*?)\s*:\s?(.*)$")
_PROCESS = re.compile(r"Process id:\s*(\d{1,10})\s+Process name:(.*?)\s+Process memory\(MB\):\s*(\d{1,9})\s*$")
_CHIP = re.compile(r"^\s*Chip ID\s*:\s*\d{1,3}\s*$")


@dataclass(frozen=True, slots=True)
class SuperPod:
    """`-t spod-info` of an A3 chip. Nodes with the same `pod` are connected over HCCS; `sdid` is unique in a pod."""

    sdid: int | None
    size: int | None
    pod: int | None
    server: int | None


def parse_proc_mem(data: bytes) -> tuple[Process, ...] | None:
    """`-t proc-mem -c`: the processes of a chip, up to 32 (the main table lists 8). None when the answer is not usable.

    Without `-c` a `Chip ID` line ends the list of each chip: such an answer is not for one chip.
    """
    found: list[Process] = []
    answered = False
    for line in _lines(data):
        if row := _PROCESS.search(line):
            found.append(Process(int(row[1]), row[2].strip(), int(row[3])))
            answered = True
        elif "No process in device" in line:
            answered = True
        elif _CHIP.match(line):
            return None
    return tuple(found) if answered and data.endswith(b"\n") else None


def with_all_processes(table: NpuTable, data: bytes) -> NpuTable:
    """The table, with the complete process lists that follow it in the same output; other devices do not change."""
    found: dict[tuple[int, int], tuple[Process, ...]] = {}
    for mark, text in _marked(data):
        processes = parse_proc_mem(text)
        if processes is not None:
            found[mark] = processes
    devices = (
        replace(device, processes=found[device.card, device.die], processes_known=True)
        if (device.card, device.die) in found
        else device
        for device in table.devices
    )
    return replace(table, devices=tuple(devices))


def _marked(data: bytes) -> Iterator[tuple[tuple[int, int], bytes]]:
    """((card, die), answer); the last answer counts only with the end mark."""
    parts = re.split(rb"^== (\d{1,3}) (\d{1,3})\n", data, flags=re.MULTILINE)
    for card, die, text in zip(parts[1::3], parts[2::3], parts[3::3], strict=True):
        answer, mark, _ = text.partition(b"== rc 0\n")
        if mark:
            yield (int(card), int(die)), answer


def parse_super_pod(data: bytes) -> SuperPod | None:
    """`-t spod-info`; None when the chip does not answer it (A2, or a card id above 7)."""
    values = dict(_pairs(data))
    pod = SuperPod(*(_whole(values.get(key)) for key in ("SDID", "Super Pod Size", "Super Pod ID", "Server Index")))
    return None if pod == SuperPod(None, None, None, None) else pod


def _lines(data: bytes) -> Iterator[str]:
    yield from (decode(line) for line in data.split(b"\n")[:-1])


def _pairs(data: bytes) -> Iterator[tuple[str, str]]:
    for line in _lines(data):
        if pair := _PAIR.match(line):
            yield pair[1].strip(), pair[2].strip()


def _whole(word: str | None) -> int | None:
    return int(word) if word and word.isascii() and word.isdecimal() and len(word) < 19 else None
