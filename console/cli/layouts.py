"""`layouts`: lists the shipped layouts by model, or prints the file of one."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence

from typing_extensions import TypedDict

from console.cli.output import DATA, add_output, print_data
from console.cli.printer import print_file, print_lines
from console.cli.tables import table_lines
from console.files import load_layout, shipped_layouts, shipped_text
from console.model.errors import ExitCode
from console.model.layout import Group, Layout, Role
from console.probes.sanitize import clean


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `layouts`."""
    text = "list the shipped layouts, or print one as a starting point for your own"
    parser = subparsers.add_parser("layouts", help=text, description=text)
    parser.add_argument("name", nargs="?", metavar="NAME", help="print the file of this layout")
    add_output(parser, json="a list of layouts", jsonl="a line for each layout")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the list, or one layout. Raises UsageError for an unknown name."""
    if args.name:
        print_file(shipped_text(args.name))
        return ExitCode.OK
    layouts = sorted(map(load_layout, shipped_layouts()), key=_order)
    if args.output in DATA:
        print_data(args.output, [_data(layout) for layout in layouts])
    else:
        print_lines(_lines(layouts))
    return ExitCode.OK


def _order(layout: Layout) -> tuple[str, str, int, str]:
    return layout.model.family, layout.hardware.name, _nodes(layout), layout.name


def _lines(layouts: Sequence[Layout]) -> Iterator[str]:
    """A table whose rows follow the name of their model."""
    rows = [
        (layout.name, f"{_nodes(layout)} {layout.hardware.name}", _groups(layout), layout.version, _title(layout))
        for layout in layouts
    ]
    head, *lines = table_lines(("LAYOUT", "NODES", "GROUPS", "RELEASE", "TITLE"), rows)
    yield f"  {head}"
    for layout, line, before in zip(layouts, lines, (None, *layouts), strict=False):
        if before is None or layout.model.family != before.model.family:
            yield clean(layout.model.family)
        yield f"  {line}"


def _nodes(layout: Layout) -> int:
    return sum(group.nodes for group in layout.shaped().groups.values())


def _groups(layout: Layout) -> str:
    return ", ".join(
        f"{f'{group.count} × ' if group.count > 1 else ''}{name} {_size(group)}"
        for name, group in layout.groups.items()
    )


def _title(layout: Layout) -> str:
    """The title without the name of the model, which is printed above."""
    return layout.title.removeprefix(layout.model.family).lstrip()


def _size(group: Group) -> str:
    return f"DP{group.data_parallel.size}×TP{group.tensor_parallel}"


class GroupData(TypedDict):
    """A group of a layout."""

    role: Role
    nodes: int
    """Nodes of one group."""
    count: int
    """How many groups of this shape the layout has."""
    data_parallel: int
    """Data-parallel ranks."""
    tensor_parallel: int
    """Devices of one rank."""


class LayoutData(TypedDict):
    """A layout that is shipped."""

    name: str
    title: str
    model: str
    """Name of the model."""
    source: str
    """Where its weights are published, `OWNER/NAME`; empty when the layout does not say."""
    accuracy: dict[str, float]
    """Dataset to the accuracy that is published for the model, percent."""
    hardware: str
    nodes: int
    """Nodes of all its groups."""
    version: str
    """The vllm-ascend release it is made for."""
    image: str
    groups: dict[str, GroupData]


def _data(layout: Layout) -> LayoutData:
    return {
        "name": layout.name,
        "title": layout.title,
        "model": layout.model.family,
        "source": layout.model.source,
        "accuracy": dict(layout.model.accuracy),
        "hardware": layout.hardware.name,
        "nodes": _nodes(layout),
        "version": layout.version,
        "image": layout.image,
        "groups": {
            name: {
                "role": group.role,
                "nodes": group.nodes,
                "count": group.count,
                "data_parallel": group.data_parallel.size,
                "tensor_parallel": group.tensor_parallel,
            }
            for name, group in layout.groups.items()
        },
    }
