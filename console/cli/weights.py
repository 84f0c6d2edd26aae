"""`weights`: shows whether the weights are complete on every node, copies them to other nodes, or prints download commands."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

from typing_extensions import TypedDict

from console.cli.lifecycle import add_plan_options
from console.cli.options import add_cluster_options, deployment_of
from console.cli.output import DATA, print_data
from console.cli.plan_runner import add_action, resolve_action, run_maintenance
from console.cli.printer import print_line, print_lines
from console.cli.session_context import connected, opened
from console.cli.tables import table_lines
from console.commands.quoting import join
from console.commands.weights import download_commands
from console.model.errors import ExitCode, Unreachable, UsageError
from console.model.shortening import list_text
from console.model.snapshot import LinkState
from console.probes.sanitize import clean
from console.services.maintenance.weights import NodeWeights
from console.services.placement.layout_files import layout_argument
from console.services.readiness.node_requirements import used_nodes

_ABOUT = """show: list the weights on each node (changes nothing). copy --from NODE: copy the weights to the nodes that lack
them, over the network of the nodes. The copy continues when this console ends; a new copy resumes an unfinished one. stop:
stop running copies. download: print the download commands for a node that can reach a model hub."""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `weights`."""
    text = "show the weights on the nodes, copy them from one node to the others"
    parser = subparsers.add_parser("weights", help=text, description=_ABOUT)
    add_action(parser, ("show", "copy", "stop", "download"))
    parser.add_argument(
        "--from", dest="source", default="", metavar="NODE", help="for copy: a node that has the complete weights"
    )
    add_plan_options(parser, "node")
    add_cluster_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Show or act. Exit code of `show` 0: complete and equal; 1: not complete on a node, or not equal; 3: no node answers."""
    resolve_action(args)
    if args.action == "download":
        return _download(args)
    return asyncio.run({"show": _show, "copy": _copy, "stop": _stop}[args.action](args))


async def _show(args: argparse.Namespace) -> int:
    async with opened(args, read_only=True) as session:
        with contextlib.suppress(Unreachable):
            await connected(session)
        found = await session.maintenance.of_weights.look(args.nodes)
        path = session.deployment.layout.model.path
        links = {session.snapshot.nodes[each.node].link.state for each in found}
    if args.output in DATA:
        whole = WeightsData(path=path, nodes=[as_data(each) for each in found])
        print_data(args.output, whole, (NodeWeightsLine(path=path, **each) for each in whole["nodes"]))
    else:
        print_lines(lines(path, found))
    if LinkState.UP not in links:
        return ExitCode.UNREACHABLE
    complete = all(each.weights.complete for each in found)
    return ExitCode.OK if complete and len({each.weights.manifest for each in found}) == 1 else ExitCode.FAILED


class NodeWeightsData(TypedDict):
    """The weights on a node."""

    node: str
    complete: bool | None
    """Null when it is not known."""
    trouble: str | None
    """Why nothing is known of them, or why there are none."""
    shards: int
    """Files of weights that are there."""
    bytes: int
    """Their size."""
    manifest: str | None
    """Equal on two nodes when configuration, names and sizes of the files are equal; null when nothing is known."""
    lacking: list[str]
    """What is missing, empty or left of a download."""
    copying: str | None
    """The last line of a copy that runs there; null when none does."""


class NodeWeightsLine(NodeWeightsData):
    """The weights on a node, with their path."""

    path: str


class WeightsData(TypedDict):
    """The weights of a layout's model on the nodes."""

    path: str
    """Directory of the weights on every node."""
    nodes: list[NodeWeightsData]


def as_data(held: NodeWeights) -> NodeWeightsData:
    """The weights of one node as data."""
    weights = held.weights
    return {
        "node": held.node,
        "complete": None if weights.trouble else weights.complete,
        "trouble": weights.trouble or None,
        "shards": weights.shards,
        "bytes": weights.bytes,
        "manifest": weights.manifest or None,
        "lacking": list(weights.lacking),
        "copying": held.copying or None,
    }


def lines(path: str, found: Sequence[NodeWeights]) -> Iterator[str]:
    """The weights of all nodes as lines."""
    yield clean(path)
    rows = []
    for held in found:
        weights = held.weights
        state = "unknown" if weights.trouble else "complete" if weights.complete else "INCOMPLETE"
        size = f"{weights.bytes / 2**30:.1f} GiB" if weights.bytes else "-"
        note = held.copying or weights.trouble or list_text(weights.lacking, 3, "; ")
        rows.append((held.node, state, str(weights.shards or "-"), size, weights.manifest[:8] or "-", note))
    yield from table_lines(("NODE", "STATE", "SHARDS", "SIZE", "DIGEST", ""), rows)
    whole = {held.weights.manifest for held in found if held.weights.complete}
    if len(whole) > 1:
        yield "complete, but not equal on all nodes: ranks with different weights give wrong answers"
    source = next((held.node for held in found if held.weights.complete), None)
    if source and not all(held.weights.complete for held in found):
        yield clean(f"copy them to the other nodes: dsv4-console weights copy --from {source}")


async def _copy(args: argparse.Namespace) -> int:
    if not args.source:
        raise UsageError("weights copy needs --from NODE", hint="dsv4-console weights copy --from NODE [NODE …]")
    async with opened(args, read_only=False if args.dry_run else None, changes=not args.dry_run) as session:
        await connected(session)
        made = session.maintenance.of_weights.prepare(args.source, args.nodes)
        return await run_maintenance(session, "weights", made, args, only_plan=args.dry_run)


async def _stop(args: argparse.Namespace) -> int:
    async with opened(args) as session:
        await connected(session)
        results = await session.maintenance.of_weights.stop(args.nodes)
    print_lines(results or ["no copy is running"])
    return ExitCode.FAILED if any(line.endswith("stuck") for line in results) else ExitCode.OK


def _download(args: argparse.Namespace) -> int:
    deployment = deployment_of(args)
    model = deployment.layout.model
    if PurePosixPath(model.path).is_absolute() and not model.source:
        hint = f"add it to {layout_argument(deployment.layout)}: model: {{source: OWNER/NAME, path: {model.path}}}"
        raise UsageError(f"the layout does not name the repository of the weights {model.path}", hint=hint)
    for name in args.nodes or used_nodes(deployment) or deployment.cluster.nodes:
        if name not in deployment.cluster.nodes:
            raise UsageError(f"no node {name!r}", hint=f"nodes: {', '.join(deployment.cluster.nodes)}")
        runtime = deployment.node(name).runtime
        inside = join((*runtime.words, "exec", "-it", runtime.container)) + " " if runtime.words else ""
        first, second = download_commands(model.source, model.path)
        print_line(f"{name}: {inside}{first}")
        print_line(f"{name}: {inside}{second}   # or from Hugging Face, if the weights are published there")
    return ExitCode.OK
