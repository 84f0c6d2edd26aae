"""Exports one folder per node: a script per engine, for the container, for the start of all, and a README."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from console.commands.container import run_container
from console.commands.launch_scripts import rank_script
from console.commands.quoting import join, quote
from console.commands.serve import proxy_command
from console.model.cluster import Node
from console.model.deployment import Deployment, Rank
from console.model.errors import UsageError
from console.model.role import BESIDE_ENGINES

_SCRIPTS = {"service": "start-services.sh", "proxy": "start-proxy.sh"}
"""Role → its start script; engines are started by `start.sh`."""


@dataclass(frozen=True, slots=True)
class ExportedFile:
    """A file to write; the path is relative to the chosen folder."""

    path: str
    text: str
    executable: bool = False


def shell_folders(deployment: Deployment) -> tuple[ExportedFile, ...]:
    """`NODE/ENGINE/cmd.sh` for every engine, service and the proxy, `NODE/container.sh`, `NODE/start.sh`, `NODE/README.md`.

    Raises UsageError when no node is assigned, or a node runs containers and no image is named.
    """
    return tuple(_files(deployment))


def launched(deployment: Deployment) -> tuple[Rank, ...]:
    """Services, all engines, then the proxy if it can be started. Raises UsageError without assigned nodes."""
    ranks = tuple(rank for rank in deployment.processes() if rank.role != "proxy" or proxy_command(deployment))
    if not ranks:
        raise UsageError("nothing to export: no node is assigned", hint="give nodes with --assign GROUP=NODE,NODE")
    return ranks


def _files(deployment: Deployment) -> Iterator[ExportedFile]:
    by_node: dict[str, list[Rank]] = {}
    for rank in launched(deployment):
        by_node.setdefault(rank.node, []).append(rank)
    for name, ranks in by_node.items():
        node = deployment.node(name)
        for rank in ranks:
            yield ExportedFile(f"{name}/{rank.id}/cmd.sh", rank_script(deployment, rank), executable=True)
        if node.runtime.kind != "host":
            yield ExportedFile(f"{name}/container.sh", _container(deployment, node), executable=True)
        for script, mine in _by_script(ranks).items():
            yield ExportedFile(f"{name}/{script}", _start(node, mine), executable=True)
        yield ExportedFile(f"{name}/README.md", _readme(deployment, node, ranks))


def _by_script(ranks: Sequence[Rank]) -> dict[str, list[Rank]]:
    """The ranks that each start script starts."""
    found: dict[str, list[Rank]] = {}
    for rank in ranks:
        found.setdefault(_SCRIPTS.get(rank.role, "start.sh"), []).append(rank)
    return found


def _container(deployment: Deployment, node: Node) -> str:
    words = run_container(deployment, node)
    lines = [
        "#!/usr/bin/env bash",
        "# Makes the container; this folder is mounted into it under the same path.",
        "set -eu",
        'here="$(cd "$(dirname "$0")" && pwd)"',
        f'exec {join(words[:-1])} -v "$here:$here" {quote(words[-1])} sleep infinity',
    ]
    return "\n".join(lines) + "\n"


def _start(node: Node, ranks: Sequence[Rank]) -> str:
    """The start script of a node; each engine has its own session and survives the terminal."""
    lines = ["#!/usr/bin/env bash", "set -eu", 'here="$(cd "$(dirname "$0")" && pwd)"']
    for rank in ranks:
        place = f'"$here"/{quote(rank.id)}'
        if node.runtime.kind == "host":
            lines.append(f"setsid bash {place}/cmd.sh >>{place}/out.log 2>&1 </dev/null &")
            lines.append(f"echo $! >{place}/pid")
        else:
            inside = '\'exec bash "$0/cmd.sh" >>"$0/out.log" 2>&1\''
            lines.append(
                f"{join((*node.runtime.words, 'exec', '-d', node.runtime.container))} bash -c {inside} {place}"
            )
        lines.append(f"printf '%s %s\\n' {quote(f'{rank.id} started; log:')} {place}/out.log")
    return "\n".join(lines) + "\n"


def _readme(deployment: Deployment, node: Node, ranks: Sequence[Rank]) -> str:
    layout = deployment.layout
    lines = [
        f"# {node.name}: {layout.name}",
        "",
        f"{layout.title or layout.model.path} on {deployment.address(node.name)} ({node.hardware.name}).",
        "",
        "| engine | rank | devices | HTTP port |",
        "|---|---|---|---|",
    ]
    for rank in ranks:
        devices = ",".join(map(str, rank.devices)) or "-"
        port = "headless" if rank.headless else str(rank.port)
        lines.append(f"| {rank.id} | {rank.dp_rank} of {rank.dp_size} | {devices} | {port} |")
    steps = ["Copy this folder to the node."]
    if node.runtime.kind != "host":
        steps.append("`./container.sh` makes the container.")
    if any(rank.role == "service" for rank in ranks):
        steps.append("`./start-services.sh` first; go on when its ports are open. Stop it last.")
    if any(rank.role not in BESIDE_ENGINES for rank in ranks):
        steps.append("`./start.sh` starts the engines of this node; each writes `ENGINE/out.log`.")
    if any(rank.role == "proxy" for rank in ranks):
        steps.append("`./start-proxy.sh`, when every engine answers `GET /health` with 200.")
    lines += ["", *(f"{number}. {step}" for number, step in enumerate(steps, 1))]
    lines += [
        "",
        "Start all nodes of a group within five minutes: later ranks give up. One dead engine ends its whole group: stop all of",
        "its engines with TERM, then start all again.",
    ]
    return "\n".join(lines) + "\n"
