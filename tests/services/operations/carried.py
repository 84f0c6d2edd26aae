"""Nodes that do what they are told at once and keep a record of it, for tests of what a plan carries."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from console.journal import Journal
from console.model.cluster import Cluster
from console.model.deployment import Deployment
from console.model.run import LogChunk, RunKey, RunState, RunVerdict, Sample, StopResult
from console.model.snapshot import Grade, HealthCheck, Link, LinkState
from console.probes.host import host_probe
from console.probes.metrics import Scrape
from console.probes.npu_smi import info_probe
from console.remote.http import EngineHttp, HttpAnswer
from console.remote.link import NodeLink
from console.services.logs.copies import LogBook
from console.services.monitoring.monitor import Monitor
from console.services.operations.operator import Operator
from console.services.placement.live_assignment import LiveAssignment
from tests.probes.captures import capture
from tests.services.deployments import ASSIGNMENT, LAYOUT
from tests.services.monitoring.test_monitor import READY_LOG

SECRET = "sk-neverinajournal0123456789"
NAMED = "e1"
"""The node that is written by name, so that its address is learned from it."""
CLUSTER = Cluster.model_validate(
    {
        "name": "lab",
        "defaults": {"user": "root", "hardware": "a3", "nic": "eth0"},
        "nodes": {
            **{name: {"host": f"10.0.0.{at}"} for at, name in enumerate(("p0", "p1", "d0", "d1", "e0"), 1)},
            NAMED: {"host": "e1.lab"},
        },
    }
)


def keyed_deployment() -> Deployment:
    """The small deployment on six nodes, with a secret in its environment."""
    return Deployment(CLUSTER, LAYOUT.model_copy(update={"env": {"VLLM_API_KEY": SECRET}}), ASSIGNMENT)


@dataclass(frozen=True)
class Written:
    """A run as a node was told to write it."""

    node: str
    key: RunKey
    script: str
    expected: str | None
    container: object
    spec: Mapping[str, object]


@dataclass
class Record:
    """Everything the nodes were told to do."""

    written: list[Written] = field(default_factory=list)
    launched: list[tuple[str, RunKey]] = field(default_factory=list)
    ended: list[tuple[str, RunKey]] = field(default_factory=list)
    told: list[tuple[str, int, str, str, tuple[str, ...]]] = field(default_factory=list)
    """Of the proxy: address, port, path, role, endpoints."""


class Nodes:
    """All nodes of a cluster behind one monitor; an engine that is launched serves at once."""

    def __init__(self, folder: Path, deployment: Deployment) -> None:
        self.done = Record()
        self.runs: dict[str, dict[RunKey, RunState]] = {name: {} for name in deployment.cluster.nodes}
        self.lists: dict[str, list[str]] = {"prefill": [], "decode": []}
        links = cast(dict[str, NodeLink], {name: NodeOf(self, name) for name in deployment.cluster.nodes})
        self.monitor = Monitor(deployment, LogBook(folder / "logs", lambda _: None), links, read_only=False)
        self.roles = LiveAssignment(self.monitor, folder / "assignment.yaml")
        self.journal = Journal(folder / "journal.jsonl")
        self.operator = Operator(self.monitor, links, self.journal, who="me@here", roles=self.roles)
        for name in deployment.cluster.nodes:
            self.monitor.on_link(name, Link(LinkState.UP, time.time()))
            self.monitor.on_sample(name, Sample(host_probe().name, time.time(), 0.1, 0, b"== end\n"))
            self.table(name)
            self.report(name)

    def table(self, node: str) -> None:
        """Every device of a node is idle."""
        table = capture("npu", "a3_info_25.5.0_card5_absent.txt")
        self.monitor.on_sample(node, Sample(info_probe().name, time.time(), 0.0, 0, table))

    def report(self, node: str) -> None:
        """The node lists its runs and sends their logs; whoever runs answers over HTTP."""
        self.monitor.on_runs(node, tuple(self.runs[node].values()), (), time.time())
        for key, run in self.runs[node].items():
            if run.verdict is RunVerdict.RUNNING:
                self.monitor.on_log(node, LogChunk(key, 0, READY_LOG, len(READY_LOG)))
                self.monitor.run_record(key).http_checks = (
                    HealthCheck("http", Grade.OK, ""),
                    HealthCheck("model", Grade.OK, ""),
                )
        self.monitor.publish()

    def endpoints(self) -> dict[str, list[str]]:
        """What a proxy that starts now lists."""
        ranks = self.monitor.deployment.ranks()
        return {role: [f"{r.address}:{r.port}" for r in ranks if r.role == role] for role in ("prefill", "decode")}

    def learn(self, address: str) -> None:
        """The node that is written by name tells its address."""
        text = f"== ssh\n10.9.9.9 50000 {address} 22\n== end\n".encode()
        self.monitor.on_sample(NAMED, Sample(host_probe().name, time.time(), 0.1, 0, text))


class NodeOf:
    """The link to one of them."""

    def __init__(self, nodes: Nodes, name: str) -> None:
        self._nodes = nodes
        self._name = name
        self.link = Link(LinkState.UP, time.time())

    async def run_command(self, argv: object, timeout_s: float) -> Sample:
        """Nobody listens anywhere."""
        return Sample("", time.time(), 0.0, 0, b"")

    async def probe_now(self, name: str) -> None:
        """Every device is idle."""
        self._nodes.table(self._name)

    async def prepare(
        self,
        key: RunKey,
        spec: Mapping[str, object],
        script: str,
        expect_run: str | None,
        container: Mapping[str, object] | None = None,
    ) -> str:
        """Write it down."""
        self._nodes.done.written.append(Written(self._name, key, script, expect_run, container, dict(spec)))
        return "ext4"

    async def commit(self, key: RunKey) -> RunState:
        """It runs, and its log says at once that it is ready."""
        spec = next(each.spec for each in self._nodes.done.written if each.key == key)
        state = RunState(
            key,
            RunVerdict.RUNNING,
            pid=4711,
            started_at=time.time(),
            log_size=len(READY_LOG),
            spec=cast(dict[str, Any], spec),
        )
        self._nodes.done.launched.append((self._name, key))
        self._nodes.runs[self._name][key] = state
        if key.engine == "proxy":
            self._nodes.lists = self._nodes.endpoints()
        self._nodes.report(self._name)
        return state

    async def discard(self, key: RunKey) -> None:
        """Nothing is kept of it."""

    async def stop(
        self, keys: Iterable[RunKey], grace_s: float, kill_s: float, by: str = ""
    ) -> Mapping[RunKey, StopResult]:
        """All of them end."""
        return self._end(tuple(keys))

    async def kill(self, keys: Iterable[RunKey], kill_s: float = 15.0, by: str = "") -> Mapping[RunKey, StopResult]:
        """All of them end."""
        return self._end(tuple(keys))

    def _end(self, keys: Sequence[RunKey]) -> Mapping[RunKey, StopResult]:
        for key in keys:
            self._nodes.done.ended.append((self._name, key))
            mine = self._nodes.runs[self._name]
            mine[key] = replace(mine[key], verdict=RunVerdict.EXITED, stopping=True)
        self._nodes.report(self._name)
        return dict.fromkeys(keys, StopResult("stopped"))

    async def lease(self, deployment: str, act: str, **fields: object) -> Mapping[str, object]:
        """Nobody else is at work."""
        return {"lease": None}

    def credit(self, key: RunKey, size: int) -> None:
        """More of a log may be sent; all of it was."""

    def follow(self, key: RunKey, offset: int, fingerprint: bytes) -> None:
        """No log grows."""

    def unfollow(self, key: RunKey) -> None:
        """No log grows."""

    def http(self, api_key: str = "", *, tls: bool = False, uds: str = "") -> EngineHttp:
        """The proxy and the engines answer."""
        return cast(EngineHttp, self)

    async def metrics(self, host: str, port: int, timeout_s: float) -> Scrape:
        """No request runs."""
        return Scrape(time.time())

    async def post_json(self, host: str, port: int, path: str, value: object, timeout_s: float) -> HttpAnswer:
        """The proxy takes what it is told at once."""
        assert isinstance(value, dict)
        role, names = str(value["type"]), [str(each) for each in value["instances"]]
        if names:
            self._nodes.done.told.append((host, port, path, role, tuple(names)))
        kept = [each for each in self._nodes.lists[role] if each not in names]
        self._nodes.lists[role] = [*kept, *names] if path.endswith("add") else kept
        lists = {f"current_{name}_instances": self._nodes.lists[name] for name in ("prefill", "decode")}
        return HttpAnswer(200, json.dumps({"message": "", **lists}).encode(), 0.0)
