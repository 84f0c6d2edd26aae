"""The pictures of the README are made by the app and show what they are named after; making them runs nothing."""

from __future__ import annotations

from pathlib import Path

from console.evaluation.records import NpuSample, NpuUse
from screens.screenshots import TOUR, take
from tests.evaluation.figures import record
from tests.screens.fakes import FakeCopy, FakeSession


async def test_the_tour_writes_each_picture_and_runs_nothing(tmp_path: Path) -> None:
    session = FakeSession(tmp_path)
    copy = FakeCopy(tmp_path / "log")
    copy.append(b"INFO hello\n")
    session.logs.copies["prefill-0", None] = copy
    use = NpuUse(samples=tuple(NpuSample(1000.0 + at, "p0", 40.0, None, None) for at in range(3)))
    session.evaluator.store.add(record(started_at=1000.0, npu=use))

    async def break_one() -> None:
        session.diagnosed("decode-3")

    taken = await take(session, tmp_path / "pictures", before={"diagnosis": break_one})
    assert [path.stem for path in taken] == [picture.name for picture in TOUR]
    assert all(path.read_text(encoding="utf-8").startswith("<svg") for path in taken)
    assert session.operator.ran == []
