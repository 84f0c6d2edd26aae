"""The options that all sub-commands share, and the cluster, the layout and the assignment that they name.

The modules that read files are imported when a file is read, so that the screen draws its first frame before.
"""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from console.cli.printer import print_message
from console.model.errors import ConsoleError, UsageError
from console.services.xdg_paths import assignment_path, config_home, file_name, state_home

if TYPE_CHECKING:
    from console.model.cluster import Cluster
    from console.model.deployment import Assignment, Deployment
    from console.model.layout import Layout


def add_cluster_options(parser: argparse.ArgumentParser, *, several: bool = False) -> None:
    """Add `--cluster`, `--layout`, `--assign`, `--readonly`, `--write`; with `several` the first two may be repeated."""
    group = parser.add_argument_group("which clusters" if several else "which cluster")
    more = "; repeatable" if several else ""
    group.add_argument(
        "-c",
        "--cluster",
        action="append" if several else "store",
        type=Path,
        metavar="FILE",
        help=f"cluster file (default: $DSV4_CLUSTER, ./cluster.yaml, then the config directory){more}",
    )
    group.add_argument(
        "--layout",
        action="append" if several else "store",
        metavar="NAME|FILE",
        help="layout (default: the one last used with this cluster)"
        + ("; give it once, or once for each cluster" if several else ""),
    )
    group.add_argument(
        "--assign",
        action="append",
        default=[],
        metavar="GROUP=NODE,NODE",
        help="nodes of a group, the node of rank 0 first; repeatable",
    )
    mode = group.add_mutually_exclusive_group()
    mode.add_argument("--readonly", action="store_true", help="refuse every change")
    mode.add_argument("--write", action="store_true", help="allow changes to a cluster that is tagged production")


def cluster_of(args: argparse.Namespace) -> Cluster:
    """The cluster of the options, with the containers that an operator adopted.

    Raises UsageError when there is no cluster file, FileError when the file is wrong.
    """
    from console.files import load_cluster
    from console.services.readiness.adoption import AdoptedContainers

    given: Path | None = args.cluster
    fallbacks = [Path(os.environ["DSV4_CLUSTER"])] if os.environ.get("DSV4_CLUSTER") else []
    fallbacks += [Path("cluster.yaml"), config_home() / "cluster.yaml"]
    path = given if given is not None else next((each for each in fallbacks if each.exists()), None)
    if path is None:
        hint = "give one with --cluster FILE, or try the demo first: dsv4-console demo"
        raise UsageError("no cluster file", hint=hint)
    cluster = load_cluster(path)
    return AdoptedContainers(state_home(), cluster.name).applied(cluster)


def layout_of(args: argparse.Namespace, cluster: Cluster | None, *, look: bool = False) -> Layout:
    """The layout of the options. Raises UsageError when none is named and none was used before.

    With `look`, which only looks at a cluster, a layout is not needed: the result is then a layout without groups.
    """
    from console.files import load_layout, shipped_layouts

    named: str | None = args.layout or (remembered_layout(cluster) if cluster else None)
    if named is None and look and cluster is not None and not args.assign:
        from console.model.layout import no_layout

        return no_layout(next(iter(cluster.nodes.values())).hardware)
    if named is None:
        raise UsageError("no layout", hint=f"give one with --layout NAME|FILE; shipped: {', '.join(shipped_layouts())}")
    if not args.layout and named not in shipped_layouts() and not Path(named).exists():
        hint = f"name another with --layout NAME|FILE; shipped: {', '.join(shipped_layouts())}"
        raise UsageError(f"the layout used last with this cluster does not exist any more: {named}", hint=hint)
    return load_layout(named)


def assignment_of(args: argparse.Namespace, cluster: Cluster, layout: Layout) -> Assignment:
    """The saved assignment of this cluster and layout, else the layout's own `assign`; `--assign` replaces its groups."""
    base = _base(cluster, layout)
    if args.assign:
        known = layout.shaped(base.shapes, base.copies)
        return replace(base, nodes={**base.nodes, **parse_assign(args.assign, cluster, known)})
    return base


def _base(cluster: Cluster, layout: Layout) -> Assignment:
    from console.files import load_assignment
    from console.model.deployment import Assignment

    if not layout.chosen:
        return Assignment()
    saved = assignment_path(state_home(), cluster.name, layout.name)
    kept = load_assignment(saved) if saved.exists() else Assignment(dict(layout.assign))
    return fitting(kept, cluster, layout)


def saved_deployment(deployment: Deployment) -> Deployment:
    """The deployment with the saved assignment, without the changes of `--assign`."""
    layout = deployment.layout.written or deployment.layout
    return replace(deployment, layout=layout, assignment=_base(deployment.cluster, layout))


def fitting(kept: Assignment, cluster: Cluster, layout: Layout) -> Assignment:
    """The assignment without the nodes and groups that the files do not name (any more)."""
    known = layout.shaped(kept.shapes, kept.copies).groups
    members = {
        group: tuple(node for node in nodes if node in cluster.nodes)
        for group, nodes in kept.nodes.items()
        if group in known
    }
    return replace(kept, nodes=members)


def parse_assign(words: list[str], cluster: Cluster, layout: Layout) -> dict[str, tuple[str, ...]]:
    """Group → nodes from words of the form `GROUP=NODE,NODE`. Raises UsageError for a group or node that does not exist."""
    given: dict[str, tuple[str, ...]] = {}
    for word in words:
        group, equals, nodes = word.partition("=")
        if not equals or group not in layout.groups:
            raise UsageError(f"--assign {word}: no group {group!r}", hint=f"groups: {', '.join(layout.groups)}")
        names = tuple(name.strip() for name in nodes.split(",") if name.strip())
        for name in names:
            if name not in cluster.nodes:
                raise UsageError(f"--assign {word}: no node {name!r}", hint=f"nodes: {', '.join(cluster.nodes)}")
        given[group] = names
    return given


def deployment_of(args: argparse.Namespace, *, look: bool = False) -> Deployment:
    """Cluster, layout and assignment of the options; with `look` a layout is not needed."""
    from console.model.deployment import Deployment

    cluster = cluster_of(args)
    layout = layout_of(args, cluster, look=look)
    return Deployment(cluster, layout, assignment_of(args, cluster, layout))


def read_only_of(args: argparse.Namespace, cluster: Cluster) -> bool:
    """Whether this console is read-only: with --readonly, or on a production cluster without --write."""
    return bool(args.readonly or (cluster.read_only and not args.write))


def remember_layout(cluster: Cluster, layout: Layout) -> None:
    """Save which layout was last used with a cluster: a shipped layout by its name, another by the absolute path of its file.

    A failure to save is printed and does not stop the operation.
    """
    from console.files import is_shipped, save_text

    if not layout.chosen:
        return
    named = layout.name if is_shipped(layout) or layout.source is None else str(Path(layout.source.path).absolute())
    target = _remembered(cluster)
    try:
        save_text(target, json.dumps({"layout": named}) + "\n")
    except ConsoleError as error:
        print_message(f"the layout could not be saved as the default for this cluster: {error}")


def remembered_layout(cluster: Cluster) -> str | None:
    """The layout last used with a cluster, or None."""
    try:
        found = json.loads(_remembered(cluster).read_text(encoding="utf-8"))["layout"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return str(found)


def _remembered(cluster: Cluster) -> Path:
    return state_home() / "last" / f"{file_name(cluster.name)}.json"
