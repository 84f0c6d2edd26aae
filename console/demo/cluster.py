"""A whole cluster on this machine for trying the console and for tests: SSH nodes on loopback addresses with
simulated Ascend programs.

Everything about it lives in one directory: keys, node homes, `cluster.yaml`. The servers run in a child process
(`console.demo.ssh_servers`).
No product code may import this; the product sees an ordinary cluster file.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import shlex
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from getpass import getuser
from pathlib import Path

import asyncssh

from console.demo import processes
from console.demo.tools import install_tools
from console.files import is_shipped, load_layout
from console.model.cluster import Runtime
from console.model.errors import ConsoleError
from console.model.hardware import HARDWARE, kind_of
from console.model.layout import Layout
from console.releases.facts import facts_of, release_name

_LETTERS = {"prefill": "p", "decode": "d", "mixed": "n"}
START_TIMEOUT_S = 30.0
FAIL = "DSV4_DEMO_FAIL"
"""What is planted from the first moment; nodes hear nothing else of where the demo was started from."""


@dataclass(frozen=True, slots=True)
class DemoNodeFiles:
    """One node: its name, its address and port, and its directory."""

    name: str
    address: str
    directory: Path

    @property
    def home(self) -> Path:
        """Home directory of the session."""
        return self.directory / "home"

    @property
    def host_key(self) -> Path:
        """Private host key."""
        return self.directory / "ssh_host_ed25519_key"


def node_names(layout: Layout, nodes: int | None = None) -> tuple[str, ...]:
    """Names in layout order: `p0 p1 d0 d1`, `n0 …`; with `nodes` fewer of them, or spare ones `s0 …` behind."""
    counts: dict[str, int] = {}
    names = []
    for group in layout.shaped().groups.values():
        letter = _LETTERS[group.role]
        for _ in range(group.nodes):
            names.append(f"{letter}{counts.get(letter, 0)}")
            counts[letter] = counts.get(letter, 0) + 1
    if nodes is None:
        return tuple(names)
    return tuple([*names, *(f"s{index}" for index in range(nodes - len(names)))][:nodes])


class DemoCluster:
    """Nodes that answer SSH and run simulated engines, from `start` to `close`.

    `layout` names the layout the nodes are made for; `nodes` overrides how many there are; `speed` divides the
    durations of a start (20: about half a minute);
    `directory` keeps everything (made and removed when not given); `runtime` is what the cluster file says
    (`host`, or `docker` with a container that is up).
    """

    def __init__(
        self,
        layout: str = "a3-pd",
        nodes: int | None = None,
        speed: float = 20.0,
        directory: Path | None = None,
        *,
        runtime: str = "host",
        driver: str = "25.5.0",
    ) -> None:
        self._layout = load_layout(layout)
        self._names = node_names(self._layout, nodes)
        self._speed = speed
        self._given = directory
        self._runtime = runtime
        self._driver = driver
        self._server: asyncio.subprocess.Process | None = None
        self.directory = directory or Path()
        self.nodes: dict[str, DemoNodeFiles] = {}

    async def start(self) -> Path:
        """Start the nodes; gives the path of the cluster file. Raises ConsoleError when the servers do not start."""
        self.directory = self._given or Path(tempfile.mkdtemp(prefix="dsv4-demo-"))
        self.directory.mkdir(parents=True, exist_ok=True)
        addresses = free_addresses(len(self._names))
        self.nodes = {
            name: DemoNodeFiles(name, address, self.directory / "nodes" / name)
            for name, address in zip(self._names, addresses, strict=True)
        }
        client = asyncssh.generate_private_key("ssh-ed25519")
        _write_key(self.directory / "id_ed25519", client)
        for node in self.nodes.values():
            node.home.mkdir(parents=True, exist_ok=True)
            _write_key(node.host_key, asyncssh.generate_private_key("ssh-ed25519"))
        ports = await self._serve([self._served(node) for node in self.nodes.values()])
        self._write_known_hosts(ports)
        path = self.directory / "cluster.yaml"
        path.write_text(self._cluster_file(ports))
        return path

    @property
    def server_pid(self) -> int | None:
        """Pid of the process that serves SSH, the parent of all processes of the nodes; None when it does not run."""
        return None if self._server is None else self._server.pid

    async def close(self) -> None:
        """Stop every process that the cluster or its nodes started, and remove the directory unless it was given."""
        server, self._server = self._server, None
        if server is not None:
            if server.stdin is not None:
                server.stdin.close()
            try:
                await asyncio.wait_for(server.wait(), 15)
            except TimeoutError:
                server.kill()
                await server.wait()
        for node in self.nodes.values():
            left = partial(processes.marked, "DSV4_DEMO_DIR", str(node.directory))
            await asyncio.to_thread(processes.kill_all, left)
        if self._given is None and self.nodes:
            await asyncio.to_thread(shutil.rmtree, self.directory, ignore_errors=True)

    def fail(self, node: str, selector: str, text: str) -> None:
        """Cause a failure on a node: write `fail/SELECTOR` (see `console.demo.engine.failures`); an empty text removes it."""
        path = self.nodes[node].directory / "fail" / selector
        if text:
            path.write_text(text + "\n")
        else:
            path.unlink(missing_ok=True)

    def _served(self, node: DemoNodeFiles) -> dict[str, object]:
        hardware = self._layout.hardware
        environment = {
            "HOME": str(node.home),
            "USER": getuser(),
            "LOGNAME": getuser(),
            "SHELL": "/bin/sh",
            "LANG": "C.UTF-8",
            **{name: os.environ[name] for name in (FAIL,) if name in os.environ},
            **install_tools(
                node.directory / "bin",
                node.directory,
                hardware=hardware.name,
                address=node.address,
                speed=self._speed,
                devices=hardware.devices,
                driver=self._driver,
                **self._software(),
            ),
        }
        return {
            "name": node.name,
            "address": node.address,
            "home": str(node.home),
            "host_key": str(node.host_key),
            "authorized": str(self.directory / "id_ed25519.pub"),
            "environment": environment,
            "startup": self._startup(node),
        }

    def _software(self) -> dict[str, str]:
        """What a node has for its layout: the release it is made for, and the weights where a shipped one looks for them."""
        facts = facts_of(release_name(self._layout.version))
        found = {"release": facts.name, "vllm": facts.vllm} if facts else {}
        path = self._layout.model.path
        return {**found, **({"model": path} if is_shipped(self._layout) and path.startswith("/") else {})}

    def _startup(self, node: DemoNodeFiles) -> str:
        """With containers: the one the cluster file names is up, from an image that is there."""
        if self._runtime == "host":
            return ""
        image = self._layout.image or "ascend/vllm-ascend:v0.21.0rc1"
        (node.directory / "docker" / "images").write_text(f"{image}\n")
        driver = kind_of(self._layout.hardware.name).driver_mounts
        mounts = [word for each in (*driver, "/root/.cache") for word in ("-v", f"{each}:{each}")]
        flags = ["--name", Runtime().container, "--net=host", "--shm-size", "512g", "--privileged=true"]
        words = [*flags, *mounts, image, "bash"]
        return shlex.join(["docker", "run", "-itd", *words])

    async def _serve(self, served: Sequence[dict[str, object]]) -> dict[str, int]:
        with (self.directory / "serve.log").open("wb") as log:
            self._server = server = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-m", "console.demo.ssh_servers"),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        if server.stdin is None or server.stdout is None:
            raise ConsoleError("the demo's servers have no pipes")
        server.stdin.write(json.dumps(served).encode() + b"\n")
        try:
            line = await asyncio.wait_for(server.stdout.readline(), START_TIMEOUT_S)
        except TimeoutError:
            line = b""
        if not line:
            said = (self.directory / "serve.log").read_text(errors="replace").strip().splitlines()[-1:]
            await self.close()
            raise ConsoleError(f"the demo's SSH servers did not start: {''.join(said) or 'no answer'}")
        return {str(name): int(port) for name, port in json.loads(line).items()}

    def _write_known_hosts(self, ports: dict[str, int]) -> None:
        lines = []
        for node in self.nodes.values():
            public = node.host_key.with_suffix(".pub").read_text().split()
            lines.append(f"[{node.address}]:{ports[node.name]} {public[0]} {public[1]}\n")
        (self.directory / "known_hosts").write_text("".join(lines))
        (self.directory / "ssh_config").write_text("# the demo's nodes need nothing from here\n")

    def _cluster_file(self, ports: dict[str, int]) -> str:
        quoted = json.dumps  # a JSON string is a YAML string
        here = self.directory
        lines = [
            "# Written by the demo; gone when it ends.",
            "name: demo",
            f"ssh: {{config: {quoted(str(here / 'ssh_config'))}, known_hosts: {quoted(str(here / 'known_hosts'))}}}",
            "defaults:",
            f"  user: {quoted(getuser())}",
            f"  identity: {quoted(str(here / 'id_ed25519'))}",
            f"  hardware: {_hardware(self._layout)}",
            f"  nic: {quoted('lo')}",
            f"  runtime: {{kind: {self._runtime}}}",
            "nodes:",
        ]
        for node in self.nodes.values():
            base = quoted(str(node.directory / "runs"))
            where = f"host: {node.address}, port: {ports[node.name]}, ip: {node.address}, base: {base}"
            lines.append(f"  {node.name}: {{{where}}}")
        return "\n".join(lines) + "\n"


def _hardware(layout: Layout) -> str:
    kind = layout.hardware
    if kind == HARDWARE.get(kind.name):
        return kind.name
    return json.dumps(kind.model_dump())


def _write_key(path: Path, key: asyncssh.SSHKey) -> None:
    path.touch(mode=0o600)
    path.write_bytes(key.export_private_key())
    path.chmod(0o600)
    path.with_suffix(".pub").write_bytes(key.export_public_key())


def free_addresses(count: int) -> list[str]:
    """Loopback addresses for one cluster: neighbours in a random network of 127.0.0.0/8 that nobody on this
    machine listens in."""
    taken = _listening()
    rng = random.Random(os.urandom(8))
    while True:
        network = f"127.{rng.randrange(1, 255)}.{rng.randrange(256)}."
        if not any(address.startswith(network) for address in taken):
            return [f"{network}{host}" for host in range(2, 2 + count)]


def _listening() -> set[str]:
    """IPv4 addresses with a listening TCP socket."""
    found = set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        local, state = line.split()[1], line.split()[3]
        if state == "0A":
            number = bytes.fromhex(local.partition(":")[0])
            found.add(".".join(str(byte) for byte in reversed(number)))
    return found
