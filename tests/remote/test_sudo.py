"""A user who is not root, with and without `sudo: true`: a real user, a real sshd, the real sudo."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from console.model.errors import NodeError
from console.model.run import RunKey, RunVerdict
from console.model.snapshot import LinkState
from tests.remote.watching import linked
from tests.sshd import SshNodes, needs_sshd, running_nodes
from tests.waiting import until, until_blocking

pytestmark = [
    pytest.mark.sshd,
    needs_sshd,
    pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("useradd"), reason="only root can make the user"),
    pytest.mark.skipif(not shutil.which("sudo"), reason="sudo is not installed"),
]

KEY = RunKey("dep", "prefill-0", "20260101T000000-aaaa-1")
SCRIPT = "#!/bin/bash\nid -un\nexec sleep 1000\n"


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)


@pytest.fixture(scope="module")
def user() -> Iterator[str]:
    """A user of this machine for the length of these tests."""
    name = f"dsv4t{os.getpid()}"
    made = run("useradd", "--create-home", "--shell", "/bin/sh", name)
    if made.returncode != 0:
        pytest.skip(f"no user can be made here: {made.stderr.strip()}")
    try:
        run("usermod", "-p", "*", name)  # sshd refuses an account that is locked
        yield name
    finally:
        until_blocking(lambda: run("pkill", "-KILL", "-u", name).returncode == 1)
        run("userdel", "--remove", name)


@contextlib.contextmanager
def sudoer(name: str, more: str = "") -> Iterator[None]:
    """The user may do everything without a password; `more` are further lines of sudoers."""
    rule = Path("/etc/sudoers.d", name)
    rule.touch(0o440)
    rule.write_text(f"{name} ALL=(ALL) NOPASSWD: ALL\n")
    try:
        tried = run("setpriv", f"--reuid={name}", "--clear-groups", "sudo", "-n", "true")
        if tried.returncode != 0:
            pytest.skip(f"sudo does not work here: {tried.stderr.strip()[-200:]}")
        rule.write_text(f"{name} ALL=(ALL) NOPASSWD: ALL\n{more}")
        yield
    finally:
        rule.unlink()


@pytest.fixture(scope="module")
def sshd(user: str) -> Iterator[SshNodes]:
    """A node whose files the user may read: pytest's own directories are private to root."""
    root = Path(tempfile.mkdtemp(prefix="dsv4-sudo-", dir="/var/tmp"))
    root.chmod(0o755)
    try:
        with running_nodes(root, 1, first=200) as nodes:
            yield nodes
    finally:
        shutil.rmtree(root)


def owner(pid: int | None) -> str:
    return pwd.getpwuid(Path(f"/proc/{pid}").stat().st_uid).pw_name


async def test_with_sudo_everything_is_root_s(sshd: SshNodes, user: str, tmp_path: Path) -> None:
    base = tmp_path / "base"
    with sudoer(user):
        async with linked(sshd.cluster(user=user, sudo=True, base=str(base)), tmp_path) as (links, seen):
            link = links["n0"]
            assert (seen.hellos[0][1].uid, seen.hellos[0][1].user) == (0, "root")
            await link.prepare(KEY, {}, SCRIPT, None)
            state = await link.commit(KEY)
            assert owner(state.pid) == "root"
            assert base.stat().st_uid == 0
            link.follow(KEY, 0)
            await until(lambda: bytes(seen.logs.get(KEY, b"")) == b"root\n")
            sshd.nodes[0].cut()
            await until(lambda: link.link.state is LinkState.LOST)
            assert await link.wait_up(20)
            assert seen.runs["n0"][KEY].verdict is RunVerdict.RUNNING
            assert (await link.stop([KEY], 5, 5))[KEY].outcome == "stopped"
            assert not Path(f"/proc/{state.pid}").exists()


async def test_without_sudo_the_engine_is_the_user_s_and_root_s_base_is_refused(
    sshd: SshNodes, user: str, tmp_path: Path
) -> None:
    home = Path(f"/home/{user}")
    async with linked(sshd.cluster(user=user, base=str(home / "base")), tmp_path) as (links, seen):
        link = links["n0"]
        assert seen.hellos[0][1].user == user
        await link.prepare(KEY, {}, SCRIPT, None)
        state = await link.commit(KEY)
        assert owner(state.pid) == user
        assert (await link.stop([KEY], 5, 5))[KEY].outcome == "stopped"
    roots = sshd.root / "roots"
    roots.mkdir(mode=0o755)
    async with linked(sshd.cluster(user=user, base=str(roots)), tmp_path, up=False) as (links, seen):
        await until(lambda: links["n0"].link.state is LinkState.BLOCKED, 20)
        assert "belongs to uid 0, not to us" in links["n0"].link.reason
        assert "set `base` of the node" in links["n0"].link.hint


async def test_sudo_that_asks_for_a_password_blocks_with_what_to_do(sshd: SshNodes, user: str, tmp_path: Path) -> None:
    cluster = sshd.cluster(user=user, sudo=True, base=str(tmp_path / "base"))
    async with linked(cluster, tmp_path, up=False) as (links, _):
        await until(lambda: links["n0"].link.state is LinkState.BLOCKED, 20)
        assert "sudo -n refused" in links["n0"].link.reason
        assert "NOPASSWD" in links["n0"].link.hint


async def test_sudo_that_wants_a_terminal_blocks_and_the_line_it_advises_helps(
    sshd: SshNodes, user: str, tmp_path: Path
) -> None:
    cluster = sshd.cluster(user=user, sudo=True, base=str(tmp_path / "base"))
    with sudoer(user, f"Defaults:{user} requiretty\n"):
        async with linked(cluster, tmp_path, up=False) as (links, _):
            await until(lambda: links["n0"].link.state is LinkState.BLOCKED, 20)
            assert "requiretty" in links["n0"].link.reason
            advice = links["n0"].link.hint.rpartition(": Defaults")[2]
    with sudoer(user, f"Defaults:{user} requiretty\nDefaults{advice}\n"):
        async with linked(cluster, tmp_path):
            pass


@pytest.fixture
def of_root() -> Iterator[subprocess.Popen[bytes]]:
    """A process of root that is up."""
    code = "import time; print(1, flush=True); time.sleep(1000)"
    process = subprocess.Popen(["python3", "-c", code], stdout=subprocess.PIPE, start_new_session=True)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
    finally:
        process.kill()
        process.communicate()


async def test_what_belongs_to_root_is_shown_to_a_user_and_its_end_is_refused_in_words(
    sshd: SshNodes, user: str, tmp_path: Path, of_root: subprocess.Popen[bytes]
) -> None:
    async with linked(sshd.cluster(user=user, base=f"/home/{user}/base"), tmp_path) as (links, seen):
        links["n0"].watch_holders([of_root.pid])
        await until(lambda: of_root.pid in [each.pid for each in seen.unmanaged.get("n0", ())])
        found = next(each for each in seen.unmanaged["n0"] if each.pid == of_root.pid)
        assert found.owner == "root"
        assert "python3 -c import time" in found.command
        boot = seen.hellos[0][1].boot_id
        with pytest.raises(NodeError, match="Operation not permitted") as refused:
            await links["n0"].end(found.pid, found.start, boot, kill=True, limit_s=1)
        assert "sudo: true" in refused.value.hint
        assert of_root.poll() is None
