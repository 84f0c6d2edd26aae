"""The NPU pane: every device of a node with what it does and who uses it."""

from __future__ import annotations

from console.model.durations import two_units
from console.model.snapshot import Device, NodeSnapshot
from console.model.unmanaged_process import UnmanagedProcess
from screens.figures import STALE_S, hbm_share
from screens.grid.rows import age_words
from screens.panes.base import Pane, PaneMoment
from screens.panes.link_rows import link_rows
from screens.styled_lines import Line, Row, Span, fit, shown

_HEADING = "DEV CARD HEALTH AIC  HBM GiB      %  TEMP POWER ENGINE      PROCESSES"


class NpuPane(Pane):
    """Devices of the node under the cursor; a die is a row of its own."""

    def draw_moment(self, moment: PaneMoment) -> None:
        """One row for each device, then what is wrong."""
        node = moment.node
        if node is None:
            self.empty = "no node under the cursor"
            self.show([])
            return
        self.empty = (
            "no NPU data yet" if node.expected_devices else f"{shown(node.name)} has no NPUs by its hardware entry"
        )
        rows = [Row(f"device/{device.id}", self._line(device)) for device in node.devices]
        if self.needle:
            needle = self.needle.casefold()
            rows = [row for row in rows if needle in "".join(text for text, _ in row.line).casefold()]
        rows[:0] = [*link_rows(node, self.size.width), *_remarks(node, moment.snapshot.at)]
        self.show(rows, ((_HEADING, "dim"),) if node.devices else ())

    def title(self) -> Line:
        """Node and totals."""
        node = self.moment.node if self.moment else None
        if node is None:
            return (("NPUs", "bold"),)
        power = [each.power_w for each in node.devices if each.power_w is not None]
        watts = f" {sum(power):.0f} W" if power else ""
        return (
            (f"NPUs of {shown(node.name)}", "bold"),
            (f"  {shown(node.hardware)} {len(node.devices)}/{node.expected_devices} devices{watts}", "dim"),
        )

    def _line(self, device: Device) -> Line:
        healthy = device.health in (None, "OK")
        share = hbm_share((device,))
        spans: list[Span] = [
            (f"{device.id:3d} ", "bold"),
            (fit(f"{device.card}.{device.die}", 4), "dim"),
            (
                fit(shown(device.health) if device.health else "?", 6) + " ",
                "ok" if device.health == "OK" else "stale" if healthy else "fail",
            ),
            (_number(device.aicore_percent, "%", 4) + " ", "busy" if (device.aicore_percent or 0) >= 50 else "plain"),
            (f"{_gib(device.hbm_used_mib)}/{_gib(device.hbm_total_mib)} ", "plain"),
            (self.pen.level(share) + f"{share:4.0%} " if share is not None else "    ? ", _load_role(share)),
            (_number(device.temperature_c, "C", 4) + " ", "warn" if (device.temperature_c or 0) >= 80 else "plain"),
            ("      " if device.power_w is None else f"{device.power_w:4.0f}W ", "plain"),
            (fit(shown(device.rank or "-"), 11) + " ", "plain" if device.rank else "dim"),
            (_process_words(device), "dim"),
        ]
        return tuple(spans)


def _number(value: float | None, unit: str, cells: int) -> str:
    return fit("?" if value is None else f"{value:.0f}{unit}", cells, right=True)


def _gib(mib: int | None) -> str:
    return fit("?" if mib is None else f"{mib / 1024:.1f}", 4, right=True)


def _load_role(share: float | None) -> str:
    return "stale" if share is None else "warn" if share >= 0.97 else "ok" if share >= 0.08 else "dim"


def _process_words(device: Device) -> str:
    if not device.processes:
        return "" if device.processes_known else "? table was cut"
    words = [
        f"{each.pid} {shown(each.name) or '?'}" + ("" if each.mib is None else f" {each.mib} MiB")
        for each in device.processes
    ]
    return ", ".join(words) + ("" if device.processes_known else ", perhaps more")


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
