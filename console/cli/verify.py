"""`verify`: proves a deployment with test chats. Starts and changes nothing."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Iterator

from typing_extensions import TypedDict

from console.cli.options import add_cluster_options
from console.cli.output import DATA, add_output, print_data
from console.cli.printer import print_line, print_message
from console.cli.session_context import connected, opened, settled
from console.model.errors import ExitCode
from console.services.serving.coverage import RankProof
from console.services.serving.verification import COVERAGE, Proof, Verification, VerificationRequest
from console.services.serving.verification_summary import chat_groups, curl_command

_WORDS = {True: "pass", False: "FAIL", None: "not covered"}


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
        help="chats through the proxy, in addition to one chat to every rank (default: one for each combination of a prefill "
        "and a decode engine, at most 64)",
    )
    parser.add_argument(
        "--timeout", type=float, default=120.0, metavar="S", help="time limit of each request in seconds (default 120)"
    )
    add_output(parser, json="the verdict and every check", jsonl="a line for each check")
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
        ask = VerificationRequest(prompt=args.prompt, requests=args.requests, timeout_s=args.timeout)
        service = session.snapshot.service
        print_message(
            f"verifying {service.endpoint if service else session.deployment.name}, at most {args.timeout:.0f} s a request"
        )
        found = await session.verifier.run(lambda proof: None, ask)
        curl = curl_command(session.deployment, service, args.prompt)
    if args.output not in DATA:
        for each in (*lines(found), *([f"by hand     {curl}"] if curl else []), found.words()):
            print_line(each)
    else:
        print_message(found.words())
        proofs = list(found.proofs)
        whole = VerificationData(passed=found.passed, verdict=found.words(), ranks=list(found.ranks), proofs=proofs)
        print_data(args.output, whole, proofs)
    if found.unreachable:
        return ExitCode.UNREACHABLE
    return ExitCode.OK if found.passed else ExitCode.FAILED


def lines(found: Verification) -> Iterator[str]:
    """What was tried, for a person: equal chats as one line, then what else was compared."""
    for group in chat_groups(found.proofs):
        yield f"{_WORDS[group.passed]:11} {group.words}"
        if len(group.answers) > 1:
            yield from (f"{'':11} {len(each.chats):4} x {each.text}" for each in group.answers)
    for proof in found.proofs:
        if not proof.number and proof.name != COVERAGE:
            yield f"{_WORDS[proof.passed]:11} {proof.name}: {proof.about}{proof.seen}"
