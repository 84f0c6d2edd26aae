"""Parses `npu-smi info`: health, power, temperature, AICore, HBM and processes of every device of a node.

The table is read by its headers and its `|` cells, not by columns, because widths differ between drivers (80 to 116 seen).
Incomplete data is unknown. `npu_details` parses detail queries (`-m`, `-t …`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from console.model.run import Probe, Sample
from console.model.snapshot import Device, Process
from console.probes.sanitize import decode
from console.probes.tool_lock import BUSY, TURN_S, turn_function

PROCESS_ROWS = 8
"""Most process rows per device that npu-smi prints (constant of its source); a full list can hide the owner."""

SEARCH_PATH = "/usr/local/bin:/usr/local/sbin:/usr/local/Ascend/driver/tools"
"""The directories of the driver's tools; on many nodes PATH of a non-login SSH shell does not contain them."""

_INFO = """export LC_ALL=C
PATH="$PATH:{search}"
command -v npu-smi >/dev/null 2>&1 || {{ echo "npu-smi: command not found"; exit 127; }}
{turn}
limited() {{ if command -v timeout >/dev/null 2>&1; then timeout -k 1 "$@"; else shift; "$@"; fi; }}
look() {{
table="$(limited {limit} npu-smi info)"; code=$?
printf '%s\\n' "$table"
[ "$code" = 0 ] || return "$code"
printf '%s\\n' "$table" | awk -F'|' '$2 ~ /^ *[0-9]+ +[0-9]+ *$/ && $3 ~ /^ *[0-9]+ *$/ {{ split($2, at, " "); \
if (++rows[at[1] " " at[2]] == {rows} && ++chips <= {chips}) print at[1], at[2] }}' 2>/dev/null | while read -r card die; do
echo "== $card $die"; limited {more} npu-smi info -t proc-mem -i "$card" -c "$die"; echo "== rc $?"
done
}}
turn look"""
"""The table, followed by all processes of each chip for which the table shows the maximum number of processes."""

_PCI = re.compile(r"^[0-9A-Fa-f]{4}:[0-9A-Fa-f]{2}:[0-9A-Fa-f]{2}\.[0-9A-Fa-f]$")
_PAIR = re.compile(r"(\d+|NA|-)\s*/\s*(\d+|NA|-)")
_TITLE = re.compile(r"npu-smi\s+(\S+)\s+Version:\s*(\S+)")
_NO_PROCESS = re.compile(r"No running processes found in NPU (\d{1,9})\b")
_A2 = re.compile(r"910B|^A2G|^$")
"""Names of A2 devices: the name of the chip, the name of the part in some builds, or nothing."""
_HEALTH = {"OK", "WARNING", "ALARM", "CRITICAL", "UNKNOWN"}

NOT_INSTALLED = "npu-smi is not installed"
_ROOT = "run as root or as a member of HwHiAiUser"
_ERRORS = (
    ("ret is -8005", "the driver does not answer (dcmi -8005)", f"reboot after a driver upgrade, or {_ROOT}"),
    ("ret is -8020", "another container uses the devices (dcmi -8020)", "stop that container, or run it --privileged"),
    ("ret is -8002", "npu-smi is not permitted (dcmi -8002)", _ROOT),
    ("ermission denied", "npu-smi is not permitted", _ROOT),
    (BUSY, "npu-smi cannot run: " + BUSY, "a hanging driver often means a lost card; see dmesg and lspci"),
    ("command not found", NOT_INSTALLED, f"install the driver tools; looked in PATH:{SEARCH_PATH}"),
    ("npu-smi: not found", NOT_INSTALLED, f"install the driver tools; looked in PATH:{SEARCH_PATH}"),
    ("There is no NPU card", "the driver sees no NPU", "compare with lspci -d 19e5: and see dmesg"),
    ("Invalid card id", "the card does not exist or was lost", "compare npu-smi info -l with lspci -d 19e5:"),
    (
        "shared libraries",
        "npu-smi cannot load its libraries",
        "add lib64 of the driver to LD_LIBRARY_PATH, or mount it",
    ),
)
"""(text, meaning, fix). The codes are those of the DCMI header of the CANN driver."""
_ODD = (
    "a device has only one of its two rows: the driver could not query it",
    "compare npu-smi info -l with lspci -d 19e5:",
)


@dataclass(frozen=True, slots=True)
class NpuTable:
    """The result of one `npu-smi info`."""

    devices: tuple[Device, ...] = ()
    """In table order."""
    tool_version: str = ""
    driver_version: str = ""
    generation: str = ""
    """`a3` (two dies per card), `a2`, `a5` (the table of the 950), `other`, or empty without a table."""
    complete: bool = False
    """Whether the device table and the process table are complete; only then a missing device is a lost device."""
    error: str = ""
    """Why the table is missing or incomplete; also a problem in a complete table."""
    hint: str = ""

    @property
    def processes_known(self) -> bool:
        """Whether the process list of every device is complete."""
        return bool(self.devices) and all(device.processes_known for device in self.devices)


def info_probe(every_s: float = 5.0) -> Probe:
    """The command for the NPU table; `npu_details.with_all_processes` reads the output after the table."""
    limit, more, chips = 10, 3, 2
    script = _INFO.format(
        search=SEARCH_PATH, turn=turn_function(), limit=limit, more=more, chips=chips, rows=PROCESS_ROWS
    )
    return Probe("npu", ("sh", "-c", script), every_s, TURN_S + limit + 1.0 + chips * (more + 1.0) + 1.0)


def read_info(sample: Sample) -> NpuTable:
    """The table of a sample, with the reason when the command was interrupted or printed no table."""
    table = parse_info(sample.stdout + (b"\n" + sample.stderr if not sample.stdout.strip() else b""))
    if sample.exit_code in (None, 124, 137):
        reason = f"npu-smi did not answer within {sample.took_s:.0f} s"
        return replace(
            table, complete=False, error=reason, hint="a hanging driver often means a lost card; see dmesg and lspci"
        )
    if sample.truncated:
        return replace(table, complete=False, error="the output of npu-smi is too long")
    if sample.exit_code and not table.error:
        return replace(table, error=f"npu-smi exited with {sample.exit_code}")
    return table


def parse_info(data: bytes) -> NpuTable:
    """The last table in the output. Never raises. Missing, incomplete or contradictory values are None, and the table is then not
    complete.
    """
    reader = _Reader()
    for line in data.split(b"\n"):
        text = decode(line).strip()
        if reader.devices and text.startswith("|") and _TITLE.match(text[1:].strip()):
            reader = _Reader()
        reader.line(text)
    return reader.table()


def owners(devices: Iterable[Device]) -> dict[int, int]:
    """Host pid → id of the device that it uses most: every worker also uses some 100 MiB of the first device."""
    best: dict[int, tuple[int, int]] = {}
    for device in devices:
        for process in device.processes:
            share = (process.mib or 0, -device.id)
            best[process.pid] = max(best.get(process.pid, (-1, 0)), share)
    return {pid: -share[1] for pid, share in best.items()}


@dataclass(slots=True)
class _Card:
    """The first line of a pair; its second line is not read yet."""

    card: int
    name: str
    health: str
    power: float | None
    temperature: int | None


@dataclass(slots=True)
class _Reader:
    """Reads the table line by line; rows before a header are ignored."""

    versions: tuple[str, str] = ("", "")
    second: str | None = None
    """Name of the second number of a chip row (`Phy-ID`, `Device`, empty); None before that header."""
    usages: int = 0
    has_hbm: bool = False
    flat: bool = False
    """Whether number and name of a device are in separate cells, as on the 950 (one npu-smi 25.7.rc1 was seen)."""
    columns: int = 0
    """Number of columns of the process table; 0 before its header."""
    waiting: _Card | None = None
    devices: dict[tuple[int, int], Device] = field(default_factory=dict)
    processes: dict[tuple[int, int], list[Process]] = field(default_factory=dict)
    open: set[int] = field(default_factory=set)
    """Cards with process rows not yet closed by a border."""
    closed: set[int] = field(default_factory=set)
    torn: bool = False
    """Whether a row could not be read."""
    odd: bool = False
    """Whether a device has only one of its two rows, because the driver could not query it. The table is still complete."""
    loose: list[str] = field(default_factory=list)
    """Text outside of the table."""

    def line(self, line: str) -> None:
        if line.startswith("+"):
            self._border()
        elif line.startswith("|") and line.endswith("|") and len(line) > 1:
            self._row([cell.strip() for cell in line[1:-1].split("|")])
        elif line.startswith("|"):
            self.torn = True
        elif line:
            self.loose.append(line)
            self.torn |= self.second is not None and not self.closed

    def _border(self) -> None:
        self._alone()
        self.closed |= self.open
        self.open.clear()

    def _row(self, cells: list[str]) -> None:
        if cells[0] == "NPU ID":
            self.flat = True
            self.columns = len(cells) if cells[1:2] == ["Process id"] else 0
            return
        cells = _as_on_others(cells, processes=self.columns > 0) if self.flat and len(cells) == 4 else cells
        if title := _TITLE.match(cells[0]):
            self.versions = (title[1], title[2])
        elif empty := _NO_PROCESS.match(cells[0]):
            self.closed.add(int(empty[1]))
        elif cells[0].startswith(("NPU", "Chip")):
            self._header(cells)
        elif self.columns:
            self._process(cells)
        elif self.second is not None and len(cells) == 3:
            self._device(cells)
        else:
            self.torn = True

    def _header(self, cells: list[str]) -> None:
        words = cells[0].split()
        if words == ["NPU", "Chip"]:
            self.columns = len(cells)
        elif (words[0] == "Chip" or self.flat) and len(cells) == 3:
            self.second = words[1] if len(words) > 1 else ""
            self.usages = cells[2].count("-Usage(")
            self.has_hbm = "HBM-Usage" in cells[2]

    def _device(self, cells: list[str]) -> None:
        first_line = cells[1].upper() in _HEALTH or (self.waiting is None and not _PCI.match(cells[1]))
        if first_line:
            self._alone()
            self._card_line(cells)
        else:
            self._chip_line(cells)

    def _card_line(self, cells: list[str]) -> None:
        number, name = [*cells[0].split(maxsplit=1), "", ""][:2]
        card = _whole(number)
        if card is None:
            self.torn = True
            return
        power, temperature = [*cells[2].split(), "", ""][:2]
        self.waiting = _Card(card, name, cells[1], _power(power, cells[1]), _whole(temperature))

    def _chip_line(self, cells: list[str]) -> None:
        above, self.waiting = self.waiting, None
        chip, second = [*(_whole(word) for word in cells[0].split()), None, None][:2]
        number = second if self.second else (above.card if above else None)
        if above is None and self.second == "Phy-ID" and second is not None and chip is not None:
            above = _Card((second - chip) // 2, "", "", None, None)
        self.odd |= above is None or not above.health
        if above is None or chip is None or number is None:
            self.torn |= above is not None
            return
        pairs = _PAIR.findall(cells[2])
        used, total = (
            (_whole(pairs[-1][0]), _whole(pairs[-1][1])) if self.has_hbm and len(pairs) == self.usages else (None, None)
        )
        failed = total == 0 or above.temperature == 0
        self.devices[above.card, chip] = Device(
            id=number,
            card=above.card,
            die=chip,
            name=above.name,
            bus_id=cells[1] if _PCI.match(cells[1]) else "",
            health=None if failed and above.health == "OK" else above.health or None,
            aicore_percent=None if total == 0 else _percent([*cells[2].split(), ""][0]),
            hbm_used_mib=used if total else None,
            hbm_total_mib=total or None,
            temperature_c=above.temperature or None,
            power_w=above.power,
        )

    def _alone(self) -> None:
        """Handle a card line without its chip line: the driver could not query the chip. On A3 its number is unknown then."""
        above, self.waiting = self.waiting, None
        if above is None:
            return
        self.odd = True
        if self.second == "":
            self.devices[above.card, 0] = Device(
                above.card,
                above.card,
                0,
                above.name,
                health=None if above.health == "OK" else above.health,
                temperature_c=above.temperature or None,
                power_w=above.power,
            )

    def _process(self, cells: list[str]) -> None:
        place = [_whole(word) for word in cells[0].split()]
        pid = _whole(cells[1]) if len(cells) == self.columns and self.columns >= 4 else None
        if len(place) != 2 or place[0] is None or place[1] is None or pid is None:
            self.torn = True
            return
        self.processes.setdefault((place[0], place[1]), []).append(Process(pid, cells[2], _whole(cells[3])))
        self.open.add(place[0])

    def table(self) -> NpuTable:
        devices = tuple(self._with_processes(key, device) for key, device in self.devices.items())
        cards = {device.card for device in devices}
        complete = bool(devices) and not self.torn and not self.open and cards <= self.closed
        error, hint = (_ODD if self.odd else ("", "")) if complete else self._why(bool(devices))
        return NpuTable(devices, *self.versions, self._generation(devices), complete, error, hint)

    def _with_processes(self, key: tuple[int, int], device: Device) -> Device:
        found = tuple(self.processes.get(key, ()))
        known = device.card in self.closed and not self.torn and len(found) < PROCESS_ROWS
        return replace(device, processes=found, processes_known=known)

    def _generation(self, devices: tuple[Device, ...]) -> str:
        if not devices:
            return ""
        if self.flat:
            return "a5"
        if self.second == "Phy-ID":
            return "a3"
        return "a2" if not self.second and all(_A2.search(device.name) for device in devices) else "other"

    def _why(self, some: bool) -> tuple[str, str]:
        text = "\n".join(self.loose)
        for mark, error, hint in _ERRORS:
            if mark in text:
                return error, hint
        if some and not self.columns:
            return "npu-smi printed no process table", "the output is incomplete, or the driver is older than 23.0"
        if some:
            return "npu-smi printed only a part of its table", ""
        if self.versions[0] and not self.loose:
            return f"npu-smi {self.versions[0]} printed no device in a known format", ""
        return f"npu-smi printed no table{': ' + self.loose[0][:200] if self.loose else ''}", ""


def _as_on_others(cells: list[str], *, processes: bool) -> list[str]:
    """A row of the table of the 950 in the three cells of the other tables; the 950 has one chip per device, without a number."""
    number, name, *rest = cells
    if processes:
        return [f"{number} 0" if number.isdecimal() else number, name, *rest]
    if rest[0] == "Bus-Id":
        return ["Chip", *rest]
    return [f"{number} {name}" if number else "0", *rest]


def _whole(word: str) -> int | None:
    return int(word) if word.isascii() and word.isdecimal() and len(word) < 19 else None


def _percent(word: str) -> int | None:
    number = _whole(word)
    return number if number is not None and number <= 100 else None


def _power(word: str, health: str) -> float | None:
    """Watts; None for a device that is OK with 0 W, because then the query failed."""
    power = float(word) if word.isascii() and re.fullmatch(r"\d{1,9}(\.\d{1,6})?", word) else None
    return None if power == 0 and health == "OK" else power
