"""`shell`: opens an interactive shell on a node or in the container of an engine, with the SSH settings of the console."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from console.cli.options import add_cluster_options, cluster_of, deployment_of, read_only_of
from console.cli.printer import print_line
from console.commands.masking import masked_data
from console.commands.quoting import join
from console.journal import Journal
from console.model.errors import ConsoleError, ExitCode
from console.private_files import private_directory
from console.services.shell_access import open_at_engine, open_on_node
from console.services.xdg_paths import journal_path, state_home


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `shell`."""
    text = "open a shell on a node, or in the container of an engine"
    parser = subparsers.add_parser("shell", help=text, description=text)
    parser.add_argument("target", metavar="NODE|ENGINE", help="a node, or an engine id such as decode-3")
    parser.add_argument("--dry-run", action="store_true", help="print the ssh command, do not run it")
    add_cluster_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Replace this process by `ssh`. Raises Refused (exit code 4) in read-only mode."""
    cluster = cluster_of(args)
    read_only = read_only_of(args, cluster)
    state = private_directory(state_home())
    journal = Journal(Path(os.devnull) if args.dry_run else journal_path(state, cluster.name), mask=masked_data)
    if args.target in cluster.nodes:
        words = open_on_node(cluster, args.target, state, journal, read_only=read_only)
    else:
        words = open_at_engine(deployment_of(args, look=True), args.target, state, journal, read_only=read_only)
    if args.dry_run:
        print_line(join(words))
        return ExitCode.OK
    sys.stdout.flush()
    try:
        os.execvp(words[0], words)
    except OSError as error:
        raise ConsoleError(f"{words[0]}: {error.strerror}") from error
