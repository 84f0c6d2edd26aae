"""The list of unmanaged processes, from which the plan to stop one is opened."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from console.model.durations import two_units
from console.model.snapshot import ClusterSnapshot, NodeSnapshot
from console.model.unmanaged_process import UnmanagedProcess
from screens.controllers.base import Controller
from screens.styled_lines import Line, Row, Span, fit, shown, wrap
from screens.widgets import Verbs

if TYPE_CHECKING:
    from screens.fleet import Fleet
    from screens.grid.grid import Grid
    from screens.interaction import Interaction

End = Literal["stop", "kill"]
_CELLS = 70
_HEADING = f"{'NODE':9} {'PID':>8} {'OWNER':9} {'AGE':>11} {'HBM MiB':>8}  COMMAND"


@dataclass(eq=False)
class UnmanagedList(Controller):
    """Shows them, and lets the operator plan the end of one."""

    interaction: Interaction
    fleet: Fleet
    grid: Grid
    end_process: Callable[[End, str, int], None]
    """Shows the plan that stops or kills a process of a node by its pid."""

    def verbs(self) -> Verbs:
        """The key that leads here."""
        return {"unmanaged": self.show}

    def show(self) -> None:
        """Those of the node under the cursor; those of all nodes when it has none."""
        snapshot = self.fleet.snapshot
        node = snapshot.nodes.get(self.grid.target.node or "")
        nodes = [node] if node is not None and node.unmanaged else list(snapshot.nodes.values())
        if not any(each.unmanaged for each in nodes):
            self.interaction.notify("no node has an unmanaged vLLM or an unmanaged holder of HBM")
            return
        self.interaction.start("say", self._show, snapshot, nodes)

    async def _show(self, snapshot: ClusterSnapshot, nodes: Sequence[NodeSnapshot]) -> None:
        found = {f"{node.name}/{each.pid}": (node.name, each) for node in nodes for each in node.unmanaged}
        rows = [Row(key, _line(node, each, snapshot.at)) for key, (node, each) in found.items()]
        count = f"{len(rows)} process{'es' if len(rows) != 1 else ''}"
        key = await self.interaction.choose(
            ((count, "bold"), (" that no console started", "plain")),
            [Row("-heading", ((_HEADING, "dim"),)), *rows],
            (("Enter", "key"), (" what can be done  ", "dim"), ("esc", "key"), (" close", "dim")),
            preview=lambda key: _words(found[key][1]) if key in found else (),
        )
        if key in found:
            await self._offer(*found[key])

    async def _offer(self, node: str, process: UnmanagedProcess) -> None:
        rows = [Row("copy", (("copy   ", "key"), ("its command line, to your clipboard and a file", "plain")))]
        if not self.fleet.session.read_only:
            rows += [
                Row("stop", (("stop   ", "danger"), ("plan a TERM for it; nothing is killed", "plain"))),
                Row("kill", (("kill   ", "danger"), ("plan a KILL for the process and its child processes", "plain"))),
            ]
        title: Line = (("pid ", "plain"), (str(process.pid), "bold"), (f" on {shown(node)}: what to do?", "plain"))
        foot: Line = (("Enter", "key"), (" choose  ", "dim"), ("esc", "key"), (" close  ", "dim"))
        chosen = await self.interaction.choose(title, rows, (*foot, ("a plan is shown first", "dim")))
        if chosen == "copy":
            self.interaction.copy_out(process.command)
        elif chosen is not None:
            self.end_process("kill" if chosen == "kill" else "stop", node, process.pid)


def _line(node: str, process: UnmanagedProcess, now: float) -> Line:
    age = process.age_s(now)
    spans: list[Span] = [
        (fit(shown(node), 9) + " ", "bold"),
        (f"{process.pid:>8} ", "warn"),
        (fit(shown(process.owner) or "?", 9) + " ", "plain"),
        (fit("?" if age is None else two_units(age), 11, right=True) + " ", "plain"),
        (fit("-" if process.mib is None else str(process.mib), 8, right=True) + "  ", "plain"),
        (f"+{len(process.below)} " if process.below else "", "dim"),
        (shown(process.command) or shown(process.reason), "plain"),
    ]
    return tuple(spans)


def _words(process: UnmanagedProcess) -> list[Line]:
    lines: list[Line] = [((piece, "warn"),) for piece in wrap(shown(process.reason), _CELLS)]
    if process.container:
        lines.append((("in container ", "dim"), (shown(process.container), "plain")))
    if process.below:
        below = ", ".join(str(each) for each in process.below)
        lines.extend(((piece, "plain"),) for piece in wrap(f"with what descends from it: {below}", _CELLS)[:2])
    if process.devices:
        held = "an unknown amount" if process.mib is None else f"{process.mib} MiB"
        on = ", ".join(str(each) for each in process.devices)
        lines.extend(((piece, "plain"),) for piece in wrap(f"holds {held} of HBM on devices {on}", _CELLS))
    lines.extend(((piece, "dim"),) for piece in wrap(shown(process.command), _CELLS)[:6])
    return lines
