"""The real container tools of this machine: podman, and docker with a daemon of the tests' own. Both make containers on the
machine's own programs, from an image no registry is asked for. A tool that is absent or does not work here skips its tests.
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import signal
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.waiting import until_blocking

LIMITS = ("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=4096:4096")
IMAGE = "dsv4-test-tree:1"
STARTS = 3
SEEN = ("/usr", "/etc")
"""Of the machine, read only; the image itself is empty directories."""


@dataclass
class Daemon:
    """A dockerd of its own, apart from one of the machine."""

    root: Path
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def words(self) -> list[str]:
        """The client of this daemon."""
        return ["docker", "-H", f"unix://{self.root}/socket"]

    def start(self) -> None:
        """Raises AssertionError when it does not answer in time. Containers of an earlier one end with its start.

        It gives up when its containerd takes 15 s to find the containers of an earlier one; a service manager tries again too.
        """
        network = ("--iptables=false", "--ip6tables=false", "--bridge=none")
        places = (f"--data-root={self.root}/data", f"--exec-root={self.root}/exec", f"--pidfile={self.root}/pid")
        command = ["dockerd", *network, "--storage-driver=vfs", f"--host=unix://{self.root}/socket", *places]
        for _ in range(STARTS):
            with (self.root / "log").open("ab") as log:
                self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            until_blocking(lambda: self._answers() or not self._lives(), 40)
            if self._lives():
                return
        raise AssertionError((self.root / "log").read_text()[-300:])

    def end(self, number: int = signal.SIGTERM) -> None:
        """End it by a signal; only TERM ends its containers as well."""
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)
            self.process.send_signal(number)
            self.process.wait(30)
            self.process = None
            until_blocking(lambda: not self._containerd_lives(), 20, "its containerd goes with it")

    def _containerd_lives(self) -> bool:
        try:
            number = (self.root / "exec/containerd/containerd.pid").read_text()
            return "Z" not in Path(f"/proc/{number}/stat").read_text().rpartition(")")[2][:3]
        except OSError:
            return False

    def _lives(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def _answers(self) -> bool:
        command = [*self.words, "version"]
        return subprocess.run(command, capture_output=True, check=False, timeout=20).returncode == 0


@dataclass
class BoxTool:
    """One container tool, and what makes a container with it here."""

    kind: str
    words: list[str]
    image: str
    flags: list[str]
    """What every container needs here: after all others, for the last word counts."""
    daemon: Daemon | None = None

    def __call__(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run it."""
        return subprocess.run([*self.words, *words], capture_output=True, text=True, check=False, timeout=90)

    def inspect(self, name: str, what: str) -> str:
        """A field of a container; empty when there is no such container."""
        done = self("inspect", "--type", "container", "--format", what, name)
        return done.stdout.strip() if done.returncode == 0 else ""

    def remove(self, *names: str) -> None:
        """By kill, also where there is none."""
        for name in names:  # podman removes none of several when one of them is not there
            self("rm", "-f", *(("-t", "0") if self.kind == "podman" else ()), name)


def _podman() -> BoxTool:
    words = ["podman", "--runtime", "runc"]
    return BoxTool("podman", words, "/:O", [*LIMITS, "--rootfs"])


def _docker(root: Path) -> BoxTool:
    """Not privileged: docker asks for every capability there is, and the test's own machine may lack some."""
    daemon = Daemon(root)
    mounts = [word for place in SEEN for word in ("-v", f"{place}:{place}:ro")]
    return BoxTool("docker", daemon.words, IMAGE, [*LIMITS, "--privileged=false", *mounts], daemon)


def _bring_image(tool: BoxTool) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name in ("usr", "etc", "tmp", "var/tmp", "root", "proc", "sys", "dev", "run"):
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if name.endswith("tmp") else 0o755
            tar.addfile(entry)
        for name in ("bin", "sbin", "lib", "lib64"):
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = tarfile.SYMTYPE, f"usr/{name}"
            tar.addfile(entry)
    subprocess.run([*tool.words, "import", "-", IMAGE], input=packed.getvalue(), capture_output=True, check=True)


def _unmount_below(root: Path) -> None:
    """The daemon leaves the network namespace of `--net=host` mounted, and one that was killed its own directory too."""
    places = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    for place in reversed([each for each in places if each.startswith(f"{root}/")]):
        subprocess.run(["umount", "-l", place], capture_output=True, check=False, timeout=30)


@contextlib.contextmanager
def box_tool(kind: str) -> Iterator[BoxTool]:
    """The tool, proven by a container; skips where it is absent or makes none."""
    if not shutil.which(kind) or (kind == "docker" and (not shutil.which("dockerd") or os.geteuid() != 0)):
        pytest.skip(f"{kind} is not installed" if kind == "podman" else "no docker with a daemon to start, as root")
    with tempfile.TemporaryDirectory(prefix="dsv4-", ignore_cleanup_errors=True) as directory:
        tool = _docker(Path(directory)) if kind == "docker" else _podman()
        try:
            if tool.daemon is not None:
                try:
                    tool.daemon.start()
                except AssertionError as error:
                    pytest.skip(f"dockerd does not start here: {error}")
                _bring_image(tool)
            flags = ("--net=host", "--privileged=true", "--shm-size=512g", *tool.flags)
            done = tool("run", "--rm", "--pull=never", *flags, tool.image, "true")
            if done.returncode != 0:
                pytest.skip(f"{kind} makes no container here: {done.stderr.strip()[-200:]}")
            yield tool
        finally:
            if tool.daemon is not None:
                for each in tool("ps", "-aq").stdout.split():
                    tool.remove(each)
                tool.daemon.end()
                _unmount_below(Path(directory))
