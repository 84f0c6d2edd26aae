"""`keys`: every key of the screen, as they are with the operator's `keys.yaml`; clashes are told on stderr."""

from __future__ import annotations

import argparse

from console.cli.printer import print_file, print_json, print_line, print_message
from console.cli.screen import own_keys
from console.model.errors import ExitCode


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `keys`."""
    text = "list every key and what it does"
    parser = subparsers.add_parser("keys", help=text, description=text)
    parser.add_argument("-o", "--output", choices=("table", "json", "markdown"), default="table")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print them; 2 when the keys file makes two things of one key."""
    from screens.key_map import markdown, rows

    keys = own_keys()
    found = rows(keys)
    if args.output == "markdown":
        print_file(markdown(keys))
    elif args.output == "json":
        names = ("where", "keys", "id", "label", "help")
        print_json([dict(zip(names, row, strict=True)) for row in found], indent=2)
    else:
        for where, words, name, _label, text in found:
            print_line(f"{where:12} {words:18} {name:18} {text}")
    problems = keys.problems()
    for problem in problems:
        print_message(f"keys.yaml: {problem}")
    return ExitCode.USAGE if problems else ExitCode.OK
