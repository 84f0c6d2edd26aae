"""Look at the screens without a cluster: `python -m tests.screens.demo [--ascii] [--theme NAME] [--nodes N] [--empty]`."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

from console.model.snapshot import EngineState, EventLevel
from screens.app import run_app
from screens.options import options_from
from tests.screens.fakes import FakeCopy, FakeSession


def main() -> int:
    """Run the app on a session in memory; gives its exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ascii", action="store_true")
    parser.add_argument("--theme", default="dark")
    parser.add_argument("--nodes", type=int, default=4)
    parser.add_argument("--empty", action="store_true")
    parser.add_argument("--readonly", action="store_true")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        names = ["p0", "p1", "d0", "d1"] + [f"n{index}" for index in range(4, chosen.nodes)]
        session = FakeSession(Path(place), names=names, assigned=not chosen.empty, read_only=chosen.readonly)
        if not chosen.empty:
            session.set_state(
                "decode-3",
                EngineState.FAILED,
                cause="torch.OutOfMemoryError: NPU out of memory. Tried to allocate 4.02 GiB",
            )
            session.set_state(
                "decode-9", EngineState.STARTING, phase="load", progress=0.42, progress_text="shard 12/64"
            )
        session.event("decode-3 failed while loading", EventLevel.ERROR, "decode-3")
        copy = FakeCopy(Path(place) / "decode-3.log")
        copy.append(
            b"".join(
                b"(EngineCore_DP3 pid=77) INFO 11-24 10:15:%02d [core.py:123] step %d is done\n" % (n % 60, n)
                for n in range(5000)
            )
        )
        copy.append(
            b"(Worker_TP0 pid=99) ERROR 11-24 10:17:00 [worker.py:88] torch.OutOfMemoryError: NPU out of memory\n"
        )
        session.logs.copies["decode-3", None] = copy
        return run_app(session, options_from(dict(os.environ), theme=chosen.theme, ascii=chosen.ascii))


if __name__ == "__main__":
    sys.exit(main())
