"""Where a remedy's settings are written: file, line and value as they stand, for shipped layouts and an operator's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from console.diagnosis.signatures import load_signatures
from console.files import load_cluster, load_layout, shipped_layouts, shipped_text
from console.model.deployment import Assignment, Deployment
from console.services.serving.setting_source import OF_NODE, setting_locations

CLUSTER = """name: lab
defaults: {user: root, hardware: a3, nic: eth0}
nodes:
  p0: {host: 10.0.0.1}
  p1: {host: 10.0.0.2}
  d0: {host: 10.0.0.3}
  d1:
    host: 10.0.0.4
    nic: enp9
"""


@pytest.fixture
def own(tmp_path: Path) -> Deployment:
    """Four nodes, and a layout file of one's own with something different on decode's second node."""
    (tmp_path / "lab.yaml").write_text(CLUSTER, encoding="utf-8")
    text = shipped_text("a3-pd").replace(
        "    env:\n      HCCL_EXEC_TIMEOUT: 1972",
        "    by_node: {1: {args: {gpu_memory_utilization: 0.8}}}\n    env:\n      HCCL_EXEC_TIMEOUT: 1972",
    )
    (tmp_path / "mine.yaml").write_text(text, encoding="utf-8")
    layout = load_layout(str(tmp_path / "mine.yaml"))
    assignment = Assignment({"prefill": ("p0", "p1"), "decode": ("d0", "d1")})
    return Deployment(load_cluster(tmp_path / "lab.yaml"), layout, assignment)


def _line(path: str, words: str, after: str = "") -> int:
    """The number of the first line with these words, behind the one with the others."""
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    begin = next(at for at, line in enumerate(lines) if after in line)
    return next(at for at, line in enumerate(lines, 1) if at > begin and words in line)


def test_a_setting_is_told_with_its_value_file_and_line_from_the_level_that_holds(own: Deployment) -> None:
    assert own.layout.source
    path = own.layout.source.path
    line = _line(path, "gpu-memory-utilization", "  decode:")
    wide = _line(path, "HCCL_BUFFSIZE")
    told = setting_locations(own, "decode-0", ["gpu-memory-utilization", "HCCL_BUFFSIZE"]).text
    assert told == f"decode in {path}: gpu-memory-utilization 0.9 (line {line}), HCCL_BUFFSIZE 1024 (line {wide})"
    assert (
        f"gpu-memory-utilization 0.8 (line {_line(path, 'by_node')})"
        in setting_locations(own, "decode-15", ["gpu-memory-utilization"]).text
    )


def test_what_is_set_nowhere_is_told_with_the_place_it_belongs_to(own: Deployment) -> None:
    told = setting_locations(own, "prefill-0", ["HCCL_IF_BASE_PORT", "swap-space"]).text
    assert told.endswith("HCCL_IF_BASE_PORT, swap-space are not set (groups.prefill.env or groups.prefill.args)")
    assert setting_locations(own, "nobody-9", ["image"]).text == ""
    assert setting_locations(own, "prefill-0", []).text == ""


def test_a_node_s_interface_is_told_from_the_cluster_file_its_own_or_the_default(own: Deployment) -> None:
    assert own.cluster.source
    path = own.cluster.source.path
    assert setting_locations(own, "decode-15", ["nic"]).text == f"node d1 in {path}: nic enp9 (line 9)"
    assert (setting_locations(own, "decode-0", ["nic"]).file, setting_locations(own, "decode-0", ["nic"]).line) == (
        "cluster",
        2,
    )
    assert setting_locations(own, "decode-0", ["nic"]).text == f"node d0 in {path}: nic eth0 (line 2)"
    assert setting_locations(own, "decode-0", ["env_file"]).text == f"node d0 in {path}: env_file is not set"


def test_an_interface_that_the_layout_names_itself_goes_before_the_node_s(own: Deployment) -> None:
    layout = own.layout.model_copy(update={"env": {**own.layout.env, "GLOO_SOCKET_IFNAME": "nope0"}})
    found = setting_locations(Deployment(own.cluster, layout, own.assignment), "decode-0", ["nic"])
    assert (found.file, "GLOO_SOCKET_IFNAME nope0" in found.text, "eth0" in found.text) == ("layout", True, False)


def test_a_copy_of_a_group_points_to_the_group_that_is_written(own: Deployment) -> None:
    copies = Assignment({"decode2": ("d0", "d1")}, copies={"decode2": "decode"})
    told = setting_locations(Deployment(own.cluster, own.layout, copies), "decode2-0", ["max-num-seqs"]).text
    assert told.startswith("decode in ")
    assert "max-num-seqs 60 (line " in told


def test_a_shipped_layout_is_called_so_and_secrets_are_masked(own: Deployment) -> None:
    layout = load_layout("a3-pd").model_copy(update={"args": {"api-key": "sesame-open"}})
    told = setting_locations(Deployment(own.cluster, layout, own.assignment), "decode-0", ["api-key", "image"]).text
    assert told.startswith("decode in a3-pd (shipped): ")
    assert "sesame" not in told


def test_every_setting_a_signature_names_can_be_looked_up_in_every_shipped_layout(own: Deployment) -> None:
    named = {name: each.id for each in load_signatures() for name in each.settings}
    assert {"nic", "gpu-memory-utilization", "model.path", "kv_transfer.engine_id"} <= set(named)
    for layout in map(load_layout, shipped_layouts()):
        nodes = tuple(own.cluster.nodes)
        group = next(iter(layout.groups))
        shaped = Deployment(own.cluster, layout, Assignment({group: nodes[: layout.groups[group].nodes]}))
        engine = shaped.ranks()[0].id
        for name in named:
            told = setting_locations(shaped, engine, [name]).text
            known = name in OF_NODE or "(line " in told or "not set (groups." in told or "not set (at the top" in told
            assert known, (layout.name, name, told)
