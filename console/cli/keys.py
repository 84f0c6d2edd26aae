"""`keys`: lists every key of the screen, with the changes of the operator's `keys.yaml`; conflicts go to stderr."""

from __future__ import annotations

import argparse

from typing_extensions import TypedDict

from console.cli.output import add_output
from console.cli.printer import print_file, print_json, print_line, print_message
from console.cli.screen import own_keys
from console.model.errors import ExitCode


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `keys`."""
    text = "list every key of the screen and what it does"
    parser = subparsers.add_parser("keys", help=text, description=text)
    add_output(parser, json="a list of actions with their keys", markdown="the page docs/keys.md")
    parser.set_defaults(run=run)


class KeyData(TypedDict):
    """An action of the screen and its keys."""

    where: str
    """The part of the screen where it can be used."""
    keys: str
    """Its keys, with spaces between them."""
    id: str
    """What `keys.yaml` calls it."""
    label: str
    """Its short name on the screen."""
    help: str
    """What it does."""


def run(args: argparse.Namespace) -> int:
    """Print the keys. Exit code 2: `keys.yaml` gives one key to two actions."""
    from screens.key_map import markdown, rows

    keys = own_keys()
    found = rows(keys)
    if args.output == "markdown":
        print_file(markdown(keys))
    elif args.output == "json":
        print_json([KeyData(where=a, keys=b, id=c, label=d, help=e) for a, b, c, d, e in found], indent=2)
    else:
        for where, words, name, _label, text in found:
            print_line(f"{where:12} {words:18} {name:18} {text}")
    problems = keys.problems()
    for problem in problems:
        print_message(f"keys.yaml: {problem}")
    return ExitCode.USAGE if problems else ExitCode.OK
