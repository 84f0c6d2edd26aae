"""Alerts: grouped, no storm, sent once by one console, to a command without a shell or a webhook, secrets masked."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import ValidationError

from console.journal import Journal
from console.model.cluster import Alerts
from console.model.deployment import Deployment
from console.model.ongoing_work import OngoingPlan, StopRequest
from console.model.snapshot import ClusterSnapshot, Diagnosis, EngineState, Exit, Host, Link, LinkState, NodeSnapshot
from console.remote.webhook import post
from console.services.logs.copies import LogBook
from console.services.monitoring.monitor import Monitor
from console.services.serving.alert_delivery import AlertWatch
from console.services.serving.alerts import AlertBook
from tests.services.deployments import ASSIGNMENT, CLUSTER, LAYOUT, deployment, picture
from tests.waiting import until

DEAD = {"decode-0": EngineState.FAILED, "decode-1": EngineState.DEGRADED, "decode-2": EngineState.FAILED}


def at(second: float, states: dict[str, EngineState] | None = None, **more: object) -> ClusterSnapshot:
    """A picture at a second."""
    return replace(picture(states or {}), at=second, **more)  # type: ignore[arg-type]


def titles(book: AlertBook) -> list[str]:
    """What holds."""
    return [each.title for each in book.active]


def test_engines_of_a_group_are_one_alert_after_they_held_a_while() -> None:
    book = AlertBook(hold_s=5.0)
    book.update(at(0.0, DEAD))
    assert titles(book) == [], "not yet"
    book.update(at(5.0, DEAD))
    assert titles(book) == ["decode: 2 of 4 engines failed"]
    raised, over = book.changes()
    assert [each.key for each in raised] == ["group/decode"]
    assert over == ()
    book.update(at(9.0, {**DEAD, "decode-3": EngineState.FAILED}))
    assert titles(book) == ["decode: 3 of 4 engines failed"]
    assert book.changes() == ((), ()), "one more of the same is no new alert"


def test_what_comes_and_goes_is_one_alert_until_it_was_calm() -> None:
    book = AlertBook(hold_s=0.0, calm_s=30.0)
    told = []
    for second in range(0, 60, 5):
        book.update(at(float(second), DEAD if second % 10 else {}))
        told += [each.key for each in book.changes()[0]]
    assert told == ["group/decode"]
    book.update(at(60.0))
    assert titles(book) == ["decode: 2 of 4 engines failed"]
    book.update(at(95.0))
    assert titles(book) == []
    assert [each.key for each in book.changes()[1]] == ["group/decode"]


def test_a_blink_is_no_alert() -> None:
    book = AlertBook(hold_s=5.0)
    for second in range(20):
        book.update(at(float(second), DEAD if second % 2 else {}))
    assert titles(book) == []


ALL = ("decode-0", "decode-1", "decode-2", "decode-3")
READY = dict.fromkeys(ALL, EngineState.READY)


def ended(picture_: ClusterSnapshot, second: float, **more: object) -> ClusterSnapshot:
    """The same with engines that started at 10 s, and those that ended did so at this second, all told by their nodes' clocks."""
    engines = {
        name: replace(
            each,
            started_at=1010.0,
            exit=Exit(0, at=1000.0 + second) if each.state in (EngineState.FAILED, EngineState.EXITED) else None,
        )
        for name, each in picture_.engines.items()
    }
    nodes = {
        name: NodeSnapshot(name, "h", "a3", 16, Link(LinkState.UP), system=Host(clock_offset_s=1000.0))
        for name in ("p0", "p1", "d0", "d1")
    }
    return replace(picture_, engines=engines, nodes=nodes, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("holder", ["me@here", "alice@jump2"])
def test_what_a_running_plan_takes_down_is_no_alert(holder: str) -> None:
    work = OngoingPlan(holder, "restart", 100.0, frozenset(ALL))
    dying = {**READY, "decode-1": EngineState.DEGRADED, "decode-2": EngineState.FAILED}
    crash = Diagnosis("C8", "fatal", "an operator failed", "", "", "", "decode-2", "d1", "", 101.0, True)
    book = AlertBook(hold_s=0.0)
    book.update(ended(at(102.0, dying), 101.0, work=work, diagnoses=(crash,)))
    assert titles(book) == []
    book.update(ended(at(102.0, dying), 101.0, work=replace(work, ends=frozenset({"prefill-0"})), diagnoses=(crash,)))
    assert titles(book) == ["decode: 1 of 4 engines failed", "C8 an operator failed: decode-2"]


def test_what_outlives_its_stop_and_runs_of_the_plan_itself_are_told() -> None:
    work = OngoingPlan("me@here", "restart", 100.0, frozenset(ALL))
    book = AlertBook(hold_s=0.0)
    book.update(ended(at(102.0, {**READY, "decode-2": EngineState.STUCK}), 101.0, work=work))
    assert titles(book) == ["decode: 1 of 4 engines stuck"]
    book = AlertBook(hold_s=0.0)
    book.update(ended(at(102.0, {**READY, "decode-2": EngineState.FAILED}), 101.0, work=replace(work, since=5.0)))
    assert titles(book) == ["decode: 1 of 4 engines failed"]


def test_what_failed_before_its_group_was_stopped_was_dealt_with() -> None:
    failed = {**dict.fromkeys(ALL, EngineState.EXITED), "decode-2": EngineState.FAILED}
    crash = Diagnosis("C8", "fatal", "an operator failed", "", "", "", "decode-2", "d1", "", 90.0, True)

    def told(asked_at: float) -> list[str]:
        seen = ended(at(200.0, failed), 100.0, diagnoses=(crash,))
        asked = StopRequest("alice@jump2", asked_at)
        engines = {
            name: replace(each, asked=asked if each.state is EngineState.EXITED else None)
            for name, each in seen.engines.items()
        }
        book = AlertBook(hold_s=0.0)
        book.update(replace(seen, engines=engines))
        return titles(book)

    assert told(150.0) == []
    assert told(50.0) == ["decode: 1 of 4 engines failed", "C8 an operator failed: decode-2"], (
        "it failed after the stop"
    )


def test_an_alert_is_over_at_once_when_its_whole_group_is_ready_again() -> None:
    crash = Diagnosis("C8", "fatal", "an operator failed", "", "", "", "decode-2", "d1", "", 0.0, True)
    book = AlertBook(hold_s=0.0, calm_s=30.0)
    book.update(at(0.0, DEAD, diagnoses=(crash,)))
    assert len(titles(book)) == 2
    starting = at(1.0, {**READY, "decode-2": EngineState.STARTING, "decode-3": EngineState.STARTING})
    late = {**starting.engines, "decode-2": replace(starting.engines["decode-2"], run="next")}
    book.update(replace(starting, engines=late, diagnoses=(crash,)))
    assert len(titles(book)) == 2, "not all of it is ready"
    book.update(at(2.0, READY))
    assert titles(book) == ["C8 an operator failed: decode-2"], "the same run may fail again"
    again = at(3.0, READY)
    book.update(replace(again, engines={name: replace(each, run="next") for name, each in again.engines.items()}))
    assert titles(book) == []
    assert {each.key for each in book.changes()[1]} == {"group/decode", "C8"}


def test_an_alert_is_over_at_once_when_its_whole_group_was_stopped() -> None:
    book = AlertBook(hold_s=0.0, calm_s=30.0)
    book.update(at(0.0, {**READY, "decode-1": EngineState.STUCK}))
    book.update(at(1.0, {**dict.fromkeys(ALL, EngineState.EXITED), "decode-1": EngineState.STOPPING}))
    assert titles(book) == ["decode: 1 of 4 engines stuck"]
    book.update(at(2.0, dict.fromkeys(ALL, EngineState.EXITED)))
    assert titles(book) == []


def test_a_start_that_is_held_up_by_a_silent_rank_is_one_warning() -> None:
    starting = dict.fromkeys(ALL, EngineState.STARTING)

    def seen(second: float, **states: EngineState) -> ClusterSnapshot:
        quiet = at(second, {**starting, **states})
        slow = replace(
            quiet.engines["decode-3"], phase="load", progress=0.41, silent_since=0.0, held_up=f"silent {second:.0f}m"
        )
        return replace(quiet, engines={**quiet.engines, "decode-3": slow})

    book = AlertBook(hold_s=0.0)
    book.update(seen(2.0))
    book.update(seen(3.0))
    assert titles(book) == ["decode: start stalled, decode-3 silent at load 41 %"]
    assert book.active[0].level == "warning"
    assert "(silent 3m)" in book.active[0].text
    assert [each.key for each in book.changes()[0]] == ["silent/decode"]
    book.update(at(4.0, READY))
    assert titles(book) == []


def hung(second: float, run: str, *, silent: bool, state: EngineState = EngineState.STARTING) -> ClusterSnapshot:
    """The start of a group in which one rank loads, or says nothing any more."""
    made = at(second, dict.fromkeys(ALL, EngineState.STARTING))
    words = {"silent_since": second - 60.0, "held_up": "silent 1m"} if silent else {}
    engines = {name: replace(each, run=run) for name, each in made.engines.items()}
    engines["decode-3"] = replace(engines["decode-3"], state=state, phase="load", progress=0.41, **words)  # type: ignore[arg-type]
    return replace(made, engines=engines)


def test_a_load_that_hangs_again_at_every_start_is_one_alert_until_the_group_is_ready_or_stopped() -> None:
    book = AlertBook(hold_s=0.0, calm_s=30.0)
    second, told = 100.0, []
    for run in ("r1", "r2", "r3"):
        for step, (silent, state) in enumerate(
            [(False, EngineState.STARTING)] * 6 + [(True, EngineState.STARTING)] * 9 + [(False, EngineState.FAILED)] * 4
        ):
            book.update(hung(second + step * 10.0, run, silent=silent, state=state))
            raised, over = book.changes()
            told += [each.key for each in raised if each.key.startswith("silent")]
            assert not [each for each in over if each.key.startswith("silent")]
        second += 200.0
    assert told == ["silent/decode"]
    ready = at(second, READY)
    book.update(replace(ready, engines={name: replace(each, run="r4") for name, each in ready.engines.items()}))
    assert "silent/decode" in [each.key for each in book.changes()[1]]


def test_a_start_that_goes_on_after_a_silence_is_no_alert_any_more() -> None:
    book = AlertBook(hold_s=0.0, calm_s=30.0)
    book.update(hung(100.0, "r1", silent=True))
    assert [each.key for each in book.active] == ["silent/decode"]
    book.update(hung(110.0, "r1", silent=False))
    book.update(hung(140.0, "r1", silent=False))
    assert [each.key for each in book.active] == []


def test_what_failed_on_a_node_that_is_out_of_sight_now_is_not_over() -> None:
    book = AlertBook(hold_s=0.0, calm_s=30.0)
    book.update(at(0.0, DEAD))
    for second in (10.0, 50.0, 100.0):
        book.update(at(second, dict.fromkeys(ALL, EngineState.UNREACHABLE)))
        assert [each.key for each in book.active] == ["group/decode"]
    book.update(at(110.0))
    book.update(at(141.0))
    assert [each.key for each in book.active] == []


async def test_what_held_before_the_files_were_read_again_is_neither_news_nor_forgotten(tmp_path: Path) -> None:
    def watching(name: str) -> tuple[Monitor, AlertWatch]:
        made = deployment()
        monitor = Monitor(made, LogBook(tmp_path / "logs" / name, lambda _: None), {}, read_only=True)
        return monitor, AlertWatch(monitor, Journal(tmp_path / name), tmp_path / "lock", sends=False)

    first, before = watching("a")
    for second in (0.0, 10.0):
        first.snapshot = at(second, DEAD)
        before._update()
    assert [each.key for each in first.alerts] == ["group/decode"]
    second_, after = watching("b")
    after.continue_from(before)
    assert [each.key for each in second_.snapshot.alerts] == ["group/decode"], "the first picture has it already"
    second_.snapshot = at(20.0, DEAD)
    after._update()
    assert [each.key for each in second_.alerts] == ["group/decode"]
    assert second_.alerts[0].since == first.alerts[0].since


def test_links_and_failures_are_grouped_and_errors_come_first_without_secrets() -> None:
    nodes = {name: NodeSnapshot(name, "h", "a3", 16, Link(LinkState.LOST, reason="refused")) for name in ("p0", "d0")}
    text = "--api-key sk-verysecret out of memory"
    found = tuple(
        Diagnosis("C1", "fatal", "HBM is full", "", "use less", "", name, "d0", text, 0.0, True)
        for name in ("decode-0", "decode-1")
    )  # fmt: skip
    book = AlertBook(hold_s=0.0)
    book.update(at(0.0, nodes=nodes, diagnoses=found))
    assert titles(book) == ["C1 HBM is full: decode-0, decode-1", "2 of 2 nodes out of reach: p0, d0"]
    assert book.active[0].remedy == "use less"
    assert "verysecret" not in book.active[0].text


def test_what_follows_the_first_cause_is_told_with_it_but_not_what_the_proxy_does() -> None:
    def failure(signature: str, engine: str, second: float, *, first: bool = False) -> Diagnosis:
        return Diagnosis(
            signature,
            "running",
            signature,
            "",
            f"fix {signature}",
            "",
            engine,
            "d0",
            f"log of {signature}",
            second,
            True,
            first=first,
        )

    found = (
        failure("C8", "decode-2", 10.0, first=True),
        failure("F1", "decode-2", 11.0),
        failure("F10", "decode-0", 12.0),
        failure("E13", "proxy", 12.0),
        failure("S2", "prefill-0", 300.0),
    )
    book = AlertBook(hold_s=0.0)
    book.update(at(300.0, DEAD, diagnoses=found))
    assert [each.key for each in book.active] == ["group/decode", "C8", "E13", "S2"]
    assert book.active[0].text == "decode-2 on d1: C8 C8: log of C8", "text and remedy are of one fault"
    assert book.active[0].remedy == "fix C8"


@pytest.mark.parametrize(
    "wrong",
    [{"command": "mail ops"}, {"webhook": "ftp://x"}, {"webhook": "https://"}, {"every": 0}, {"level": "loud"}, {"to": "x"}],
)  # fmt: skip
def test_what_cannot_be_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Alerts.model_validate(wrong)


def test_the_webhook_is_a_secret() -> None:
    shown = Alerts.model_validate({"webhook": "https://hooks.example/T0/token"})
    assert "token" not in repr(shown) + shown.model_dump_json()


def monitor_of(tmp_path: Path, alerts: Alerts) -> Monitor:
    """A monitor of the small deployment that nobody feeds."""
    cluster = CLUSTER.model_copy(update={"alerts": alerts})
    logs = LogBook(tmp_path / "logs", lambda _: None)
    return Monitor(Deployment(cluster, LAYOUT, ASSIGNMENT), logs, {}, read_only=False)


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """News are gathered for a moment only."""
    monkeypatch.setattr("console.services.serving.alert_delivery.GATHER_S", 0.05)
    monkeypatch.setattr("console.services.serving.alert_delivery.EVERY_S", 0.02)


@asynccontextmanager
async def watching(monitor: Monitor, tmp_path: Path, name: str = "journal") -> AsyncIterator[AlertWatch]:
    """A watch that sends, from here to the end."""
    watch = AlertWatch(monitor, Journal(tmp_path / name), tmp_path / "lock", sends=True)
    task = asyncio.create_task(watch.run())
    try:
        yield watch
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


WRITER = "import sys, pathlib; pathlib.Path(sys.argv[1]).open('ab').write(sys.stdin.buffer.read() + b'\\n')"


@pytest.mark.usefixtures("fast")
async def test_the_command_gets_one_message_for_one_moment_from_one_of_two_consoles(tmp_path: Path) -> None:
    out = tmp_path / "sent; rm -rf $HOME"
    alerts = Alerts(command=(sys.executable, "-c", WRITER, str(out)), hold=0.0, every=60.0)
    monitor, second = monitor_of(tmp_path, alerts), monitor_of(tmp_path, alerts)
    monitor.snapshot = second.snapshot = at(0.0, {**DEAD, "prefill-0": EngineState.LOST})
    async with watching(monitor, tmp_path):
        await until(out.exists)
        async with watching(second, tmp_path, "other") as other:
            await until(lambda: second.alerts and not other._raised)
            monitor.snapshot = at(1.0, {**DEAD, "prefill-0": EngineState.LOST, "proxy": EngineState.FAILED})
            await until(lambda: len(monitor.alerts) == 3)
    (message,) = [json.loads(line) for line in out.read_text().splitlines()]
    assert {each["key"] for each in message["raised"]} == {"group/decode", "group/prefill"}
    assert message["text"].startswith("lab: prefill: 1 of 2 engines lost")
    assert (tmp_path / "journal").exists()


@pytest.mark.usefixtures("fast")
@pytest.mark.parametrize(
    ("command", "words"),
    [(("/no/such/command",), "No such file"), ((sys.executable, "-c", "raise SystemExit('no mail today')"), "no mail today")],
)  # fmt: skip
async def test_a_command_that_fails_is_an_event_once(tmp_path: Path, command: tuple[str, ...], words: str) -> None:
    monitor = monitor_of(tmp_path, Alerts(command=command, hold=0.0, every=1.0))
    monitor.snapshot = at(0.0, DEAD)
    async with watching(monitor, tmp_path):
        await until(lambda: any(words in event.text for event in monitor._events), 20.0)


async def test_a_webhook_takes_json_and_its_refusal_names_no_address() -> None:
    asked: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(
            int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")
        )
        asked.append(await reader.readexactly(length))
        status = b"204 No Content" if b"/good" in head else b"403 Forbidden"
        writer.write(b"HTTP/1.1 " + status + b"\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        base = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        assert await post(f"{base}/good/token", {"text": "grüß"}, 10.0) == ""
        assert json.loads(asked[0]) == {"text": "grüß"}
        assert await post(f"{base}/bad/token", {}, 10.0) == "answered 403"
    assert "token" not in await post(f"{base}/gone/token", {}, 10.0)


def test_nothing_is_wrong_with_a_deployment_that_is_not_started() -> None:
    book = AlertBook(hold_s=0.0)
    book.update(replace(picture({}, deployment()), at=1.0))
    assert titles(book) == []
