"""Who is at work on a deployment: one holder at a time, named to the others, forgotten when its console is gone."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from console.journal import Journal
from console.model import snapshot as links
from console.model.errors import Busy, ExitCode, LinkLost, NodeError, NothingToDo, UnderWay
from console.model.plan import Confirm, Outcome, Plan, Stage, Step, Verb
from console.node import lease
from console.node.request_error import RequestError
from console.node.run_dirs import Base
from console.remote.link import NodeLink
from console.services import session
from console.services.audit_log import audit_entries
from console.services.logs.copies import LogBook
from console.services.monitoring.monitor import Monitor
from console.services.operations import lease as keeping
from console.services.operations.lease import hold_lease, lease_plan, own_plan
from console.services.operations.operator import Operator
from console.services.operations.step_context import Report
from console.services.session import Session
from tests.services.deployments import deployment
from tests.waiting import until


@pytest.fixture
def base(tmp_path: Path) -> Base:
    return Base(str(tmp_path / "base"))


def test_the_second_is_told_who_the_first_is(base: Base) -> None:
    lease.take(base, "a3-pd", "ann@jump", "start", "t1", False)
    with pytest.raises(RequestError, match="ann@jump is at work on a3-pd") as caught:
        lease.take(base, "a3-pd", "bob@jump", "stop", "t2", False)
    assert caught.value.kind == "busy"
    seen = lease.look(base, "a3-pd")
    assert seen is not None
    assert (seen["holder"], seen["expired"], seen["gone"]) == ("ann@jump", False, False)


def test_a_second_console_of_the_same_operator_is_a_second_one(base: Base) -> None:
    lease.take(base, "a3-pd", "ann@jump", "start", "t1", False)
    with pytest.raises(RequestError, match="ann@jump is at work"):
        lease.take(base, "a3-pd", "ann@jump", "stop", "t2", False)


def test_a_holder_renews_and_gives_back(base: Base) -> None:
    first = lease.take(base, "a3-pd", "ann@jump", "start", "t1", False)
    again = lease.take(base, "a3-pd", "ann@jump", "start", "t1", False)
    assert again["since"] == first["since"]
    assert again["taken_from"] is None
    assert not lease.give_back(base, "a3-pd", "t2")
    assert lease.give_back(base, "a3-pd", "t1")
    assert lease.look(base, "a3-pd") is None
    assert lease.take(base, "a3-pd", "bob@jump", "stop", "t2", False)["taken_from"] is None


def test_a_takeover_names_whom_it_was_taken_from(base: Base) -> None:
    lease.take(base, "a3-pd", "ann@jump", "start", "t1", False)
    assert lease.take(base, "a3-pd", "bob@jump", "stop", "t2", True)["taken_from"] == "ann@jump"
    assert not lease.give_back(base, "a3-pd", "t1")


@pytest.mark.parametrize("shift", [-1000.0, 1000.0], ids=["console gone", "clock set back"])
def test_a_lease_nobody_renews_falls_to_the_next(base: Base, shift: float) -> None:
    lease.take(base, "a3-pd", "ann@jump", "start", "t1", False)
    path = Path(base.path) / "a3-pd" / "lease.json"
    kept = json.loads(path.read_text())
    path.write_text(json.dumps({**kept, "renewed": kept["renewed"] + shift}))
    assert lease.take(base, "a3-pd", "bob@jump", "stop", "t2", False)["taken_from"] == "ann@jump"


def _of_a_dead_helper(base: Base, *, renewed_ago: float) -> None:
    lease.take(base, "a3-pd", "ann@jump", "start", "t1", False)
    path = Path(base.path) / "a3-pd" / "lease.json"
    kept = json.loads(path.read_text())
    path.write_text(json.dumps({**kept, "started": kept["started"] + 1, "renewed": kept["renewed"] - renewed_ago}))


def test_one_may_go_on_at_once_after_ones_own_console_was_killed(base: Base) -> None:
    _of_a_dead_helper(base, renewed_ago=1.0)
    assert lease.take(base, "a3-pd", "ann@jump", "stop", "t2", False)["taken_from"] == "ann@jump"


def test_a_link_that_was_cut_keeps_its_lease_for_a_while_then_loses_it(base: Base) -> None:
    _of_a_dead_helper(base, renewed_ago=1.0)
    with pytest.raises(RequestError):
        lease.take(base, "a3-pd", "bob@jump", "stop", "t2", False)
    _of_a_dead_helper(base, renewed_ago=lease.GONE_S + 1)
    assert lease.take(base, "a3-pd", "bob@jump", "stop", "t2", False)["holder"] == "bob@jump"


@pytest.mark.parametrize("rubbish", [b"", b"[]", b"\xff\xfe", b'{"token": 3}', b'{"token": "x", "renewed": "never"}'])
def test_a_broken_lease_file_stops_nobody(base: Base, rubbish: bytes) -> None:
    lease.take(base, "a3-pd", "ann@jump", "start", "t1", False)
    (Path(base.path) / "a3-pd" / "lease.json").write_bytes(rubbish)
    assert lease.take(base, "a3-pd", "bob@jump", "stop", "t2", False)["holder"] == "bob@jump"


def test_nobody_reads_the_lease_while_another_writes_it(base: Base, monkeypatch: pytest.MonkeyPatch) -> None:
    lease.take(base, "a3-pd", "ann@jump", "start", "t1", False)
    writing = lease.locked(base, "a3-pd")
    writing.__enter__()
    turns: list[float] = []

    def given_back_meanwhile(pause_s: float) -> None:
        (Path(base.path) / "a3-pd" / "lease.json").unlink()
        writing.__exit__(None, None, None)
        turns.append(pause_s)

    monkeypatch.setattr(
        lease, "time", SimpleNamespace(time=time.time, monotonic=time.monotonic, sleep=given_back_meanwhile)
    )
    assert lease.take(base, "a3-pd", "bob@jump", "stop", "t2", False)["taken_from"] is None
    assert len(turns) == 1


def test_of_many_at_once_one_gets_it(base: Base) -> None:
    def one(number: int) -> str:
        try:
            lease.take(base, "a3-pd", f"op{number}", "start", f"t{number}", False)
        except RequestError as refusal:
            return refusal.kind
        return "taken"

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(one, range(8))) == ["busy"] * 7 + ["taken"]


class Link:
    """The way to a node without a network: its own answers, as the link gives them."""

    def __init__(self, base: Base) -> None:
        self._base = base
        self.link = links.Link(links.LinkState.UP)
        self.silent = False

    async def lease(self, deployment: str, act: str, **asked: object) -> dict[str, object]:
        try:
            if act == "look":
                if self.silent:
                    await asyncio.Event().wait()
                return {"lease": lease.look(self._base, deployment)}
            token = str(asked["token"])
            if act == "give-back":
                return {"given": lease.give_back(self._base, deployment, token)}
            words = str(asked["holder"]), str(asked["verb"]), token, bool(asked["takeover"])
            ends = cast(list[str], asked["ends"])
            return {"lease": lease.take(self._base, deployment, *words, ends)}
        except RequestError as refusal:
            raise NodeError(str(refusal), kind=refusal.kind) from refusal


PLAN = Plan("start", "lab", "a3-pd", (), (), Confirm("key", "y"))


async def test_the_second_operator_learns_the_holders_name_and_the_first_that_it_was_taken_over(
    base: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "WATCH_S", 0.01)
    link, told, lost = cast(NodeLink, Link(base)), list[str](), list[str]()
    async with hold_lease(link, PLAN, "ann@jump", takeover=False, report=told.append, overtaken=lost.append):
        with pytest.raises(Busy) as caught:
            async with hold_lease(link, PLAN, "bob@jump", takeover=False, report=told.append, overtaken=lost.append):
                raise AssertionError("not held twice")
        assert caught.value.holder == "ann@jump"
        async with hold_lease(link, PLAN, "bob@jump", takeover=True, report=told.append, overtaken=lost.append):
            await until(lambda: lost)
    assert told == ["lease taken over from ann@jump"]
    assert lost == ["bob@jump (start)"]
    assert lease.look(base, "a3-pd") is None


async def test_others_read_that_a_policy_is_at_work(base: Base) -> None:
    link = cast(NodeLink, Link(base))
    async with hold_lease(
        link, replace(PLAN, verb="restart", restarts=(1.0,)), "ann@jump", takeover=False, report=print, overtaken=print
    ):
        found = lease.look(base, "a3-pd")
        assert found is not None
        assert found["verb"] == "restart by policy"


@pytest.mark.parametrize(("kind", "goes_on"), [("os", True), ("refused", False)])
async def test_a_full_disk_under_the_lease_forbids_no_stop(
    base: Base, monkeypatch: pytest.MonkeyPatch, kind: str, goes_on: bool
) -> None:
    def full(_path: str, _value: object) -> None:
        raise RequestError(kind, "lease: No space left on device")

    monkeypatch.setattr(lease, "write_json", full)
    told: list[str] = []
    with contextlib.nullcontext() if goes_on else pytest.raises(NodeError, match="No space"):
        async with hold_lease(
            cast(NodeLink, Link(base)), PLAN, "ann@jump", takeover=False, report=told.append, overtaken=print
        ):
            assert told == ["continuing without the lease: lease: No space left on device"]
    assert bool(told) is goes_on


STOP = replace(PLAN, verb="stop", stages=(Stage("stop", (Step("s", "stop", "stop", "d0", ("decode-0", "decode-1")),)),))


async def test_others_read_which_engines_a_plan_takes_down_and_since_when(base: Base) -> None:
    link = cast(NodeLink, Link(base))
    before = time.time()
    async with hold_lease(link, STOP, "alice@jump2\x1b[2J", takeover=False, report=print, overtaken=print):
        work = await lease_plan(link, "a3-pd")
    assert work is not None
    assert work.words() == "alice@jump2: stop runs"
    assert work.ends == own_plan(STOP, "alice@jump2", before).ends == {"decode-0", "decode-1"}
    assert before - 1.0 <= work.since <= time.time()
    assert work.takes_down("decode-0", before - 60.0)
    assert not work.takes_down("decode-0", work.since + 1.0), "a run that began later is not meant"
    assert not work.takes_down("decode-0", None)
    assert not work.takes_down("decode-2", before - 60.0)
    assert await lease_plan(link, "a3-pd") is None


async def test_nobody_waits_for_the_word_of_a_node_that_is_away_or_silent(
    base: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "READ_S", 0.01)
    lease.take(base, "a3-pd", "ann@jump", "start", "t1", False)
    known = Link(base)
    known.silent = True
    assert await lease_plan(cast(NodeLink, known), "a3-pd") is None
    known = Link(base)
    known.link = links.Link(links.LinkState.LOST)
    assert await lease_plan(cast(NodeLink, known), "a3-pd") is None
    assert await lease_plan(None, "a3-pd") is None


async def test_a_plan_says_who_is_at_work_before_it_is_confirmed(base: Base, tmp_path: Path) -> None:
    near = {"p0": cast(NodeLink, Link(base))}
    monitor = Monitor(deployment(), LogBook(tmp_path / "logs", lambda _: None), near, read_only=False)
    operator = Operator(monitor, near, Journal(tmp_path / "journal.jsonl"), who="me@here")
    assert "LEASE" not in [each.rule for each in (await operator.prepare("start", [])).findings]
    lease.take(base, "pd", "alice@jump2", "stop", "t1", False, ["decode-0"])
    first = (await operator.prepare("start", [])).findings[0]
    assert (first.rule, first.severity) == ("LEASE", "warning")
    assert first.message == "alice@jump2: stop runs, since 5 s"
    assert "confirm this plan and then type alice@jump2" in first.fix


@pytest.mark.parametrize("verb", ["stop", "kill"])
async def test_what_has_only_just_begun_elsewhere_is_told_instead_of_nothing_to_do(
    base: Base, tmp_path: Path, verb: Verb, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the first seconds of a start nothing runs yet; `stop` said that nothing is to be done, exit code 0."""
    monkeypatch.setattr("console.services.operations.operator.unreached", lambda *_: {})
    near = {"p0": cast(NodeLink, Link(base))}
    monitor = Monitor(deployment(), LogBook(tmp_path / "logs", lambda _: None), near, read_only=False)
    operator = Operator(monitor, near, Journal(tmp_path / "journal.jsonl"), who="me@here")
    with pytest.raises(NothingToDo):
        await operator.prepare(verb, [])
    lease.take(base, "pd", "alice@jump2", "start", "t1", False)
    with pytest.raises(
        UnderWay, match="a start by alice@jump2 has been running for 5 s: none of its engines runs yet"
    ) as told:
        await operator.prepare(verb, [])
    assert told.value.exit_code == ExitCode.REFUSED
    assert f"{verb} again in a few seconds: that plan takes over from alice@jump2" in told.value.hint


class Waits:
    """A runner whose first step waits until it is told to go on."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.goes = asyncio.Event()

    async def run(self, step: Step, report: Report) -> str:
        self.ran.append(step.id)
        await self.goes.wait()
        return "well"

    async def discard(self, stage: Stage) -> None:
        """Nothing was prepared."""

    async def settle(self, step: Step, lost: LinkLost) -> tuple[Outcome, str]:
        raise lost


async def test_whoever_is_overtaken_learns_it_while_a_step_runs_and_begins_no_other(
    base: Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "WATCH_S", 0.01)
    near = {"p0": cast(NodeLink, Link(base))}
    monitor = Monitor(deployment(), LogBook(tmp_path / "logs", lambda _: None), near, read_only=False)
    operator = Operator(monitor, near, Journal(tmp_path / "journal.jsonl"), who="ann@jump")
    steps = [Stage(name, (Step(name, "prepare", name, "p0"),)) for name in ("one", "two")]
    plan, waits = Plan("start", "lab", "pd", ("decode-0",), tuple(steps), Confirm("key", "y")), Waits()
    running = asyncio.create_task(operator.run(plan, lambda _: None, confirmed="y", runner=waits))
    await until(lambda: waits.ran)
    lease.take(base, "pd", "bob@jump2", "stop", "t2", True)
    words = "taken over by bob@jump2 (stop) while this start runs: no further step starts"
    await until(lambda: any(event.text == words for event in monitor._build().events))
    waits.goes.set()
    result = await running
    assert (result.taken_over, result.ok, waits.ran) == ("bob@jump2 (stop)", False, ["one"])
    assert result.outcomes == {"one": Outcome.DONE, "two": Outcome.SKIPPED}
    (only,) = audit_entries(operator._journal.tail(10))
    assert (only.outcome, only.good) == ("taken over by bob@jump2 (stop)", False)
    found = lease.look(base, "pd")
    assert found is not None
    assert found["token"] == "t2", "what the other one holds is not given back"


@pytest.mark.parametrize("ours", [True, False])
async def test_a_plan_that_ended_while_its_node_was_asked_is_not_shown_as_somebody_elses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ours: bool
) -> None:
    made = deployment()
    watching = Session(made.cluster, made.layout, made.assignment, state_dir=tmp_path)
    watching.operator.running = PLAN if ours else None
    asked = 0

    async def look(*_: object) -> dict[str, object]:
        nonlocal asked
        asked += 1
        watching.operator.running = None
        if asked == 2:
            raise asyncio.CancelledError
        return {"lease": {"holder": "ann@jump", "verb": "start", "age_s": 3.0, "ends": []}}

    monkeypatch.setattr(session, "read_lease", look)
    monkeypatch.setattr(session, "LEASE_EVERY_S", 0.0)
    monkeypatch.setattr(session, "LEASE_FIRST_S", 0.0)
    with pytest.raises(asyncio.CancelledError):
        await watching._watch_lease()
    seen = watching._monitor.work
    assert (seen and seen.holder) == (None if ours else "ann@jump")
    await watching.close()
