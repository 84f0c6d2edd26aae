"""npu-smi's detail queries (`info -l`, `-m`, `-t …`) → facts, for preflight and for what the main table leaves out.

Only lines that arrived with their end are read: a value cut in the middle would look like a smaller one. The main table is
`npu_smi`'s job, judging what is found is preflight's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from console.model.run import Probe
from console.model.snapshot import Process
from console.probes.npu_smi import SEARCH_PATH, NpuTable
from console.probes.sanitize import decode

_PROC_MEM = """export LC_ALL=C
PATH="$PATH:{search}"
while read -r card die; do
echo "== $card $die"
timeout -k 1 {limit} npu-smi info -t proc-mem -i "$card" -c "$die"
echo "== rc $?"
done <<'END'
{places}
END"""
_PAIR = re.compile(r"^\s*([^:]*?)\s*:\s?(.*)$")
_GAP = re.compile(r"\s{2,}|\t+")
_PROCESS = re.compile(r"Process id:\s*(\d{1,10})\s+Process name:(.*?)\s+Process memory\(MB\):\s*(\d{1,9})\s*$")
_CHIP = re.compile(r"^\s*Chip ID\s*:\s*(\d{1,3})\s*$")
_LINK = re.compile(r"^(?:[A-Z]+(?:_[A-Z]+)?)$")
_NONE = ("", "NA", "-", "N/A")


@dataclass(frozen=True, slots=True)
class ChipId:
    """One row of `npu-smi info -m`: how one chip is called by the card, by the runtime and by the machine."""

    card: int
    chip: int
    logic: int
    """What `ASCEND_RT_VISIBLE_DEVICES` counts."""
    phy: int | None
    """What `/dev/davinciN` and `hccn_tool -i` count; the column exists on A3 only."""
    name: str


@dataclass(frozen=True, slots=True)
class Detail:
    """One block of key and value lines; `chip` is None where the query does not name one."""

    chip: int | None
    values: Mapping[str, str] = field(default_factory=dict)

    def text(self, key: str) -> str | None:
        """The value, or None where it is absent, `NA` or `-`."""
        value = self.values.get(key)
        return None if value is None or value in _NONE else value

    def number(self, key: str) -> float | None:
        """The value as a number, or None where it is not one."""
        value = self.values.get(key, "")
        return float(value) if re.fullmatch(r"-?[0-9]{1,18}(\.[0-9]{1,9})?", value) else None


@dataclass(frozen=True, slots=True)
class Health:
    """`-t health`: the word, the error codes, what they mean."""

    status: str | None
    codes: tuple[str, ...] = ()
    information: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SuperPod:
    """`-t spod-info` of an A3 chip. Nodes that share `pod` reach each other over HCCS; `sdid` is unique in it."""

    sdid: int | None
    size: int | None
    pod: int | None
    server: int | None


@dataclass(frozen=True, slots=True)
class Topology:
    """`-t topo`: how devices are linked. On A3 the rows are `Phy-IDn`, on A2 `NPUn`."""

    links: Mapping[tuple[int, int], str] = field(default_factory=dict)
    """(device, device) → X, HCCS, HCCS_SW, SIO, SYS, PHB, PIX, PXB or NA."""
    affinity: Mapping[int, str] = field(default_factory=dict)
    """device → CPU list, where the column exists."""


def parse_mapping(data: bytes) -> tuple[ChipId, ...]:
    """`npu-smi info -m`: its rows without those of the management controllers, which have no logic id."""
    columns: list[str] = []
    found = []
    for line in _lines(data):
        cells = _GAP.split(line.strip())
        if "Chip Logic ID" in cells:
            columns = cells
            continue
        row = dict(zip(columns, cells, strict=False))
        card, chip, logic = (_whole(row.get(key)) for key in ("NPU ID", "Chip ID", "Chip Logic ID"))
        if len(cells) == len(columns) and card is not None and chip is not None and logic is not None:
            found.append(ChipId(card, chip, logic, _whole(row.get("Chip Phy-ID")), row.get("Chip Name", "")))
    return tuple(found)


def parse_cards(data: bytes) -> tuple[int, dict[int, int]] | None:
    """`npu-smi info -l`: (cards the driver counts, card id → chips); None when the count is missing. The ids may have gaps."""
    total, card = None, None
    chips: dict[int, int] = {}
    for key, value in _pairs(data):
        number = _whole(value)
        if key == "Total Count":
            total = number
        elif key == "NPU ID":
            card = number
        elif key == "Chip Count" and card is not None and number is not None:
            chips[card] = number
    return None if total is None else (total, chips)


def parse_details(data: bytes) -> tuple[Detail, ...]:
    """`-t common`, `-t usages`, `-t board`, `-t memory`, `-t ecc`: one block for each chip, without the `mcu` block.

    `Chip ID` may stand before or after the values of its block; the mcu block repeats temperature and power and must not
    overwrite the NPU's.
    """
    blocks: list[dict[str, str]] = [{}]
    for line in _lines(data):
        pair = _PAIR.match(line)
        if pair is None or not pair[1]:
            if not line.strip():
                blocks.append({})
            continue
        key, value = pair[1].strip(), pair[2].strip()
        if key in blocks[-1] or (key == "Chip Name" and value.lower() == "mcu"):
            blocks.append({})
        blocks[-1][key] = value
    details = [block for block in blocks if set(block) - {"NPU ID", "Chip Count"}]
    npus = [block for block in details if block.get("Chip Name", "").lower() != "mcu"]
    return tuple(Detail(_whole(block.get("Chip ID")), block) for block in npus)


def parse_proc_mem(data: bytes) -> dict[int | None, tuple[Process, ...]] | None:
    """`-t proc-mem`: chip → its processes, up to 32, where the main table stops at 8. None when the answer proves nothing.

    With `-c` the chip is not named and the key is None; without it a `Chip ID` line closes each chip's block.
    """
    found: dict[int | None, tuple[Process, ...]] = {}
    block: list[Process] = []
    answered = False
    for line in _lines(data):
        if row := _PROCESS.search(line):
            block.append(Process(int(row[1]), row[2].strip(), int(row[3])))
            answered = True
        elif "No process in device" in line:
            answered = True
        elif (chip := _CHIP.match(line)) and answered:
            found[int(chip[1])] = tuple(block)
            block, answered = [], False
    if answered:
        found[None] = tuple(block)
    return (found or None) if data.endswith(b"\n") else None


def proc_mem_probe(places: Iterable[tuple[int, int]], limit_s: int = 5) -> Probe:
    """The command that lists all processes of the given (card, die) places, one after the other; for demand only."""
    words = [f"{int(card)} {int(die)}" for card, die in places]
    script = _PROC_MEM.format(search=SEARCH_PATH, limit=limit_s, places="\n".join(words))
    return Probe("proc-mem", ("sh", "-c", script), every_s=86400.0, timeout_s=len(words) * (limit_s + 1.0) + 5.0)


def with_all_processes(table: NpuTable, data: bytes) -> NpuTable:
    """The table with the process lists of `proc_mem_probe`, where they came whole; all other devices stay as they are."""
    found: dict[tuple[int, int], tuple[Process, ...]] = {}
    for mark, text in _marked(data):
        lists = parse_proc_mem(text)
        if lists is not None and set(lists) == {None}:
            found[mark] = lists[None]
    devices = (
        replace(device, processes=found[device.card, device.die], processes_known=True)
        if (device.card, device.die) in found
        else device
        for device in table.devices
    )
    return replace(table, devices=tuple(devices))


def _marked(data: bytes) -> Iterator[tuple[tuple[int, int], bytes]]:
    """(card, die) and its answer; the last one counts only when the end mark came."""
    parts = re.split(rb"^== (\d{1,3}) (\d{1,3})\n", data, flags=re.MULTILINE)
    for card, die, text in zip(parts[1::3], parts[2::3], parts[3::3], strict=True):
        answer, mark, _ = text.partition(b"== rc 0\n")
        if mark:
            yield (int(card), int(die)), answer


def parse_health(data: bytes) -> Health:
    """`-t health` of a chip (status, codes, text over several lines) or of a card (`Health : OK`)."""
    status: str | None = None
    codes: tuple[str, ...] = ()
    information: list[str] = []
    for line in _lines(data):
        pair = _PAIR.match(line)
        if pair is None:
            continue
        key, value = pair[1].strip(), pair[2].strip()
        if key in ("Health Status", "Health"):
            status = value or None
        elif key == "Error Code":
            codes = () if value in _NONE else tuple(value.split())
        elif key in ("Error Information", "") and value not in _NONE:
            information.append(value)
    return Health(status, codes, tuple(information))


def parse_super_pod(data: bytes) -> SuperPod | None:
    """`-t spod-info`; None when the chip does not answer it (A2, or a card id above 7)."""
    values = dict(_pairs(data))
    pod = SuperPod(*(_whole(values.get(key)) for key in ("SDID", "Super Pod Size", "Super Pod ID", "Server Index")))
    return None if pod == SuperPod(None, None, None, None) else pod


def parse_topology(data: bytes) -> Topology:
    """`-t topo`; the legend below it and rows that do not fit the header are left out.

    Without a header the `X` of a row tells which column is its own.
    """
    columns: list[int] | None = None
    affine = False
    links: dict[tuple[int, int], str] = {}
    affinity: dict[int, str] = {}
    for line in _lines(data):
        name, *cells = line.split() or [""]
        device = _device(name)
        if columns is None and device is not None and cells and _device(cells[0]) is not None:
            affine = "Affinity" in line
            columns = [number for each in (name, *cells) if (number := _device(each)) is not None]
        elif device is not None:
            words = [cell for cell in cells if _LINK.match(cell)]
            others = columns if columns is not None else _around(device, words)
            if len(words) == len(others):
                links |= {(device, other): word for other, word in zip(others, words, strict=True)}
                affinity |= {device: cells[-1]} if affine and len(cells) > len(words) else {}
    return Topology(links, affinity)


def unsupported(data: bytes) -> bool:
    """Whether npu-smi says that this device does not know the query."""
    return b"does not support querying" in data


def _lines(data: bytes) -> Iterator[str]:
    yield from (decode(line) for line in data.split(b"\n")[:-1])


def _pairs(data: bytes) -> Iterator[tuple[str, str]]:
    for line in _lines(data):
        if pair := _PAIR.match(line):
            yield pair[1].strip(), pair[2].strip()


def _whole(word: str | None) -> int | None:
    return int(word) if word and word.isascii() and word.isdecimal() and len(word) < 19 else None


def _around(device: int, words: list[str]) -> list[int]:
    own = words.index("X") if "X" in words else len(words)
    return [] if own > device or "X" not in words else [device - own + at for at in range(len(words))]


def _device(word: str) -> int | None:
    return _whole(word.removeprefix("NPU").removeprefix("Phy-ID")) if word.startswith(("NPU", "Phy-ID")) else None
