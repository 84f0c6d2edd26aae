"""The text of `npu-smi info`: the summary table in the widths of drivers 25.x and 26.x, and the small key/value
blocks.

Widths, separators and field order follow public captures of 25.2.0, 25.3.rc1, 25.5.0 (A2 and A3) and 26.0.rc1,
26.1.1. No state is read here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

PROCESS_ROWS = 8
"""`npu-smi info` prints no more processes than this per chip, whichever they are."""


@dataclass(frozen=True, slots=True)
class Row:
    """One process on one chip."""

    pid: int
    name: str
    mib: int


@dataclass(frozen=True, slots=True)
class Chip:
    """One device as the table shows it."""

    card: int
    chip: int
    device: int
    name: str
    health: str
    power_w: float | None
    """None on the second die of an A3 card: the card's power stands on the first."""
    temperature_c: int
    bus: str
    aicore_percent: int
    hbm_used_mib: int
    hbm_total_mib: int
    processes: tuple[Row, ...] = ()


@dataclass(frozen=True, slots=True)
class Frame:
    """Column widths of one generation of the tool."""

    title: int
    first: int
    second: int
    third: int
    process: tuple[int, ...]
    headings: tuple[str, ...]

    @property
    def wide(self) -> int:
        """Width between the outer borders."""
        return 27 + 1 + 15 + 1 + self.first + self.second + self.third + 1

    def rule(self, mark: str) -> str:
        """A line that keeps the three columns apart."""
        return f"+{mark * 27}+{mark * 15}+{mark * (self.wide - 44)}+"

    def bar(self) -> str:
        """A line without columns."""
        return f"+{'-' * self.wide}+"


_OLD = Frame(33, 12, 18, 21, (27, 15, 26, 25), ("Process id", "Process name", "Process memory(MB)"))
_NEW = Frame(
    44,
    21,
    24,
    24,
    (27, 15, 20, 23, 25),
    ("Process id", "Process name", "Process memory(MB)", "Process id in container"),
)


def frame_of(driver: str) -> Frame:
    """26.0 widened the table and added a fifth process column."""
    return _NEW if int(driver.partition(".")[0]) >= 26 else _OLD


def summary(driver: str, chips: Sequence[Chip]) -> str:
    """The whole answer of `npu-smi info`."""
    frame = frame_of(driver)
    return "\n".join((*_devices(frame, driver, chips), *_processes(frame, chips))) + "\n"


def summary_950(driver: str, chips: Sequence[Chip]) -> str:
    """The whole answer of `npu-smi info` on a 950, by the one table that was seen (25.7.rc1)."""

    def rule(mark: str, *widths: int) -> str:
        return "+" + "+".join(mark * width for width in widths) + "+"

    wide, devices, processes = (97,), (8, 18, 15, 53), (27, 15, 53)
    lines = [rule("-", *wide), f"| {f'npu-smi {driver}':<49}Version: {driver:<38}|", rule("-", *devices)]
    lines += [
        f"| NPU ID | Name             | Health        | {'Power(W)    Temp(C)           Hugepages-Usage(page)':<52}|"
    ]
    lines += [f"|        |                  | Bus-Id        | {'NPU Util(%) Memory-Usage(MB)  HBM-Usage(MB)':<52}|"]
    lines.append(rule("=", *devices))
    for chip in chips:
        values = f"{chip.power_w or 0.0:<12.1f}{chip.temperature_c:<18}0     / 0"
        lines.append(f"| {chip.card:<7}| {chip.name:<17}| {chip.health:<14}| {values:<52}|")
        values = f"{chip.aicore_percent:<12}0    / 0          {chip.hbm_used_mib:<6}/ {chip.hbm_total_mib}"
        lines += [f"| {'':<7}| {'':<17}| {chip.bus:<14}| {values:<52}|", rule("=", *devices)]
    lines.append(rule("-", *processes))
    lines.append(f"| {'NPU ID':<26}| {'Process id':<14}| {'Process name':<25}| {'Process memory(MB)':<25}|")
    lines.append(rule("=", *processes))
    for chip in chips:
        rows = chip.processes[:PROCESS_ROWS]
        lines += [f"| {chip.card:<26}| {row.pid:<14}| {'':<25}| {row.mib:<24}|" for row in rows]
        lines += [] if rows else [f"| {f'No running processes found in NPU {chip.card}':<96}|"]
        lines.append(rule("=", *processes))
    return "\n".join(lines) + "\n"


def _devices(frame: Frame, driver: str, chips: Sequence[Chip]) -> Iterator[str]:
    dies = any(chip.chip for chip in chips)
    title = f" npu-smi {driver}"
    yield frame.bar()
    yield f"|{f'{title:<{frame.title + 1}}Version: {driver}':<{frame.wide}}|"
    yield frame.rule("-")
    head = f" {'Power(W)':<{frame.first}}{'Temp(C)':<{frame.second}}{'Hugepages-Usage(page)':<{frame.third}}"
    yield f"| NPU   Name                | Health        |{head}|"
    head = f" {'AICore(%)':<{frame.first}}{'Memory-Usage(MB)':<{frame.second}}{'HBM-Usage(MB)':<{frame.third}}"
    yield f"| {'Chip  Phy-ID' if dies else 'Chip':<26}| Bus-Id        |{head}|"
    yield frame.rule("=")
    for position, chip in enumerate(chips):
        power = "-" if chip.power_w is None else f"{chip.power_w:.1f}"
        cells = f" {power:<{frame.first}}{chip.temperature_c:<{frame.second}}{'0    / 0':<{frame.third}}"
        yield f"| {chip.card:<6}{chip.name:<20}| {chip.health:<14}|{cells}|"
        hbm = f"{chip.hbm_used_mib:<5}/ {chip.hbm_total_mib}"
        cells = f" {chip.aicore_percent:<{frame.first}}{'0    / 0':<{frame.second}}{hbm:<{frame.third}}"
        yield f"| {chip.chip:<6}{chip.device if dies else '':<20}| {chip.bus:<14}|{cells}|"
        following = chips[position + 1] if position + 1 < len(chips) else None
        same_card = following is not None and following.card == chip.card
        yield frame.bar() if same_card else frame.rule("=")


def _processes(frame: Frame, chips: Sequence[Chip]) -> Iterator[str]:
    yield frame.rule("-")
    yield _cells(frame, ("NPU     Chip", *frame.headings))
    yield frame.rule("=")
    for card in dict.fromkeys(chip.card for chip in chips):
        rows = [(chip, row) for chip in chips if chip.card == card for row in chip.processes[:PROCESS_ROWS]]
        for chip, row in rows:
            cells = [f"{chip.card:<8}{chip.chip}", str(row.pid), row.name, str(row.mib), "NA"]
            yield _cells(frame, cells[: len(frame.process)])
        if not rows:
            yield f"| {f'No running processes found in NPU {card}':<{frame.wide - 1}}|"
        yield frame.rule("=")


def _cells(frame: Frame, texts: Sequence[str]) -> str:
    return "|" + "|".join(f" {text:<{width - 1}}" for text, width in zip(texts, frame.process, strict=True)) + "|"


def block(pairs: Sequence[tuple[str, object]], indent: str = "\t") -> str:
    """Key and value lines of the detail queries."""
    return "".join(f"{indent}{key:<31}: {value}\n" for key, value in pairs)


def mapping(chips: Sequence[Chip], dies_per_card: int) -> str:
    """`npu-smi info -m`: ids of every chip, and each card's management controller."""
    named = dies_per_card > 1
    head = ["NPU ID", "Chip ID", "Chip Logic ID", *(["Chip Phy-ID"] if named else []), "Chip Name"]
    lines = [head]
    for card in dict.fromkeys(chip.card for chip in chips):
        for chip in (chip for chip in chips if chip.card == card):
            ids = [str(chip.device)] * (2 if named else 1)
            lines.append([str(card), str(chip.chip), *ids, chip.name if named else f"Ascend {chip.name}"])
        lines.append([str(card), str(dies_per_card), *["-"] * (2 if named else 1), "Mcu"])
    return "".join(
        "\t" + "".join(f"{cell:<31}" for cell in line[:-1]) + f"{line[-1]:<31}".rstrip() + "\n" for line in lines
    )
