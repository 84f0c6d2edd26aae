"""Links that cannot be: each says what is wrong and where, and gives a command that tries the same by hand."""

from __future__ import annotations

import asyncio
import os
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from console.model.cluster import Cluster
from console.model.snapshot import Link, LinkState
from console.remote.completion_streams import FORBIDDEN, Streams
from tests.remote.watching import linked
from tests.sshd import SshNodes, make_key, needs_sshd, running_nodes
from tests.waiting import until

pytestmark = [pytest.mark.sshd, needs_sshd]


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshNodes]:
    with running_nodes(tmp_path_factory.mktemp("sshd"), 1, first=80) as nodes:
        yield nodes


async def ended(cluster: Cluster, state: Path, name: str = "n0") -> Link:
    """How a link stands once it is blocked or lost."""
    async with linked(cluster, state, up=False) as (links, _):
        link = links[name]
        await until(lambda: link.link.state in (LinkState.BLOCKED, LinkState.LOST), 30)
        return link.link


def behind(jump: SshNodes, far: SshNodes, tmp_path: Path, **fields: object) -> Cluster:
    """The nodes of `far`, reached through the first of `jump`, which is no node of the cluster itself."""
    hop = jump.nodes[0]
    (tmp_path / "known").write_text(jump.known_hosts.read_text() + far.known_hosts.read_text())
    (tmp_path / "config").write_text(
        f"Host bastion\n HostName {hop.host}\n Port {hop.port}\n IdentityFile {jump.identity}\n"
    )
    cluster = far.cluster(jump="bastion", user="root", **fields)
    files = {"config": str(tmp_path / "config"), "known_hosts": str(tmp_path / "known")}
    return cluster.model_copy(update={"ssh": cluster.ssh.model_copy(update=files)})


@pytest.mark.parametrize("line", ["AllowTcpForwarding no", "PermitOpen none", "DisableForwarding yes"])
async def test_a_jump_host_that_forwards_nothing_is_named_and_not_tried_again(
    sshd: SshNodes, tmp_path: Path, line: str
) -> None:
    with running_nodes(tmp_path / "jump", 1, first=82, options=[line]) as jump:
        cluster = behind(jump, sshd, tmp_path)
        link = await ended(cluster, tmp_path)
        node = sshd.nodes[0]
        assert link.state is LinkState.BLOCKED
        assert f"jump host bastion does not forward connections to [{node.host}]:{node.port}" in link.reason
        assert "AllowTcpForwarding" in link.hint
        assert f"-J bastion -p {node.port} root@{node.host} true" in link.hint


async def test_a_jump_host_that_cannot_reach_the_node_is_named_and_tried_again(sshd: SshNodes, tmp_path: Path) -> None:
    with running_nodes(tmp_path / "jump", 1, first=83) as jump:
        link = await ended(behind(jump, sshd, tmp_path, port=1), tmp_path)
        assert link.state is LinkState.LOST
        assert f"jump host bastion cannot reach [{sshd.nodes[0].host}]:1" in link.reason


async def test_a_jump_host_of_the_cluster_is_pasted_by_its_address(sshd: SshNodes, tmp_path: Path) -> None:
    with running_nodes(tmp_path / "jump", 1, first=84, options=["AllowTcpForwarding no"]) as jump:
        hop = jump.nodes[0]
        cluster = behind(jump, sshd, tmp_path)
        far = cluster.nodes["n0"].model_copy(update={"jump": "gate"})
        gate = cluster.nodes["n0"].model_copy(
            update={"name": "gate", "host": hop.host, "port": hop.port, "identity": str(jump.identity), "jump": None}
        )
        link = await ended(cluster.model_copy(update={"nodes": {"n0": far, "gate": gate}}), tmp_path)
        assert "jump host gate does not forward" in link.reason
        assert f"-J root@{hop.host}:{hop.port} " in link.hint


async def test_a_node_that_forwards_nothing_asks_its_engines_and_only_the_load_of_this_machine_is_refused(
    tmp_path: Path,
) -> None:
    with running_nodes(tmp_path / "node", 1, first=85, options=["AllowTcpForwarding no"]) as nodes:
        async with linked(nodes.cluster(), tmp_path) as (links, _):
            answer = await links["n0"].http().get("127.0.0.1", 1, "/health", 5)
            assert (answer.error, answer.asked) == ("connection to 127.0.0.1:1 refused", True)
            load = Streams("127.0.0.1", 1, links["n0"])
            assert (await load.chat({}, 10.0)).error == FORBIDDEN
            load.close()


async def test_a_node_that_takes_passwords_only_says_that_none_is_ever_given(tmp_path: Path) -> None:
    options = ["PubkeyAuthentication no"]
    with running_nodes(tmp_path / "node", 1, first=86, options=options) as nodes:
        config = nodes.nodes[0].root / "sshd_config"
        config.write_text(config.read_text().replace("PasswordAuthentication no", "PasswordAuthentication yes"))
        nodes.nodes[0].stop()
        nodes.nodes[0].start()
        link = await ended(nodes.cluster(user="root"), tmp_path)
        assert link.state is LinkState.BLOCKED
        assert "the console uses keys and agents only" in link.reason
        assert "password" in link.reason
        assert f"root@{nodes.nodes[0].host} true" in link.hint


async def test_a_refused_connection_says_what_may_be_wrong_and_the_hint_can_be_pasted(
    sshd: SshNodes, tmp_path: Path
) -> None:
    node = sshd.nodes[0]
    link = await ended(sshd.cluster(port=1, user="ops"), tmp_path)
    assert (link.state, link.reason) == (LinkState.LOST, f"{node.host} port 1: Connection refused")
    assert "check that its sshd runs" in link.hint
    words = shlex.split(link.hint.partition("try: ")[2])
    assert words[:1] == ["ssh"]
    assert words[-4:] == ["-p", "1", f"ops@{node.host}", "true"]


@pytest.mark.skipif(not os.path.exists("/usr/bin/ssh"), reason="no ssh here")
async def test_the_command_of_a_hint_reaches_the_node_where_only_the_login_was_wrong(
    sshd: SshNodes, tmp_path: Path
) -> None:
    wrong = make_key(tmp_path / "wrong")
    link = await ended(sshd.cluster(identity=str(wrong), user="root"), tmp_path)
    command = link.hint.partition("check user and identity: ")[2].partition(";")[0]
    tried = ["-o", f"UserKnownHostsFile={sshd.known_hosts}", "-o", "BatchMode=yes", "-v"]
    words = [*shlex.split(command)[:1], *tried, *shlex.split(command)[1:]]
    done = await asyncio.to_thread(subprocess.run, words, capture_output=True, text=True, check=False, timeout=60)
    assert "Permission denied (publickey" in done.stderr, done.stderr
    assert f"Authenticating to {sshd.nodes[0].host}:{sshd.nodes[0].port} as 'root'" in done.stderr


async def test_a_known_host_that_offers_another_type_of_key_is_blocked_and_never_asked_about(
    sshd: SshNodes, tmp_path: Path
) -> None:
    with running_nodes(tmp_path / "node", 1, first=87) as nodes:
        node = nodes.nodes[0]
        other = node.root / "rsa_key"
        make = ["ssh-keygen", "-q", "-t", "rsa", "-b", "2048", "-N", "", "-f", str(other)]
        await asyncio.to_thread(subprocess.run, make, check=True)
        config = node.root / "sshd_config"
        config.write_text(config.read_text().replace(f"HostKey {node.root / 'host_key'}", f"HostKey {other}"))
        node.stop()
        node.start()
        link = await ended(nodes.cluster(), tmp_path)
        assert link.state is LinkState.BLOCKED
        assert "offers no host key of its known types (ssh-ed25519)" in link.reason
        assert "ssh-keyscan" in link.hint
        assert not link.question


async def test_a_changed_host_key_is_no_question_and_an_unknown_one_is(sshd: SshNodes, tmp_path: Path) -> None:
    node = sshd.nodes[0]
    other = make_key(tmp_path / "other").with_suffix(".pub").read_text().split()
    known = tmp_path / "known"
    cluster = sshd.cluster()
    cluster = cluster.model_copy(update={"ssh": cluster.ssh.model_copy(update={"known_hosts": str(known)})})
    known.write_text("")
    unknown = await ended(cluster, tmp_path / "a")
    assert unknown.question
    assert "key K (Trust key) on the screen" in unknown.hint
    known.write_text(f"[{node.host}]:{node.port} {other[0]} {other[1]}\n")
    link = await ended(cluster, tmp_path / "b")
    assert link.state is LinkState.BLOCKED
    assert not link.question
    assert f"ssh-keygen -R '[{node.host}]:{node.port}' -f {known}" in link.hint


@pytest.mark.parametrize("where", ["cluster", "configuration"])
async def test_a_private_key_that_others_may_read_is_refused_with_the_chmod_to_paste(
    sshd: SshNodes, tmp_path: Path, where: str
) -> None:
    open_key = tmp_path / "id"
    open_key.write_bytes(sshd.identity.read_bytes())
    open_key.chmod(0o644)
    cluster = sshd.cluster(identity=str(open_key))
    if where == "configuration":
        (tmp_path / "config").write_text(f"Host *\n IdentityFile {open_key}\n")
        cluster = sshd.cluster(identity=None)
        cluster = cluster.model_copy(
            update={"ssh": cluster.ssh.model_copy(update={"config": str(tmp_path / "config")})}
        )
    link = await ended(cluster, tmp_path)
    assert link.state is LinkState.BLOCKED
    assert "can be read by others (mode 0644)" in link.reason
    assert link.hint == f"chmod 600 {open_key}"
    await asyncio.to_thread(subprocess.run, shlex.split(link.hint), check=True)
    async with linked(cluster, tmp_path / "again"):
        pass


async def test_sudo_that_wants_a_terminal_says_which_line_helps(sshd: SshNodes, tmp_path: Path) -> None:
    """The words of sudo 1.9 under `Defaults requiretty`."""
    sudo = sshd.nodes[0].bin / "sudo"
    sudo.write_text("#!/bin/sh\necho 'sudo: sorry, you must have a tty to run sudo' >&2\nexit 1\n")
    sudo.chmod(0o755)
    try:
        link = await ended(sshd.cluster(sudo=True, user="root"), tmp_path)
    finally:
        sudo.unlink()
    assert link.state is LinkState.BLOCKED
    assert "requiretty" in link.reason
    assert "Defaults:root !requiretty" in link.hint


async def test_a_default_key_that_others_may_read_is_passed_over_as_ssh_does(
    sshd: SshNodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    keys = tmp_path / ".ssh"
    keys.mkdir(mode=0o700)
    (keys / "id_ed25519").write_bytes(sshd.identity.read_bytes())
    (keys / "id_ed25519").chmod(0o644)
    cluster = sshd.cluster(identity=None)
    link = await ended(cluster, tmp_path / "a")
    assert link.state is LinkState.BLOCKED
    assert f"because other users can read it: {keys}/id_ed25519" in link.reason
    assert link.hint == f"chmod 600 {keys}/id_ed25519"
    make_key(keys / "id_rsa")
    (keys / "id_ecdsa").write_bytes(sshd.identity.read_bytes())
    (keys / "id_ecdsa").chmod(0o600)
    async with linked(cluster, tmp_path / "b"):
        pass
    (keys / "id_ecdsa").unlink()
    await asyncio.to_thread(subprocess.run, shlex.split(link.hint), check=True)
    async with linked(cluster, tmp_path / "c"):
        pass
