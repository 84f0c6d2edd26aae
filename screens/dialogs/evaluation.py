"""The plan dialog for an evaluation: the same guard and the same keys, with a first line of its own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from console.model.plan import Plan
from screens.dialogs.plan import PlanDialog
from screens.paste_guard import KeyTimes
from screens.styled_lines import Line, Pen, shown
from screens.themes import Look


class EvaluationDialog(PlanDialog):
    """Asks before the deployment is loaded."""

    def __init__(
        self, look: Look, pen: Pen, keys: KeyTimes, *, words: str, cluster: str, prepare: Callable[[], Awaitable[Plan]]
    ) -> None:
        super().__init__(look, pen, keys, verb="start", target=words, cluster=cluster, prepare=prepare)

    def _title(self) -> Line:
        return (
            (shown(self._target), "danger"),
            ("  loads the deployment of ", "dim"),
            (shown(self._cluster), "title"),
        )
