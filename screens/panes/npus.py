"""The NPU pane: the health of the devices of a node, then each device with its load, recent load and user."""

from __future__ import annotations

from dataclasses import dataclass

from console.model.counting import counted
from console.model.durations import two_units
from console.model.name_ranges import name_ranges
from console.model.snapshot import ClusterSnapshot, Device, NodeSnapshot
from console.model.state import Grade
from console.model.unmanaged_process import UnmanagedProcess
from screens.charts import bar, sparkline
from screens.figures import STALE_S, device_figures, hbm_share, percent, power
from screens.grid.rows import age_words
from screens.pane_moment import PaneMoment
from screens.panes.base import Pane
from screens.panes.columns import Column, fitting, heading, table_row, widest
from screens.panes.device_history import STEPS, DeviceHistory
from screens.panes.link_rows import link_rows
from screens.styled_lines import Line, Pen, Row, Span, shown
from screens.themes import GRADES, Sign

BAR_CELLS = 10
_FULL, _FREE = 0.97, 0.08


@dataclass(frozen=True, slots=True)
class DeviceRow:
    """A device and what the cells of its row are drawn from."""

    device: Device
    aicore: tuple[float | None, ...]
    """The last two minutes, per cent."""
    pen: Pen


class NpuPane(Pane):
    """Devices of the node under the cursor; a die is a row of its own."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._history = DeviceHistory()

    def observe(self, snapshot: ClusterSnapshot) -> None:
        """Keep what a snapshot tells of the devices, though the pane may be hidden."""
        self._history.observe(snapshot)

    def draw_moment(self, moment: PaneMoment) -> None:
        """The verdict, what is wrong, then one row for each device."""
        self._history.observe(moment.snapshot)
        node = moment.node
        if node is None:
            self.empty = "no node under the cursor"
            self.show([])
            return
        self.empty = (
            "no NPU data yet"
            if node.expected_devices
            else f"{shown(node.name)} has no NPUs according to the cluster file"
        )
        names = [shown(each.rank) for each in node.devices if each.rank]
        columns = fitting(_columns(widest(names, 6, 20)), self.cells - 1)
        rows = [
            Row(
                f"device/{each.id}",
                table_row(
                    columns,
                    DeviceRow(each, self._history.aicore(moment.snapshot.cluster, node, each.id), self.pen),
                ),
            )
            for each in node.devices
        ]
        if self.needle:
            needle = self.needle.casefold()
            rows = [row for row in rows if needle in "".join(text for text, _ in row.line).casefold()]
        rows[:0] = [*link_rows(node, self.cells), *_remarks(node, moment.snapshot.at)]
        self.show(rows, heading(columns) if node.devices else ())

    def title(self) -> Line:
        """The node, whether its devices are all there and healthy, and their figures together."""
        node = self.moment.node if self.moment else None
        if node is None:
            return (("NPUs", "bold"),)
        name: Line = ((f"NPUs of {shown(node.name)}", "bold"),)
        if not node.devices:
            return (*name, (f"  {shown(node.hardware)}", "dim"))
        sign, words = _health(node)
        figures = device_figures(node.devices)
        named = (
            ("HBM", percent(figures.hbm)),
            ("AICore", percent(figures.aicore)),
            ("hottest", "" if figures.temperature_c is None else f"{figures.temperature_c}C"),
            ("", f"{power(figures.power_w)} {self._power_curve(node)}".strip()),
        )
        parts = [shown(node.hardware), *(f"{label} {text}".lstrip() for label, text in named if text)]
        dim: list[Span] = [(f"  {part}", "dim") for part in parts]
        return (*name, (f"  {self.pen.sign(sign)} {words}", sign.role), *dim)

    def _power_curve(self, node: NodeSnapshot) -> str:
        """The power of the node in the last two minutes, from zero to its highest; nothing before there are two values."""
        known = self._history.power(self.moment.snapshot.cluster, node) if self.moment else ()
        enough = sum(value is not None for value in known) > 1
        return sparkline(known, STEPS // 2, self.pen).strip() if enough else ""


def _health(node: NodeSnapshot) -> tuple[Sign, str]:
    ill = [each for each in node.devices if each.health not in (None, "OK")]
    unknown = sum(each.health is None for each in node.devices)
    if ill:
        return GRADES[Grade.FAIL], f"{len(ill)} of {counted(len(node.devices), 'device')} not healthy"
    if node.devices_whole and len(node.devices) < node.expected_devices:
        return GRADES[
            Grade.FAIL
        ], f"{node.expected_devices - len(node.devices)} of {node.expected_devices} devices missing"
    if unknown:
        cut = "" if all(each.processes_known for each in node.devices) else ": npu-smi was cut off"
        return GRADES[Grade.UNKNOWN], f"health of {counted(unknown, 'device')} unknown{cut}"
    return GRADES[Grade.OK], f"all {counted(len(node.devices), 'device')} healthy"


def _columns(engine_cells: int) -> tuple[Column[DeviceRow], ...]:
    """All columns; the number and health of a device and its HBM always stay."""
    bar_cells = BAR_CELLS + 5
    return (
        Column("DEV", 3, 0, lambda row: ((str(row.device.id), "bold"),), right=True),
        Column("", 1, 0, _sign),
        Column("CARD", 4, 9, lambda row: ((f"{row.device.card}.{row.device.die}", "dim"),)),
        Column("HBM", bar_cells, 0, _hbm),
        Column("GIB", 9, 8, _gib),
        Column("AICORE", bar_cells, 2, _aicore),
        Column("LAST 2 MIN", STEPS // 2, 4, _curve),
        Column("TEMP", 4, 3, _temperature, right=True),
        Column("POWER", 5, 7, lambda row: ((power(row.device.power_w), "plain"),), right=True),
        Column("ENGINE", engine_cells, 1, lambda row: ((shown(row.device.rank or "-"), "plain" if row.device.rank else "dim"),)),
        Column("PROCESS", 9, 5, lambda row: ((_process_words(row.device), "dim"),)),
    )  # fmt: skip


def _sign(row: DeviceRow) -> Line:
    health = row.device.health
    sign = GRADES[Grade.OK if health == "OK" else Grade.UNKNOWN if health is None else Grade.FAIL]
    return ((row.pen.sign(sign), sign.role),)


def _hbm(row: DeviceRow) -> Line:
    share = hbm_share((row.device,))
    role = "stale" if share is None else "warn" if share >= _FULL else "plain" if share >= _FREE else "dim"
    return (*bar(share, BAR_CELLS, row.pen, role=role), (f"{share:5.0%}" if share is not None else "    ?", role))


def _gib(row: DeviceRow) -> Line:
    used, total = (
        "?" if mib is None else f"{mib / 1024:.1f}" for mib in (row.device.hbm_used_mib, row.device.hbm_total_mib)
    )
    return ((f"{used:>4}/{total:>4}", "plain"),)


def _aicore(row: DeviceRow) -> Line:
    busy = row.device.aicore_percent
    if busy is None:
        return ((" " * (BAR_CELLS + 4) + "?", "stale"),)
    role = "busy" if busy else "dim"
    return (*bar(busy / 100, BAR_CELLS, row.pen, role=role), (f"{busy:4d}%", role))


def _curve(row: DeviceRow) -> Line:
    return ((sparkline(row.aicore, STEPS // 2, row.pen, top=100.0), "busy"),)


def _temperature(row: DeviceRow) -> Line:
    heat = row.device.temperature_c
    return (("?" if heat is None else f"{heat}C", "stale" if heat is None else "warn" if heat >= 80 else "plain"),)


def _process_words(device: Device) -> str:
    """The first process, and how many more there are."""
    if not device.processes:
        return "" if device.processes_known else "? table was cut"
    first, more = device.processes[0], len(device.processes) - 1
    size = "" if first.mib is None else f" {first.mib / 1024:.1f} GiB"
    rest = (f" +{more}" if more else "") + ("" if device.processes_known else ", perhaps more")
    return f"{first.pid}{rest} {shown(first.name) or '?'}{size}"


def _remarks(node: NodeSnapshot, now: float) -> list[Row]:
    rows = []
    age = node.age_s(now)
    if node.devices_error:
        rows.append(Row("remark/error", ((shown(node.devices_error), "fail"),)))
    if node.devices and age is not None and age > STALE_S:
        rows.append(Row("remark/age", ((f"this data is {age_words(age)} old", "stale"),)))
    short = node.expected_devices - len(node.devices)
    if node.devices and node.devices_whole and short > 0:
        rows.append(
            Row("remark/short", ((f"{short} of {node.expected_devices} devices are not listed by npu-smi", "fail"),))
        )
    ill: dict[str, list[str]] = {}
    for each in node.devices:
        if each.health not in (None, "OK"):
            ill.setdefault(each.health, []).append(f"device {each.id}")
    rows.extend(
        Row(f"remark/health/{health}", ((f"npu-smi reports {shown(health)}: {name_ranges(names)}", "fail"),))
        for health, names in ill.items()
    )
    rows.extend(
        Row(f"remark/unmanaged/{each.pid}", ((f"unmanaged (U): {_unmanaged_words(each, now)}", "warn"),))
        for each in node.unmanaged
    )
    return rows


def _unmanaged_words(process: UnmanagedProcess, now: float) -> str:
    """An unmanaged process in a line: pid, owner, age, command."""
    age = process.age_s(now)
    since = "" if age is None else f" for {two_units(age)}"
    owner = f" of {shown(process.owner)}" if process.owner else ""
    return f"pid {process.pid}{owner}{since}: {shown(process.command or process.reason)}"
