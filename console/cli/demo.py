"""`demo`: runs a simulated cluster on this machine, with the screen on it or, with `--serve`, for other commands."""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import os
import shlex
import signal
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from console.cli.options import fitting
from console.cli.printer import print_line, print_message
from console.cli.screen import add_appearance_options, appearance, must_be_terminal
from console.files import load_cluster, load_layout
from console.model.cluster import Cluster
from console.model.counting import counted
from console.model.deployment import Assignment
from console.model.errors import ConsoleError, ExitCode, UsageError
from console.model.layout import Layout

if TYPE_CHECKING:
    from console.demo.cluster import DemoCluster
    from console.services.session import Session
    from screens.app import ConsoleApp
    from screens.tour import Tour

SPEED = 20.0
TOUR_SPEED = 60.0
"""How much faster than in reality the simulated engines start."""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `demo`."""
    from console.demo.engine import failures

    text = "open the screen on a simulated cluster"
    parser = subparsers.add_parser(
        "demo",
        help=text,
        description=f"{text}: real SSH servers and real processes on this machine, simulated npu-smi, vllm and proxy",
        epilog=_failures_help(failures.__doc__ or "", failures.KINDS),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--serve",
        action="store_true",
        help="run only the cluster, until ctrl-c, and print the path of its cluster file",
    )
    parser.add_argument("--layout", default="a3-pd", metavar="NAME|FILE", help="layout of the demo (default a3-pd)")
    parser.add_argument("--nodes", type=int, metavar="N", help="number of nodes (default: as many as the layout needs)")
    parser.add_argument(
        "--speed",
        type=float,
        metavar="X",
        help="how many times faster than real engines they start (default 20, with --tour 60)",
    )
    parser.add_argument(
        "--unassigned", action="store_true", help="leave all nodes unassigned, for you to assign them to groups"
    )
    parser.add_argument(
        "--tour",
        action="store_true",
        help="show a start, a failure, its diagnosis and its repair without your input; any key ends the tour",
    )
    parser.add_argument(
        "--pictures", type=Path, metavar="DIR", help="start the demo, write pictures of the screen to DIR, and exit"
    )
    add_appearance_options(parser)
    parser.set_defaults(run=run)


def _failures_help(how: str, kinds: Mapping[str, str]) -> str:
    """How to cause a failure, and all failures."""
    width = max(len(name) for name in kinds)
    return how + "\n\n" + "\n".join(f"  {name:{width}}  {text}" for name, text in kinds.items())


def run(args: argparse.Namespace) -> int:
    """Run the demo; stop all its processes at the end."""
    if importlib.util.find_spec("setproctitle") is None:
        raise ConsoleError(
            "the demo needs the package setproctitle", hint="in the checkout: pipx install --force '.[demo]'"
        )
    if not args.serve and args.pictures is None:
        must_be_terminal()
    if args.tour and (args.serve or args.pictures is not None or args.unassigned):
        raise UsageError("--tour needs the screen and an assignment", hint="run demo --tour alone")
    args.speed = args.speed or (TOUR_SPEED if args.tour else SPEED)
    layout = load_layout(args.layout)
    count = args.nodes or sum(group.nodes for group in layout.shaped().groups.values())
    print_message(f"starting {counted(count, 'simulated node')} ...")
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
    """Messages that say how to use the demo cluster."""
    words = ["dsv4-console", "-c", str(path), "--layout", args.layout]
    given = Assignment() if args.unassigned else spread(load_cluster(path), load_layout(args.layout))
    for group, names in given.nodes.items():
        words += ["--assign", f"{group}={','.join(names)}"]
    return (
        "the demo cluster is up; ctrl-c stops it and all its processes",
        f"to open the screen on it: {shlex.join(words)}",
        f"to cause a failure (see dsv4-console demo --help): write a file into {path.parent}/nodes/NODE/fail",
    )


def _show(args: argparse.Namespace, layout: Layout) -> int:
    """Open the screen on a demo cluster, with a temporary state directory."""
    from console.demo.cluster import DemoCluster
    from console.services.session import Session
    from screens.app import run_app
    from screens.options import options_from
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
            options = options_from(dict(os.environ), **appearance(args))
            if args.tour:
                options = replace(options, hints=False)
            return run_app(opening, options, loop=runner.get_loop(), then=tour(demo) if args.tour else None)
        finally:
            print_message("stopping the demo nodes and all their processes ...")
            runner.run(demo.close())


def tour(demo: DemoCluster, pace: float = 1.0) -> Callable[[ConsoleApp], Awaitable[Tour]]:
    """Gives a function that starts a tour in which the last rank fails; `pace` multiplies the pauses of the tour."""

    async def begin(app: ConsoleApp) -> Tour:
        from screens.tour import Tour, tour_steps

        last = app.fleet.session.deployment.ranks()[-1]
        name = f"{last.role}-{last.dp_rank}"
        effects = {
            "break": lambda: demo.fail(last.node, name, "worker"),
            "repair": lambda: demo.fail(last.node, name, ""),
        }
        made = Tour(app, tour_steps(last.id), effects, pace=pace)
        await made.begin()
        return made

    return begin


async def _draw(demo: DemoCluster, session: Session, directory: Path) -> int:
    """Start all engines, run one benchmark, and write the pictures; an engine is made to fail for the last picture."""
    from console.services.evaluation.evaluation_options import parse_line
    from screens.screenshots import take

    async def break_one() -> None:
        last = session.deployment.ranks()[-1]
        demo.fail(last.node, f"{last.role}-{last.dp_rank}", "memory")
        plan = await session.operator.prepare("restart", [last.id])
        await session.operator.run(plan, lambda _: None, confirmed=plan.confirm.expected)

    started: list[asyncio.Task[None]] = []

    async def start() -> None:
        plan = await session.operator.prepare("start", [])
        await session.operator.run(plan, lambda _: None, confirmed=plan.confirm.expected)
        (ask,) = parse_line(
            "bench", "--tool built-in --concurrency 12 --num-prompts 96 --input-len 256 --output-len 128"
        )
        await session.evaluator.measure(await session.evaluator.prepare(ask), lambda _: None, confirmed=True)

    def ready() -> bool:
        if all(session.first_sample_complete(node) for node in session.cluster.nodes) and not started:
            started.append(asyncio.create_task(start()))
        return bool(started) and started[0].done() and all(node.devices for node in session.snapshot.nodes.values())

    for path in await take(session, directory, ready=ready, before={"diagnosis": break_one}, timeout_s=180.0):
        print_line(str(path))
    return ExitCode.OK


def spread(cluster: Cluster, layout: Layout) -> Assignment:
    """The nodes in their order, assigned group by group, as many as each group takes."""
    names = iter(cluster.nodes)
    return Assignment(
        {
            group: tuple(name for _, name in zip(range(wanted.nodes), names, strict=False))
            for group, wanted in layout.shaped().groups.items()
        }
    )
