"""Real podman containers: made by the plan, with an engine launched inside; drift seen; one of another name adopted."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.cluster import lab
from tests.services.readiness.inline import Inline, inline
from tests.sshd import needs_sshd

WORDS = ["podman", "--runtime", "runc"]
FLAGS = ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=4096:4096"]
pytestmark = [
    needs_sshd,
    pytest.mark.sshd,
    pytest.mark.timeout(300),
    pytest.mark.skipif(not shutil.which("podman"), reason="podman is not installed"),
]

LAYOUT = """\
name: one
hardware: {{name: plain, devices: 0, hbm_mib: 0}}
model: {{path: {model}, served_name: dsv4}}
groups:
  all:
    role: mixed
    nodes: 1
    tensor_parallel: 1
    data_parallel: {{size: 1, per_node: 1, balance: external, rpc_port: 12321}}
    port: 7100
assign: {{all: [p0]}}
"""


def podman(*words: str) -> str:
    done = subprocess.run([*WORDS, *words], capture_output=True, text=True, check=False, timeout=60)
    if done.returncode != 0:
        pytest.skip(f"podman does not work here: {done.stderr.strip()[-200:]}")
    return done.stdout.strip()


@pytest.fixture
def place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Inline, str]]:
    """A node that runs engines in podman, on a copy-on-write view of this machine's own files; nothing is made yet."""
    podman("version")
    name = f"dsv4-test-{uuid.uuid4().hex[:8]}"
    (tmp_path / "model").mkdir()
    program = tmp_path / "vllm"
    program.write_text("#!/bin/sh\necho an engine\nexec sleep 1000\n")
    program.chmod(0o755)
    with lab(tmp_path, hardware="plain", names=("p0",)) as made:
        written = yaml.safe_load(made.file.read_text())
        written["defaults"]["hardware"] = {"name": "plain", "devices": 0, "hbm_mib": 0}
        flags = [*FLAGS, "-v", f"{program}:/usr/local/bin/vllm", "--rootfs"]
        written["defaults"]["runtime"] = {
            "kind": "podman", "command": WORDS, "container": name, "image": "/:O", "run_flags": flags
        }  # fmt: skip
        made.file.write_text(yaml.safe_dump(written))
        made.file.with_name("one.yaml").write_text(LAYOUT.format(model=tmp_path / "model"))
        try:
            yield inline(made, "one.yaml", capsys, monkeypatch), name
        finally:
            for each in (name, f"{name}-other"):
                subprocess.run([*WORDS, "rm", "-f", "-t", "0", each], capture_output=True, check=False, timeout=60)


def shown(console: Inline) -> dict[str, Any]:
    """What `containers` says of the node."""
    done = console("containers", "-o", "json")
    assert done.stdout, done.stderr
    (found,) = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found


def running_in(console: Inline, name: str) -> bool:
    """Whether the engine's main process has the mounts of that container."""
    main = podman("inspect", "--format", "{{.State.Pid}}", name)
    done = console("status", "-o", "json")
    pid = next(each["pid"] for each in json.loads(done.stdout)["engines"] if each["id"] == "all-0")
    return os.readlink(f"/proc/{pid}/ns/mnt") == os.readlink(f"/proc/{main}/ns/mnt")


def test_a_container_is_made_used_left_alone_and_another_one_adopted(place: tuple[Inline, str]) -> None:
    console, name = place
    assert (shown(console)["state"], console("containers").returncode) == ("absent", 1)
    dry = console("containers", "create", "--dry-run", "-v")
    assert dry.returncode == 0
    assert f"run -d --name {name} --net=host" in dry.stdout
    assert shown(console)["state"] == "absent", "a dry run makes nothing"

    done = console("containers", "create", "--yes")
    assert done.returncode == 0, done.stderr
    found = shown(console)
    assert (found["state"], found["differences"]) == ("running", [])

    started = console("start", "--yes", "--no-wait")
    assert started.returncode == 0, started.stderr
    assert running_in(console, name)
    assert console("stop", "--yes").returncode == 0

    podman("stop", "-t", "0", name)
    assert shown(console)["state"] == "exited"
    assert console("containers", "start", "--yes").returncode == 0
    assert shown(console)["state"] == "running"

    other = f"{name}-other"
    podman("run", "-d", "--name", other, *FLAGS, "--net=host", "--rootfs", "/:O", "sleep", "1000")
    model = console.made.file.with_name("model")
    adopted = console("containers", "adopt", f"p0={other}", "--yes")
    assert adopted.returncode == 0, adopted.stderr
    assert f"not mounted: {model}" in adopted.stderr
    found = shown(console)
    assert (found["container"], {each["what"] for each in found["differences"]}) == (other, {"shm", "mounts", "base"})
    assert "nothing to do" in console("containers", "create", "--yes").stderr, "one that runs is never made anew"
    back = console("containers", "adopt", "p0=", "--yes")
    assert back.returncode == 0, back.stderr
    assert shown(console)["container"] == name


def test_what_is_not_there_is_named(place: tuple[Inline, str]) -> None:
    console, name = place
    done = console("containers", "adopt", "p0=no-such", "--yes")
    assert (done.returncode, "has no container 'no-such'" in done.stderr) == (2, True)
    assert console("containers", "show", "nobody").returncode == 2
    started = console("containers", "start", "--yes")
    assert (started.returncode, f"p0 has no container {name}" in started.stderr) == (4, True)
    refused = console("containers", "create")
    assert (refused.returncode, "--yes" in refused.stderr) == (4, True)
