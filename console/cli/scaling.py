"""`scale` and `sync-proxy`: change a deployment while it serves, with plans that are shown and confirmed."""

from __future__ import annotations

import argparse

from console.cli.lifecycle import add_drain_option, add_override_option, add_plan_options, run
from console.cli.options import add_cluster_options
from console.model.plan import Plan
from console.services.session import Session

SCALE = "run COUNT instances of GROUP: start copies of the group, or drain and stop the newest copies"
SYNC_PROXY = "update the engine list of the proxy: remove dead engines, add ready ones"
_SCALE_MORE = (
    "The size of a data-parallel group is fixed, because every rank gets the size at its start. Therefore whole copies of the "
    "group are added or removed, and each copy needs as many nodes as the group. New copies get free nodes, or the nodes of "
    "--on. A load-balance proxy gets them when they are ready; another kind of proxy must be restarted afterwards. COUNT is "
    "at least 1; to stop the group of the layout itself, use stop."
)


def add_parsers(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add both commands."""
    scale = subparsers.add_parser("scale", help=SCALE, description=f"{SCALE}. {_SCALE_MORE}")
    scale.add_argument("group", metavar="GROUP", help="a group of the layout, for example decode")
    scale.add_argument(
        "count",
        metavar="COUNT",
        type=int,
        help="number of instances, the group of the layout included: 2 is that group and one copy",
    )
    scale.add_argument(
        "--on", default="", metavar="NODE,NODE", help="nodes of the new copies, the node of rank 0 first"
    )
    scale.add_argument(
        "--no-wait",
        action="store_true",
        help="return when the copies are started; `sync-proxy` adds them to the proxy later",
    )
    add_drain_option(scale)
    add_override_option(scale)
    sync_proxy = subparsers.add_parser("sync-proxy", help=SYNC_PROXY, description=SYNC_PROXY)
    for verb, parser, prepare in (("scale", scale, _scale), ("sync-proxy", sync_proxy, _sync_proxy)):
        add_plan_options(parser)
        add_cluster_options(parser)
        parser.set_defaults(run=run, verb=verb, prepare=prepare)
    sync_proxy.set_defaults(no_wait=False)


async def _scale(args: argparse.Namespace, session: Session) -> Plan:
    nodes = [name.strip() for name in args.on.split(",") if name.strip()]
    return await session.operator.prepare_scale(args.group, args.count, nodes, drain_s=args.drain)


async def _sync_proxy(args: argparse.Namespace, session: Session) -> Plan:
    return await session.operator.prepare_proxy_sync()
