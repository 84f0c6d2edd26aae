"""`assign`: which node runs which group, changed by the same operations as on the screen and kept in the same file."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence

from console.cli.findings import finding_lines
from console.cli.options import add_cluster_options, before, deployment_of, read_only_of, remember_layout
from console.cli.printer import print_line, print_lines
from console.cli.tables import table_lines
from console.model.deployment import Deployment
from console.model.errors import ExitCode, Refused, UsageError
from console.private_files import private_directory
from console.rules import check
from console.services.placement.edits import auto_assign, move, reset_shape, resize, swap, unassign
from console.services.placement.live_assignment import reassigned
from console.services.placement.undo_history import keep, load_history, step
from console.services.xdg_paths import assignment_path, state_home


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `assign`."""
    text = "show or change which nodes run which group, and the groups' sizes"
    epilog = (
        "Operations are done in the order they are given; --assign GROUP=NODE,NODE replaces a group's nodes before them. "
        "Nothing on a node changes: stop the engines of a group before you move its nodes."
    )
    parser = subparsers.add_parser("assign", help=text, description=text, epilog=epilog)
    for flag, metavar, help_text in (
        ("--swap", "NODE=NODE", "let two nodes take each other's places"),
        ("--move", "NODE=PLACE", "give a node another place in its group; 0 gets rank 0"),
        ("--take", "NODE,NODE", "take nodes away from their groups"),
        ("--size", "GROUP=NODES[,RANKS[,TP]]", "nodes of a group, ranks per node, tensor parallel; empty keeps one"),
        ("--reset", "GROUP", "the size its layout says"),
    ):
        parser.add_argument(flag, dest="operations", action=_Append, default=[], metavar=metavar, help=help_text)
    parser.add_argument("--auto", dest="operations", action=_Append, nargs=0, help="fill groups that lack nodes")
    turn = parser.add_mutually_exclusive_group()
    turn.add_argument(
        "--undo", action="store_true", help="take the last change back, whoever made it, here or on the screen"
    )
    turn.add_argument("--redo", action="store_true", help="do the change again that was taken back last")
    parser.add_argument("--dry-run", action="store_true", help="show what it would be, keep nothing")
    add_cluster_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Show the assignment; keep it when something was asked for. Raises UsageError, Refused on a read-only cluster."""
    deployment = deployment_of(args)
    path = assignment_path(state_home(), deployment.cluster.name, deployment.layout.name)
    changed = bool(args.operations or args.assign)
    if args.undo or args.redo:
        if changed:
            raise UsageError("--undo and --redo stand alone", hint="give the other operations in a call of their own")
        history = step(path, deployment, back=args.undo)
        deployment = reassigned(deployment, history.now)
    else:
        history = load_history(path, before(args, deployment))
        for flag, word in args.operations:
            deployment = _OPERATIONS[flag](deployment, word)
        history = history.changed(deployment.assignment)
    if (changed or args.undo or args.redo) and not args.dry_run:
        if read_only_of(args, deployment.cluster):
            raise Refused("this cluster is read-only", hint="allow changes with --write, or look with --dry-run")
        private_directory(path.parent)
        keep(path, history)
        remember_layout(deployment.cluster, deployment.layout)
    rows = [_row(deployment, name) for name in deployment.layout.groups]
    print_lines(table_lines(("GROUP", "ROLE", "SIZE", "NODES", "CARRIED BY"), rows))
    for line in finding_lines(check(deployment)):
        print_line(line)
    return ExitCode.OK


class _Append(argparse.Action):
    """Keeps (flag, word) pairs in the order of the command line."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[object] | None,
        option_string: str | None = None,
    ) -> None:
        """Add one pair."""
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
        raise UsageError(f"{flag} {word}: cannot be understood", hint=f"write it as {flag} A=B")
    return left.strip(), right.strip()


def _whole(word: str, flag: str) -> int | None:
    if not word.strip():
        return None
    if not word.strip().isascii() or not word.strip().isdecimal():
        raise UsageError(f"{flag}: {word!r} is no whole number")
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
