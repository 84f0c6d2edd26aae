"""The full state of the cluster as text, because the header shortens it. Asks no node."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from console.model.counting import counted
from console.model.state import LinkState
from screens.controllers.base import Controller
from screens.header import SERVICES
from screens.styled_lines import Line, shown
from screens.themes import link_sign, signs_of
from screens.widgets import Verbs

if TYPE_CHECKING:
    from console.model.snapshot import ClusterSnapshot
    from screens.fleet import Fleet
    from screens.interaction import Interaction
    from screens.styled_lines import Pen


@dataclass(eq=False)
class StatusText(Controller):
    """The key and the command `status`."""

    interaction: Interaction
    fleet: Fleet

    def verbs(self) -> Verbs:
        """What it does for action ids."""
        return {"status": self.show}

    def show(self) -> None:
        """Show it over the screen."""
        snapshot = self.fleet.snapshot
        title: Line = (("status of ", "plain"), (shown(f"{snapshot.cluster} {snapshot.deployment}"), "bold"))
        self.interaction.read(title, status_lines(snapshot, self.interaction.pen))


def status_lines(snapshot: ClusterSnapshot, pen: Pen) -> list[Line]:
    """Verdict, engines by state, alerts with their remedies, links that are not up with their reasons, what is at work."""
    lines: list[Line] = []
    service = snapshot.service
    if service is not None:
        lines.append(((shown(service.words()), f"bold {SERVICES[service.state]}"),))
    lines += [((f"console fault: {shown(each)}", "fail"),) for each in snapshot.faults]
    for sign, _, count in signs_of(snapshot.engines.values()):
        lines.append(((f"{pen.sign(sign)} {counted(count, 'engine')} {sign.word}", sign.role),))
    for alert in snapshot.alerts:
        role = "fail" if alert.level == "error" else "warn"
        lines.append(((shown(f"alert: {alert.title}"), role),))
        lines += [
            ((shown(f"  {words}"), tone),) for words, tone in ((alert.text, "plain"), (alert.remedy, "key")) if words
        ]
    up = [node for node in snapshot.nodes.values() if node.link.state is LinkState.UP]
    lines.append(((f"{len(up)} of {counted(len(snapshot.nodes), 'node')} linked", "plain"),))
    for node in snapshot.nodes.values():
        if node.link.state is not LinkState.UP:
            sign = link_sign(node)
            why = f": {node.link.reason}" if node.link.reason else ""
            lines.append(((shown(f"{node.name} {sign.word}{why}"), sign.role),))
            lines += [((shown(f"  {node.link.hint}"), "key"),)] if node.link.hint else []
    if snapshot.holder:
        lines.append(((shown(snapshot.holder), "warn"),))
    lines += [((shown(task.name), "busy"),) for task in snapshot.tasks]
    return lines
