"""`check` on real nodes: nothing wrong on healthy ones, exactly what was planted on the others."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from console.demo.tools import sysroot
from tests.e2e.cluster import Lab, lab
from tests.sshd import needs_sshd

pytestmark = [needs_sshd, pytest.mark.sshd, pytest.mark.timeout(300)]

ROLES = ("--layout", "a3-pd", "--assign", "prefill=p0,p1", "--assign", "decode=d0,d1")
MODEL = f"{sysroot.WEIGHTS}/{sysroot.MODELS[0]}"


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Four healthy A3 nodes."""
    with lab(tmp_path_factory.mktemp("readiness")) as made:
        yield made


def found(made: Lab, *words: str) -> tuple[int, dict[str, Any]]:
    """Exit code and document of `check`."""
    done = made.console("preflight", *words, *ROLES, "-o", "json")
    assert done.stdout, done.stderr
    document = json.loads(done.stdout)
    assert isinstance(document, dict)
    return done.returncode, document


def named(document: dict[str, Any]) -> set[tuple[str, str, str]]:
    """(check, node, verdict) of all that fails or warns."""
    return {
        (each["check"], each["node"], each["verdict"])
        for each in document["results"]
        if each["verdict"] in ("fail", "warn")
    }


@contextlib.contextmanager
def twelve_faults(made: Lab) -> Iterator[None]:
    """Three on each node."""
    root = {name: made.node(name).root / "root" for name in ("p0", "p1", "d0", "d1")}
    made.fail("p0", "npu-smi", "health 3 Alarm")
    (root["p0"] / MODEL / "model-00002-of-00004.safetensors").unlink()
    (root["p1"] / sysroot.JEMALLOC).unlink()
    _change(root["p1"] / "usr/local/Ascend/driver/version.info", "25.5.0", "25.3.1")
    toolkit = next((root["p1"] / "usr/local/Ascend/ascend-toolkit/latest").rglob("*.info"))
    _change(toolkit, "9.0.0", "8.5.0")
    (root["d0"] / "dev/davinci5").unlink()
    package = next((made.node("d0").root / "lib/python").glob("vllm_ascend-*.dist-info")) / "METADATA"
    _change(package, "0.21.0rc1", "0.20.2")
    _change(root["d1"] / "proc/sys/vm/swappiness", "0", "60")
    made.fail("d1", "limits", "1024")
    made.fail("d1", "ip", f"3: eth9    inet {made.node('d1').host}/8 scope global eth9")
    orphan = subprocess.Popen(
        ["bash", "-c", 'exec -a "vllm serve /models/old" sleep 600'],
        env={**os.environ, "DSV4_DEMO_DIR": str(made.node("d0").root)},
    )
    with socket.create_server((made.node("p0").host, 7100)):
        try:
            yield
        finally:
            orphan.kill()
            orphan.wait()


PLANTED = {
    ("11", "p0", "fail"): "3 is Alarm",
    ("31", "p0", "fail"): "7100",
    ("37", "p0", "fail"): "model-00002-of-00004.safetensors is missing",
    ("15", "p1", "warn"): "25.3.1",
    ("16", "p1", "fail"): "8.5.0",
    ("21", "p1", "warn"): "libjemalloc.so.2",
    ("13", "d0", "fail"): "vllm serve /models/old",
    ("14", "d0", "fail"): "davinci5",
    ("18", "d0", "fail"): "0.20.2",
    ("26", "d1", "fail"): "eth9",
    ("41", "d1", "warn"): "1024",
    ("46", "d1", "warn"): "vm.swappiness=60",
}


def _change(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_healthy_nodes_are_told_so_and_planted_faults_are_named_with_node_cause_and_remedy(nodes: Lab) -> None:
    code, clean = found(nodes)
    assert (code, named(clean)) == (0, set())
    assert {each["verdict"] for each in clean["results"]} == {"pass"}
    with twelve_faults(nodes):
        code, document = found(nodes)
        assert code == 1
        assert named(document) == set(PLANTED)
        for each in document["results"]:
            cause = PLANTED.get((each["check"], each["node"], each["verdict"]))
            if cause is not None:
                assert cause in each["seen"]
                assert each["why"]
                assert each["remedy"]
        table = nodes.console("preflight", "p1", "d1", *ROLES)
        assert table.returncode == 1
        assert "model-00002" not in table.stdout, "only the nodes that were named are checked"
        assert "fix: " in table.stdout
        refused = nodes.console("start", *ROLES, "--yes")
        assert refused.returncode == 1
        assert "--override 13" in refused.stderr
    assert nodes.marked() == []
