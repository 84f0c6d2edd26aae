"""Assignments change by pure operations that keep every node in one place, and can be taken back."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from console.cli.main import main
from console.files import load_assignment, load_layout, save_assignment
from console.model.cluster import Cluster
from console.model.deployment import Assignment, Deployment
from console.model.errors import ConsoleError, Refused, UsageError
from console.model.findings import Severity
from console.rules import check
from console.services.placement.edits import (
    AssignmentHistory,
    assign,
    auto_assign,
    example,
    move,
    reset_shape,
    resize,
    swap,
    unassign,
)

NODES = ("p0", "p1", "d0", "d1", "spare", "old")


@pytest.fixture
def lab() -> Deployment:
    nodes = {name: {"host": f"10.0.0.{index}"} for index, name in enumerate(NODES, 1)}
    nodes["old"]["hardware"] = "a2"
    cluster = Cluster.model_validate({"name": "lab", "nodes": nodes})
    return Deployment(cluster, load_layout("a3-pd"), Assignment())


def _members(deployment: Deployment) -> dict[str, tuple[str, ...]]:
    return {name: deployment.assignment.of(name) for name in deployment.layout.groups}


def test_nodes_are_given_in_order_and_leave_the_group_they_were_in(lab: Deployment) -> None:
    lab = assign(lab, "prefill", ["p0", "p1"])
    lab = assign(lab, "decode", ["d0", "p1"])
    assert _members(lab) == {"prefill": ("p0",), "decode": ("d0", "p1")}


def test_a_full_group_refuses_another_node(lab: Deployment) -> None:
    with pytest.raises(Refused, match="needs 2 nodes and would have 3"):
        assign(lab, "prefill", ["p0", "p1", "d0"])


def test_moving_to_the_front_makes_a_node_carry_rank_0(lab: Deployment) -> None:
    lab = move(assign(lab, "decode", ["d0", "d1"]), "d1", 0)
    ranks = lab.ranks()
    assert (ranks[0].node, ranks[0].dp_rank, ranks[8].node, {rank.dp_address for rank in ranks}) == (
        "d1",
        0,
        "d0",
        {"10.0.0.4"},
    )


def test_swapping_works_inside_between_and_out_of_groups(lab: Deployment) -> None:
    lab = assign(assign(lab, "prefill", ["p0", "p1"]), "decode", ["d0", "d1"])
    assert _members(swap(lab, "p0", "p1"))["prefill"] == ("p1", "p0")
    assert _members(swap(lab, "p0", "d1")) == {"prefill": ("d1", "p1"), "decode": ("d0", "p0")}
    assert _members(swap(lab, "p0", "spare"))["prefill"] == ("spare", "p1")
    assert _members(swap(lab, "p0", "p0")) == _members(lab)


def test_taking_away_moves_later_ranks_up(lab: Deployment) -> None:
    lab = unassign(assign(lab, "decode", ["d0", "d1"]), ["d0"])
    assert [rank.dp_rank for rank in lab.ranks() if rank.node == "d1"] == list(range(8))


@pytest.mark.parametrize(
    "act",
    [
        lambda lab: assign(lab, "encode", ["p0"]),
        lambda lab: assign(lab, "decode", ["nobody"]),
        lambda lab: move(lab, "spare", 0),
        lambda lab: swap(lab, "p0", "nobody"),
        lambda lab: resize(lab, "decode", nodes=0),
        lambda lab: resize(lab, "decode", nodes=4097),
        lambda lab: resize(lab, "decode", nodes=4000, per_node=4000),
        lambda lab: reset_shape(lab, "encode"),
    ],
)
def test_unknown_names_and_sizes_are_told_with_what_there_is(act: object, lab: Deployment) -> None:
    assert callable(act)
    with pytest.raises(UsageError) as caught:
        act(lab)
    assert caught.value.hint


def test_auto_assignment_takes_fitting_nodes_in_order_and_leaves_others(lab: Deployment) -> None:
    assert _members(auto_assign(lab)) == {"prefill": ("p0", "p1"), "decode": ("d0", "d1")}
    assert _members(auto_assign(assign(lab, "decode", ["p0"]))) == {"prefill": ("p1", "d0"), "decode": ("p0", "d1")}


def test_auto_assignment_prefers_nodes_known_to_be_free_and_skips_busy_ones(lab: Deployment) -> None:
    free = {"p0": 3, "p1": 16, "d0": 16, "d1": 16}
    assert _members(auto_assign(lab, free)) == {"prefill": ("p1", "d0"), "decode": ("d1", "spare")}


def test_auto_assignment_leaves_a_group_short_rather_than_taking_wrong_hardware(lab: Deployment) -> None:
    wide = auto_assign(resize(lab, "decode", nodes=5))
    assert len(_members(wide)["decode"]) == 3
    assert {finding.rule for finding in check(wide)} == {"A1"}


def test_a_narrower_rank_leaves_the_same_devices_to_a_node(lab: Deployment) -> None:
    lab = auto_assign(resize(lab, "decode", tensor_parallel=4))
    decode = lab.layout.groups["decode"]
    assert (decode.data_parallel.size, decode.data_parallel.per_node) == (8, 4)
    assert lab.ranks()[-1].devices == (12, 13, 14, 15)
    assert lab.layout.kv_transfer_config("prefill") is not None
    assert [finding for finding in check(lab) if finding.severity is Severity.ERROR] == []


def test_a_shape_is_saved_and_taken_back_without_touching_the_layout(lab: Deployment, tmp_path: Path) -> None:
    lab = auto_assign(lab)
    larger = resize(lab, "decode", nodes=3)
    save_assignment(tmp_path / "a.yaml", larger.assignment)
    again = Deployment(lab.cluster, load_layout("a3-pd"), load_assignment(tmp_path / "a.yaml"))
    assert again.layout.groups["decode"].nodes == 3
    assert [rank.id for rank in again.ranks()] == [rank.id for rank in larger.ranks()]
    assert reset_shape(assign(again, "decode", ["spare"]), "decode").ranks() == lab.ranks()
    assert replace(again, assignment=lab.assignment).ranks() == lab.ranks()


def test_history_goes_back_and_forth_and_forgets_the_future_after_a_change() -> None:
    one, two, three = (Assignment({"g": (name,)}) for name in "abc")
    history = AssignmentHistory(one).changed(two).changed(two).changed(three)
    assert history.undone().undone().now == one
    assert history.undone().undone().undone().now == one
    assert history.undone().undone().redone().redone().redone() == history
    assert history.undone().changed(one).redone().now == one


class Operations(RuleBasedStateMachine):
    """Any operations in any order: no node is ever in two places, and undo leads back through every state."""

    def __init__(self) -> None:
        super().__init__()
        self.deployment = example(load_layout("a2-pd"))
        self.history = AssignmentHistory(self.deployment.assignment)
        self.seen = [self.deployment.assignment]

    nodes = st.sampled_from([f"{group}-{index}" for group in ("prefill", "decode") for index in range(4)])
    groups = st.sampled_from(["prefill", "decode"])

    def _take(self, deployment: Deployment) -> None:
        if deployment.assignment != self.deployment.assignment:
            self.seen = [*self.seen[: len(self.history.past) + 1], deployment.assignment]
        self.deployment = deployment
        self.history = self.history.changed(deployment.assignment)

    @rule(group=groups, chosen=st.lists(nodes, max_size=3), at=st.none() | st.integers(-1, 5))
    def assigns(self, group: str, chosen: list[str], at: int | None) -> None:
        try:
            self._take(assign(self.deployment, group, chosen, at=at))
        except ConsoleError as error:
            self.refused = error

    @rule(one=nodes, other=nodes)
    def swaps(self, one: str, other: str) -> None:
        self._take(swap(self.deployment, one, other))

    @rule(chosen=st.lists(nodes, max_size=3))
    def unassigns(self, chosen: list[str]) -> None:
        self._take(unassign(self.deployment, chosen))

    @rule(group=groups, count=st.integers(1, 6), width=st.sampled_from([None, 1, 2, 4, 8]))
    def resizes(self, group: str, count: int, width: int | None) -> None:
        self._take(resize(self.deployment, group, nodes=count, tensor_parallel=width))

    @rule()
    def fills(self) -> None:
        self._take(auto_assign(self.deployment))

    @precondition(lambda self: self.history.past)
    @rule()
    def undoes(self) -> None:
        self.history = self.history.undone()
        assert self.history.now == self.seen[len(self.history.past)]
        self.deployment = replace(self.deployment, assignment=self.history.now)

    @invariant()
    def every_node_has_one_place(self) -> None:
        placed = [node for nodes in _members(self.deployment).values() for node in nodes]
        assert len(placed) == len(set(placed))
        for name, group in self.deployment.layout.groups.items():
            assert len(self.deployment.assignment.of(name)) <= group.nodes
            assert group.data_parallel.size == group.nodes * group.data_parallel.per_node


TestOperations = Operations.TestCase
TestOperations.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)


@given(st.permutations(NODES[:4]))
def test_any_order_of_assigning_gives_ranks_in_that_order(order: list[str]) -> None:
    cluster = Cluster.model_validate(
        {"name": "lab", "nodes": {name: {"host": f"10.0.0.{i}"} for i, name in enumerate(NODES)}}
    )
    lab = Deployment(cluster, load_layout("a3-pd"), Assignment())
    lab = assign(assign(lab, "prefill", order[:2]), "decode", order[2:])
    assert list(dict.fromkeys(rank.node for rank in lab.ranks())) == order


@pytest.fixture
def at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Words that name a cluster of four nodes, with a state directory of its own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    file = tmp_path / "cluster.yaml"
    file.write_text(
        "name: lab\nnodes: {" + ", ".join(f"{name}: {{host: 10.0.0.{i}}}" for i, name in enumerate(NODES)) + "}\n"
    )
    return ["--cluster", str(file), "--layout", "a3-pd"]


def test_the_command_line_does_operations_in_order_and_keeps_them(
    at_home: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        main(["assign", *at_home, "--auto", "--swap", "p0=d0", "--move", "p0=1", "--size", "decode=3", "--auto"]) == 0
    )
    first = capsys.readouterr().out
    assert "d0, p1" in first
    assert "d1, p0, spare" in first
    assert main(["assign", *at_home]) == 0
    assert capsys.readouterr().out == first
    assert main(["plan", *at_home, "-o", "json"]) == 0
    ranks = json.loads(capsys.readouterr().out)["ranks"]
    assert (len(ranks), ranks[-1]["id"], ranks[-1]["node"]) == (26, "decode-23", "spare")
    assert main(["assign", *at_home, "--reset", "decode", "--take", "p1,spare"]) == 0
    assert "1/2" in capsys.readouterr().out


def test_a_dry_run_keeps_nothing(at_home: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["assign", *at_home, "--auto", "--dry-run"]) == 0
    capsys.readouterr()
    assert main(["assign", *at_home]) == 0
    assert capsys.readouterr().out.count("0/2") == 2


@pytest.mark.parametrize(
    "word", [["--swap", "p0"], ["--size", "decode=x"], ["--size", "decode=1,2,3,4"], ["--take", "nobody"]]
)
def test_an_operation_that_cannot_be_understood_changes_nothing(word: list[str], at_home: list[str]) -> None:
    assert main(["assign", *at_home, "--auto", *word]) == 2
    assert not any(Path(at_home[1]).parent.glob("state/**/*.yaml"))


def test_a_read_only_cluster_keeps_its_assignment(at_home: list[str]) -> None:
    assert main(["assign", *at_home, "--auto", "--readonly"]) == 4
