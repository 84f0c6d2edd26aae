"""`containers`: shows the containers of the nodes and how they differ from the wanted ones; creates, starts or adopts them."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
from collections.abc import Iterator, Sequence
from typing import cast

from typing_extensions import TypedDict

from console.cli.lifecycle import add_plan_options
from console.cli.options import add_cluster_options
from console.cli.output import DATA, print_data
from console.cli.plan_runner import add_action, resolve_action, run_maintenance
from console.cli.printer import print_lines, print_message
from console.cli.session_context import connected, opened
from console.cli.tables import table_lines
from console.model.counting import counted
from console.model.errors import ExitCode, Unreachable
from console.probes.container import Difference
from console.probes.sanitize import clean
from console.services.maintenance.containers import ContainerAction
from console.services.placement.layout_choice import require_layout
from console.services.readiness.container_setup import ContainerFacts

_ABOUT = """show: list the containers and how they differ from the cluster file
(changes nothing). plan: print the commands that create what is
missing. create: pull missing images and create missing containers. start: start stopped containers. adopt NODE=NAME: run
engines in an existing container of another name. A running container is never removed or replaced."""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `containers`."""
    text = "show, create, start or adopt the containers that engines run in"
    parser = subparsers.add_parser("containers", help=text, description=_ABOUT)
    add_action(parser, ("show", "plan", "create", "start", "adopt"))
    add_plan_options(parser, "node")
    add_cluster_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Show or act. Exit code of `show` 0: all is as wanted; 1: a container is missing or differs; 3: no node answers."""
    resolve_action(args)
    return asyncio.run(_show(args) if args.action == "show" else _change(args))


async def _show(args: argparse.Namespace) -> int:
    async with opened(args, read_only=True, look=True) as session:
        with contextlib.suppress(Unreachable):
            await connected(session)
        found = await session.maintenance.of_containers.look(args.nodes)
    if args.output in DATA:
        print_data(args.output, [as_data(each) for each in found])
    else:
        print_lines(lines(found))
        if not session.deployment.layout.chosen:
            print_message("no layout is chosen: images and weights are not compared, and no container can be created")
    return exit_code(found)


def exit_code(found: Sequence[ContainerFacts]) -> int:
    """The exit code of `show`."""
    if found and all(each.trouble for each in found):
        return ExitCode.UNREACHABLE
    return ExitCode.OK if all(each.fits for each in found) else ExitCode.FAILED


class ContainerData(TypedDict):
    """The container that engines of a node run in."""

    node: str
    container: str
    """Its name."""
    state: str
    """`unknown`, `absent`, or what docker or podman calls it; where each start makes its own, `image here` or `no image`."""
    trouble: str | None
    """Why nothing is known of it; null when the node answered."""
    image: str | None
    """Image of the container; null when there is no such container."""
    image_id: str | None
    """Without `sha256:`."""
    wanted_image: str | None
    """Image that is wanted; null when none is."""
    wanted_image_id: str | None
    """Null when the node does not have that image."""
    differences: list[Difference]
    missing_on_host: list[str]
    """Paths that would be mounted and do not exist."""
    others: list[str]
    """Containers of other names, `NAME (IMAGE, STATE)`."""


def as_data(found: ContainerFacts) -> ContainerData:
    """The container of one node as data."""
    there = found.container
    return {
        "node": found.node,
        "container": found.name,
        "state": found.state,
        "trouble": found.trouble or None,
        "image": there.image if there else None,
        "image_id": there.image_id if there else None,
        "wanted_image": found.image or None,
        "wanted_image_id": found.image_id or None,
        "differences": list(found.differences),
        "missing_on_host": list(found.missing),
        "others": list(found.others),
    }


def lines(found: Sequence[ContainerFacts]) -> Iterator[str]:
    """The containers of all nodes as lines: a table, then the differences."""
    rows = [
        (
            each.node,
            each.name,
            each.state,
            each.container.image if each.container else f"({each.image})" if each.image else "-",
            _word(each),
        )
        for each in found
    ]
    yield from table_lines(("NODE", "CONTAINER", "STATE", "IMAGE", ""), rows)
    for each in found:
        if each.trouble:
            yield clean(f"{each.node}: {each.trouble}")
        for difference in each.differences:
            yield clean(f"{each.node}: {difference.text}")
        if each.container is None and each.others and not each.per_engine:
            yield clean(f"{each.node}: other containers on this node: {', '.join(each.others)}")
    if any(not each.fits and each.container is None and not each.trouble for each in found):
        yield "create the missing ones: dsv4-console containers create"


def _word(found: ContainerFacts) -> str:
    if found.per_engine and found.fits:
        return "each start creates its own"
    if found.trouble or found.container is None:
        return ""
    count = len(found.differences)
    return "as wanted" if not count else counted(count, "difference")


async def _change(args: argparse.Namespace) -> int:
    only_plan = args.dry_run or args.action == "plan"
    async with opened(args, read_only=False if only_plan else None, changes=not only_plan, look=True) as session:
        if args.action in ("plan", "create"):
            require_layout(
                session.deployment, "a new container mounts the weights of a layout, and no layout is chosen"
            )
        await connected(session)
        act = cast(ContainerAction, "all" if args.action == "plan" else args.action)
        made = session.maintenance.of_containers.prepare(act, args.nodes)
        return await run_maintenance(session, "containers", made, args, only_plan=only_plan)
