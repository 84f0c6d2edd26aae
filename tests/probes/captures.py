"""Where captured text is found: beside the tests, else in the reference folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.shared import SHARED

HERE = Path(__file__).parent


def capture(folder: str, name: str) -> bytes:
    """Bytes of a capture of that kind (`npu`, `vllm/engine` …); skips the test when only the absent reference folder has it."""
    for path in (HERE / folder / name, SHARED / "fixtures" / folder / name):
        if path.is_file():
            return path.read_bytes()
    pytest.skip("the reference folder is not beside the project")
