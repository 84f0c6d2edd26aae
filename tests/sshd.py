"""Real OpenSSH servers as nodes: one daemon per loopback address, own host key, home, PATH and base directory.

Processes and files outside those are shared with this machine, as sshd cannot separate them.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from console.model.cluster import Cluster, Node
from tests.waiting import until_blocking

SSHD = next((path for path in ("/usr/sbin/sshd", "/usr/local/sbin/sshd") if os.access(path, os.X_OK)), "")
SERVING = frozenset({"sshd", "sshd-session", "sshd-auth"})
"""Names of the processes that serve a connection; from OpenSSH 9.8 on they are programs of their own."""
needs_sshd = pytest.mark.skipif(not SSHD, reason="OpenSSH's sshd is not installed")


@dataclass
class SshNode:
    """One daemon."""

    name: str
    host: str
    port: int
    root: Path
    options: tuple[str, ...] = ()
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def home(self) -> Path:
        """Home directory of its sessions."""
        return self.root / "home"

    @property
    def base(self) -> Path:
        """Where its runs live."""
        return self.root / "base"

    @property
    def bin(self) -> Path:
        """First directory of its PATH."""
        return self.root / "bin"

    def start(self) -> None:
        """Start the daemon, and wait until it takes connections."""
        command = [SSHD, "-D", "-e", "-f", str(self.root / "sshd_config")]
        with (self.root / "sshd.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        until_blocking(self._listens, what=f"sshd of {self.name}: {(self.root / 'sshd.log').read_text()}")

    def stop(self) -> None:
        """End the daemon and its sessions."""
        self.cut()
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None
        self.cut()

    def sessions(self) -> list[int]:
        """Pids of the processes that serve connections."""
        return children(self.process.pid) if self.process else []

    def cut(self) -> None:
        """End every connection from the node's side, without a word."""
        for pid in self.sessions():
            for each in [*children(pid), pid]:
                if _name(each) in SERVING:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(each, signal.SIGKILL)

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex((self.host, self.port)) == 0


@dataclass
class SshNodes:
    """A set of daemons and the files to reach them with."""

    root: Path
    nodes: tuple[SshNode, ...]
    identity: Path
    known_hosts: Path
    config: Path

    def cluster(self, **fields: object) -> Cluster:
        """As an operator would write it down; `fields` are given to every node."""
        own = {
            node.name: {
                "host": node.host,
                "port": node.port,
                "identity": str(self.identity),
                "base": str(node.base),
                "hardware": {"name": "plain", "devices": 0, "hbm_mib": 0},
                **fields,
            }
            for node in self.nodes
        }
        ssh = {"config": str(self.config), "known_hosts": str(self.known_hosts)}
        return Cluster.model_validate({"name": "test", "nodes": own, "ssh": ssh})

    def node(self, place: int = 0, **fields: object) -> Node:
        """One of them."""
        return self.cluster(**fields).nodes[self.nodes[place].name]


def children(pid: int) -> list[int]:
    """Direct children of a process, whichever of its threads made them."""
    found: list[int] = []
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += [int(each) for each in (task / "children").read_text().split()]
    return found


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def free_port(host: str) -> int:
    """A port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def make_key(path: Path) -> Path:
    """A new key pair without a passphrase."""
    path.parent.mkdir(parents=True, exist_ok=True)
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", path.name, "-f", str(path)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    return path


@contextlib.contextmanager
def running_nodes(
    root: Path,
    count: int,
    *,
    path: Sequence[str | Path] = (),
    options: Sequence[str] = (),
    first: int = 2,
    environment: Callable[[SshNode], Mapping[str, str]] = lambda _: {},
) -> Iterator[SshNodes]:
    """`count` daemons on 127.0.0.`first` and up, ended at the end. `path` goes before the usual PATH of each,
    after its own `bin`; `options` are further lines of sshd_config; `environment` gives what a node's sessions have."""
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    identity = make_key(root / "id_ed25519")
    public = identity.with_suffix(".pub").read_text()
    (root / "authorized_keys").write_text(public)
    (root / "ssh_config").write_text("")
    nodes = []
    known = []
    for number in range(count):
        node = SshNode(f"n{number}", f"127.0.0.{first + number}", 0, root / f"n{number}", tuple(options))
        node.port = free_port(node.host)
        for directory in (node.home, node.bin):
            directory.mkdir(parents=True)
        host_key = make_key(node.root / "host_key").with_suffix(".pub").read_text().split()
        known.append(f"[{node.host}]:{node.port} {host_key[0]} {host_key[1]}\n")
        text = _config(node, root / "authorized_keys", path, environment(node))
        (node.root / "sshd_config").write_text(text)
        nodes.append(node)
    (root / "known_hosts").write_text("".join(known))
    made = SshNodes(root, tuple(nodes), identity, root / "known_hosts", root / "ssh_config")
    try:
        for node in nodes:
            node.start()
        yield made
    finally:
        for node in nodes:
            node.stop()


def _config(node: SshNode, authorized: Path, path: Sequence[str | Path], environment: Mapping[str, str]) -> str:
    search = ":".join([str(node.bin), *(str(each) for each in path), os.environ.get("PATH", os.defpath)])
    given = {
        "HOME": str(node.home),
        "PATH": search,
        "DSV4_TEST_NODE": node.name,
        "DSV4_SCOPE": str(node.root),
        **environment,
    }
    lines = [
        f"ListenAddress {node.host}:{node.port}",
        f"HostKey {node.root / 'host_key'}",
        f"AuthorizedKeysFile {authorized}",
        "StrictModes no",
        "UsePAM no",
        "PidFile none",
        "PermitRootLogin yes",
        "PasswordAuthentication no",
        "LogLevel INFO",
        "SetEnv " + " ".join(f'"{name}={value}"' for name, value in given.items()),
        *node.options,
    ]
    return "\n".join(lines) + "\n"
