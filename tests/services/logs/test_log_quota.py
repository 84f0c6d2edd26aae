"""The copies of one node's logs have a share of the disk; the oldest go first, and what is left is read as it was."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from console.model.errors import ConsoleError
from console.model.run import LogChunk, RunKey
from console.probes.log_time import Around, Clock, utc
from console.services.logs import copies, quota
from console.services.logs.copies import LogBook, LogCopy
from console.services.logs.lines import Readers, Timing, tail_offset
from console.services.logs.punching import punch
from console.services.logs.quota import Quota

MIB = 1 << 20
LIMIT = 8 * MIB
LINE = b"INFO 11-24 10:00:00 [a.py:1] line %07d " + b"x" * 58 + b"\n"
LINES = MIB // len(LINE % 0)


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A disk that is full, but for eight MiB that every node has."""
    with (tmp_path / "probe").open("wb") as file:
        file.write(bytes(MIB))
        file.flush()
        try:
            punch(file.fileno(), 0, MIB)
        except OSError as error:
            pytest.skip(f"no holes on this file system: {error}")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=0))
    for name, value in {"LEAST_BYTES": LIMIT, "CHECK_BYTES": MIB, "AT_ONCE_BYTES": 2 * MIB}.items():
        monkeypatch.setattr(quota, name, value)
    for name, value in {"KEPT_BEGIN": MIB // 4, "KEPT_END": MIB}.items():
        monkeypatch.setattr(copies, name, value)


class Node:
    """What a session does with the logs of a node that sends and sends."""

    def __init__(self, root: Path) -> None:
        self.book = LogBook(root, lambda engine: RunKey("dep", engine, "r2"))
        self.quota = Quota(root)
        self.told: list[str] = []

    def send(self, engine: str, mib: int, run: str = "r2") -> LogCopy:
        """So many MiB of numbered lines more."""
        copy = self.book.of(RunKey("dep", engine, run))
        current = [self.book.of(RunKey("dep", each, "r2")) for each in ("a", "b")]
        for _ in range(mib):
            first = copy.size // len(LINE % 0)
            data = b"".join(LINE % number for number in range(first, first + LINES))
            if gone := self.quota.take("d0", copy, len(data), lambda: current):
                self.told.append(gone)
            copy.store(LogChunk(copy.key, copy.size, data, copy.size + len(data)))
        return copy


def on_disk(root: Path) -> int:
    """Bytes that all copies take."""
    return sum(path.stat().st_blocks * 512 for path in root.rglob("*.log*"))


def test_earlier_runs_go_first_then_the_oldest_part_of_the_largest_log(tmp_path: Path) -> None:
    root = tmp_path / "logs"
    node = Node(root)
    earlier = node.send("a", 4, "r1").path
    small = node.send("b", 2)
    assert node.told == []
    copy = node.send("a", 3)
    assert not earlier.exists()
    assert copy.gap is None
    copy = node.send("a", 17)
    assert copy.size == 20 * LINES * len(LINE % 0), "its size is where the node goes on, whatever went"
    assert on_disk(root) <= LIMIT + 2 * MIB
    assert small.gap is None
    assert copy.gap is not None
    assert copy.gap.begin >= MIB // 4
    assert copy.read(0, copy.gap.begin) == b"".join(LINE % number for number in range(copy.gap.begin // len(LINE % 0)))
    assert node.told[0].startswith("log copies are over their share of this disk (8 MiB): the oldest ")
    assert len(node.told) <= 5, "told again once it is twice as much"
    again = LogCopy(copy.key, copy.path)
    assert again.gap == copy.gap
    assert again.notes == copy.notes
    assert "are not here any more" in copy.notes[-1].text
    assert copy.notes[-1].offset == copy.gap.end

    told: list[str] = []
    timing = Timing(Clock(utc, Around.until(0.0)), None)
    readers = Readers(node.book, ("a",), lambda *_: timing, lambda _, what: told.append(what))
    numbers = [int(line.text.split()[5]) for line in readers.lines()]
    cut = next(at for at in range(1, len(numbers)) if numbers[at] != numbers[at - 1] + 1)
    assert numbers[: cut + 1] == [*range(cut), copy.gap.end // len(LINE % 0)]
    assert numbers[cut:] == list(range(numbers[cut], 20 * LINES))
    assert "not here any more" in told[0]
    assert copy.read(tail_offset(copy, 2), MIB).splitlines() == [
        (LINE % (20 * LINES - 2))[:-1],
        (LINE % (20 * LINES - 1))[:-1],
    ]
    assert tail_offset(copy, 10**9) == copy.gap.end


def test_a_new_session_knows_what_a_node_has_here_and_a_disk_without_holes_takes_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "logs"
    Node(root).send("gone", 6, "r0")
    node = Node(root)
    node.send("a", 6)
    assert not (root / "dep/gone/r0.log").exists()

    def never(*_: object) -> None:
        raise OSError(95, os.strerror(95))

    monkeypatch.setattr(copies, "punch", never)
    with pytest.raises(ConsoleError, match=r"the log copies of d0 take .* more than their share of this disk"):
        node.send("a", 8)
    size = node.book.of(RunKey("dep", "a", "r2")).size
    assert size <= LIMIT
    assert on_disk(root) <= LIMIT


def test_an_honest_log_of_any_size_that_fits_into_half_of_the_free_disk_is_left_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=40 * MIB))
    node = Node(tmp_path / "logs")
    assert node.send("a", 24).gap is None
    assert node.told == []
