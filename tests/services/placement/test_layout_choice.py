"""A cluster without a layout can be looked at; what needs one is refused with the way to choose it."""

from __future__ import annotations

import argparse
import json
import shlex
from pathlib import Path

import pytest

from console.cli.logs import _named
from console.cli.main import main
from console.cli.options import deployment_of, remember_layout
from console.cli.status_data import status_data
from console.journal import Journal
from console.model.cluster import Cluster, Node, Runtime
from console.model.deployment import Assignment, Deployment
from console.model.errors import Refused, UsageError
from console.model.hardware import HARDWARE
from console.model.layout import no_layout
from console.model.run import RunKey, RunState, RunVerdict
from console.model.snapshot import EngineState, Link, LinkState
from console.rules import check
from console.services.placement.layout_choice import HOW, fits
from console.services.readiness.preflight import CHOOSE_LAYOUT
from console.services.session import Session
from console.services.shell_access import open_at_engine
from console.services.support_bundle import gather
from tests.services.monitoring.test_monitor import READY_LOG, probed


def cluster(kind: str, count: int) -> Cluster:
    """So many nodes of a kind, which nobody can dial."""
    nodes = {
        f"n{at}": Node(name=f"n{at}", host=f"127.0.0.{at + 1}", port=1, hardware=HARDWARE[kind]) for at in range(count)
    }
    return Cluster(name="lab", nodes=nodes)


ONE_A3 = ["a3-flash", "a3-flash-dspark", "a3-v41-flash-offload"]


@pytest.mark.parametrize(
    ("kind", "count", "first"),
    [
        ("a3", 2, ["a3-mixed", "a3-pd-flash", "a3-pd-flash-dspark", "a3-v41-flash", *ONE_A3]),
        ("a3", 1, ONE_A3),
        ("a2", 5, ["a2-mixed", "a2-v41-flash", "a2-flash", "a2-flash-dspark"]),
        ("a2", 8, ["a2-pd", "a2-pd-flash", "a2-mixed", "a2-v41-flash", "a2-flash", "a2-flash-dspark"]),
    ],
)
def test_layouts_that_the_hardware_can_carry_come_first_the_largest_before(
    kind: str, count: int, first: list[str]
) -> None:
    found = fits(cluster(kind, count))
    assert sorted(each.layout.name for each in found if each.fits) == sorted(first)
    assert [each.fits for each in found] == sorted((each.fits for each in found), reverse=True)
    nodes = [each.nodes for each in found if each.fits]
    assert nodes == sorted(nodes, reverse=True)
    missing = next((each for each in found if not each.fits and each.layout.hardware.name == kind), None)
    assert missing is None or missing.words().endswith(f"; the cluster has {count}")


def options(file: Path, **more: object) -> argparse.Namespace:
    """What the command line gives."""
    return argparse.Namespace(**{"cluster": file, "layout": None, "assign": [], **more})


def test_a_cluster_file_alone_is_enough_to_look_and_not_to_act(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    file = tmp_path / "cluster.yaml"
    file.write_text("name: lab\ndefaults: {hardware: a3}\nnodes:\n  n0: {host: 10.0.0.1}\n")
    made = deployment_of(options(file), look=True)
    assert (made.name, made.ranks(), made.proxy_rank(), check(made)) == ("", (), None, ())
    remember_layout(made.cluster, made.layout)
    with pytest.raises(UsageError, match="no layout"):
        deployment_of(options(file))
    with pytest.raises(UsageError, match="no layout"):
        deployment_of(options(file, assign=["decode=n0"]), look=True)


async def test_a_session_without_a_layout_shows_what_runs_and_refuses_what_needs_one(tmp_path: Path) -> None:
    made = cluster("a3", 2)
    session = Session(made, no_layout(HARDWARE["a3"]), Assignment(), state_dir=tmp_path)
    monitor = session._monitor
    key = RunKey("a3-pd", "decode-3", "20260101T000000Z-0000")
    for name in made.nodes:
        monitor.on_link(name, Link(LinkState.UP, 1.0))
        monitor.on_runs(name, (RunState(key, RunVerdict.RUNNING, pid=7),) if name == "n0" else (), (), 0.0)
        probed(monitor, name)
    monitor.run_record(key).log.feed(READY_LOG, 1.0)
    monitor.publish()
    snapshot = session.snapshot
    assert snapshot.complete
    assert {name: each.state for name, each in snapshot.engines.items()} == {"a3-pd/decode-3@n0": EngineState.READY}
    told = status_data(snapshot)
    assert (told["deployment"], told["service"], list(told["nodes"])) == (None, None, ["n0", "n1"])
    assert session.findings == ()
    with pytest.raises(Refused, match="no layout is chosen") as error:
        session.assign("decode", ["n0"])
    assert error.value.hint == HOW
    with pytest.raises(Refused, match="no layout is chosen"):
        session.fill()
    with pytest.raises(Refused, match="no layout is chosen"):
        await session.operator.prepare("start", [])
    with pytest.raises(UsageError, match="no node is assigned") as unasked:
        await session.preflight.run()
    assert unasked.value.hint == CHOOSE_LAYOUT, "without a layout there is nothing to assign nodes to"
    assert list(_named(session, ["decode-3"], [])) == ["a3-pd/decode-3@n0"]
    assert list(_named(session, [], ["a3-pd/decode-3@n0"])) == ["a3-pd/decode-3@n0"]
    monitor.on_runs("n1", (RunState(RunKey("other", "decode-3", key.run), RunVerdict.RUNNING, pid=7),), (), 0.0)
    monitor.publish()
    with pytest.raises(UsageError, match="'decode-3' is the name of several engines"):
        _named(session, ["decode-3"], [])
    pieces = {each.name: each.text for each in await gather(session)}
    assert "no node is assigned" in json.loads(pieces["preflight.json"])["not run"]
    assert "no answer" in pieces["nodes/n0/left-behind.txt"], "what it looked for on every node of the cluster"
    await session.close()


@pytest.mark.parametrize("act", ["plan", "create"])
def test_containers_are_looked_at_without_a_layout_and_not_made(
    act: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    file = tmp_path / "cluster.yaml"
    runtime = "{kind: docker, container: vllm, image: i}"
    file.write_text(
        f"name: lab\ndefaults: {{hardware: a3, runtime: {runtime}}}\nnodes:\n  n0: {{host: 127.0.0.1, port: 9}}\n"
    )
    assert main(["containers", "show", "-c", str(file)]) == 3
    shown = capsys.readouterr()
    assert "n0: not connected" in shown.out
    assert "no layout" in shown.err
    assert main(["containers", act, "-c", str(file)]) == 4
    assert "mounts the weights of a layout, and no layout is chosen" in capsys.readouterr().err


def test_a_shell_of_an_engine_without_a_layout_is_found_by_its_node(tmp_path: Path) -> None:
    made = cluster("a3", 1)
    node = made.nodes["n0"].model_copy(update={"runtime": Runtime(kind="docker", container="vllm")})
    looked = Deployment(made.model_copy(update={"nodes": {"n0": node}}), no_layout(HARDWARE["a3"]), Assignment())
    words = open_at_engine(looked, "a3-pd/decode-0@n0", tmp_path, Journal(tmp_path / "j"), read_only=False)
    assert shlex.split(words[-1])[:5] == ["docker", "exec", "-it", "vllm", "sh"]
    with pytest.raises(UsageError, match="without a layout no engine's node is known") as error:
        open_at_engine(looked, "decode-0", tmp_path, Journal(tmp_path / "j"), read_only=False)
    assert "--layout NAME|FILE" in error.value.hint
