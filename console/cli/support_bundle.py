"""`support-bundle`: writes one file without secrets that another person needs to help. Changes nothing on a node."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import time
from pathlib import Path

from console.cli.options import add_cluster_options
from console.cli.printer import print_line, print_message
from console.cli.session_context import connected, opened
from console.model.errors import ExitCode, Unreachable, UsageError
from console.services.support_bundle import LOG_LINES, gather, pack
from console.services.xdg_paths import file_name


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `support-bundle`."""
    text = "collect versions, configuration, findings, preflight results and the ends of logs in one file, with secrets masked"
    parser = subparsers.add_parser("support-bundle", help=text, description=text)
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FILE.tar.gz",
        help="the file to write (default: a name with the time, in this directory)",
    )
    parser.add_argument(
        "--lines", type=int, default=LOG_LINES, metavar="N", help=f"number of lines of each log (default: {LOG_LINES})"
    )
    add_cluster_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write the bundle and print its path; returns 3 when no node answered (the bundle is written in this case too)."""
    return asyncio.run(_run(args))


async def _run(args: argparse.Namespace) -> int:
    if args.lines < 0:
        raise UsageError(f"--lines {args.lines}: a negative number", hint="give 0 or more")
    answered = False
    async with opened(args, read_only=True, look=True) as session:
        with contextlib.suppress(Unreachable):
            await connected(session)
            answered = True
        pieces = await gather(session, lines=args.lines)
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    path = args.output or Path(f"dsv4-support-bundle-{file_name(session.cluster.name)}-{stamp}.tar.gz")
    pack(pieces, path)
    print_line(str(path))
    print_message(
        "secrets are masked; host names, addresses and prompts in logs are not: read the bundle before you send it",
    )
    return ExitCode.OK if answered else ExitCode.UNREACHABLE
