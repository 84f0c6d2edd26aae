"""Which pids a node is asked about, and what is made of its answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from console.model.cluster import Node
from console.model.durations import two_units
from console.model.hardware import HARDWARE
from console.model.run import Hello, RunKey, RunState, RunVerdict
from console.model.snapshot import ClusterSnapshot, Device, Link, LinkState, Process
from console.model.unmanaged_process import UnmanagedProcess, UnmanagedReason
from console.probes.npu_smi import NpuTable
from console.services.monitoring.records import NodeRecord
from console.services.monitoring.unmanaged_watch import UnmanagedWatch, unmanaged_processes

HELLO = Hello("d0", "boot", 0, "root", "3.11.2", 0.0)
EMPTY = ClusterSnapshot(0.0, "lab", "pd")


class Ear:
    """A link that remembers what a node was told."""

    def __init__(self) -> None:
        self.told: list[list[int]] = []

    def watch_holders(self, pids: Sequence[int]) -> None:
        self.told.append(list(pids))


class Scene:
    """One node whose tables and lists of runs are given by hand."""

    def __init__(self) -> None:
        self.record = NodeRecord(Node(name="d0", hardware=HARDWARE["a3"]), link=Link(LinkState.UP), hello=HELLO)
        self.ear = Ear()
        self.watch = UnmanagedWatch({"d0": self.record}, cast(Any, {"d0": self.ear}))

    def table(self, at: float, *pids: int, mib: int | None = 100) -> None:
        holders = tuple(Process(pid, "x", mib) for pid in pids)
        devices = (Device(0, 0, processes=holders), Device(1, 0, processes=holders[:1]))
        self.record.table, self.record.table_at = NpuTable(devices=devices), at
        self.watch.update(EMPTY)

    def runs(self, *pids: int) -> None:
        key = RunKey("pd", "decode-0", "r")
        self.record.runs = {key: RunState(key, RunVerdict.RUNNING, pids=pids)}

    def says(self, *found: UnmanagedProcess) -> None:
        self.record.unmanaged = found
        self.watch.update(EMPTY)


def test_the_first_table_counts_at_once_and_a_later_one_only_when_it_is_confirmed() -> None:
    scene = Scene()
    scene.runs(7)
    scene.table(1.0, 7, 8)
    assert scene.ear.told == [[8]]
    scene.runs()
    scene.table(2.0, 7, 8)
    assert scene.ear.told == [[8]], "7 may have ended after the table was taken"
    scene.table(3.0, 7, 8)
    assert scene.ear.told[-1] == [7, 8]
    scene.table(4.0)
    assert scene.ear.told[-1] == []


def test_a_new_helper_is_told_again() -> None:
    scene = Scene()
    scene.table(1.0, 8)
    scene.record.hello = Hello("d0", "boot", 0, "root", "3.11.2", 9.0)
    scene.table(2.0, 8)
    assert scene.ear.told == [[8], [8]]


def test_a_process_that_has_just_ended_is_not_called_a_leak_by_an_old_table() -> None:
    scene = Scene()
    scene.table(1.0, 8)
    assert not scene.watch.complete()
    scene.says(UnmanagedProcess(8, 1, why=UnmanagedReason.HBM))
    assert scene.watch.complete()
    scene.says(UnmanagedProcess(8, why=UnmanagedReason.GONE))
    assert scene.ear.told[-1] == []
    scene.table(2.0, 8)
    assert scene.ear.told[-1] == [8], "npu-smi still names it: the driver did not let go"


def test_what_a_tree_holds_is_summed_and_unknown_stays_unknown() -> None:
    scene = Scene()
    scene.table(1.0, 8, 9)
    scene.record.clock_offset_s = 5.0
    scene.record.unmanaged = (
        UnmanagedProcess(8, 1, below=(9,), started_at=100.0),
        UnmanagedProcess(10, 1),
        UnmanagedProcess(11, why=UnmanagedReason.HBM),
    )
    top, other = unmanaged_processes(scene.record)
    assert (top.mib, top.devices, top.started_at) == (300, (0, 1), 95.0)
    assert (other.pid, other.mib, other.devices) == (10, None, ())
    scene.table(2.0, 8, 9, mib=None)
    assert unmanaged_processes(scene.record)[0].mib is None


def test_secrets_of_a_command_line_are_masked() -> None:
    scene = Scene()
    scene.record.unmanaged = (UnmanagedProcess(8, 1, command="vllm serve /m --api-key sk-1 sk-2 --port 80"),)
    assert unmanaged_processes(scene.record)[0].command == "vllm serve /m --api-key ******** --port 80"


def test_ages_are_said_in_two_units() -> None:
    assert [two_units(each) for each in (0.4, 59, 61, 3600, 90061)] == [
        "0 s",
        "59 s",
        "1 min 1 s",
        "1 h 0 min",
        "1 d 1 h",
    ]
