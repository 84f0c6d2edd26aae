"""`per: engine` from the cluster file to the end: a start, a console that is gone, the next one that stops; nothing left."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from console.demo.tools import install_tools
from tests.e2e.cluster import SPEED, Lab, lab
from tests.sshd import needs_sshd

pytestmark = [
    needs_sshd,
    pytest.mark.sshd,
    pytest.mark.timeout(240),
    pytest.mark.skipif(not shutil.which("podman"), reason="podman is not installed"),
]

PODMAN = ["podman", "--runtime", "runc"]
PLAIN = {"name": "plain", "devices": 0, "hbm_mib": 0}
REPOSITORY = Path(__file__).resolve().parents[2]


def podman(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*PODMAN, *words], capture_output=True, text=True, check=False, timeout=60)


@pytest.fixture(scope="module")
def works() -> None:
    """Podman may be installed where it cannot make such a container."""
    flags = (
        "--net=host",
        "--privileged=true",
        "--shm-size=512g",
        "--ulimit",
        "nofile=1024:1024",
        "--ulimit",
        "nproc=4096:4096",
    )
    done = podman("run", "--rm", "--pull=never", *flags, "--rootfs", "/:O", "true")
    if done.returncode != 0:
        pytest.skip(f"podman makes no container here: {done.stderr.strip()[-200:]}")


@pytest.fixture
def boxed(tmp_path: Path, works: None) -> Iterator[Lab]:
    """One node without NPUs whose engines get containers on a copy-on-write view of this machine's files."""
    with lab(tmp_path, names=("p0",)) as made:
        node = made.node("p0")
        settings = install_tools(node.bin, node.root, hardware="a3", address=node.host, speed=SPEED)
        exports = [f"export {name}={shlex.quote(value)}" for name, value in settings.items()]
        (tmp_path / "env.sh").write_text("\n".join([*exports, f"export PATH={node.bin}:$PATH"]) + "\n")
        flags = ["-v", f"{tmp_path}:{tmp_path}", "-v", f"{REPOSITORY}:{REPOSITORY}:ro"]
        flags += ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=4096:4096", "--rootfs"]
        written = yaml.safe_load(made.file.read_text())
        written["defaults"]["hardware"] = PLAIN
        written["nodes"]["p0"]["env_file"] = str(tmp_path / "env.sh")
        written["nodes"]["p0"]["runtime"] = {
            "kind": "podman",
            "per": "engine",
            "command": PODMAN,
            "image": "/:O",
            "run_flags": flags,
        }
        made.file.write_text(yaml.safe_dump(written, sort_keys=False))
        layout = {
            "name": f"boxed-{node.port}",
            "hardware": PLAIN,
            "model": {"path": str(tmp_path / "weights"), "served_name": "dsv4"},
            "groups": {
                "mixed": {
                    "role": "mixed",
                    "nodes": 1,
                    "tensor_parallel": 1,
                    "data_parallel": {"size": 1, "per_node": 1, "balance": "external", "rpc_port": 12321},
                    "port": 7100,
                }
            },
            "assign": {"mixed": ["p0"]},
        }
        (tmp_path / "weights").mkdir()
        (tmp_path / "layout.yaml").write_text(yaml.safe_dump(layout, sort_keys=False))
        try:
            yield made
        finally:
            podman("rm", "-f", "-t", "0", f"dsv4-boxed-{node.port}-mixed-0")


def engine(made: Lab, layout: str) -> dict[str, Any]:
    done = made.console("status", "--layout", layout, "-o", "json")
    found: dict[str, Any] = json.loads(done.stdout)["engines"][0]
    return found


def test_each_engine_has_a_container_from_start_to_stop(boxed: Lab) -> None:
    layout = str(boxed.file.parent / "layout.yaml")
    name = f"dsv4-boxed-{boxed.node('p0').port}-mixed-0"
    shown = boxed.console("start", "--layout", layout, "--dry-run", "-v")
    assert f"podman --runtime runc run -d --name {name} --net=host" in shown.stderr, shown.stderr
    started = boxed.console("start", "--layout", layout, "--yes")
    assert started.returncode == 0, started.stderr
    seen = engine(boxed, layout)
    assert seen["state"] == "ready"
    running = podman("inspect", "--type", "container", "--format", "{{.State.Running}} {{.State.Pid}}", name)
    assert running.stdout.split()[0] == "true"
    assert seen["health"]["model"]["grade"] == "ok"
    assert "Application startup complete" in boxed.console("logs", "--layout", layout, "mixed-0").stdout
    stopped = boxed.console("stop", "--layout", layout, "--yes")
    assert stopped.returncode == 0, stopped.stderr
    assert engine(boxed, layout)["state"] == "exited"
    assert podman("inspect", "--type", "container", name).returncode != 0, "the container is gone"
    assert boxed.marked() == []
