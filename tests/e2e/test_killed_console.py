"""The console itself is killed again and again while sixteen engines write: the copies end as the nodes' files, byte for byte."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import yaml

from console.model.run import RunKey
from tests.node.driver import sweep
from tests.remote.watching import linked
from tests.sshd import SshNodes, needs_sshd, running_nodes
from tests.waiting import until_blocking

pytestmark = [needs_sshd, pytest.mark.sshd, pytest.mark.timeout(400)]

ENGINES = 16
LINES = 200_000
KILLS = 10
BATCHES = 2 * KILLS
WRITER = """#!/bin/bash
exec awk 'BEGIN {
    for (n = 1; n <= %(lines)d; n++) {
        if (n %% %(batch)d == 1) { fflush(); system("until [ -e %(gates)s/" int(n / %(batch)d) " ]; do sleep 0.3; done") }
        print "line " n " of engine %(engine)d 0123456789"
        if (n %% 125 == 0) { fflush(); system("sleep 0.2") }
    }
}'
"""
"""Each batch of lines waits for a file, so that there is always something left to write, however slow this machine is."""
LAYOUT: Mapping[str, object] = {
    "name": "dep",
    "hardware": {"name": "plain", "devices": 0, "hbm_mib": 0},
    "model": {"path": "/models/none"},
    "groups": {
        "all": {
            "role": "mixed",
            "nodes": 1,
            "tensor_parallel": 1,
            "data_parallel": {"size": ENGINES, "per_node": ENGINES, "balance": "external"},
            "port": 7100,
        }
    },
    "assign": {"all": ["n0"]},
}


@pytest.fixture
def sshd(tmp_path: Path) -> Iterator[SshNodes]:
    with running_nodes(tmp_path / "sshd", 1, first=90) as nodes:
        try:
            yield nodes
        finally:
            sweep(nodes.nodes[0].base)


async def _launch(sshd: SshNodes, state: Path, gates: Path) -> None:
    """Sixteen writers as engines of the layout, left to themselves."""
    async with linked(sshd.cluster(), state) as (links, _):
        keys = [RunKey("dep", f"all-{number}", "r1") for number in range(ENGINES)]
        for number, key in enumerate(keys):
            lines = LINES // ENGINES
            script = WRITER % {"lines": lines, "batch": lines // BATCHES, "gates": gates, "engine": number}
            await links["n0"].prepare(key, {"group": "all"}, script, None)
        await asyncio.gather(*(links["n0"].commit(key) for key in keys))


def test_a_console_killed_ten_times_and_cut_off_between_loses_and_doubles_no_byte(
    sshd: SshNodes, tmp_path: Path
) -> None:
    node, chance = sshd.nodes[0], random.Random(11)
    written = sshd.cluster().model_dump(mode="json", exclude={"source"}, exclude_defaults=True)
    (tmp_path / "cluster.yaml").write_text(yaml.safe_dump({**written, "nodes": _nodes(written)}))
    (tmp_path / "dep.yaml").write_text(yaml.safe_dump(dict(LAYOUT)))
    environment = {**os.environ, "XDG_STATE_HOME": str(tmp_path / "state")}
    options = ["--cluster", str(tmp_path / "cluster.yaml"), "--layout", str(tmp_path / "dep.yaml")]
    command = [sys.executable, "-m", "console", "logs", *options]

    def copied() -> int:
        return sum(path.stat().st_size for path in (tmp_path / "state").rglob("r1.log"))

    gates = tmp_path / "gates"
    gates.mkdir()
    asyncio.run(_launch(sshd, tmp_path, gates))
    opened = iter(range(BATCHES))
    for _ in range(KILLS):
        before = copied()
        following = subprocess.Popen(
            [*command, "-f"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment
        )
        try:
            (gates / str(next(opened))).touch()
            until_blocking(lambda: copied() > before, 90.0, "some bytes more")  # noqa: B023
            if chance.random() < 0.5:
                node.cut()
                before = copied()
                (gates / str(next(opened))).touch()
                until_blocking(lambda: copied() > before, 90.0, "more after a cut")  # noqa: B023
        finally:
            following.send_signal(signal.SIGKILL)
            following.wait()
    assert copied() < _expected(), "it was killed while they wrote, not after"
    for left in opened:
        (gates / str(left)).touch()
    until_blocking(lambda: sum(map(len, _logs(node.base).values())) == _expected(), 120.0, "the writers' end")
    subprocess.run(command, stdout=subprocess.DEVNULL, env=environment, check=True, timeout=120)
    assert len(_logs(node.base)) == ENGINES
    for engine, log in _logs(node.base).items():
        copy = next((tmp_path / "state").rglob(f"{engine}/r1.log")).read_bytes()
        assert copy == log, engine
        assert [int(line.split()[1]) for line in copy.splitlines()] == list(range(1, LINES // ENGINES + 1))


def _nodes(written: Mapping[str, object]) -> object:
    nodes = written["nodes"]
    assert isinstance(nodes, dict)
    return {name: {key: value for key, value in node.items() if key != "name"} for name, node in nodes.items()}


def _logs(base: Path) -> dict[str, bytes]:
    return {path.parents[2].name: path.read_bytes() for path in base.glob("dep/*/runs/r1/out.log")}


def _expected() -> int:
    return sum(
        len(f"line {line} of engine {engine} 0123456789\n")
        for engine in range(ENGINES)
        for line in range(1, LINES // ENGINES + 1)
    )
