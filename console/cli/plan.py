"""`plan`: shows where every rank runs and which rules do not hold, or prints the environment and command of every rank."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from typing import NotRequired

from typing_extensions import TypedDict

from console.cli.findings import failed, finding_lines
from console.cli.options import add_cluster_options, cluster_of, deployment_of
from console.cli.output import DATA, add_output, print_data
from console.cli.printer import print_file, print_message
from console.cli.tables import table_lines
from console.commands.launch_scripts import shell_bundle
from console.commands.serve import proxy_command, serve_command, service_command
from console.files import load_layout
from console.model.deployment import Deployment, Rank
from console.model.errors import UsageError
from console.model.findings import Finding, FindingData
from console.model.role import BESIDE_ENGINES, RankRole
from console.probes.sanitize import clean
from console.rules import capacity_notes, check
from console.services.placement.edits import PLACEHOLDER, example

UNMASKED = "-o json, jsonl and sh print secrets such as API keys unmasked, so that the commands can be run."


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `plan`."""
    text = "show where every rank runs and which rules do not hold; with -o sh, json or jsonl also its environment and command"
    parser = subparsers.add_parser("plan", help=text, description=f"{text}. {UNMASKED}")
    parser.add_argument(
        "engines", nargs="*", metavar="ENGINE", help="only these ranks (GROUP-DPRANK, a service, `proxy`) or groups"
    )
    add_output(
        parser, json="the deployment, its processes and findings", jsonl="a line for each process", sh="a shell script"
    )
    add_cluster_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the plan. Exit code 1: a finding is an error. Without a cluster file the nodes are examples."""
    deployment = deployment_or_example(args)
    ranks = _chosen(deployment, args.engines)
    findings = check(deployment)
    if args.output in DATA:
        processes = (_process_data(deployment, rank) for rank in ranks)
        print_data(args.output, plan_document(deployment, ranks, findings), processes)
    else:
        print_file("".join(f"{line}\n" for line in _PRINTERS[args.output](deployment, ranks, findings)))
    if args.output == "sh":
        for line in finding_lines(findings):
            print_message(line)
    if PLACEHOLDER in deployment.cluster.tags:
        print_message("no cluster file: node names and addresses are examples")
    return failed(findings)


class RankData(TypedDict):
    """A rank: one process of an engine's group."""

    id: str
    """`GROUP-DPRANK`. If an engine spans nodes, its other parts are named `GROUP-DPRANK.PART`."""
    node: str
    group: str
    role: RankRole
    dp_rank: int
    """Rank in the data-parallel group, from 0."""
    local_rank: int
    """Rank on its node, from 0."""
    part: NotRequired[int]
    """Only of an engine that spans nodes: which part of it, from 0."""
    parts: NotRequired[int]
    """Only of an engine that spans nodes: how many parts it has."""
    devices: list[int]
    port: int | None
    """HTTP port; null when it has none."""
    headless: bool
    """Whether another rank answers for it."""
    env: dict[str, str]
    """Unmasked."""
    argv: list[str]
    """Unmasked; starts with `vllm`."""


class ServiceProcessData(TypedDict):
    """A process beside the engines, for example the master of a KV pool."""

    id: str
    node: str
    port: int | None
    env: dict[str, str]
    argv: list[str]


class ProxyData(TypedDict):
    """The proxy."""

    node: str
    port: int | None
    env: NotRequired[dict[str, str]]
    """Only when it has variables of its own."""
    argv: list[str]


class ProxyLine(ProxyData):
    """The proxy among other processes."""

    id: str
    """`proxy`."""


class DeploymentData(TypedDict):
    """Every command of a deployment, and the findings of the rules."""

    ranks: list[RankData]
    services: NotRequired[list[ServiceProcessData]]
    """Only when the layout has services."""
    proxy: ProxyData | None
    findings: list[FindingData]


def plan_document(deployment: Deployment, ranks: Sequence[Rank], findings: Sequence[Finding]) -> DeploymentData:
    """The plan as data."""
    engines = [rank for rank in ranks if rank.role not in BESIDE_ENGINES]
    services = [_service_data(deployment, rank) for rank in ranks if rank.role == "service"]
    data: DeploymentData = {
        "ranks": [_rank_data(deployment, rank) for rank in engines],
        "services": services,
        "proxy": _proxy_data(deployment) if any(rank.role == "proxy" for rank in ranks) else None,
        "findings": [each.data() for each in findings],
    }
    if not services:
        del data["services"]
    return data


def deployment_or_example(args: argparse.Namespace) -> Deployment:
    """The deployment of the options; a layout without a cluster file gets example nodes."""
    if args.cluster is None and args.layout is not None and not args.assign:
        try:
            cluster_of(args)
        except UsageError:
            return example(load_layout(args.layout))
    return deployment_of(args)


def _chosen(deployment: Deployment, words: Sequence[str]) -> tuple[Rank, ...]:
    every = tuple(rank for rank in deployment.processes() if rank.role != "proxy" or proxy_command(deployment))
    named = deployment.engines_named(words, [rank.id for rank in every])
    return tuple(rank for rank in every if not words or rank.id in named)


def _rank_data(deployment: Deployment, rank: Rank) -> RankData:
    command = serve_command(deployment, rank)
    data: RankData = {
        "id": rank.id,
        "node": rank.node,
        "group": rank.group,
        "role": rank.role,
        "dp_rank": rank.dp_rank,
        "local_rank": rank.local_rank,
        "devices": list(rank.devices),
        "port": rank.port,
        "headless": rank.headless,
        "env": dict(command.env),
        "argv": list(command.argv),
    }
    if rank.parts > 1:
        data["part"], data["parts"] = rank.part, rank.parts
    return data


def _service_data(deployment: Deployment, rank: Rank) -> ServiceProcessData:
    command = service_command(deployment, rank)
    return {
        "id": rank.id,
        "node": rank.node,
        "port": rank.port,
        "env": dict(command.env),
        "argv": list(command.argv),
    }


def _proxy_data(deployment: Deployment) -> ProxyData | None:
    rank, command = deployment.proxy_rank(), proxy_command(deployment)
    if rank is None or command is None:
        return None
    data: ProxyData = {"node": rank.node, "port": rank.port, "argv": list(command.argv)}
    if command.env:
        data["env"] = dict(command.env)
    return data


def _process_data(deployment: Deployment, rank: Rank) -> RankData | ServiceProcessData | ProxyLine:
    if rank.role == "proxy" and (proxy := _proxy_data(deployment)):
        return {"id": "proxy", **proxy}
    return _service_data(deployment, rank) if rank.role == "service" else _rank_data(deployment, rank)


def _shell(deployment: Deployment, ranks: Sequence[Rank], findings: Sequence[Finding]) -> Iterator[str]:
    yield shell_bundle(deployment, ranks).rstrip("\n")


def _table(deployment: Deployment, ranks: Sequence[Rank], findings: Sequence[Finding]) -> Iterator[str]:
    layout, cluster = deployment.layout, deployment.cluster
    yield clean(f"{layout.name} on {cluster.name}: {layout.title or layout.model.path}")
    yield ""
    head = ("ENGINE", "NODE", "ADDRESS", "ROLE", "RANK", "DEVICES", "PORT", "DP ADDRESS")
    yield from table_lines(head, [_row(deployment, rank) for rank in ranks])
    if notes := capacity_notes(deployment):
        yield ""
        yield from (clean(note) for note in notes)
    if findings:
        yield ""
        yield from finding_lines(findings)


def _row(deployment: Deployment, rank: Rank) -> tuple[str, ...]:
    devices = f"{rank.devices[0]}-{rank.devices[-1]}" if len(rank.devices) > 1 else "".join(map(str, rank.devices))
    last = rank.dp_rank + rank.local_size - 1
    span = str(rank.dp_rank) if rank.local_size == 1 else f"{rank.dp_rank}-{last}"
    meets = [str(rank.rpc_port)] if rank.dp_size > 1 else []
    if rank.parts > 1:
        span += f".{rank.part}"
        meets.append(str(deployment.layout.groups[rank.group].master_port))
    meet = f"{rank.dp_address}:{','.join(meets)}" if meets else "-"
    port = "headless" if rank.headless else str(rank.port or "-")
    place = "-" if rank.role in BESIDE_ENGINES else f"{span}/{rank.dp_size}"
    return rank.id, rank.node, rank.address or "?", rank.role, place, devices or "-", port, meet


_PRINTERS = {"table": _table, "sh": _shell}
