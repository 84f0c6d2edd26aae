"""`npu-smi` of a demo node: `info`, `info -l`, `-m`, `-t TYPE`. Devices follow the processes that hold them.

Faults on demand, one per line of `$DSV4_DEMO_DIR/fail/npu-smi`: `health DEVICE WORD`, `absent CARD`, `hang
SECONDS`, `dcmi`.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from console.demo.tools.demo_node import HBM_MIB, DemoNode, Holding, holdings, this_node
from console.demo.tools.npu_tables import Chip, Row, block, mapping, summary, summary_950

_BUSES = {
    "a3": ("9D", "9F", "99", "9B", "95", "97", "91", "93", "8D", "8F", "89", "8B", "85", "87", "81", "83"),
    "a2": ("C1", "C2", "81", "82", "01", "02", "41", "42"),
    "a5": ("01", "11", "21", "31", "41", "51", "61", "71"),
}
_NAMES = {"a3": "Ascend910", "a5": "Ascend950PR"}
_IDLE_MIB = {"a5": 6050}
_TOTAL_MIB = {"a5": 131072}
_USAGE = "Usage: npu-smi info <watch|proc|-h|-m|-l|-t type> [Options...]\n"
_STRANGER_MIB = 141
"""What every worker of a node also takes on the first chip."""


@dataclass(frozen=True, slots=True)
class Faults:
    """The faults in `fail/npu-smi`."""

    health: dict[int, str]
    absent: frozenset[int]
    hang_s: float
    dcmi: bool


def faults(node: DemoNode) -> Faults:
    """Read the fault file; none when it is absent."""
    try:
        lines = (node.directory / "fail" / "npu-smi").read_text().splitlines()
    except OSError:
        lines = []
    words = [line.split() for line in lines if line.strip()]
    return Faults(
        health={int(line[1]): line[2] for line in words if line[0] == "health"},
        absent=frozenset(int(line[1]) for line in words if line[0] == "absent"),
        hang_s=max([float(line[1]) for line in words if line[0] == "hang"], default=0.0),
        dcmi=any(line[0] == "dcmi" for line in words),
    )


def _chip(node: DemoNode, device: int, held: Sequence[Holding], wrong: Faults) -> Chip:
    dies = node.dies_per_card
    card, chip = divmod(device, dies)
    mine = [holding for holding in held if device in holding.mib]
    busy = any(holding.busy for holding in mine)
    noise = random.Random(device * 7919 + int(time.time() / 3))  # steady within one look, alive over time
    base = (3090 if chip == 0 else 2866) if node.hardware == "a3" else _IDLE_MIB.get(node.hardware, 3388)
    total = _TOTAL_MIB.get(node.hardware, HBM_MIB)
    used = base + random.Random(device).randrange(25) + sum(holding.mib[device] for holding in mine)
    rows = [Row(holding.pid, holding.name, holding.mib[device]) for holding in mine]
    if device == 0 and len(held) > 1:
        rows = [Row(each.pid, each.name, _STRANGER_MIB) for each in held if device not in each.mib] + rows
    if node.hardware == "a3":
        power = None if chip else (204.0 if busy else 165.0) + noise.randrange(160) / 10
    else:
        power = (318.0 if busy else 88.0) + noise.randrange(90) / 10
    return Chip(
        card=card,
        chip=chip,
        device=device,
        name=_NAMES.get(node.hardware, "910B3"),
        health=wrong.health.get(device, "OK"),
        power_w=power,
        temperature_c=(44 if busy else 37) + noise.randrange(4),
        bus=f"0000:{_BUSES[node.hardware][device]}:00.0",
        aicore_percent=noise.randrange(22, 71) if busy else 0,
        hbm_used_mib=min(used, total),
        hbm_total_mib=total,
        processes=tuple(rows),
    )


def chips(node: DemoNode, wrong: Faults) -> tuple[Chip, ...]:
    """Every device the driver still lists."""
    held = holdings(node.directory)
    count = min(node.devices, len(_BUSES.get(node.hardware, ())))
    found = (_chip(node, device, held, wrong) for device in range(count))
    return tuple(chip for chip in found if chip.card not in wrong.absent)


def _usages(node: DemoNode, chip: Chip) -> str:
    pairs = [
        ("DDR Capacity(MB)", 0),
        ("DDR Usage Rate(%)", 0),
        ("DDR Hugepages Total(page)", 0),
        ("DDR Hugepages Usage Rate(%)", 0),
        ("HBM Capacity(MB)", chip.hbm_total_mib),
        ("HBM Usage Rate(%)", chip.hbm_used_mib * 100 // chip.hbm_total_mib),
        ("Aicore Usage Rate(%)", chip.aicore_percent),
        ("Aivector Usage Rate(%)", chip.aicore_percent // 2),
        ("Aicpu Usage Rate(%)", 0),
        ("Ctrlcpu Usage Rate(%)", 0),
        ("DDR Bandwidth Usage Rate(%)", 0),
        ("HBM Bandwidth Usage Rate(%)", chip.aicore_percent // 3),
        ("Chip ID", chip.chip),
    ]
    return block(pairs)


def _common(node: DemoNode, chip: Chip) -> str:
    power = [] if chip.power_w is None else [("NPU Real-time Power(W)", f"{chip.power_w:.1f}")]
    pairs: list[tuple[str, object]] = [
        ("Chip ID", chip.chip),
        ("Memory Usage Rate(%)", 0),
        ("HBM Usage Rate(%)", chip.hbm_used_mib * 100 // chip.hbm_total_mib),
        ("Aicore Usage Rate(%)", chip.aicore_percent),
        ("Aicore Freq(MHZ)", 1800),
        ("Aicore curFreq(MHZ)", 1800 if chip.aicore_percent else 800),
        ("Aicore Count", 24),
        ("Temperature(C)", chip.temperature_c),
        *power,
    ]
    return block(pairs) + "\n"


def _proc_mem(node: DemoNode, chip: Chip) -> str:
    rows = [
        f"\tProcess id:{row.pid}  Process name:{row.name:<17} Process memory(MB):{row.mib}\n" for row in chip.processes
    ]
    return "".join(rows) or "\tNo process in device.\n"


def _board(node: DemoNode, chip: Chip) -> str:
    if node.hardware == "a3":
        kind: list[tuple[str, object]] = [("NPU Name", "9392"), ("Chip ID", chip.chip), ("Chip Name", "Ascend910")]
    else:
        kind = [("Chip ID", chip.chip), ("Chip Type", "Ascend"), ("Chip Name", chip.name)]
    pairs = [("NPU ID", chip.card), *kind, ("Software Version", node.driver), ("PCIe Bus Info", chip.bus)]
    return block(pairs)


def _health(node: DemoNode, chip: Chip) -> str:
    wrong = chip.health != "OK"
    pairs = [
        ("Health Status", chip.health),
        ("Error Code", "80E18005" if wrong else "NA"),
        ("Error Information", "node type=HBM, sensor type=ECC, event state=multi bit error" if wrong else "NA"),
    ]
    return block(pairs)


def _spod(node: DemoNode, chip: Chip) -> str:
    if node.hardware != "a3":
        return "This device does not support querying spod-info.\n"
    server = int(node.address.rpartition(".")[2])
    pairs = [
        ("SDID", (server << 22) + chip.device * 0x10001),
        ("Super Pod Size", 384),
        ("Super Pod ID", 0),
        ("Server Index", server),
    ]
    return block(pairs)


def _memory(node: DemoNode, chip: Chip) -> str:
    pairs = [
        ("HBM Capacity(MB)", chip.hbm_total_mib),
        ("HBM Clock Speed(MHz)", 1600),
        ("HBM Temperature(C)", chip.temperature_c),
    ]
    return block(pairs)


_DETAILS: dict[str, Callable[[DemoNode, Chip], str]] = {
    "usages": _usages,
    "common": _common,
    "proc-mem": _proc_mem,
    "board": _board,
    "health": _health,
    "spod-info": _spod,
    "memory": _memory,
    "temp": lambda node, chip: block([("NPU Temperature (C)", chip.temperature_c), ("Chip ID", chip.chip)]),
    "power": lambda node, chip: block(
        [("NPU Real-time Power(W)", "NA" if chip.power_w is None else f"{chip.power_w:.1f}"), ("Chip ID", chip.chip)]
    ),
}


def _detail(node: DemoNode, found: Sequence[Chip], kind: str, card: int, chip: int | None) -> tuple[str, int]:
    if kind not in _DETAILS:
        return f"Error parameter of -t\n{_USAGE}", 1
    wanted = [each for each in found if each.card == card and chip in (None, each.chip)]
    if not wanted:
        return f"Invalid card id.\nError parameter of -i\n{_USAGE}", 1
    text = "".join(_DETAILS[kind](node, each) for each in wanted)
    if chip is None and kind in ("usages", "common"):
        text = block([("NPU ID", card), ("Chip Count", len(wanted))]) + "\n" + text
    if chip is None and kind == "common":
        text += block([("Chip Name", "mcu"), ("Temperature(C)", wanted[0].temperature_c - 4)])
    return text, 0


def _option(words: Sequence[str], name: str) -> str | None:
    return words[words.index(name) + 1] if name in words and words.index(name) + 1 < len(words) else None


def answer(node: DemoNode, words: Sequence[str]) -> tuple[str, int]:
    """What the program prints for these words, and its exit code."""
    wrong = faults(node)
    time.sleep(wrong.hang_s)
    if wrong.dcmi:
        return "dcmi module initialize failed. ret is -8005\n", -8005 & 0xFF
    if not words or words[0] != "info":
        return _USAGE, 0 if words[:1] in (["-h"], ["--help"]) else 1
    found = chips(node, wrong)
    if len(words) == 1:
        return (summary_950 if node.hardware == "a5" else summary)(node.driver, found), 0
    if "-m" in words:
        return mapping(found, node.dies_per_card), 0
    if "-l" in words:
        cards = list(dict.fromkeys(chip.card for chip in found))
        text = block([("Total Count", len(cards))])
        return text + "".join("\n" + block([("NPU ID", card), ("Chip Count", node.dies_per_card)]) for card in cards), 0
    kind, card, chip = (_option(words, name) for name in ("-t", "-i", "-c"))
    if kind is None or card is None or not card.isdecimal() or (chip is not None and not chip.isdecimal()):
        return f"Error parameter\n{_USAGE}", 1
    return _detail(node, found, kind, int(card), None if chip is None else int(chip))


def main() -> int:
    """Run as the program."""
    text, code = answer(this_node(), sys.argv[1:])
    sys.stdout.write(text)
    return code


if __name__ == "__main__":
    sys.exit(main())
