"""The bundle on every interpreter this machine has: 3.7 and later run it, older ones are told apart."""

from __future__ import annotations

import glob
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from console.node.bootstrap import TOO_OLD
from console.node.bundle_stdin import FLAGS
from console.remote.helper_bundle import first_bytes
from tests.node.driver import Key, helper

KEY: Key = ("dep", "decode-5", "r1")


def interpreters() -> Sequence[tuple[str, tuple[int, ...]]]:
    """Path and version of each minor version, by asking them."""
    found: dict[tuple[int, ...], str] = {}
    candidates = [
        *glob.glob(os.path.expanduser("~/.pyenv/versions/*/bin/python")),
        *glob.glob("/usr/bin/python[23].[0-9]*"),
    ]
    for path in sorted(candidates):
        done = subprocess.run(
            [path, "-c", "import sys; print('%d %d' % sys.version_info[:2])"],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode == 0:
            found.setdefault(tuple(int(word) for word in done.stdout.split()), path)
    return [(path, version) for version, path in sorted(found.items())]


ALL = interpreters()
NEW = [path for path, version in ALL if version >= (3, 7)]
OLD = [path for path, version in ALL if (3, 4) <= version < (3, 7)]
ANCIENT = [path for path, version in ALL if version < (3, 0)]


@pytest.mark.parametrize("python", NEW)
def test_an_engine_lives_and_ends(python: str, tmp_path: Path) -> None:
    runtime = {"words": [], "container": "", "python": python}
    with helper(tmp_path / "base", runtime=runtime, python=python) as node:
        assert node.launch(KEY, "exec sleep 1000")["verdict"] == "running"
        assert node.ask("exec", argv=["echo", "hi"], timeout_s=5)[1] == b"hi\n"
        assert node.stop(KEY)[0]["outcome"] == "stopped"
        assert node.until(KEY, "exited")["exit"]["signal"] == 15


@pytest.mark.parametrize("python", OLD)
def test_an_interpreter_before_3_7_says_so(python: str) -> None:
    done = subprocess.run([python, *FLAGS], input=first_bytes(), capture_output=True, check=False)
    assert done.returncode == TOO_OLD
    assert b"Python 3.7 or later is needed, this is 3." in done.stderr


@pytest.mark.parametrize("python", ANCIENT)
def test_python_2_refuses_the_flags(python: str) -> None:
    done = subprocess.run([python, *FLAGS], input=first_bytes(), capture_output=True, check=False)
    assert done.returncode != 0
    assert b"Unknown option: -I" in done.stderr
