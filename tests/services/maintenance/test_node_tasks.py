"""Steps of maintenance: one node's failure is its own, a lost link is unknown, and a long command outlives its console."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from console.journal import Journal
from console.model.cluster import Cluster
from console.model.deployment import Assignment, Deployment
from console.model.errors import ConsoleError, LinkLost, Unreachable
from console.model.plan import Confirm, Outcome, Plan, Stage, Step
from console.model.run import Sample
from console.remote.link import NodeLink
from console.services.maintenance.node_tasks import NodeTask, NodeTaskRunner, run_command, run_detached
from console.services.monitoring.monitor import Monitor
from console.services.operations.operator import Operator
from console.services.operations.step_context import Report
from tests.screens.fakes import layout
from tests.waiting import until

NODES = ("p0", "p1")


class LocalLink:
    """A link to this very machine; `lost` makes the next answers fail as a cut one does."""

    def __init__(self, base: Path) -> None:
        self.node = SimpleNamespace(name="p0", base=str(base))
        self.lost = 0

    async def run_command(self, argv: Sequence[str], timeout_s: float) -> Sample:
        if self.lost:
            self.lost -= 1
            raise LinkLost("the link was cut")
        child = await asyncio.create_subprocess_exec(
            *argv, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        out, err = await asyncio.wait_for(child.communicate(), timeout_s)
        return Sample("", time.time(), 0.0, child.returncode, out, err)

    async def wait_up(self, timeout_s: float) -> bool:
        return not self.lost


@pytest.fixture
def link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalLink:
    monkeypatch.setattr("console.services.maintenance.node_tasks.ASK_EVERY_S", 0.05)
    return LocalLink(tmp_path / "base")


def as_link(link: LocalLink) -> NodeLink:
    return cast(NodeLink, link)


async def test_a_long_command_is_told_of_while_it_runs_and_gives_what_it_printed(
    link: LocalLink, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    words = ("sh", "-c", 'echo "it\'s begun"; while [ ! -e "$1" ]; do sleep 0.05; done; echo over', "job", str(gate))
    told: list[str] = []
    work = asyncio.create_task(run_detached(as_link(link), "pull-x", words, told.append))
    await until(lambda: any("it's begun" in text for text in told))
    gate.touch()
    assert (await work).strip().splitlines() == ["it's begun", "over"]


async def test_it_outlives_the_asker_survives_a_cut_and_is_never_begun_twice(link: LocalLink, tmp_path: Path) -> None:
    gate, count = tmp_path / "gate", tmp_path / "count"
    words = ("sh", "-c", 'echo x >>"$2"; while [ ! -e "$1" ]; do sleep 0.05; done', "job", str(gate), str(count))
    first = asyncio.create_task(run_detached(as_link(link), "pull-x", words, lambda text: None))
    await until(lambda: count.exists() and count.read_text() == "x\n")
    first.cancel()
    again = asyncio.create_task(run_detached(as_link(link), "pull-x", words, lambda text: None))
    await asyncio.sleep(0)
    gate.touch()
    await again
    assert count.read_text() == "x\n", "the second asker waited for the first one's command"


async def test_a_link_that_comes_back_goes_on_asking(
    link: LocalLink, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = tmp_path / "gate"
    words = ("sh", "-c", 'while [ ! -e "$1" ]; do sleep 0.05; done; echo over', "job", str(gate))

    def told(text: str) -> None:
        link.lost = 0 if gate.exists() else 1
        gate.touch()

    async def back(timeout_s: float) -> bool:
        return True

    monkeypatch.setattr(link, "wait_up", back)
    assert (await run_detached(as_link(link), "pull-x", words, told)).strip() == "over"


async def test_what_fails_says_its_last_words_and_what_was_killed_is_no_success(
    link: LocalLink, tmp_path: Path
) -> None:
    with pytest.raises(ConsoleError, match="exited with 3: no space left"):
        await run_detached(
            as_link(link), "a", ("sh", "-c", "echo layer; echo no space left >&2; exit 3"), lambda text: None
        )

    def kill(text: str) -> None:
        pid = int((tmp_path / "base/.jobs/b/pid").read_text())
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)

    with pytest.raises(ConsoleError, match="was killed"):
        await run_detached(as_link(link), "b", ("sleep", "600"), kill)
    with pytest.raises(ConsoleError, match="exited with 1"):
        await run_command(as_link(link), ("false",))


def operator(tmp_path: Path) -> Operator:
    """On two nodes that are never dialled."""
    nodes = {name: {"host": "10.0.0.1", "hardware": "a3"} for name in NODES}
    deployment = Deployment(Cluster.model_validate({"name": "lab", "nodes": nodes}), layout(), Assignment({}))
    logs = cast(Any, SimpleNamespace(of=lambda key: None, root=tmp_path))
    monitor = Monitor(deployment, logs, {}, read_only=False)
    return Operator(monitor, {}, Journal(tmp_path / "journal.jsonl"), who="me")


def plan(*, by_node: bool) -> Plan:
    steps = [[Step(f"{act}:{name}", "maintenance", act, name) for name in NODES] for act in ("pull", "create")]
    stages = tuple(Stage(each[0].title, tuple(each)) for each in steps)
    return Plan("containers", "lab", "dep", (), stages, Confirm("key", "y"), by_node=by_node)


@pytest.mark.parametrize(("by_node", "rest"), [(True, Outcome.DONE), (False, Outcome.SKIPPED)])
async def test_a_failure_on_one_node_leaves_the_others_to_themselves(
    tmp_path: Path, by_node: bool, rest: Outcome
) -> None:
    async def good(step: Step, report: Report) -> str:
        return "fine"

    async def bad(step: Step, report: Report) -> str:
        raise ConsoleError("no route to the registry")

    errands: dict[str, NodeTask] = {f"{act}:{name}": good for act in ("pull", "create") for name in NODES}
    errands["pull:p0"] = bad
    runner = NodeTaskRunner(errands, {}, "look")
    result = await operator(tmp_path).run(plan(by_node=by_node), lambda event: None, confirmed="y", runner=runner)
    assert result.outcomes == {
        "pull:p0": Outcome.FAILED, "pull:p1": Outcome.DONE, "create:p0": Outcome.SKIPPED, "create:p1": rest
    }  # fmt: skip
    assert not result.ok


async def test_a_lost_link_is_unknown_and_says_where_to_look(tmp_path: Path) -> None:
    async def cut(step: Step, report: Report) -> str:
        raise LinkLost("the link went down")

    links = cast(Any, {"p0": LocalLink(tmp_path)})
    runner = NodeTaskRunner(
        {f"pull:{name}": cut for name in NODES}, {**links, "p1": links["p0"]}, "dsv4-console containers"
    )
    made = plan(by_node=True)
    only = Plan(made.verb, "lab", "dep", (), made.stages[:1], made.confirm, by_node=True)
    result = await operator(tmp_path).run(only, lambda event: None, confirmed="y", runner=runner)
    assert set(result.outcomes.values()) == {Outcome.UNKNOWN}
    assert "check its state before you try again: dsv4-console containers" in result.messages["pull:p0"]


async def test_a_node_that_stays_away_is_out_of_reach(link: LocalLink) -> None:
    def cut(text: str) -> None:
        link.lost = 99

    with pytest.raises(Unreachable):
        await run_detached(as_link(link), "c", ("sleep", "0.2"), cut)
