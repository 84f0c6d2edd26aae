"""Tuning: what drifts is told, set only when confirmed, recorded before it changes, and the way back is printed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from console.probes.check_types import Answer, NodeRequirements
from console.probes.tuning import drifts, settled, spans
from console.services.maintenance.tuning import Change, undo_commands
from tests.e2e.cluster import lab
from tests.services.readiness.inline import inline
from tests.services.readiness.test_ping_matrix import LAYOUT
from tests.sshd import needs_sshd

GOOD = ("0", "0", "50000", "", "61000 65535", "performance")
A2 = NodeRequirements("n", "a2", 8, 1, ports=((7100, "api"),))


def answer(*values: str, files: str = "1048576", locked: str = "unlimited", end: str = "== end\n") -> Answer:
    text = "".join(f"== {number}\n{value}\n" for number, value in enumerate(values))
    return Answer(f"{text}== files\n{files}\n== locked\n{locked}\n{end}".encode())


def found(told: Answer, wanted: NodeRequirements = A2) -> list[tuple[str, str, str]]:
    return [(each.name, each.now, each.wanted) for each in drifts(told, wanted) or ()]


def test_what_drifts_is_named_and_what_the_kernel_lacks_is_none() -> None:
    assert found(answer(*GOOD)) == []
    assert found(answer("60", "1", "", "", "61000 65535", "")) == [
        ("vm.swappiness", "60", "0"),
        ("kernel.numa_balancing", "1", "0"),
    ]
    assert found(answer("0", "0", "500000", "", "61000 65535", "powersave")) == [
        ("kernel.sched_migration_cost_ns", "500000", "50000"),
        ("scaling_governor", "powersave", "performance"),
    ]
    assert found(answer(*GOOD, files="1024", locked="64")) == [
        ("files", "1024", "65535"),
        ("locked", "64 KiB", "unlimited"),
    ]


def test_fixed_ports_are_added_to_those_that_are_reserved_already() -> None:
    (ports,) = found(answer("0", "0", "50000", "9000-9001,60010", "1024 60999", "performance"))
    assert ports == (
        "net.ipv4.ip_local_reserved_ports", "9000-9001,60010", "7100,9000-9001,60000-60031"
    )  # fmt: skip
    assert found(answer("0", "0", "50000", "7100,60000-60031", "1024 60999", "performance")) == []


@pytest.mark.parametrize("cut", range(0, 60, 7))
def test_an_answer_that_was_cut_is_no_answer(cut: int) -> None:
    whole = answer(*GOOD).stdout
    assert drifts(Answer(whole[:cut]), A2) is None
    assert drifts(Answer(whole, exit_code=None), A2) is None


def test_ports_are_equal_however_the_kernel_writes_them() -> None:
    assert settled("net.ipv4.ip_local_reserved_ports", "7100-7101\n", "7100,7101")
    assert not settled("net.ipv4.ip_local_reserved_ports", "7100", "7100,7101")
    assert spans("5,3-4,9") == ((3, 5), (9, 9))


def test_the_way_back_is_to_what_was_before_the_first_change() -> None:
    changes = (
        Change("t1", "vm.swappiness", "60", "0"),
        Change("t2", "vm.swappiness", "0", "0"),
        Change("t3", "nonsense", "1", "2"),
        Change("t4", "net.ipv4.ip_local_reserved_ports", "", "7100"),
    )
    assert undo_commands(changes) == (
        "echo 60 > /proc/sys/vm/swappiness",
        "echo '' > /proc/sys/net/ipv4/ip_local_reserved_ports",
    )


@needs_sshd
@pytest.mark.sshd
@pytest.mark.timeout(200)
def test_a_node_is_tuned_when_the_cluster_is_named_and_not_before(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with lab(tmp_path, hardware="a2", names=("p0", "p1")) as made:
        made.file.with_name("two.yaml").write_text(LAYOUT)
        console = inline(made, "two.yaml", capsys, monkeypatch)
        setting = made.node("p1").root / "root/proc/sys/vm/swappiness"
        setting.write_text("60\n")
        shown = console("tune", "-o", "json")
        assert shown.returncode == 1
        rows = {each["node"]: [drift["name"] for drift in each["drifts"]] for each in json.loads(shown.stdout)}
        assert rows == {"p0": [], "p1": ["vm.swappiness"]}
        asked = console("tune", "set")
        assert (asked.returncode, setting.read_text()) == (4, "60\n")
        done = console("tune", "set", "--yes")
        assert done.returncode == 0, done.stderr
        assert setting.read_text() == "0\n"
        back = console("tune", "--undo", "p0", "--undo", "p1")
        assert back.stdout.splitlines() == [
            "# p0: nothing was changed on this node", "# p1", "echo 60 > /proc/sys/vm/swappiness"
        ]  # fmt: skip
        assert console("tune", "set", "--yes").returncode == 0, "nothing is left to set"
