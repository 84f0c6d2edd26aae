"""`layouts`: what is shipped, in a table or as JSON; with a name, the layout's own text to start one's own from."""

from __future__ import annotations

import argparse

from pydantic import JsonValue

from console.cli.output import DATA, add_output, print_data
from console.cli.printer import print_file, print_lines
from console.cli.tables import table_lines
from console.files import load_layout, shipped_layouts, shipped_text
from console.model.errors import ExitCode
from console.model.layout import Group, Layout


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `layouts`."""
    text = "list the layouts that are shipped, or print one to start your own from"
    parser = subparsers.add_parser("layouts", help=text, description=text)
    parser.add_argument("name", nargs="?", metavar="NAME", help="print this layout's file")
    add_output(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the list, or one layout. Raises UsageError for a name that is not shipped."""
    if args.name:
        print_file(shipped_text(args.name))
        return ExitCode.OK
    layouts = [load_layout(name) for name in shipped_layouts()]
    if args.output in DATA:
        print_data(args.output, [_json(layout) for layout in layouts])
    else:
        rows = [
            (layout.name, layout.hardware.name, str(_nodes(layout)), _groups(layout), layout.version, layout.title)
            for layout in layouts
        ]
        print_lines(table_lines(("LAYOUT", "HW", "NODES", "GROUPS", "VERSION", "TITLE"), rows))
    return ExitCode.OK


def _nodes(layout: Layout) -> int:
    return sum(group.nodes for group in layout.groups.values())


def _groups(layout: Layout) -> str:
    return ", ".join(f"{name} {_size(group)}" for name, group in layout.groups.items())


def _size(group: Group) -> str:
    return f"DP{group.data_parallel.size}×TP{group.tensor_parallel}"


def _json(layout: Layout) -> dict[str, JsonValue]:
    return {
        "name": layout.name,
        "title": layout.title,
        "hardware": layout.hardware.name,
        "nodes": _nodes(layout),
        "version": layout.version,
        "image": layout.image,
        "groups": {
            name: {
                "role": group.role,
                "nodes": group.nodes,
                "data_parallel": group.data_parallel.size,
                "tensor_parallel": group.tensor_parallel,
            }
            for name, group in layout.groups.items()
        },
    }
