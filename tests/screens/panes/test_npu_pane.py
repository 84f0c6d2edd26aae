"""The NPU pane: the verdict in the title, the load of two minutes even while the pane was hidden, and who uses a device."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from console.model.snapshot import Device, Process
from screens.panes.columns import Column, fitting, table_row
from screens.panes.device_history import STEPS, DeviceHistory
from screens.short_names import names_in
from screens.styled_lines import plain
from tests.screens.fakes import NOW, FakeSession
from tests.screens.seen import LARGE, SMALL, running


def devices(count: int = 16, busy: int = 40, **changes: object) -> tuple[Device, ...]:
    made = [
        Device(at, at // 2, at % 2, health="OK", aicore_percent=busy, hbm_used_mib=58000, hbm_total_mib=65536)
        for at in range(count)
    ]
    return tuple(replace(each, **changes) for each in made)  # type: ignore[arg-type]


def test_two_minutes_of_each_device_are_kept_and_what_was_not_sampled_is_unknown(tmp_path: Path) -> None:
    session = FakeSession(tmp_path)
    history = DeviceHistory()
    for at, busy in ((NOW - 200, 1), (NOW - 100, 2), (NOW - 10, 3), (NOW - 5, 4), (NOW, 5)):
        session.set_node("p0", devices=devices(busy=busy), sampled_at=at)
        history.observe(session.snapshot)
        history.observe(session.snapshot)
    seen = history.aicore(session.cluster.name, session.snapshot.nodes["p0"], 3)
    assert len(seen) == STEPS
    assert seen[-3:] == (3, 4, 5)
    assert [each for each in seen if each is not None] == [2, 3, 4, 5]
    assert seen[STEPS - 1 - 20] == 2
    assert set(history.aicore(session.cluster.name, session.snapshot.nodes["p0"], 99)) == {None}


def test_a_snapshot_from_before_begins_again(tmp_path: Path) -> None:
    session = FakeSession(tmp_path)
    history = DeviceHistory()
    for at in (NOW, NOW + 5, NOW - 60):
        session.set_node("p0", devices=devices(), sampled_at=at)
        history.observe(session.snapshot)
    seen = history.aicore(session.cluster.name, session.snapshot.nodes["p0"], 0)
    assert [each for each in seen if each is not None] == [40]


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["80x24", "120x40"])
async def test_the_title_says_whether_all_devices_are_healthy(tmp_path: Path, size: tuple[int, int]) -> None:
    session = FakeSession(tmp_path)
    session.set_node("p0", devices=devices())
    async with running(session, size) as seen:
        await seen.press("3")
        await seen.sees("NPUs of p0  ✓ all 16 devices healthy")
        session.set_node("p0", devices=(*devices(14), *devices(16, health="[b]Alarm")[14:]))
        await seen.sees("✗ 2 of 16 devices not healthy")
        await seen.sees("npu-smi reports [b]Alarm: device 14, device 15")
        session.set_node("p0", devices=devices(13))
        await seen.sees("✗ 3 of 16 devices missing")
        session.set_node("p0", devices=devices(16, health=None))
        await seen.sees("? health of 16 devices unknown")


async def test_the_curve_knows_what_passed_while_the_pane_was_hidden(tmp_path: Path) -> None:
    session = FakeSession(tmp_path)
    async with running(session, LARGE) as seen:
        for step in range(STEPS):
            session.set_node("p0", devices=devices(busy=100), sampled_at=NOW - 5.0 * (STEPS - 1 - step))
        await seen.press("3")
        await seen.sees("⣿" * (STEPS // 2))


async def test_the_power_of_a_node_has_a_curve_once_there_is_more_than_one_value(tmp_path: Path) -> None:
    session = FakeSession(tmp_path)
    async with running(session, LARGE) as seen:
        await seen.press("3")
        await seen.sees("kW ")
        assert "kW ⣿" not in seen.text()
        for step in range(STEPS):
            drawing = tuple(replace(each, power_w=410.0) for each in devices())
            session.set_node("p0", devices=drawing, sampled_at=NOW - 5.0 * (STEPS - 1 - step))
        await seen.sees("kW " + "⣿" * (STEPS // 2))


async def test_of_many_processes_the_first_is_named_and_the_others_are_counted(tmp_path: Path) -> None:
    session = FakeSession(tmp_path)
    many = tuple(Process(9000 + at, "VLLM::Worker_TP", 1024) for at in range(16))
    session.set_node("p0", devices=devices(processes=many))
    async with running(session, LARGE) as seen:
        await seen.press("3")
        await seen.sees("9000 +15 VLLM::Worker_TP 1.0 GiB")
        session.set_node("p0", devices=devices(processes=(), processes_known=False))
        await seen.sees("? table was cut")


def test_the_least_important_columns_go_first_and_a_last_one_may_be_long() -> None:
    columns: list[Column[str]] = [
        Column("A", 3, 0, lambda text: ((text, ""),)),
        Column("B", 5, 2, lambda text: ((text, ""),), right=True),
        Column("C", 4, 1, lambda text: ((text, ""),)),
    ]
    assert ["".join(each.title for each in fitting(columns, cells)) for cells in (14, 13, 8, 7, 1)] == [
        "ABC", "AC", "AC", "A", "A",
    ]  # fmt: skip
    assert plain(table_row(columns, "x")) == "x       x x "
    assert plain(table_row(columns, "abcdefgh")) == "ab~ abcd~ abcdefgh "


def test_ranges_of_names_are_never_cut() -> None:
    names = [f"decode-{at}" for at in (0, 1, 2, 4, 5, 6, 7, 8, 10)]
    assert [names_in(names, cells) for cells in (40, 33, 20, 4)] == [
        "decode-0..2, decode-4..8, decode-10",
        "decode-0..2, decode-4..8 +1 more",
        "decode-0..2 +6 more",
        "decode-0..2 +6 more",
    ]
