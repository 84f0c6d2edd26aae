"""A busy cluster in memory, for measuring: `python -m tests.screens.busy --nodes 64 --lines-per-s 0 [--low-bandwidth]`.

Every second each node reports once and a tenth of them have changed; the log of the first engine grows by so many lines a second,
written by a process of its own as the links would write it.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from console.model.snapshot import ClusterSnapshot
from screens.app import ConsoleApp
from screens.driver import ConsoleDriver
from screens.options import Options
from tests.screens.fakes import FakeCopy, FakeSession, devices

LINE = b"(EngineCore_DP%d pid=77) INFO 11-24 10:15:00 [core.py:123] generation throughput 123.4 tok/s, step %09d done\n"
WRITES_PER_S = 20


class BusySession(FakeSession):
    """A session that moves by itself."""

    lines_per_s = 0
    writers = 1
    beat_file: Path | None = None
    """Where it is written how often nodes have reported."""

    async def open(self) -> None:
        """Begin to move."""
        await super().open()
        self._tasks = [asyncio.create_task(self._report()), asyncio.create_task(self._write())]

    async def close(self) -> None:
        """Stand still."""
        for task in self._tasks:
            task.cancel()
        await super().close()

    async def _report(self) -> None:
        beat = 0
        while True:
            await asyncio.sleep(1.0)
            beat += 1
            if self.beat_file is not None:
                new = self.beat_file.with_suffix(".new")
                new.write_text(str(beat))
                new.replace(self.beat_file)
            changed = {
                name: replace(node, devices=devices(16, busy=(beat + index) % 2 == 0), sampled_at=node.sampled_at)
                if (index + beat) % 10 == 0
                else node
                for index, (name, node) in enumerate(self.snapshot.nodes.items())
            }
            self.show(replace(self.snapshot, nodes=changed))

    def show(self, snapshot: ClusterSnapshot) -> None:
        """Tell everybody."""
        self.snapshot = snapshot
        for listener in tuple(self._listeners):
            listener(snapshot)

    async def _write(self) -> None:
        number = 0
        copies = list(self.logs.copies.values())
        while self.lines_per_s:
            await asyncio.sleep(1 / WRITES_PER_S)
            share = self.lines_per_s // WRITES_PER_S // len(copies)
            for index, copy in enumerate(copies):
                copy.append(b"".join([LINE % (index, number + step) for step in range(share)]))
            number += share


def main() -> int:
    """Run the app on it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=64)
    parser.add_argument("--lines-per-s", type=int, default=0)
    parser.add_argument("--writers", type=int, default=1)
    parser.add_argument("--low-bandwidth", action="store_true")
    parser.add_argument("--beat", type=Path)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        names = ["p0", "p1", "d0", "d1"] + [f"n{index}" for index in range(4, chosen.nodes)]
        session = BusySession(Path(place), names=names)
        session.lines_per_s = chosen.lines_per_s
        session.beat_file = chosen.beat
        engines = list(session.snapshot.engines)[: chosen.writers]
        for engine in engines:
            session.logs.copies[engine, None] = FakeCopy(Path(place) / f"{engine}.log")
        app = ConsoleApp(session, Options(low_bandwidth=chosen.low_bandwidth), driver=ConsoleDriver)
        return app.run(mouse=False) or 0


if __name__ == "__main__":
    sys.exit(main())
