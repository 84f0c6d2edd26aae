"""The link on real OpenSSH servers: launch, state, logs, stop, commands, samples, HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from console.model.errors import LinkLost, Unreachable
from console.model.run import Probe, RunKey, RunVerdict
from console.model.snapshot import LinkState
from tests.remote.watching import linked
from tests.sshd import SshNodes, children, needs_sshd, running_nodes
from tests.waiting import until

pytestmark = [pytest.mark.sshd, needs_sshd]

KEY = RunKey("dep", "prefill-0", "20260101T000000-aaaa-1")


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshNodes]:
    with running_nodes(tmp_path_factory.mktemp("sshd"), 2) as nodes:
        yield nodes


def script(body: str) -> str:
    return "#!/bin/bash\n" + body


async def test_a_run_is_launched_seen_followed_and_stopped(sshd: SshNodes, tmp_path: Path) -> None:
    async with linked(sshd.cluster(base=str(tmp_path / "base")), tmp_path) as (links, seen):
        link = links["n0"]
        assert seen.hellos[0][1].uid == os.geteuid()
        await link.prepare(KEY, {"by": "me"}, script("echo hello\necho $HOME\nexec sleep 1000\n"), None)
        await until(lambda: seen.verdict(KEY) is RunVerdict.PREPARED)
        state = await link.commit(KEY)
        assert state.verdict is RunVerdict.RUNNING
        assert state.pid is not None
        assert state.spec == {"by": "me"}
        link.follow(KEY, 0)
        await until(lambda: bytes(seen.logs.get(KEY, b"")) == f"hello\n{sshd.nodes[0].home}\n".encode(), what="the log")
        results = await link.stop([KEY], 5, 5)
        assert results[KEY].outcome == "stopped"
        assert not Path(f"/proc/{state.pid}").exists()
        await until(lambda: seen.verdict(KEY) is RunVerdict.EXITED)
        ended = seen.runs["n0"][KEY]
        assert ended.exit is not None
        assert ended.exit.signal == 15
        assert ended.stopping


async def test_commands_probes_and_reads(sshd: SshNodes, tmp_path: Path) -> None:
    probes = [Probe("who", ("sh", "-c", "echo $DSV4_TEST_NODE"), 30.0, 5.0)]
    async with linked(sshd.cluster(base=str(tmp_path / "base")), tmp_path, probes=probes) as (links, seen):
        await until(lambda: {node for node, _ in seen.samples} == {"n0", "n1"})
        assert {node: sample.stdout for node, sample in seen.samples} == {"n0": b"n0\n", "n1": b"n1\n"}
        count = len(seen.samples)
        await links["n1"].probe_now("who")
        await until(lambda: len(seen.samples) > count)
        echoed = await links["n0"].run_command(["cat"], 5, b"\xff\x00 bytes")
        assert (echoed.stdout, echoed.exit_code) == (b"\xff\x00 bytes", 0)
        late = await links["n0"].run_command(["sh", "-c", "echo begun; sleep 60"], 0.3)
        assert (late.stdout, late.exit_code) == (b"begun\n", None)
        missing = await links["n0"].run_command(["no-such-program"], 5)
        assert missing.exit_code == 127
        cut = await links["n0"].run_command(["head", "-c", "5000", "/dev/zero"], 5, max_bytes=1000)
        assert (len(cut.stdout), cut.truncated) == (1000, True)


async def test_http_goes_through_the_connection(sshd: SshNodes, tmp_path: Path) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, linked(sshd.cluster(base=str(tmp_path / "base")), tmp_path) as (links, _):
        http = links["n0"].http()
        got = await http.get("127.0.0.1", port, "/health", 5)
        assert (got.status, got.body, got.error) == (200, b"hi", "")
        server.close()
        refused = await http.get("127.0.0.1", port, "/health", 5)
        assert refused.status == 0
        assert "refused" in refused.error


async def test_a_cut_link_comes_back_and_the_engine_never_noticed(sshd: SshNodes, tmp_path: Path) -> None:
    async with linked(sshd.cluster(base=str(tmp_path / "base")), tmp_path) as (links, seen):
        link = links["n0"]
        await link.prepare(KEY, {}, script("exec sleep 1000\n"), None)
        state = await link.commit(KEY)
        sshd.nodes[0].cut()
        await until(lambda: link.link.state is LinkState.LOST)
        assert link.link.reason
        assert links["n1"].link.state is LinkState.UP
        assert await link.wait_up(20)
        assert seen.runs["n0"][KEY].verdict is RunVerdict.RUNNING
        assert seen.runs["n0"][KEY].pid == state.pid
        assert (await link.kill([KEY]))[KEY].outcome == "stopped"


async def test_a_killed_helper_is_replaced_and_the_engine_never_noticed(sshd: SshNodes, tmp_path: Path) -> None:
    async with linked(sshd.cluster(base=str(tmp_path / "base")), tmp_path) as (links, seen):
        link = links["n0"]
        await link.prepare(KEY, {}, script("exec sleep 1000\n"), None)
        state = await link.commit(KEY)
        helpers = [pid for session in sshd.nodes[0].sessions() for pid in below(session) if is_helper(pid)]
        assert helpers
        for pid in helpers:
            os.kill(pid, signal.SIGKILL)
        await until(lambda: link.link.state is LinkState.LOST)
        link.retry_now()
        assert await link.wait_up(20)
        assert seen.runs["n0"][KEY].pid == state.pid
        assert (await link.kill([KEY]))[KEY].outcome == "stopped"


async def test_a_frozen_node_is_stale_and_then_up_again(
    sshd: SshNodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("console.remote.link.PING_S", 0.2)
    monkeypatch.setattr("console.remote.link.STALE_S", 0.5)
    async with linked(sshd.cluster(base=str(tmp_path / "base")), tmp_path) as (links, _):
        sessions = sshd.nodes[0].sessions()
        frozen = [*sessions, *(pid for session in sessions for pid in below(session))]
        for pid in frozen:
            os.kill(pid, signal.SIGSTOP)
        await until(lambda: links["n0"].link.state is LinkState.STALE)
        assert "silent" in links["n0"].link.reason
        assert links["n1"].link.state is LinkState.UP
        for pid in frozen:
            os.kill(pid, signal.SIGCONT)
        await until(lambda: links["n0"].link.state is LinkState.UP)
        assert links["n0"].link.round_trip_s is not None


@pytest.mark.parametrize("asked", [True, False], ids=["asked to", "by itself"])
async def test_a_helper_that_stays_silent_is_given_up_and_another_takes_its_place(
    sshd: SshNodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: bool
) -> None:
    monkeypatch.setattr("console.remote.link.PING_S", 0.2)
    monkeypatch.setattr("console.remote.link.STALE_S", 0.5)
    monkeypatch.setattr("console.remote.link.GIVE_UP_S", 1000.0 if asked else 1.5)
    async with linked(sshd.cluster(base=str(tmp_path / "base")), tmp_path) as (links, _):
        link = links["n0"]
        sessions = sshd.nodes[0].sessions()
        frozen = [*sessions, *(pid for session in sessions for pid in below(session))]
        for pid in frozen:
            os.kill(pid, signal.SIGSTOP)
        try:
            await until(lambda: link.link.state is LinkState.STALE)
            if asked:
                link.retry_now()
            await until(lambda: link.link.state is LinkState.UP, 30.0)
            assert (await link.run_command(["true"], 5)).exit_code == 0
        finally:
            for pid in frozen:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)


async def test_a_request_without_a_link_is_told_from_one_with_an_unknown_outcome(
    sshd: SshNodes, tmp_path: Path
) -> None:
    async with linked(sshd.cluster(base=str(tmp_path / "base")), tmp_path) as (links, _):
        link = links["n0"]
        asked = asyncio.create_task(link.run_command(["sleep", "30"], 60))
        await link.run_command(["true"], 5)
        sshd.nodes[0].cut()
        with pytest.raises(LinkLost, match="lost during exec"):
            await asked
        await until(lambda: link.connection() is None)
        with pytest.raises(Unreachable, match="was not sent") as refused:
            await link.run_command(["true"], 5)
        assert not isinstance(refused.value, LinkLost)


def below(pid: int) -> list[int]:
    found = children(pid)
    return found + [each for child in found for each in below(child)]


def is_helper(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().endswith(b"\0dsv4-console\0helper\0")
    except OSError:
        return False


async def test_a_log_that_cannot_be_read_on_its_node_is_told(sshd: SshNodes, tmp_path: Path) -> None:
    async with linked(sshd.cluster(base=str(tmp_path / "base")), tmp_path) as (links, seen):
        link = links["n0"]
        await link.prepare(KEY, {"by": "me"}, script("exec sleep 1000\n"), None)
        log = tmp_path / "base" / KEY.deployment / KEY.engine / "runs" / KEY.run / "out.log"
        log.symlink_to("/dev/null")
        link.follow(KEY, 0)
        await until(lambda: seen.log_errors, what="the error of a log that is a link")
        assert seen.log_errors[0][0] == KEY
        assert "log of prefill-0" in seen.log_errors[0][1]
