"""`verify`: proves a deployment with test chats. Starts and changes nothing."""

from __future__ import annotations

import argparse
import asyncio

from typing_extensions import TypedDict

from console.cli.options import add_cluster_options
from console.cli.output import DATA, add_output, print_data
from console.cli.printer import print_line, print_message
from console.cli.session_context import connected, opened, settled
from console.model.errors import ExitCode
from console.services.serving.coverage import RankProof
from console.services.serving.verification import Proof, VerificationRequest


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `verify`."""
    text = "prove that the deployment answers: send test chats through its proxy and to every rank, and compare the answers"
    parser = subparsers.add_parser("verify", help=text, description=text)
    parser.add_argument("--prompt", default="Say hello.", help="the question of each chat (default: %(default)s)")
    parser.add_argument(
        "--requests",
        type=int,
        default=0,
        metavar="N",
        help="number of chats through the proxy (default: one for each pair of engines); every rank gets another one",
    )
    parser.add_argument(
        "--timeout", type=float, default=120.0, metavar="S", help="time limit of each request in seconds (default 120)"
    )
    add_output(parser)
    add_cluster_options(parser)
    parser.set_defaults(run=run)


class VerificationData(TypedDict):
    """What a verification found."""

    passed: bool
    """Whether nothing failed, something was answered, and every rank answered."""
    verdict: str
    """The same in words."""
    ranks: list[RankProof]
    proofs: list[Proof]
    """Everything that was tried, in order."""


def run(args: argparse.Namespace) -> int:
    """Print proofs and verdict. Exit code 0: all is proven; 1: it is not; 3: a node cannot be reached; 4: nothing serves."""
    return asyncio.run(_run(args))


async def _run(args: argparse.Namespace) -> int:
    async with opened(args, read_only=True) as session:
        await connected(session)
        await settled(session)
        show = print_message if args.output in DATA else print_line
        ask = VerificationRequest(prompt=args.prompt, requests=args.requests, timeout_s=args.timeout)
        found = await session.verifier.run(lambda proof: show(line(proof)), ask)
    show(found.words())
    if args.output in DATA:
        proofs = list(found.proofs)
        whole = VerificationData(passed=found.passed, verdict=found.words(), ranks=list(found.ranks), proofs=proofs)
        print_data(args.output, whole, proofs)
    if found.unreachable:
        return ExitCode.UNREACHABLE
    return ExitCode.OK if found.passed else ExitCode.FAILED


def line(proof: Proof) -> str:
    """One proof as a line of text."""
    word = {True: "pass", False: "FAIL", None: "not covered"}[proof.passed]
    about = f"{proof.engine}: " if proof.passed is False and proof.engine and proof.engine not in proof.name else ""
    return f"{word:11} {proof.name:36} {proof.took_s:6.2f} s  {about}{proof.seen}"
