"""Saves the undo history of an assignment beside its file, for other sessions and the command line.

A history that does not match the files is dropped.
"""

from __future__ import annotations

import json
from pathlib import Path

from console.files import assignment_data, assignment_of_data, save_assignment, save_text
from console.model.deployment import Assignment, Deployment
from console.model.errors import ConsoleError, UsageError
from console.services.placement.edits import AssignmentHistory

MOST_BYTES = 1024 * 1024


def history_path(assignment: Path) -> Path:
    """The path of the history of an assignment file."""
    return assignment.with_suffix(".history.json")


def load_history(assignment: Path, deployment: Deployment) -> AssignmentHistory:
    """The history of the deployment's assignment; empty when the file belongs to another assignment."""
    fresh = AssignmentHistory(deployment.assignment)
    try:
        path = history_path(assignment)
        if path.stat().st_size > MOST_BYTES:
            return fresh
        held = json.loads(path.read_text(encoding="utf-8"))
        now, past, future = (tuple(map(assignment_of_data, held[key])) for key in ("now", "past", "future"))
    except (OSError, ValueError, RecursionError, KeyError, TypeError):
        return fresh
    fits = all(_fits(each, deployment) for each in (*past, *future))
    return AssignmentHistory(deployment.assignment, past, future) if fits and now == (deployment.assignment,) else fresh


def save(assignment: Path, history: AssignmentHistory) -> None:
    """Save the assignment, then its history. Raises ConsoleError when the assignment cannot be written."""
    save_assignment(assignment, history.now)
    parts = {"now": (history.now,), "past": history.past, "future": history.future}
    text = json.dumps({key: [assignment_data(each) for each in some] for key, some in parts.items()})
    try:
        save_text(history_path(assignment), text + "\n")
    except ConsoleError:
        return  # the assignment is saved; without its history it cannot be undone later


def step(assignment: Path, deployment: Deployment, *, back: bool) -> AssignmentHistory:
    """The history one change back or forward, not saved yet. Raises UsageError without such a change."""
    history = load_history(assignment, deployment)
    moved = history.undone() if back else history.redone()
    if moved is history:
        raise UsageError("no change to undo" if back else "no change to redo")
    return moved


def _fits(assignment: Assignment, deployment: Deployment) -> bool:
    layout = deployment.layout.written or deployment.layout
    groups = layout.shaped(assignment.shapes, assignment.copies).groups
    named = {name for members in assignment.nodes.values() for name in members}
    return named <= set(deployment.cluster.nodes) and set(assignment.nodes) <= set(groups)
