"""A node that lies ends its own link with the right reason, at once, and harms no other."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from console.model.cluster import Cluster
from console.model.errors import NodeError
from console.model.run import RunKey
from console.model.snapshot import LinkState
from console.node.http_exchange import MAX_BODY
from tests.remote.lying import liar
from tests.remote.watching import linked
from tests.sshd import SshNodes, needs_sshd, running_nodes
from tests.waiting import until

pytestmark = [pytest.mark.sshd, needs_sshd]


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshNodes]:
    with running_nodes(tmp_path_factory.mktemp("sshd"), 2, first=60) as nodes:
        yield nodes


def with_liar(sshd: SshNodes, tmp_path: Path, body: str) -> Cluster:
    """n0 lies, n1 does not."""
    cluster = sshd.cluster(base=str(tmp_path / "base"))
    lying = cluster.nodes["n0"].model_copy(update={"python": liar(tmp_path / "liar", body)})
    return cluster.model_copy(update={"nodes": {"n0": lying, "n1": cluster.nodes["n1"]}})


LIES = {
    "endless clock": ('hello(clock=float("inf"))\nwait_for("never")', "not JSON"),
    "clock of another age": ('hello(clock=1e300)\nwait_for("never")', "hello: clock"),
    "no number": ('hello()\nruns(run(started_at=float("nan")))\nwait_for("never")', "NaN is not a number"),
    "a number too large to be one": (
        'hello()\nruns(run(log_size=10**400))\nwait_for("never")',
        "runs: runs.0.log_size",
    ),
    "digits without end": (
        'hello()\nraw(b\'{"push":"runs","runs":\' + b\'9\' * 100000 + b\'}\')\nwait_for("never")',
        "not JSON",
    ),
    "a name longer than a file may have": (
        'hello()\nruns(run(name="x" * 5000))\nwait_for("never")',
        "is not a valid name",
    ),
    "a name that leads out": ('hello()\nruns(run(name="../../etc"))\nwait_for("never")', "is not a valid name"),
    "a deep nest": (
        "hello()\nraw(b'{\"a\":' + b'[' * 200000 + b']' * 200000 + b'}')\nwait_for(\"never\")",
        "nested too deep",
    ),
    "a deep spec": (
        'deep = {}\nfor _ in range(100): deep = {"a": deep}\nhello()\nruns(run(spec=deep))\nwait_for("never")',
        "nested deeper than",
    ),
    "half a character": ('hello(hostname="\\ud800")\nwait_for("never")', "not JSON"),
    "more runs than are read": (
        'hello()\nruns(*(run(name="r%d" % n) for n in range(1000)))\nwait_for("never")',
        "runs: runs: List should have at most",
    ),
    "a header without end": (
        'hello()\nout.write(struct.pack(">II", 2**20 + 1, 0))\nout.flush()\nwait_for("never")',
        "not a frame",
    ),
    "a log nobody asked for": (
        'hello()\npush(b"x", push="log", key=["dep", "decode-0", "r"], offset=0, size=1, restarted="")\nwait_for("never")',
        "was not requested",
    ),
    "a probe nobody asked for": (
        'hello()\npush(push="sample", probe="npu", at=1.0, took_s=1.0, exit_code=0, stdout_bytes=0, truncated=False)\n'
        'wait_for("never")',
        "was not requested",
    ),
    "a stop nobody asked for": (
        'hello()\npush(push="stop", key=["dep", "decode-0", "r"], stage="stopped")\nwait_for("never")',
        "was not requested",
    ),
    "an answer nobody asked for": (
        'hello()\npush(push="answer", id=1, status=200, took_s=0.1, error="", said=None)\nwait_for("never")',
        "was not asked",
    ),
    "an answer that came again and never came": (
        'hello()\npush(push="same", ids=[[1, 0.5]])\nwait_for("never")',
        "was not asked",
    ),
    "a piece nobody asked for": (
        'hello()\npush(b"x", push="piece", id=1)\nwait_for("never")',
        "was not requested",
    ),
    "an answer before hello": (
        'push(push="answer", id=1, status=200, took_s=0.1, error="", said=None)\nwait_for("never")',
        "before its hello",
    ),
    "a log that grew before the list": (
        'hello()\npush(push="grown", logs=[], clock=1.0)\nwait_for("never")',
        "before it listed",
    ),
    "a log that grew of no run": (
        'hello()\nruns()\npush(push="grown", logs=[[0, 5, None]], clock=1.0)\nwait_for("never")',
        "that it did not list",
    ),
    "a second hello": ('hello()\nhello()\nwait_for("never")', "hello twice"),
    "runs before hello": ('runs()\nwait_for("never")', "before its hello"),
}


@pytest.mark.parametrize("lie", LIES)
async def test_a_lie_ends_the_link_at_once_with_its_reason(sshd: SshNodes, tmp_path: Path, lie: str) -> None:
    body, reason = LIES[lie]
    async with linked(with_liar(sshd, tmp_path, body), tmp_path, up=False) as (links, seen):
        await until(lambda: links["n0"].link.state is LinkState.LOST, 30, lie)
        assert reason in links["n0"].link.reason
        assert len(links["n0"].link.reason) < 500
        first = next(each for name, each in seen.links if name == "n0" and each.state is LinkState.LOST)
        assert first.retry_at is not None, "it is tried again: a lie is no end for ever"
        assert await links["n1"].wait_up(20), links["n1"].link
        assert (await links["n1"].run_command(["echo", "hi"], 10)).stdout == b"hi\n"


async def test_a_link_that_was_given_up_is_closed_at_once_though_the_node_goes_on_sending(
    sshd: SshNodes, tmp_path: Path
) -> None:
    """It is not waited for, and nothing more of what it sends is read."""
    body = 'hello()\nruns()\npush(push="stop", key=["a", "b", "c"], stage="stopped")\nwhile True: runs()'
    cluster = with_liar(sshd, tmp_path, body)
    async with linked(cluster, tmp_path, up=False) as (links, seen):
        await until(lambda: links["n0"].link.state is LinkState.LOST, 30)
        lists = seen.lists
        assert "was not requested" in links["n0"].link.reason
        assert links["n0"].connection() is None
        assert links["n0"].link.retry_at is not None
        if time.time() < links["n0"].link.retry_at:
            assert seen.lists == lists
        await until(
            lambda: len([1 for name, each in seen.links if name == "n0" and each.state is LinkState.LOST]) > 1, 20
        )


async def test_bytes_that_make_no_frame_are_no_sign_of_life(
    sshd: SshNodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("console.remote.link.PING_S", 0.2)
    monkeypatch.setattr("console.remote.link.STALE_S", 0.5)
    monkeypatch.setattr("console.remote.helper_channel.FRAME_S", 0.5)
    body = (
        'hello()\nruns()\nout.write(struct.pack(">II", 2**19, 0))\n'
        "while True:\n    out.write(b'x')\n    out.flush()\n    time.sleep(0.05)"
    )
    async with linked(with_liar(sshd, tmp_path, body), tmp_path, up=False) as (links, _):
        await until(lambda: links["n0"].link.state is LinkState.STALE, 30)


async def test_answers_are_held_to_their_questions(sshd: SshNodes, tmp_path: Path) -> None:
    """Another run's state for a launch, no result for a stop, more bytes than were asked for."""
    body = """
hello()
runs()
while True:
    header, payload = frame()
    said = {"id": header.get("id"), "ok": True}
    if header["op"] == "commit":
        push(**said, state=run(name="other"))
    elif header["op"] in ("stop", "kill"):
        push(**said, results=[])
    elif header["op"] == "read":
        push(b"x" * 5000, **said)
    elif header["op"] == "exec":
        push(b"x" * 5000, **said, at=1.0, took_s=0.1, exit_code=0, stdout_bytes=5000, truncated=False)
    elif header["op"] == "lease":
        push(**said, lease={"holder": "x" * 10000, "verb": "start", "token": "t", "since": 1.0, "renewed": 1.0})
    elif header.get("id"):
        push(**said)
"""
    key = RunKey("dep", "prefill-0", "r1")
    async with linked(with_liar(sshd, tmp_path, body), tmp_path) as (links, _):
        link = links["n0"]
        with pytest.raises(NodeError, match="another run"):
            await link.commit(key)
        with pytest.raises(NodeError, match="lacks a run"):
            await link.stop([key], 1, 1)
        assert await link.read(key, 0, 100) == b"x" * 100
        with pytest.raises(NodeError, match="more data than requested"):
            await link.run_command(["true"], 5, max_bytes=1000)
        with pytest.raises(NodeError, match=r"lease\.holder"):
            await link.lease("dep", "look")
        assert link.link.state is LinkState.UP


async def test_a_streamed_answer_without_end_ends_the_link(sshd: SshNodes, tmp_path: Path) -> None:
    body = """
hello()
runs()
number = wait_for("ask")["id"]
while True: push(b"x" * 65536, push="piece", id=number)
"""
    async with linked(with_liar(sshd, tmp_path, body), tmp_path) as (links, seen):
        heard: list[int] = []
        answer = await links["n0"].http().post_json("h", 1, "/", {}, 60.0, lambda data: heard.append(len(data)))
        assert not answer.asked
        assert sum(heard) <= MAX_BODY
        await until(lambda: any("too large" in each.reason for _, each in seen.links), 20)


async def test_what_is_on_the_way_of_a_request_that_was_given_up_is_ignored(sshd: SshNodes, tmp_path: Path) -> None:
    body = """
hello()
runs()
number = wait_for("ask")["id"]
wait_for("give-up")
for _ in range(3): push(b"x", push="piece", id=number)
push(id=number, ok=True, status=200, took_s=0.1, error="", said=None)
wait_for("never")
"""
    async with linked(with_liar(sshd, tmp_path, body), tmp_path) as (links, _):
        link = links["n0"]
        asking = asyncio.create_task(link.http().post_json("h", 1, "/", {}, 20.0, lambda _: None))
        await asyncio.sleep(0)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        await link._ask("ping", {}, timeout_s=10.0)
        assert link.link.state is LinkState.UP


async def test_a_request_on_the_way_when_the_link_is_lost_was_not_answered(sshd: SshNodes, tmp_path: Path) -> None:
    body = 'hello()\nruns()\nwait_for("ask")\nsys.exit(1)'
    async with linked(with_liar(sshd, tmp_path, body), tmp_path) as (links, _):
        answer = await links["n0"].http().get("h", 1, "/", 20.0)
        assert (answer.asked, answer.error) == (False, "the link to the node was lost meanwhile")
        await until(lambda: links["n0"].link.state is LinkState.LOST)
        answer = await links["n0"].http().get("h", 1, "/", 20.0)
        assert (answer.asked, answer.error) == (False, "the node is not connected")
