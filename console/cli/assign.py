"""`assign`: shows or changes which nodes run which group, with the operations and the file of the screen."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence

from console.cli.findings import finding_lines
from console.cli.options import add_cluster_options, deployment_of, read_only_of, remember_layout, saved_deployment
from console.cli.printer import print_line, print_lines
from console.cli.tables import table_lines
from console.model.deployment import Deployment
from console.model.errors import ExitCode, Refused, UsageError
from console.private_files import private_directory
from console.rules import check
from console.services.placement.edits import auto_assign, move, reset_shape, resize, swap, unassign
from console.services.placement.live_assignment import reassigned
from console.services.placement.undo_history import load_history, save, step
from console.services.xdg_paths import assignment_path, state_home


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `assign`."""
    text = "show or change which nodes run which group, and the sizes of the groups"
    epilog = (
        "--assign GROUP=NODE,NODE is applied first; then the other operations run in the order in which they are given. "
        "Nothing changes on a node: stop the engines of a group before you move its nodes."
    )
    parser = subparsers.add_parser("assign", help=text, description=text, epilog=epilog)
    for flag, metavar, help_text in (
        ("--swap", "NODE=NODE", "exchange the places of two nodes"),
        ("--move", "NODE=PLACE", "move a node to another place in its group; place 0 runs rank 0"),
        ("--take", "NODE,NODE", "remove nodes from their groups"),
        (
            "--size",
            "GROUP=NODES[,RANKS[,TP]]",
            "number of nodes of a group, ranks per node, tensor parallel size; leave a number empty to keep its value",
        ),
        ("--reset", "GROUP", "restore the size that the layout gives to the group"),
    ):
        parser.add_argument(flag, dest="operations", action=_Append, default=[], metavar=metavar, help=help_text)
    parser.add_argument(
        "--auto", dest="operations", action=_Append, nargs=0, help="assign free nodes to groups that have too few"
    )
    turn = parser.add_mutually_exclusive_group()
    turn.add_argument(
        "--undo", action="store_true", help="undo the last change, also one made on the screen or by another operator"
    )
    turn.add_argument("--redo", action="store_true", help="redo the change that was undone last")
    parser.add_argument("--dry-run", action="store_true", help="show the result, save nothing")
    add_cluster_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Show the assignment, and save it when it was changed. Raises UsageError, and Refused on a read-only cluster."""
    deployment = deployment_of(args)
    path = assignment_path(state_home(), deployment.cluster.name, deployment.layout.name)
    changed = bool(args.operations or args.assign)
    if args.undo or args.redo:
        if changed:
            raise UsageError(
                "--undo and --redo cannot be combined with other changes", hint="run them in a separate command"
            )
        history = step(path, deployment, back=args.undo)
        deployment = reassigned(deployment, history.now)
    else:
        history = load_history(path, saved_deployment(deployment))
        for flag, word in args.operations:
            deployment = _OPERATIONS[flag](deployment, word)
        history = history.changed(deployment.assignment)
    if (changed or args.undo or args.redo) and not args.dry_run:
        if read_only_of(args, deployment.cluster):
            raise Refused("this cluster is read-only", hint="allow changes with --write, or use --dry-run")
        private_directory(path.parent)
        save(path, history)
        remember_layout(deployment.cluster, deployment.layout)
    rows = [_row(deployment, name) for name in deployment.layout.groups]
    print_lines(table_lines(("GROUP", "ROLE", "SIZE", "ASSIGNED", "NODES"), rows))
    for line in finding_lines(check(deployment)):
        print_line(line)
    return ExitCode.OK


class _Append(argparse.Action):
    """Collects (flag, value) pairs in the order of the command line."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[object] | None,
        option_string: str | None = None,
    ) -> None:
        """Append one pair."""
        word = values if isinstance(values, str) else ""
        namespace.operations = [*(namespace.operations or []), (option_string or "", word)]


def _row(deployment: Deployment, name: str) -> tuple[str, ...]:
    group = deployment.layout.groups[name]
    members = deployment.assignment.of(name)
    size = f"DP{group.data_parallel.size} ({group.places.replace(' per ', ' a ')}) × TP{group.tensor_parallel}"
    return name, group.role, size, f"{len(members)}/{group.nodes}", ", ".join(members) or "-"


def _pair(word: str, flag: str) -> tuple[str, str]:
    left, equals, right = word.partition("=")
    if not (left and equals and right):
        raise UsageError(f"{flag} {word}: not of the form A=B", hint=f"for example {flag} d0=d1")
    return left.strip(), right.strip()


def _whole(word: str, flag: str) -> int | None:
    if not word.strip():
        return None
    if not word.strip().isascii() or not word.strip().isdecimal():
        raise UsageError(f"{flag}: {word!r} is not a whole number")
    return int(word)


def _swap(deployment: Deployment, word: str) -> Deployment:
    one, other = _pair(word, "--swap")
    return swap(deployment, one, other)


def _move(deployment: Deployment, word: str) -> Deployment:
    node, place = _pair(word, "--move")
    return move(deployment, node, _whole(place, "--move") or 0)


def _take(deployment: Deployment, word: str) -> Deployment:
    return unassign(deployment, [name.strip() for name in word.split(",") if name.strip()])


def _size(deployment: Deployment, word: str) -> Deployment:
    group, numbers = _pair(word, "--size")
    parts = [_whole(each, "--size") for each in numbers.split(",")]
    if len(parts) > 3:
        raise UsageError(
            f"--size {word}: three numbers at most", hint="write GROUP=NODES,RANKS_PER_NODE,TENSOR_PARALLEL"
        )
    nodes, per_node, tensor = (*parts, None, None)[:3]
    return resize(deployment, group, nodes=nodes, per_node=per_node, tensor_parallel=tensor)


_OPERATIONS: dict[str, Callable[[Deployment, str], Deployment]] = {
    "--swap": _swap,
    "--move": _move,
    "--take": _take,
    "--size": _size,
    "--reset": reset_shape,
    "--auto": lambda deployment, _: auto_assign(deployment),
}
