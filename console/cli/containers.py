"""`containers`: what the nodes have, where it differs from what is wanted, and the plan that makes, starts or adopts."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
from collections.abc import Iterator, Sequence
from typing import cast

from typing_extensions import TypedDict

from console.cli.options import add_cluster_options
from console.cli.output import DATA, print_data
from console.cli.plan_runner import add_plan_options, add_words, carry_out, settle_words
from console.cli.printer import print_lines, print_message
from console.cli.session_context import connected, opened
from console.cli.tables import table_lines
from console.model.errors import ExitCode, Unreachable
from console.probes.container import Difference
from console.probes.sanitize import clean
from console.services.maintenance.containers import Act
from console.services.placement.layout_choice import must_be_chosen
from console.services.readiness.container_setup import ContainerFacts

_ABOUT = """show: what is there and where it differs (changes nothing). plan: the commands of everything that is missing.
create: pull the image where it is missing and make absent containers. start: start stopped ones.
adopt NODE=NAME: launch engines in a container that is there under another name. A container that runs is never
removed or made anew."""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `containers`."""
    text = "show, create, start or adopt the containers engines run in"
    parser = subparsers.add_parser("containers", help=text, description=_ABOUT)
    add_words(parser, ("show", "plan", "create", "start", "adopt"))
    add_plan_options(parser)
    add_cluster_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Show or act. Exit code of `show` 0: all is as wanted; 1: a container is missing or differs; 3: no node answers."""
    settle_words(args)
    return asyncio.run(_show(args) if args.act == "show" else _act(args))


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
            print_message("no layout: its image and weights are not compared, and without one no container is made")
    return exit_code(found)


def exit_code(found: Sequence[ContainerFacts]) -> int:
    """What `show` returns."""
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
    """One node's container as data."""
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
    """The same for a person: a table, then what differs."""
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
            yield clean(f"{each.node}: other containers there: {', '.join(each.others)}")
    if any(not each.fits and each.container is None and not each.trouble for each in found):
        yield "make what is absent: dsv4-console containers create"


def _word(found: ContainerFacts) -> str:
    if found.per_engine and found.fits:
        return "each start makes its own"
    if found.trouble or found.container is None:
        return ""
    count = len(found.differences)
    return "as wanted" if not count else f"{count} difference{'s' if count > 1 else ''}"


async def _act(args: argparse.Namespace) -> int:
    only_plan = args.dry_run or args.act == "plan"
    async with opened(args, read_only=False if only_plan else None, acts=not only_plan, look=True) as session:
        if args.act in ("plan", "create"):
            must_be_chosen(session.deployment, "a new container mounts the weights of a layout, and none is chosen")
        await connected(session)
        act = cast(Act, "all" if args.act == "plan" else args.act)
        made = session.maintenance.of_containers.prepare(act, args.nodes)
        return await carry_out(session, "containers", made, args, only_plan=only_plan)
