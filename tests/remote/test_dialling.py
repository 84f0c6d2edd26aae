"""Reaching a node, or saying in plain words why not: host keys, logins, jump hosts, interpreters, chatter."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from console.model.cluster import Cluster
from console.model.errors import UsageError
from console.model.run import RunKey
from console.model.snapshot import LinkState
from console.remote.dial_errors import DialError
from console.remote.link import NodeLink
from console.remote.ssh import Dialer
from tests.remote.watching import Seen, linked
from tests.sshd import SshNodes, children, make_key, needs_sshd, running_nodes
from tests.waiting import until, until_blocking

pytestmark = [pytest.mark.sshd, needs_sshd]


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshNodes]:
    with running_nodes(tmp_path_factory.mktemp("sshd"), 2, first=20) as nodes:
        yield nodes


def only(cluster: Cluster, name: str) -> Cluster:
    return cluster.model_copy(update={"nodes": {name: cluster.nodes[name]}})


async def blocked(cluster: Cluster, state: Path) -> tuple[str, str]:
    """Reason and hint of the one link once it is blocked; and that it stays so without dialling again."""
    async with linked(cluster, state, up=False) as (links, seen):
        link = next(iter(links.values()))
        await until(lambda: link.link.state is LinkState.BLOCKED, 20, "blocked")
        dials = sum(each.state is LinkState.CONNECTING for _, each in seen.links)
        assert dials == 1, "no second try without the operator"
        return link.link.reason, link.link.hint


async def test_an_unknown_host_key_is_a_question_and_its_answer_is_kept(sshd: SshNodes, tmp_path: Path) -> None:
    cluster = sshd.cluster(base=str(tmp_path / "base"))
    empty = tmp_path / "nothing_known"
    cluster = only(cluster.model_copy(update={"ssh": cluster.ssh.model_copy(update={"known_hosts": str(empty)})}), "n0")
    seen = Seen()
    dialer = Dialer(cluster, known_hosts=tmp_path / "own" / "known_hosts")
    link = NodeLink(cluster.nodes["n0"], dialer=dialer, watcher=seen, probes=())
    link.start()
    try:
        await until(lambda: link.link.state is LinkState.BLOCKED)
        assert "unknown host key" in link.link.reason
        assert "SHA256:" in link.link.reason
        assert await dialer.accept_host_key("n0") in link.link.reason
        assert await link.wait_up(10), "accepting is enough to go on"
    finally:
        await link.close()
        await dialer.close()
    own = tmp_path / "own" / "known_hosts"
    assert own.stat().st_mode & 0o777 == 0o600
    async with linked(cluster, tmp_path / "own"):
        assert own.read_text().count("\n") == 1
    assert not empty.exists(), "the operator's own file is never written"


async def test_a_changed_host_key_is_never_accepted(sshd: SshNodes, tmp_path: Path) -> None:
    other = make_key(tmp_path / "other").with_suffix(".pub").read_text().split()
    node = sshd.nodes[0]
    (tmp_path / "known").write_text(f"[{node.host}]:{node.port} {other[0]} {other[1]}\n")
    cluster = sshd.cluster()
    cluster = only(
        cluster.model_copy(update={"ssh": cluster.ssh.model_copy(update={"known_hosts": str(tmp_path / "known")})}),
        "n0",
    )
    dialer = Dialer(cluster, known_hosts=tmp_path / "own")
    with pytest.raises(DialError, match="is not the known one") as failed:
        await dialer.connect(cluster.nodes["n0"])
    assert failed.value.blocked
    with pytest.raises(UsageError, match="has changed"):
        await dialer.accept_host_key("n0")
    assert not (tmp_path / "own").exists()
    await dialer.close()


async def test_a_refused_login_blocks(sshd: SshNodes, tmp_path: Path) -> None:
    wrong = make_key(tmp_path / "wrong")
    reason, hint = await blocked(only(sshd.cluster(identity=str(wrong)), "n0"), tmp_path)
    assert "refused the login" in reason
    assert "identity" in hint


@pytest.fixture
def agent(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An agent of its own that holds no key yet."""
    with tempfile.TemporaryDirectory() as short:
        socket = Path(short) / "agent"
        running = subprocess.Popen(["ssh-agent", "-D", "-a", str(socket)], stdout=subprocess.DEVNULL)
        monkeypatch.setenv("SSH_AUTH_SOCK", str(socket))
        try:
            until_blocking(socket.exists)
            yield
        finally:
            running.terminate()
            running.wait()


def with_passphrase(key: Path, to: Path) -> Path:
    """A copy of a private key that wants a passphrase."""
    to.write_bytes(key.read_bytes())
    to.chmod(0o600)
    subprocess.run(["ssh-keygen", "-q", "-p", "-P", "", "-N", "secret", "-f", str(to)], check=True, capture_output=True)
    return to


def give_to_agent(key: Path) -> None:
    subprocess.run(["ssh-add", "-q", str(key)], check=True, capture_output=True)


async def test_a_key_with_a_passphrase_is_used_from_the_agent_or_wanted_there(
    sshd: SshNodes, tmp_path: Path, agent: None
) -> None:
    cluster = only(sshd.cluster(identity=str(with_passphrase(sshd.identity, tmp_path / "locked"))), "n0")
    _, hint = await blocked(cluster, tmp_path)
    assert "ssh-add" in hint
    give_to_agent(sshd.identity)
    async with linked(cluster, tmp_path / "own"):
        pass


async def test_a_missing_identity_blocks(sshd: SshNodes, tmp_path: Path) -> None:
    reason, hint = await blocked(only(sshd.cluster(identity=str(tmp_path / "none")), "n0"), tmp_path)
    assert "identity of n0" in reason
    assert "private key" in hint


async def test_a_closed_port_is_lost_and_tried_again(sshd: SshNodes, tmp_path: Path) -> None:
    async with linked(only(sshd.cluster(port=1), "n0"), tmp_path, up=False) as (links, _):
        await until(lambda: links["n0"].link.state is LinkState.LOST)
        assert links["n0"].link.retry_at is not None
        assert "port 1" in links["n0"].link.reason


async def test_a_name_of_the_ssh_configuration_is_enough(sshd: SshNodes, tmp_path: Path) -> None:
    node = sshd.nodes[0]
    (tmp_path / "config").write_text(
        f"Host lab\n  HostName {node.host}\n  Port {node.port}\n  IdentityFile {sshd.identity}\n"
    )
    cluster = Cluster.model_validate(
        {
            "name": "test",
            "nodes": {"n0": {"host": "lab", "base": str(tmp_path / "base")}},
            "ssh": {"config": str(tmp_path / "config"), "known_hosts": str(sshd.known_hosts)},
        }
    )
    async with linked(cluster, tmp_path) as (links, _):
        got = await links["n0"].run_command(["sh", "-c", "echo $DSV4_TEST_NODE"], 5)
        assert got.stdout == b"n0\n"


@pytest.mark.parametrize("way", ["node", "configuration"])
async def test_a_jump_host_is_connected_once_for_all(sshd: SshNodes, tmp_path: Path, way: str) -> None:
    """64 nodes behind one real sshd with its default MaxStartups: every one comes up, none is dropped."""
    count = 64 if way == "node" else 4
    jump = sshd.nodes[0]
    with running_nodes(tmp_path / "far", 1, first=30) as far:
        target = far.nodes[0]
        (tmp_path / "known").write_text(sshd.known_hosts.read_text() + far.known_hosts.read_text())
        (tmp_path / "config").write_text(
            f"Host jump\n HostName {jump.host}\n Port {jump.port}\n IdentityFile {sshd.identity}\n"
            + (f"Host {target.host}\n ProxyJump jump\n" if way == "configuration" else "")
        )
        own = {
            f"t{number}": {
                "host": target.host,
                "port": target.port,
                "identity": str(far.identity),
                "base": str(tmp_path / f"base{number}"),
                **({"jump": "jump"} if way == "node" else {}),
            }
            for number in range(count)
        }
        cluster = Cluster.model_validate(
            {
                "name": "far",
                "nodes": own,
                "ssh": {"config": str(tmp_path / "config"), "known_hosts": str(tmp_path / "known")},
            }
        )
        async with linked(cluster, tmp_path, up=False) as (links, seen):
            for link in links.values():
                assert await link.wait_up(90), link.link
            assert len(jump.sessions()) == 1, "one connection to the jump host"
            assert {name for name, _ in seen.hellos} == set(links)
            assert not [each for _, each in seen.links if each.state is LinkState.LOST], "none was dropped on the way"
        await until(lambda: not jump.sessions())
        await until(lambda: not target.sessions())


async def test_a_way_in_a_circle_is_said(sshd: SshNodes, tmp_path: Path) -> None:
    reason, hint = await blocked(only(sshd.cluster(jump="n0"), "n0"), tmp_path)
    assert "circle" in reason
    assert "jump" in hint


@pytest.mark.parametrize(
    ("python", "reason"),
    [
        ("no-such-python", "has no no-such-python"),
        ("/etc/passwd", "did not start (exit 126)"),
        ("true", "did not start (exit 0)"),
    ],
)
async def test_a_node_that_cannot_run_the_helper_says_so(
    sshd: SshNodes, tmp_path: Path, python: str, reason: str
) -> None:
    said, hint = await blocked(only(sshd.cluster(python=python, base=str(tmp_path / "b")), "n0"), tmp_path)
    assert reason in said
    assert "python" in hint


async def test_an_interpreter_that_is_too_old_says_so(sshd: SshNodes, tmp_path: Path) -> None:
    """A real interpreter made to believe that it is 3.6."""
    old = tmp_path / "python3.6"
    stage = "import sys; sys.version_info = (3, 6, 9, 'final', 0); sys.version = '3.6.9 (default)'; "
    old.write_text(f'#!/bin/sh\nshift 3\ncode="{stage}$1"\nshift\nexec {sys.executable} -I -S -c "$code" "$@"\n')
    old.chmod(0o755)
    said, hint = await blocked(only(sshd.cluster(python=str(old)), "n0"), tmp_path)
    assert "3.7 or later is needed, this is 3.6.9" in said
    assert "3.7" in hint


async def test_chatter_of_a_login_shell_does_no_harm(sshd: SshNodes, tmp_path: Path) -> None:
    rc = sshd.nodes[1].home / ".bashrc"
    rc.write_text("echo 'Welcome to n1!'; printf '\\033[2J\\377\\n'\n")
    try:
        async with linked(only(sshd.cluster(base=str(tmp_path / "base")), "n1"), tmp_path) as (links, _):
            assert (await links["n1"].run_command(["echo", "hi"], 5)).stdout == b"hi\n"
    finally:
        rc.unlink()


async def test_chatter_among_frames_ends_the_link_with_a_reason(sshd: SshNodes, tmp_path: Path) -> None:
    noisy = tmp_path / "python"
    wall = "while sleep 0.3; do echo 'wall: the node goes down for maintenance at noon' || exit; done"
    noisy.write_text(f'#!/bin/sh\n({wall}) &\nexec {sys.executable} "$@"\n')
    noisy.chmod(0o755)
    cluster = only(sshd.cluster(base=str(tmp_path / "base"), python=str(noisy)), "n0")
    async with linked(cluster, tmp_path, up=False) as (links, _):
        await until(lambda: links["n0"].link.state is LinkState.LOST)
        assert "invalid data" in links["n0"].link.reason


async def test_a_shell_that_prints_for_ever_is_cut_off(sshd: SshNodes, tmp_path: Path) -> None:
    endless = tmp_path / "python"
    endless.write_text("#!/bin/sh\nexec yes\n")
    endless.chmod(0o755)
    cluster = only(sshd.cluster(python=str(endless)), "n0")
    async with linked(cluster, tmp_path, up=False) as (links, _):
        await until(lambda: links["n0"].link.state is LinkState.LOST)
        assert "prints text without end" in links["n0"].link.reason


async def test_a_base_that_cannot_be_used_blocks_the_node_and_says_why(sshd: SshNodes, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    said, hint = await blocked(only(sshd.cluster(base=str(tmp_path / "file")), "n0"), tmp_path)
    assert "not a directory" in said
    assert "base" in hint


async def test_one_session_is_enough(tmp_path: Path) -> None:
    key = RunKey("dep", "e", "r1")
    with running_nodes(tmp_path / "sshd", 1, first=40, options=["MaxSessions 1"]) as nodes:
        async with linked(nodes.cluster(), tmp_path) as (links, seen):
            link = links["n0"]
            await link.prepare(key, {}, "#!/bin/sh\necho hi\nexec sleep 1000\n", None)
            await link.commit(key)
            link.follow(key, 0)
            await until(lambda: bytes(seen.logs.get(key, b"")) == b"hi\n")
            done = await asyncio.gather(*(link.run_command(["echo", str(n)], 10) for n in range(20)))
            assert [each.stdout for each in done] == [b"%d\n" % n for n in range(20)]
            assert (await link.http().get("127.0.0.1", 1, "/", 5)).status == 0
            assert (await link.kill([key]))[key].outcome == "stopped"


async def test_closing_leaves_no_process_no_connection_and_no_task(sshd: SshNodes, tmp_path: Path) -> None:
    before = asyncio.all_tasks()
    node = sshd.nodes[0]
    async with linked(only(sshd.cluster(base=str(tmp_path / "base")), "n0"), tmp_path) as (links, _):
        running = asyncio.create_task(links["n0"].run_command(["sleep", "1000"], 900))
        await until(lambda: _command_runs("sleep\0" + "1000\0", node.sessions()))
        asked = links["n0"]
    assert isinstance((await asyncio.gather(running, return_exceptions=True))[0], Exception)
    assert asked.link.state is LinkState.CLOSED
    await until(lambda: not node.sessions())
    await until(lambda: not _command_runs("sleep\0" + "1000\0", None))
    assert asyncio.all_tasks() == before


def _command_runs(title: str, below: list[int] | None) -> bool:
    pids = [int(each.name) for each in Path("/proc").iterdir() if each.name.isdigit()]
    if below is not None:
        pids, left = [], list(below)
        while left:
            pid = left.pop()
            pids.append(pid)
            left += children(pid)
    return any(_title(pid) == title and _node_of(pid) for pid in pids)


def _title(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except (OSError, UnicodeDecodeError):
        return ""


def _node_of(pid: int) -> bool:
    """Whether it is a child of a node of these tests and not of another test."""
    try:
        return b"DSV4_TEST_NODE=n0" in Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return False


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("sudo"), reason="needs root and sudo to make another user")
async def test_sudo_without_a_password_makes_the_helper_root(sshd: SshNodes, tmp_path: Path) -> None:
    async with linked(only(sshd.cluster(base=str(tmp_path / "base"), sudo=True), "n0"), tmp_path) as (_, seen):
        assert seen.hellos[0][1].uid == 0


async def test_a_refused_sudo_says_what_to_do(sshd: SshNodes, tmp_path: Path) -> None:
    sudo = sshd.nodes[0].bin / "sudo"
    sudo.write_text("#!/bin/sh\necho 'sudo: a password is required' >&2\nexit 1\n")
    sudo.chmod(0o755)
    try:
        said, hint = await blocked(only(sshd.cluster(sudo=True), "n0"), tmp_path)
    finally:
        sudo.unlink()
    assert "a password is required" in said
    assert "NOPASSWD" in hint
