"""Which file system a directory is on, by the kernel's table of mounts; and that a shared base is said before a launch."""

from __future__ import annotations

import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from console.model.cluster import Node
from console.model.plan import Step
from console.node.mounts import file_system
from console.services.operations.start_steps import StartSteps
from tests.node.driver import helper

TABLE = r"""22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 0:40 / /mnt/models rw master:5 - nfs4 10.0.0.9:/models rw,vers=4.2
31 22 0:41 / /mnt/with\040blank rw - fuse.glusterfs gluster rw
32 22 0:42 / /mnt/models/fast rw - tmpfs tmpfs rw
33 22 0:43 / /over rw - ext4 /dev/vdb rw
34 33 0:44 / /over rw - lustre mgs rw
not a line
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/var/tmp/x", "ext4"),
        ("/mnt/models/base", "nfs4"),
        ("/mnt/modelsx", "ext4"),
        ("/mnt/models/fast/base", "tmpfs"),
        ("/mnt/with blank/base", "fuse.glusterfs"),
        ("/over/base", "lustre"),
        ("/proc/7/root/var", ""),
    ],
)
def test_the_last_mount_nearest_above_counts(tmp_path: Path, path: str, kind: str) -> None:
    table = tmp_path / "mountinfo"
    table.write_text(TABLE)
    assert file_system(path, str(table)) == kind


def test_without_a_table_nothing_is_claimed(tmp_path: Path) -> None:
    assert file_system("/x", str(tmp_path / "missing")) == ""


def test_a_prepared_run_tells_its_file_system(tmp_path: Path) -> None:
    told = subprocess.run(["stat", "-f", "-c", "%T", str(tmp_path)], capture_output=True, text=True, check=True).stdout
    with helper(tmp_path / "base") as node:
        reply, _ = node.ask("prepare", b"", key=("dep", "e", "r1"), spec={}, expect_run=None)
    assert reply["file_system"][:3] == told.strip()[:3], "ext4 is ext2/ext3 to stat"


def test_a_shared_base_is_said_in_the_step_and_as_an_event() -> None:
    notes: list[tuple[Any, ...]] = []
    deployment = SimpleNamespace(node=lambda name: Node(name=name, base="/mnt/models/base"))
    monitor = SimpleNamespace(deployment=deployment, note=lambda *words, node: notes.append((*words, node)))
    launching = StartSteps(cast(Any, SimpleNamespace(monitor=monitor)))
    step = Step("prepare:d0", "prepare", "", "d0", ("decode-0",))
    assert launching._shared_base_text(step, ["ext4", ""]) == ""
    assert not notes
    said = launching._shared_base_text(step, ["nfs4"])
    assert "/mnt/models/base is on a network file system (nfs4)" in said
    assert notes[0][2] == "d0"
