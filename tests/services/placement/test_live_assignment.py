"""Changing which node runs which group: saved, taken back, and refused while engines run on a place that would change."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from console.files import load_assignment
from console.model.deployment import Deployment
from console.model.errors import Refused, UsageError
from console.model.snapshot import Device, EngineState, NodeSnapshot, Process
from console.services.monitoring.current_deployment import CurrentDeployment
from console.services.monitoring.monitor import Monitor
from console.services.placement.edits import assign, auto_assign, resize, swap, unassign
from console.services.placement.live_assignment import LiveAssignment
from console.services.placement.undo_history import history_path
from tests.services.deployments import deployment, picture


class Board:
    """What roles need of a monitor."""

    def __init__(self, **states: EngineState) -> None:
        self.current_deployment = CurrentDeployment(deployment(), {}, lambda *_, **__: None)
        named = {name.replace("_", "-"): state for name, state in states.items()}
        self.snapshot = picture(named, self.deployment)
        self.notes: list[str] = []
        self.read_only = False

    @property
    def deployment(self) -> Deployment:
        return self.current_deployment.current

    def note(self, level: object, text: str) -> None:
        self.notes.append(text)

    def publish(self) -> None:
        self.snapshot = replace(self.snapshot)


def roles(board: Board, tmp_path: Path) -> LiveAssignment:
    return LiveAssignment(cast(Monitor, board), tmp_path / "roles.yaml")


def test_each_change_is_one_step_back_and_is_on_disk(tmp_path: Path) -> None:
    board = Board()
    made = roles(board, tmp_path)
    made.change(lambda now: swap(now, "p0", "d1"))
    assert board.deployment.assignment.of("prefill") == ("d1", "p1")
    assert load_assignment(tmp_path / "roles.yaml") == board.deployment.assignment
    made.change(lambda now: resize(now, "decode", tensor_parallel=4))
    assert len([rank for rank in board.deployment.ranks() if rank.group == "decode"]) == 8
    assert made.undo()
    assert made.undo()
    assert not made.undo()
    assert board.deployment.assignment == deployment().assignment
    assert len(board.deployment.ranks()) == 6
    assert made.redo()
    assert board.deployment.assignment.of("prefill") == ("d1", "p1")
    assert load_assignment(tmp_path / "roles.yaml") == board.deployment.assignment


def test_the_way_back_outlives_the_session_and_is_forgotten_where_it_does_not_fit(tmp_path: Path) -> None:
    first = Board()
    roles(first, tmp_path).change(lambda now: swap(now, "p0", "d1"))
    later = Board()
    later.current_deployment.change(first.deployment)
    made = roles(later, tmp_path)
    assert made.undo()
    assert later.deployment.assignment == deployment().assignment
    again = Board()
    assert roles(again, tmp_path).redo(), "what was taken back in another session"
    assert again.deployment.assignment == first.deployment.assignment
    assert not roles(Board(), tmp_path).undo(), "somebody else's file tells of another assignment"
    kept = history_path(tmp_path / "roles.yaml")
    for broken in (b"", b"[]", b'{"now": 7}', kept.read_bytes().replace(b"p0", b"p9"), b"[" * 100_000, b"\xff"):
        kept.write_bytes(broken)
        assert not roles(again, tmp_path).undo()


def test_a_place_whose_engine_runs_stays_as_it_is(tmp_path: Path) -> None:
    board = Board(decode_0=EngineState.READY)
    made = roles(board, tmp_path)
    with pytest.raises(Refused, match="decode-0 runs on d0"):
        made.change(lambda now: swap(now, "d0", "d1"))
    assert not (tmp_path / "roles.yaml").exists()
    made.change(lambda now: swap(now, "p0", "p1"))
    assert board.deployment.assignment.of("decode") == ("d0", "d1")


def test_a_state_nobody_knows_counts_as_running(tmp_path: Path) -> None:
    board = Board(decode_0=EngineState.UNREACHABLE)
    with pytest.raises(Refused):
        roles(board, tmp_path).change(lambda now: unassign(now, ["d0"]))


def test_what_cannot_be_changes_nothing(tmp_path: Path) -> None:
    board = Board()
    made = roles(board, tmp_path)
    with pytest.raises(UsageError):
        made.change(lambda now: assign(now, "nonsense", ["p0"]))
    assert not made.undo()


def test_groups_are_filled_from_nodes_that_nobody_uses(tmp_path: Path) -> None:
    board = Board()
    made = roles(board, tmp_path)
    made.change(lambda now: unassign(now, ["p0", "p1", "d0", "d1"]))
    devices = tuple(Device(id=number, card=number // 2) for number in range(16))
    busy = tuple(replace(device, processes=(Process(1, "other", 60000),)) for device in devices)
    nodes = {
        name: NodeSnapshot(name, name, "a3", 16, devices=busy if name == "p0" else devices)
        for name in ("p0", "p1", "d0", "d1")
    }
    board.snapshot = replace(board.snapshot, nodes=nodes)
    free = made.free_devices()
    assert free == {"p0": 0, "p1": 16, "d0": 16, "d1": 16}
    made.change(lambda now: auto_assign(now, free))
    assert board.deployment.assignment.of("prefill") == ("p1", "d0")
    assert board.deployment.assignment.of("decode") == ("d1",)


def test_what_is_tried_out_read_only_is_kept_by_nobody(tmp_path: Path) -> None:
    board = Board()
    board.read_only = True
    made = roles(board, tmp_path)
    made.change(lambda now: swap(now, "p0", "d1"))
    assert board.deployment.assignment.of("prefill") == ("d1", "p1")
    made.save()
    assert made.undo()
    assert not (tmp_path / "roles.yaml").exists()


def test_who_carries_what_is_kept_as_it_is_where_it_was_only_said(tmp_path: Path) -> None:
    board = Board()
    roles(board, tmp_path).save()
    assert load_assignment(tmp_path / "roles.yaml") == board.deployment.assignment


def test_what_another_console_kept_meanwhile_is_one_step_back_and_not_lost(tmp_path: Path) -> None:
    board = Board()
    mine = roles(board, tmp_path)
    roles(Board(), tmp_path).change(lambda now: swap(now, "p0", "d1"))
    others = load_assignment(tmp_path / "roles.yaml")
    mine.save()
    assert load_assignment(tmp_path / "roles.yaml") == board.deployment.assignment != others
    assert mine.undo()
    assert load_assignment(tmp_path / "roles.yaml") == board.deployment.assignment == others
