"""Computes what a node needs for its part of a deployment. Asks no node."""

from __future__ import annotations

import re

from console.commands.container import image_of, wanted_mounts
from console.commands.launch_scripts import rank_command
from console.model.deployment import Deployment, Rank, is_address
from console.model.errors import UsageError
from console.model.image_name import tag_of
from console.model.layout import Layout
from console.model.role import BESIDE_ENGINES
from console.model.snapshot import ClusterSnapshot, EngineSnapshot
from console.probes.check_types import NodeRequirements
from console.releases.facts import release_name
from console.rules.ports import port_map
from console.rules.rule import RuleContext


def used_nodes(deployment: Deployment) -> tuple[str, ...]:
    """The nodes that run any process of the deployment, in rank order, nodes of services and the proxy last."""
    return tuple(dict.fromkeys(rank.node for rank in (*deployment.ranks(), *deployment.processes())))


def requirements_of(
    deployment: Deployment,
    node: str,
    snapshot: ClusterSnapshot,
    *,
    own_pids: frozenset[int] = frozenset(),
    clock_offset_s: float | None = None,
) -> NodeRequirements:
    """The requirements of a node. Ports of engines that run there already need not be free."""
    written = deployment.node(node)
    ranks = [rank for rank in deployment.ranks() if rank.node == node]
    commands = [rank_command(deployment, rank) for rank in ranks]
    names = (
        word[2:].partition("=")[0].partition(".")[0] for each in commands for word in each.argv if word[:2] == "--"
    )
    layout = deployment.layout
    release = wanted_release(layout)
    others = (deployment.address(each) for each in used_nodes(deployment) if each != node)
    path = layout.model.path
    return NodeRequirements(
        node=node,
        hardware=written.hardware.name,
        devices=written.hardware.devices,
        dies_per_card=written.hardware.dies_per_card,
        hbm_mib=written.hardware.hbm_mib,
        address=deployment.address(node),
        nic=written.nic or "",
        dp_addresses=_dp_addresses(ranks),
        peers=tuple(dict.fromkeys(each for each in others if is_address(each))),
        ports=_ports(deployment, node, snapshot),
        own_pids=own_pids,
        model=path if path.startswith("/") and ranks else "",
        image=_image(deployment, node),
        container=written.runtime.container if written.runtime.words and written.runtime.per == "node" else "",
        tool=written.runtime.words,
        mounts=wanted_mounts(deployment, written),
        preload=next((each.env["LD_PRELOAD"] for each in commands if each.env.get("LD_PRELOAD")), ""),
        flags=tuple(dict.fromkeys(name for name in names if name)),
        packages={"vllm-ascend": release} if release and written.hardware.devices else {},
        connector=any(layout.kv_transfer_config(rank.group) for rank in ranks),
        engines=max(1, len(ranks)),
        log_dir=written.base,
        clock_offset_s=clock_offset_s,
    )


def running_on(node: str, snapshot: ClusterSnapshot) -> tuple[EngineSnapshot, ...]:
    """Engines that run, or may run, on the node."""
    return tuple(each for each in snapshot.engines_on(node) if each.state.alive and each.run)


def _dp_addresses(ranks: list[Rank]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(rank.dp_address for rank in ranks if rank.position == 0 and rank.dp_size > 1))


def _ports(deployment: Deployment, node: str, snapshot: ClusterSnapshot) -> tuple[tuple[int, str], ...]:
    alive = {each.group if each.role not in BESIDE_ENGINES else each.id for each in running_on(node, snapshot)}
    uses = (use for use in port_map(RuleContext(deployment)) if use.node == node and use.owner not in alive)
    return tuple((port, use.what) for use in uses for port in range(use.first, use.last + 1))


def wanted_release(layout: Layout) -> str:
    """The vllm-ascend release of a layout, from its version or image; empty for a branch such as `main`."""
    return layout.version if re.match(r"v?\d", layout.version) else release_name(tag_of(layout.image))


def _image(deployment: Deployment, node: str) -> str:
    try:
        return image_of(deployment, deployment.node(node))
    except UsageError:
        return ""
