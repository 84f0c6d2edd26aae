"""The exported nginx configuration: every engine where its role belongs, clients led to the right door."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from console.files import load_layout, shipped_layouts
from console.model.cluster import Cluster
from console.model.deployment import Assignment, Deployment
from console.model.errors import Refused
from console.services.exporting.nginx import nginx_configuration
from console.services.placement.edits import example
from tests.services.deployments import LAYOUT, deployment


def upstreams(text: str) -> dict[str, list[str]]:
    """Upstream → its servers."""
    blocks = re.findall(r"upstream (\S+) \{(.*?)\}", text, re.DOTALL)
    return {name: re.findall(r"server (\S+)", block) for name, block in blocks}


def test_prefill_and_decode_are_listed_and_clients_are_led_to_the_proxy() -> None:
    (file,) = nginx_configuration(deployment())
    found = upstreams(file.text)
    assert found["pd-decode"] == ["10.0.0.3:7100", "10.0.0.3:7101", "10.0.0.4:7100", "10.0.0.4:7101"]
    assert found["pd-proxy"] == ["10.0.0.1:8000"]
    assert "proxy_pass http://pd-proxy;" in file.text
    assert "proxy_buffering off" in file.text


@pytest.mark.parametrize("name", shipped_layouts())
def test_every_shipped_layout_has_one_door_and_balanced_braces(name: str, tmp_path: Path) -> None:
    made = example(load_layout(name))
    (file,) = nginx_configuration(made)
    assert file.text.count("{") == file.text.count("}")
    listed = [server for servers in upstreams(file.text).values() for server in servers]
    assert (
        len(listed) == len({*listed}) == sum(rank.port is not None for rank in made.ranks()) + bool(made.layout.proxy)
    )
    assert len(re.findall(r"proxy_pass http://\S+;", file.text)) == 1
    if shutil.which("nginx"):
        (tmp_path / "nginx.conf").write_text(f"pid {tmp_path}/pid;\nevents {{}}\nhttp {{\n{file.text}\n}}\n")
        done = subprocess.run(
            ["nginx", "-t", "-c", str(tmp_path / "nginx.conf")], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr


def test_prefill_and_decode_without_a_proxy_have_no_door() -> None:
    bare = LAYOUT.model_copy(update={"proxy": None})
    with pytest.raises(Refused, match="without a proxy"):
        nginx_configuration(Deployment(deployment().cluster, bare, deployment().assignment))


def test_an_address_of_version_6_is_in_brackets() -> None:
    nodes = {name: {"host": f"fd00::{number}"} for number, name in enumerate(("p0", "p1", "d0", "d1"), 1)}
    cluster = Cluster.model_validate({"name": "six", "defaults": {"hardware": "a3"}, "nodes": nodes})
    made = Deployment(cluster, LAYOUT, Assignment({"prefill": ("p0", "p1"), "decode": ("d0", "d1")}))
    (file,) = nginx_configuration(made)
    assert "server [fd00::3]:7101 " in file.text
