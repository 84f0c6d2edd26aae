"""A copy of a log that is not what its node has is found, told and fixed, from a real helper's files."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import random
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from console.model.errors import NodeError
from console.model.run import LogChunk, RunKey
from console.remote import frame_decoding
from console.services.logs.copies import LogCopy
from console.services.monitoring.intervals import Intervals
from console.services.monitoring.log_verification import PART_BYTES, LogVerification
from tests.node.driver import Driver, Refused, helper
from tests.services.monitoring.test_monitor import READY_LOG, FakeLink, Scene, key, running
from tests.waiting import until

SIZE = PART_BYTES * 3 + 12345


class HelperLink(FakeLink):
    """Asks a real helper for what a comparison needs."""

    def __init__(self, node: Driver) -> None:
        super().__init__()
        self._node = node
        self.asked: list[tuple[int, int]] = []

    async def digest(self, key: RunKey, offset: int, length: int) -> tuple[int, str]:
        """As `Requests.digest`."""
        self.asked.append((offset, length))
        words = [key.deployment, key.engine, key.run]
        try:
            reply, _ = await asyncio.to_thread(self._node.ask, "digest", key=words, offset=offset, length=length)
        except Refused as refused:
            raise NodeError(str(refused), kind="os", node="d0") from refused
        return frame_decoding.digest(reply)

    async def read(self, key: RunKey, offset: int, length: int) -> bytes:
        """As `Requests.read`."""
        words = [key.deployment, key.engine, key.run]
        _, data = await asyncio.to_thread(self._node.ask, "read", key=words, offset=offset, length=length)
        return data


class Compared:
    """A run's log on a node, its copy here, and what compares them."""

    def __init__(self, node: Driver, root: Path) -> None:
        self.scene = Scene(root)
        self.link = self.scene.links["d0"] = HelperLink(node)
        self.key = key("decode-0")
        node.prepare((self.key.deployment, self.key.engine, self.key.run), "exit 0")
        self.log = node.base / self.key.deployment / self.key.engine / "runs" / self.key.run / "out.log"
        lines = b"".join(b"line %d of many, all of them alike\n" % number for number in range(SIZE // 30))
        self.data = (READY_LOG + lines)[:SIZE]
        self.log.write_bytes(self.data)
        self.scene.up("d0")
        self.scene.runs("d0", running("decode-0", size=SIZE))
        self.scene.monitor.publish()
        self.copy: LogCopy = self.scene.logs.of(self.key)
        for at in range(0, SIZE, 100_000):
            piece = self.data[at : at + 100_000]
            self.scene.monitor.on_log("d0", LogChunk(self.key, at, piece, SIZE))
        links = {"d0": self.link}
        self.comparison = LogVerification(
            self.scene.monitor,
            links,  # type: ignore[arg-type]
            self.scene.logs,
            Intervals(compare_s=0.01),
        )

    def warnings(self) -> list[str]:
        """What was said about the copy."""
        return [each.text for each in self.scene.monitor._events if "log copy" in each.text]


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Driver]:
    with helper(tmp_path / "base") as driver:
        yield driver


@contextlib.asynccontextmanager
async def compared(node: Driver, tmp_path: Path) -> AsyncIterator[Compared]:
    made = Compared(node, tmp_path / "state")
    work = [asyncio.create_task(each()) for each in (made.comparison.run, made.scene.monitor.following.run)]
    try:
        yield made
    finally:
        for each in work:
            each.cancel()


async def test_bytes_that_went_wrong_here_are_mended_and_told_of(node: Driver, tmp_path: Path) -> None:
    async with compared(node, tmp_path) as made:
        at = PART_BYTES + 777
        with made.copy.path.open("r+b") as file:
            file.seek(at)
            file.write(b"\0" * 5000)
        read_before = made.scene.monitor.run_record(made.key).log
        await until(lambda: made.copy.revision == 1)
        assert made.copy.path.read_bytes() == made.data
        (note,) = made.copy.notes
        assert at <= note.offset < at + 100
        (warning,) = made.warnings()
        assert "repaired" in warning
        await until(lambda: made.scene.monitor.run_record(made.key).log is not read_before)
        run_record = made.scene.monitor.run_record(made.key)
        assert run_record.bytes_read == SIZE
        assert run_record.log.state.ready, "read again as it was"


async def test_a_log_that_was_written_over_in_its_middle_is_copied_as_it_is(node: Driver, tmp_path: Path) -> None:
    async with compared(node, tmp_path) as made:
        with made.log.open("r+b") as file:
            file.seek(2 * PART_BYTES + 10)
            file.write(b"OTHER")
        await until(lambda: made.copy.revision == 1)
        assert made.copy.path.read_bytes() == made.log.read_bytes()


async def test_a_true_copy_stays_and_every_part_of_it_is_compared(node: Driver, tmp_path: Path) -> None:
    async with compared(node, tmp_path) as made:
        await until(lambda: len(made.link.asked) > 8)
        assert made.link.asked[:5] == [
            (0, PART_BYTES),
            (PART_BYTES, PART_BYTES),
            (2 * PART_BYTES, PART_BYTES),
            (3 * PART_BYTES, 12345),
            (0, PART_BYTES),
        ]
        assert made.copy.revision == 0
        assert made.warnings() == []


async def test_a_log_that_is_gone_or_shorter_says_nothing_about_its_copy(node: Driver, tmp_path: Path) -> None:
    async with compared(node, tmp_path) as made:
        os.truncate(made.log, 100)
        await until(lambda: len(made.link.asked) > 4)
        made.log.unlink()
        asked = len(made.link.asked)
        await until(lambda: len(made.link.asked) > asked + 4)
        assert made.copy.path.read_bytes() == made.data
        assert made.copy.revision == 0


def test_the_node_digests_what_it_reads_and_no_more_than_it_would_send(node: Driver) -> None:
    node.prepare(("dep", "decode-5", "r1"), "exit 0")
    data = random.Random(1).randbytes(5 * 1024 * 1024)
    (node.base / "dep" / "decode-5" / "runs" / "r1" / "out.log").write_bytes(data)
    for offset, length in ((0, 10), (100, 1000), (len(data) - 5, 100), (len(data), 5), (0, 10**9)):
        reply, payload = node.ask("digest", key=["dep", "decode-5", "r1"], offset=offset, length=length)
        told = data[offset : offset + min(length, 4 * 1024 * 1024)]
        assert frame_decoding.digest(reply) == (len(told), hashlib.sha256(told).hexdigest())
        assert payload == b""
