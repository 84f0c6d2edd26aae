"""`verify`: prove a deployment by using it, as its users will. Starts and changes nothing."""

from __future__ import annotations

import argparse
import asyncio
from dataclasses import asdict

from console.cli.live import connected, opened
from console.cli.options import add_cluster_options
from console.cli.output import DATA, add_output, print_data
from console.cli.printer import print_line, print_message
from console.cli.status import settle
from console.model.errors import ExitCode
from console.services.serving.verification import Ask, Proof


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `verify`."""
    text = "prove that the deployment answers: streamed chats through its door, every rank served, golden comparison"
    parser = subparsers.add_parser("verify", help=text, description=text)
    parser.add_argument("--prompt", default="Say hello.", help="what to ask (default: %(default)s)")
    parser.add_argument(
        "--requests", type=int, default=0, metavar="N", help="chats; 0 means one for each pair of engines"
    )
    parser.add_argument("--timeout", type=float, default=120.0, metavar="S", help="limit of each request, seconds")
    add_output(parser)
    add_cluster_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print every proof; 0 when none failed, 1 when one did, 4 when nothing serves."""
    return asyncio.run(_run(args))


async def _run(args: argparse.Namespace) -> int:
    async with opened(args, read_only=True) as session:
        await connected(session)
        await settle(session)
        show = print_message if args.output in DATA else print_line
        ask = Ask(prompt=args.prompt, requests=args.requests, timeout_s=args.timeout)
        found = await session.verifier.run(lambda proof: show(line(proof)), ask)
    if args.output in DATA:
        proofs = [asdict(each) for each in found.proofs]
        print_data(args.output, {"passed": found.passed, "proofs": proofs}, proofs)
    return ExitCode.OK if found.passed else ExitCode.FAILED


def line(proof: Proof) -> str:
    """One proof for a person."""
    word = {True: "pass", False: "FAIL", None: "open"}[proof.passed]
    return f"{word:5} {proof.name:36} {proof.took_s:6.2f} s  {proof.seen}"
