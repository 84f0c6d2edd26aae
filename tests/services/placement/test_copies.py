"""Groups that are added while serving: like their original, known apart by name, nodes and engine id, kept in the file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from console.commands.serve import proxy_command
from console.files import layout_text, load_assignment, parse_layout, save_assignment
from console.model.cluster import Cluster
from console.model.deployment import Assignment, Deployment
from console.model.errors import FileError, Refused, UsageError
from console.model.findings import Severity
from console.model.layout import Layout
from console.rules import check
from console.services.operations.live_plans import scale_plan
from console.services.placement.edits import (
    add_copy,
    auto_assign,
    drop_copy,
    example,
    family,
    reset_shape,
    resize,
)
from tests.services.deployments import ASSIGNMENT, LAYOUT, picture

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


def counted(**change: object) -> Layout:
    """The small layout with two prefill groups of one node each."""
    data = LAYOUT.model_dump(mode="json")
    sizes = {"size": 1, "per_node": 1, "balance": "external", "rpc_port": 12321}
    data["groups"]["prefill"] |= {"nodes": 1, "count": 2, "data_parallel": sizes, **change}
    return Layout.model_validate(data)


def test_count_makes_equal_groups_with_ids_ports_and_addresses_of_their_own() -> None:
    made = example(counted(count=3))
    assert list(made.layout.groups) == ["prefill", "prefill2", "prefill3", "decode"]
    transfers = [made.layout.groups[name].kv_transfer for name in made.layout.groups]
    found = [(each.engine_id, each.port) for each in transfers if each is not None]
    assert found == [("1", 30200), ("2", 30300), ("3", 30400), ("8", 30800)]
    heads = {rank.group: rank.dp_address for rank in made.ranks()}
    assert len(set(heads.values())) == 4
    proxy = proxy_command(made)
    assert proxy is not None
    assert [heads[name] for name in ("prefill", "prefill2", "prefill3")] == list(proxy.argv[7:10])
    assert [each for each in check(made) if each.severity is Severity.ERROR] == []


def test_a_copy_skips_the_kv_ports_that_others_have_and_clears_a_wide_group() -> None:
    data = counted(count=2, kv_transfer={"connector": "MooncakeHybridConnector", "port": 30700, "engine_id": None})
    assert [each.kv_transfer.port for each in data.shaped().groups.values() if each.kv_transfer] == [
        30700,
        30900,
        30800,
    ]
    wide = counted(count=2, nodes=8, data_parallel={"size": 8, "per_node": 1, "balance": "external"})
    assert [each.kv_transfer.port for each in wide.shaped().groups.values() if each.kv_transfer] == [
        30200,
        30400,
        30800,
    ]


def test_count_is_kept_when_the_layout_is_written_and_its_groups_are_written_one_by_one_once_they_are_made() -> None:
    layout = counted()
    assert parse_layout(layout_text(layout).encode(), "x.yaml").groups["prefill"].count == 2
    made = parse_layout(layout_text(layout.shaped()).encode(), "x.yaml")
    assert [group.count for group in made.groups.values()] == [1, 1, 1]
    assert {rank.id for rank in example(made).ranks()} == {rank.id for rank in example(layout).ranks()}


def test_groups_of_a_count_are_assigned_by_name_and_have_the_size_of_the_first() -> None:
    data = counted().model_dump(mode="json") | {"assign": {"prefill2": ["p1"]}}
    made = Deployment(wide().cluster, Layout.model_validate(data), Assignment({"prefill2": ("p1",)}))
    full = auto_assign(made)
    assert [full.assignment.of(name) for name in ("prefill", "prefill2")] == [("p0",), ("p1",)]
    with pytest.raises(UsageError, match="copy of prefill"):
        resize(full, "prefill2", nodes=2)
    larger = auto_assign(resize(full, "prefill", nodes=2))
    assert [larger.layout.groups[name].nodes for name in ("prefill", "prefill2")] == [2, 2]
    smaller = reset_shape(larger, "prefill")
    assert [len(smaller.assignment.of(name)) for name in ("prefill", "prefill2")] == [1, 1]


def test_one_more_can_be_added_beside_a_count_and_none_of_the_count_taken_away() -> None:
    spread = Assignment({"prefill": ("p0",), "prefill2": ("p1",), "decode": ("d0", "d1")})
    now = Deployment(wide().cluster, counted(), spread)
    after, name = add_copy(now, "prefill", ("d2",))
    assert (name, family(after, "prefill")) == ("prefill3", ("prefill", "prefill2", "prefill3"))
    transfer = after.layout.groups[name].kv_transfer
    assert transfer is not None
    assert (transfer.engine_id, transfer.port) == ("3", 30400)
    with pytest.raises(UsageError, match="is not an added group"):
        drop_copy(after, "prefill2")
    with pytest.raises(UsageError, match="the layout has 2 groups like prefill"):
        scale_plan(now, picture({}, now), "prefill", 1, drain_s=0)


@pytest.mark.parametrize(("key", "value"), [("count", 0), ("count", 5000)])
def test_a_count_has_bounds(key: str, value: int) -> None:
    with pytest.raises(ValueError, match=key):
        counted(**{key: value})


def test_a_name_that_a_count_makes_is_not_given_twice() -> None:
    data = counted().model_dump(mode="json")
    data["groups"]["prefill2"] = data["groups"]["decode"]
    with pytest.raises(ValueError, match=r"count of 'prefill'.*'prefill2'"):
        Layout.model_validate(data)


def test_what_a_rule_finds_in_a_group_of_a_count_is_at_the_line_of_the_written_one() -> None:
    text = layout_text(counted(env={"HCCL_EXEC_TIMEOUT": "205"}))
    layout = parse_layout(text.encode(), "x.yaml")
    line = next(number for number, each in enumerate(text.splitlines(), 1) if "HCCL_EXEC_TIMEOUT" in each)
    found = [each for each in check(example(layout)) if each.rule == "E2"]
    assert [each.where for each in found] == [f"x.yaml:{line}"] * 2
