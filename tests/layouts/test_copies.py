"""Groups that are added while serving: like their original, known apart by name, nodes and engine id, kept in the file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from console.commands.serve import proxy_command
from console.files import load_assignment, save_assignment
from console.model.cluster import Cluster
from console.model.deployment import Deployment
from console.model.errors import FileError, Refused, UsageError
from console.model.findings import Severity
from console.rules import check
from console.services.assigning.assignment import add_copy, drop_copy, family, reset_shape, resize
from tests.services.deployments import ASSIGNMENT, LAYOUT

NODES = ("p0", "p1", "d0", "d1", "d2", "d3")


def wide() -> Deployment:
    """The small deployment on a cluster with two free nodes."""
    nodes = {name: {"host": f"10.0.0.{number}"} for number, name in enumerate(NODES, 1)}
    cluster = Cluster.model_validate({"name": "lab", "defaults": {"hardware": "a3", "nic": "eth0"}, "nodes": nodes})
    return Deployment(cluster, LAYOUT, ASSIGNMENT)


def test_a_copy_has_ranks_and_an_engine_id_of_its_own_and_no_rule_minds() -> None:
    after, name = add_copy(wide(), "decode", ("d2", "d3"))
    assert name == "decode2"
    assert [rank.id for rank in after.ranks()][-4:] == ["decode2-0", "decode2-1", "decode2-2", "decode2-3"]
    assert {rank.dp_address for rank in after.ranks() if rank.group == name} == {"10.0.0.5"}
    transfer = after.layout.groups[name].kv_transfer
    assert transfer is not None
    assert transfer.engine_id == "9", "8 is that of the original"
    assert after.complete()
    assert [each for each in check(after) if each.severity is Severity.ERROR] == []


def test_the_proxy_lists_it_when_it_is_started_anew() -> None:
    after, _ = add_copy(wide(), "decode", ("d2", "d3"))
    command = proxy_command(after)
    assert command is not None
    assert command.argv.count("10.0.0.5") == 2


def test_dropped_it_is_as_before_and_its_original_stays() -> None:
    before = wide()
    after, name = add_copy(before, "prefill", ("d2", "d3"))
    assert family(after, "prefill") == ("prefill", "prefill2")
    assert drop_copy(after, name) == before
    with pytest.raises(UsageError):
        drop_copy(after, "prefill")


@pytest.mark.parametrize("nodes", [("d2",), ("d2", "d1"), ("d2", "d2")])
def test_it_takes_as_many_free_nodes_as_the_original(nodes: tuple[str, ...]) -> None:
    with pytest.raises(Refused):
        add_copy(wide(), "decode", nodes)


def test_a_copy_has_no_size_or_copy_of_its_own() -> None:
    after, name = add_copy(wide(), "decode", ("d2", "d3"))
    for change in (lambda: resize(after, name, nodes=1), lambda: reset_shape(after, name), lambda: family(after, name)):
        with pytest.raises(UsageError, match="copy of decode"):
            change()


def test_a_copy_follows_the_size_of_its_original() -> None:
    narrow = resize(wide(), "decode", nodes=1)
    after, name = add_copy(narrow, "decode", ("d2",))
    assert after.layout.groups[name].data_parallel == after.layout.groups["decode"].data_parallel


def test_it_is_kept_in_the_file_and_a_bad_name_there_is_refused(tmp_path: Path) -> None:
    after, _ = add_copy(wide(), "decode", ("d2", "d3"))
    path = tmp_path / "assignment.yaml"
    save_assignment(path, after.assignment)
    assert load_assignment(path) == after.assignment
    assert Deployment(after.cluster, LAYOUT, load_assignment(path)).ranks() == after.ranks()
    path.write_text("assign: {}\ncopies: {'../x': decode}\n")
    with pytest.raises(FileError):
        load_assignment(path)


def test_a_copy_of_a_group_the_layout_lost_is_no_group() -> None:
    after, name = add_copy(wide(), "decode", ("d2", "d3"))
    lost = replace(after.assignment, copies={name: "gone"})
    assert name not in Deployment(after.cluster, LAYOUT, lost).layout.groups
