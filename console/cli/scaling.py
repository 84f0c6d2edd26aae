"""`scale`, `sync-proxy`: change a deployment while it serves, by plans shown and confirmed like those of `start` and `stop`."""

from __future__ import annotations

import argparse

from console.cli.lifecycle import add_drain_option, run
from console.cli.options import add_cluster_options
from console.cli.output import add_output
from console.model.plan import Plan
from console.services.session import Session

SCALE = "set the number of groups like GROUP to COUNT: start copies of it, or drain and stop the newest ones"
SYNC_PROXY = "make the proxy list exactly the engines that are ready: drop dead ones, add ready ones"
_SCALE_MORE = (
    "A data-parallel group is fixed in size, because every rank is told the size when it starts: so whole groups come and go, "
    "and each takes as many nodes as its original. New ones get free nodes, or those of --on, and go behind a load-balance "
    "proxy when they are ready; another proxy must be restarted afterwards. The group of the layout is stopped, not scaled away."
)


def add_parsers(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add both."""
    scale = subparsers.add_parser("scale", help=SCALE, description=f"{SCALE}. {_SCALE_MORE}")
    scale.add_argument("group", metavar="GROUP", help="a group of the layout, for example decode")
    scale.add_argument(
        "count", metavar="COUNT", type=int, help="groups like it that serve afterwards, itself among them"
    )
    scale.add_argument("--on", default="", metavar="NODE,NODE", help="nodes of the added groups, rank 0's node first")
    scale.add_argument(
        "--no-wait", action="store_true", help="return when started; `sync-proxy` adds them to the proxy later"
    )
    add_drain_option(scale)
    text = "launch although this check of the preflight fails; repeatable"
    scale.add_argument("--override", action="append", default=[], metavar="CHECK-ID", help=text)
    sync_proxy = subparsers.add_parser("sync-proxy", help=SYNC_PROXY, description=SYNC_PROXY)
    for verb, parser, prepare in (("scale", scale, _scale), ("sync-proxy", sync_proxy, _sync_proxy)):
        parser.add_argument("--yes", action="store_true", help="do not ask")
        parser.add_argument("--dry-run", action="store_true", help="print the plan, change nothing")
        parser.add_argument("--takeover", action="store_true", help="go on although another operator holds the lease")
        add_output(parser)
        add_cluster_options(parser)
        parser.set_defaults(run=run, verb=verb, prepare=prepare)
    sync_proxy.set_defaults(no_wait=False)


async def _scale(args: argparse.Namespace, session: Session) -> Plan:
    nodes = [name.strip() for name in args.on.split(",") if name.strip()]
    return await session.operator.prepare_scale(args.group, args.count, nodes, drain_s=args.drain)


async def _sync_proxy(args: argparse.Namespace, session: Session) -> Plan:
    return await session.operator.prepare_proxy_sync()
