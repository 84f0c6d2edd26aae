"""A missing or wrong container is named with the command that makes it, and that command does fix it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.cluster import Lab, lab
from tests.services.readiness.inline import Inline, inline
from tests.services.readiness.test_preflight_gate import LAYOUT
from tests.sshd import needs_sshd

pytestmark = [needs_sshd, pytest.mark.sshd, pytest.mark.timeout(200)]

IMAGE = "quay.io/ascend/vllm-ascend:v0.21.0rc1-a3"


def bad(console: Inline) -> dict[str, Any]:
    """What fails, by check."""
    done = console("preflight", "-o", "json")
    assert done.stdout, done.stderr
    return {each["check"]: each for each in json.loads(done.stdout)["results"] if each["verdict"] == "fail"}


def by_hand(made: Lab, command: str) -> None:
    """What a person would do with a remedy: paste it into a shell on the node."""
    node = made.node("p0")
    ssh = ["ssh", "-F", str(made.nodes.config), "-i", str(made.nodes.identity), "-p", str(node.port)]
    known = ["-o", f"UserKnownHostsFile={made.nodes.known_hosts}", "-o", "BatchMode=yes"]
    done = subprocess.run([*ssh, *known, node.host, command], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_the_remedies_of_a_missing_a_stopped_and_a_wrong_container_mend_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with lab(tmp_path, names=("p0",)) as made:
        made.file.with_name("one.yaml").write_text(LAYOUT)
        written = yaml.safe_load(made.file.read_text())
        written["defaults"]["runtime"] = {"kind": "docker", "container": "box", "image": IMAGE}
        made.file.write_text(yaml.safe_dump(written))
        console = inline(made, "one.yaml", capsys, monkeypatch)

        found = bad(console)
        assert found["23"]["seen"] == "no container box"
        assert f"{made.node('p0').base}:{made.node('p0').base}" in found["23"]["remedy"]
        by_hand(made, found["23"]["remedy"])
        assert bad(console) == {}

        by_hand(made, "docker stop box")
        stopped = bad(console)["23"]
        assert (stopped["seen"], stopped["remedy"]) == ("container box is not running", "docker start box")
        by_hand(made, stopped["remedy"])
        assert bad(console) == {}

        by_hand(
            made, f"docker rm -f box && docker run -d --name box --net=host --privileged=true {IMAGE} sleep infinity"
        )
        wrong = bad(console)
        assert "/usr/local/dcmi" in wrong["24"]["seen"]
        by_hand(made, wrong["24"]["remedy"])
        assert bad(console) == {}
        by_hand(made, "docker rm -f box")
