"""`upgrade`: shows what changes in a layout under another vllm-ascend release; `--save` writes the layout for that release."""

from __future__ import annotations

import argparse
from pathlib import Path

from console.cli.options import cluster_of, layout_of
from console.cli.output import DATA, add_output, print_data
from console.cli.printer import print_line, print_lines, print_message
from console.files import load_layout, save_text
from console.model.errors import ExitCode, UsageError
from console.model.layout import Layout
from console.services.placement.layout_upgrade import Upgrade, upgrade
from console.services.placement.upgrade_report import report_data, report_lines


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `upgrade`."""
    text = "show what changes in a layout under another release, and write the layout for that release"
    epilog = (
        "Kinds of changes: gone, unknown, refused (the release does not accept the setting: exit code 1), renamed (--save\n"
        "writes the new name), deprecated, meaning, choices, default (the layout does not set it and its default changes).\n"
        "The facts come from the parsers and sources of the releases; a release without facts is not judged."
    )
    parser = subparsers.add_parser(
        "upgrade", help=text, description=text, epilog=epilog, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "layout",
        nargs="?",
        metavar="LAYOUT",
        help="name or file of a layout (default: the layout last used with the cluster)",
    )
    parser.add_argument("--to", required=True, metavar="RELEASE", help="vllm-ascend release, for example v0.25.1rc1")
    parser.add_argument(
        "--from",
        dest="start",
        default="",
        metavar="RELEASE",
        help="the release to compare with (default: the release of the layout)",
    )
    parser.add_argument("--save", type=Path, metavar="PATH", help="write the layout for the new release to PATH")
    parser.add_argument("--force", action="store_true", help="replace the file at PATH")
    parser.add_argument(
        "-c",
        "--cluster",
        type=Path,
        metavar="FILE",
        help="use the layout last used with this cluster, when LAYOUT is not given",
    )
    add_output(parser, json="the changes, and what else the new release needs", jsonl="a line for each change")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the changes, and save. Exit code 1: the new release does not know or refuses a setting that is left."""
    found = upgrade(_layout(args), args.to, args.start)
    saved = _saved(args, found)
    if args.output in DATA:
        whole = report_data(found, saved)
        print_data(args.output, whole, whole["changes"])
    else:
        print_lines(report_lines(found))
        print_line(f"saved as {saved}" if saved else "nothing was written; --save PATH writes the changed layout")
    return ExitCode.OK if found.fits else ExitCode.FAILED


def _layout(args: argparse.Namespace) -> Layout:
    if args.layout:
        return load_layout(args.layout)
    try:
        cluster = cluster_of(args)
    except UsageError as error:
        raise UsageError("no layout", hint="name one: dsv4-console upgrade --to RELEASE LAYOUT") from error
    return layout_of(args, cluster)


def _saved(args: argparse.Namespace, found: Upgrade) -> str | None:
    """Write the changed layout to the path of `--save`. Raises UsageError when the file exists already."""
    if args.save is None:
        return None
    if args.save.exists() and not args.force:
        raise UsageError(f"{args.save} exists", hint="choose another name, or use --force to replace it")
    save_text(args.save, found.changed)
    if not found.comments_kept:
        print_message("comments are lost, because the layout uses YAML aliases or merged mappings")
    return str(args.save)
