"""`demo`: a cluster on this machine, with the screen on it or (`--serve`) for other commands to be pointed at."""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import os
import shlex
import signal
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from console.cli.options import fitting
from console.cli.printer import print_line, print_message
from console.cli.screen import add_look_options, looks, must_be_terminal
from console.files import load_cluster, load_layout
from console.model.cluster import Cluster
from console.model.deployment import Assignment
from console.model.errors import ConsoleError, ExitCode
from console.model.layout import Layout

if TYPE_CHECKING:
    from console.demo.cluster import DemoCluster
    from console.services.session import Session


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `demo`."""
    from console.demo.engine import failures

    text = "an embedded cluster of simulated Ascend nodes: real SSH, real processes, no NPU"
    parser = subparsers.add_parser(
        "demo",
        help=text,
        description=text,
        epilog=_failures_help(failures.__doc__ or "", failures.KINDS),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--serve", action="store_true", help="only the cluster, until Ctrl-C; prints its cluster file")
    parser.add_argument("--layout", default="a3-pd", metavar="NAME|FILE", help="which deployment (default a3-pd)")
    parser.add_argument("--nodes", type=int, metavar="N", help="how many nodes (default: what the layout needs)")
    parser.add_argument("--speed", type=float, default=20.0, metavar="X", help="how much faster than life (default 20)")
    parser.add_argument("--unassigned", action="store_true", help="leave it to you to give the nodes their roles")
    parser.add_argument(
        "--pictures", type=Path, metavar="DIR", help="start it, write pictures of the screen, and leave"
    )
    add_look_options(parser)
    parser.set_defaults(run=run)


def _failures_help(how: str, kinds: Mapping[str, str]) -> str:
    """How to plant a failure and which there are."""
    width = max(len(name) for name in kinds)
    return how + "\n\n" + "\n".join(f"  {name:{width}}  {text}" for name, text in kinds.items())


def run(args: argparse.Namespace) -> int:
    """Run the demo; what it started ends with it."""
    if importlib.util.find_spec("setproctitle") is None:
        raise ConsoleError(
            "the demo needs the package setproctitle", hint="in the checkout: pipx install --force '.[demo]'"
        )
    if not args.serve and args.pictures is None:
        must_be_terminal()
    layout = load_layout(args.layout)
    count = args.nodes or sum(group.nodes for group in layout.shaped().groups.values())
    print_message(f"starting {count} simulated node{'s' if count != 1 else ''} ...")
    if args.serve:
        return asyncio.run(_serve(args))
    return _show(args, layout)


async def _serve(args: argparse.Namespace) -> int:
    from console.demo.cluster import DemoCluster

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(name, stop.set)
    cluster = DemoCluster(layout=args.layout, nodes=args.nodes, speed=args.speed)
    try:
        path = await cluster.start()
        print_line(str(path), flush=True)
        for line in _guide(path, args):
            print_message(line)
        await stop.wait()
    finally:
        await cluster.close()
    return ExitCode.OK


def _guide(path: Path, args: argparse.Namespace) -> tuple[str, ...]:
    """What to do with a demo cluster that is up, to be copied."""
    words = ["dsv4-console", "-c", str(path), "--layout", args.layout]
    given = Assignment() if args.unassigned else spread(load_cluster(path), load_layout(args.layout))
    for group, names in given.nodes.items():
        words += ["--assign", f"{group}={','.join(names)}"]
    return (
        "demo cluster is up; Ctrl-C ends it and all it started",
        f"the screen on it: {shlex.join(words)}",
        f"failures (demo --help): files in {path.parent}/nodes/NODE/fail",
    )


def _show(args: argparse.Namespace, layout: Layout) -> int:
    """The screen on a demo cluster, with a state directory of its own that ends with it."""
    from console.demo.cluster import DemoCluster
    from console.services.session import Session
    from screens.app import options_from, run_app
    from screens.startup import Startup

    with tempfile.TemporaryDirectory(prefix="dsv4-demo-") as state, asyncio.Runner() as runner:
        demo = DemoCluster(layout=args.layout, nodes=args.nodes, speed=args.speed)
        try:
            file = runner.run(demo.start())
            given = Assignment() if args.unassigned else spread(load_cluster(file), layout)

            def make(held: Mapping[str, Assignment], layouts: Mapping[str, str]) -> list[Session]:
                cluster = load_cluster(file)
                meant = load_layout(layouts.get(cluster.name, args.layout))
                assignment = fitting(held.get(cluster.name, given), cluster, meant)
                return [Session(cluster, meant, assignment, state_dir=Path(state), restarts=True)]

            if args.pictures is not None:
                return runner.run(_draw(demo, make({}, {})[0], args.pictures))
            opening = Startup("starting the demo", lambda: make({}, {}), again=make, copies=Path(state) / "layouts")
            return run_app(opening, options_from(dict(os.environ), **looks(args)), loop=runner.get_loop())
        finally:
            print_message("ending the demo's nodes and all that runs on them ...")
            runner.run(demo.close())


async def _draw(demo: DemoCluster, session: Session, directory: Path) -> int:
    """Start everything, measure it once, then walk the tour of pictures on it; for the last one an engine is made to fail."""
    from console.services.evaluation.evaluation_options import read_words
    from screens.screenshots import take

    async def break_one() -> None:
        last = session.deployment.ranks()[-1]
        demo.fail(last.node, f"{last.role}-{last.dp_rank}", "memory")
        plan = await session.operator.prepare("restart", [last.id])
        await session.operator.run(plan, lambda _: None, confirmed=plan.confirm.expected)

    begun: list[asyncio.Task[None]] = []

    async def start() -> None:
        plan = await session.operator.prepare("start", [])
        await session.operator.run(plan, lambda _: None, confirmed=plan.confirm.expected)
        (ask,) = read_words(
            "bench", "--tool built-in --concurrency 12 --num-prompts 96 --input-len 256 --output-len 128"
        )
        await session.evaluator.measure(await session.evaluator.prepare(ask), lambda _: None, confirmed=True)

    def ready() -> bool:
        if all(session.heard(node) for node in session.cluster.nodes) and not begun:
            begun.append(asyncio.create_task(start()))
        return bool(begun) and begun[0].done() and all(node.devices for node in session.snapshot.nodes.values())

    for path in await take(session, directory, ready=ready, before={"diagnosis": break_one}, timeout_s=180.0):
        print_line(str(path))
    return ExitCode.OK


def spread(cluster: Cluster, layout: Layout) -> Assignment:
    """The nodes in their order, group by group, as many as each group takes."""
    names = iter(cluster.nodes)
    return Assignment(
        {
            group: tuple(name for _, name in zip(range(wanted.nodes), names, strict=False))
            for group, wanted in layout.shaped().groups.items()
        }
    )
