"""Exports Kubernetes LeaderWorkerSet manifests: one set per group, one pod per node, all ranks of the node in the pod.

A pod gets its index from LWS_WORKER_INDEX and the leader's address from LWS_LEADER_ADDRESS, so the manifests contain nothing
of the cluster file. The scripts are in a ConfigMap, because Kubernetes rewrites `$$` in a command. Source: LeaderWorkerSet
API leaderworkerset.x-k8s.io/v1.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from pydantic import JsonValue

from console.commands.container import SHM_SIZE, weights_mount
from console.commands.flags import flag_words
from console.commands.quoting import quote
from console.commands.script import environment_lines, sourcing_lines
from console.commands.serve import PROXY_SCRIPTS, serve_command
from console.files import yaml_text
from console.model.cluster import Node
from console.model.deployment import Deployment, Rank
from console.model.errors import UsageError
from console.model.layout import Layout
from console.services.exporting.shell_folders import ExportedFile
from console.services.placement.edits import example

NPU_RESOURCE = "huawei.com/Ascend910"
"""Resource name of Huawei's device plugin; some clouds use huawei.com/ascend-1980."""

SCRIPTS = "/dsv4"
"""Directory of the scripts in a pod."""

_HEAD = "192.0.2.254"
_SELF = "192.0.2.253"
_NIC = "dsv4-nic-of-the-pod"
_RANK = 700_000_000
"""Placeholder of the first data-parallel rank of the pod."""
_COMPUTED = ("HCCL_IF_IP", "VLLM_HOST_IP", "HCCL_SOCKET_IFNAME", "GLOO_SOCKET_IFNAME", "TP_SOCKET_IFNAME")


def lws_manifests(deployment: Deployment) -> tuple[ExportedFile, ...]:
    """`GROUP.yaml` for every group and `proxy.yaml`. Raises UsageError without an image, or when ports would differ between
    pods.
    """
    layout = deployment.layout
    if not layout.image:
        raise UsageError(f"the layout {layout.name} names no image", hint="write `image:` in the layout")
    if layout.services:
        names = ", ".join(layout.services)
        hint = "run them in Kubernetes by a manifest of their own, and export a layout without `services`"
        raise UsageError(f"LeaderWorkerSet manifests hold no services beside the engines ({names})", hint=hint)
    for name, group in layout.groups.items():
        if any(change.port is not None for change in group.by_node.values()):
            hint = "take `port` out of by_node, or export another format"
            raise UsageError(f"{name}: the pods of a LeaderWorkerSet have the same ports", hint=hint)
    files = [
        ExportedFile(f"{_name(layout, name)}.yaml", _scripts_text(layout, name) + "---\n" + _group_text(layout, name))
        for name in layout.groups
    ]
    if layout.proxy is not None:
        files.append(ExportedFile(f"{_name(layout, 'proxy')}.yaml", "---\n".join(_proxy_texts(layout))))
    return tuple(files)


def _name(layout: Layout, part: str) -> str:
    """A DNS label of at most 50 characters, because pod names append an index."""
    return re.sub(r"[^a-z0-9-]+", "-", f"{layout.name}-{part}".lower()).strip("-")[:50].strip("-")


def _scripts_text(layout: Layout, name: str) -> str:
    scripts = pod_scripts(layout, name)
    metadata = {"name": _name(layout, name), "labels": _labels(layout, name)}
    return yaml_text({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": scripts})


def pod_scripts(layout: Layout, name: str) -> dict[str, str]:
    """The scripts of a group's pods: `leader.sh`, and `worker.sh`, which calls another script when workers differ."""
    texts = [pod_script(layout, name, position) for position in range(layout.groups[name].nodes)]
    workers = texts[1:] or texts
    if len(set(workers)) == 1:
        return {"leader.sh": texts[0], "worker.sh": workers[0]}
    own = {f"worker-{position}.sh": text for position, text in enumerate(workers, 1)}
    lead = f'exec bash "{SCRIPTS}/worker-${{LWS_WORKER_INDEX}}.sh"\n'
    return {"leader.sh": texts[0], "worker.sh": lead, **own}


def _group_text(layout: Layout, name: str) -> str:
    group = layout.groups[name]
    template: dict[str, object] = {
        "size": group.nodes,
        "restartPolicy": "RecreateGroupOnPodRestart",
        "leaderTemplate": _pod(layout, name, 0),
        "workerTemplate": _pod(layout, name, min(1, group.nodes - 1)),
    }
    return yaml_text(
        {
            "apiVersion": "leaderworkerset.x-k8s.io/v1",
            "kind": "LeaderWorkerSet",
            "metadata": {"name": _name(layout, name), "labels": _labels(layout, name)},
            "spec": {"replicas": 1, "startupPolicy": "LeaderCreated", "leaderWorkerTemplate": template},
        }
    )


def _labels(layout: Layout, part: str) -> dict[str, str]:
    return {"app.kubernetes.io/name": _name(layout, part), "app.kubernetes.io/part-of": _name(layout, "all")}


def _pod(layout: Layout, name: str, position: int) -> dict[str, object]:
    group = layout.groups[name]
    ranks = _ranks(layout, name, position)
    used = group.devices_on_node
    container: dict[str, object] = {
        "name": "engines",
        "image": layout.image,
        "command": ["/bin/bash", f"{SCRIPTS}/{'worker' if position else 'leader'}.sh"],
        "env": [{"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
        "securityContext": {"privileged": True},
        "resources": {"limits": {NPU_RESOURCE: str(used)}, "requests": {NPU_RESOURCE: str(used)}},
        "volumeMounts": [{"name": each, "mountPath": path} for each, path, _ in _volumes(layout, name)],
    }
    port = next((rank.port for rank in ranks if rank.port is not None), None)
    if port is not None:
        container["ports"] = [{"containerPort": rank.port} for rank in ranks if rank.port is not None]
        probe = {"path": "/health", "port": port}
        container["readinessProbe"] = {"httpGet": probe, "periodSeconds": 10, "failureThreshold": 3}
    spec: dict[str, object] = {
        "hostNetwork": True,
        "dnsPolicy": "ClusterFirstWithHostNet",
        "terminationGracePeriodSeconds": 60,
        "containers": [container],
        "volumes": [{"name": each, **source} for each, _, source in _volumes(layout, name)],
    }
    return {"metadata": {"labels": _labels(layout, name)}, "spec": spec}


def _volumes(layout: Layout, name: str) -> Iterator[tuple[str, str, dict[str, object]]]:
    yield "scripts", SCRIPTS, {"configMap": {"name": _name(layout, name)}}
    yield "dshm", "/dev/shm", {"emptyDir": {"medium": "Memory", "sizeLimit": f"{SHM_SIZE[:-1]}Gi"}}
    places = ("/usr/local/dcmi", "/usr/local/Ascend/driver", "/etc/ascend_install.info", "/etc/hccn.conf")
    for place in (*places, weights_mount(layout.model.path)):
        if place:
            yield re.sub(r"[^a-z0-9]+", "-", place.lower()).strip("-")[:60], place, {"hostPath": {"path": place}}


def _ranks(layout: Layout, name: str, position: int) -> list[Rank]:
    made = example(layout)
    ranks = [rank for rank in made.ranks() if (rank.group, rank.position) == (name, position)]
    return [
        replace(rank, address=_SELF, dp_address=_HEAD, dp_rank=_RANK + rank.local_rank * rank.local_size)
        for rank in ranks
    ]


def pod_script(layout: Layout, name: str, position: int) -> str:
    """The script of one pod: runs every rank of its node, and exits when one of them exits, so that the group restarts."""
    lines = [
        *sourcing_lines(Node(name=name)),
        'if [ "${LWS_WORKER_INDEX:-0}" = 0 ]; then leader="$POD_IP"',
        'else leader="$(getent ahostsv4 "$LWS_LEADER_ADDRESS" | while read -r ip _; do echo "$ip"; break; done)"; fi',
        'read -r _ nic _ <<<"$(ip -o -4 addr show to "$POD_IP" 2>/dev/null)"',
        'nic="${nic%%@*}"',
        'export HCCL_IF_IP="$POD_IP" VLLM_HOST_IP="$POD_IP"',
        'export HCCL_SOCKET_IFNAME="$nic" GLOO_SOCKET_IFNAME="$nic" TP_SOCKET_IFNAME="$nic"',
    ]
    made, known = _seen_from_a_pod(layout, name)
    for rank in _ranks(layout, name, position):
        command = serve_command(made, rank)
        lines.append("(")
        for key, value in command.env.items():
            if key not in _COMPUTED:
                lines += (
                    [f"export {key}={_word(value, known)}"]
                    if _depends(value, known)
                    else environment_lines({key: value})
                )
        lines += ["exec " + " ".join(_word(word, known) for word in command.argv), ") &"]
    return "\n".join([*lines, "wait -n", "exit 1", ""])


def _seen_from_a_pod(layout: Layout, name: str) -> tuple[Deployment, dict[str, str]]:
    """The layout on made-up nodes, and the shell expression for each value known only in the pod."""
    made = example(layout)
    nodes = {key: node.model_copy(update={"nic": _NIC}) for key, node in made.cluster.nodes.items()}
    known = {_SELF: '"$POD_IP"', _HEAD: '"$leader"', _NIC: '"$nic"'}
    for group, members in made.assignment.nodes.items():
        pods = _name(layout, group)
        for position, node in enumerate(members):
            known[made.address(node)] = f"{pods}-0.{pods}" if position == 0 else f"{pods}-0-{position}.{pods}"
    mine = layout.groups[name]
    per_node = mine.data_parallel.per_node
    index = f"LWS_WORKER_INDEX / {mine.nodes_per_engine}" if mine.nodes_per_engine > 1 else "LWS_WORKER_INDEX"
    for local in range(per_node):
        known[str(_RANK + local)] = f'"$(({index} * {per_node} + {local}))"'
    return replace(made, cluster=made.cluster.model_copy(update={"nodes": nodes})), known


def _depends(text: str, known: dict[str, str]) -> bool:
    return any(value in text for value in known)


def _word(text: str, known: dict[str, str]) -> str:
    """The text as one quoted word of the pod's shell; values known only in the pod stay unquoted."""
    pattern = "|".join(rf"{re.escape(value)}(?![0-9])" for value in sorted(known, key=len, reverse=True))
    parts = re.split(f"({pattern})", text)
    return "".join(known.get(part) or quote(part) for part in parts if part) or quote("")


def _proxy_texts(layout: Layout) -> Iterator[str]:
    proxy = layout.proxy
    assert proxy is not None
    name = _name(layout, "proxy")
    args: dict[str, JsonValue] = {"host": "0.0.0.0", "port": proxy.port}
    if proxy.kind == "dp":
        args |= _endpoints(layout, "dp", tuple(layout.groups))
    else:
        for side, role in (("prefiller", "prefill"), ("decoder", "decode")):
            args |= _endpoints(layout, side, tuple(key for key, group in layout.groups.items() if group.role == role))
    words = ["python", proxy.script or PROXY_SCRIPTS[proxy.kind], *flag_words({**args, **proxy.args})]
    container: dict[str, object] = {
        "name": "proxy",
        "image": layout.image,
        "command": words,
        "ports": [{"containerPort": proxy.port}],
        "readinessProbe": {"httpGet": {"path": "/healthcheck", "port": proxy.port}},
    }
    labels = _labels(layout, "proxy")
    yield yaml_text(
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": name, "labels": labels},
            "spec": {
                "replicas": 1,
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
            },
        }
    )
    yield yaml_text(
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": name, "labels": labels},
            "spec": {"selector": labels, "ports": [{"port": proxy.port, "targetPort": proxy.port}]},
        }
    )


def _endpoints(layout: Layout, side: str, groups: tuple[str, ...]) -> dict[str, JsonValue]:
    """Host names of the pods by LeaderWorkerSet, with their ports."""
    hosts: list[JsonValue] = []
    ports: list[JsonValue] = []
    for name in groups:
        pods = _name(layout, name)
        for rank in example(layout).ranks():
            if rank.group == name and rank.port is not None:
                pod = f"{pods}-0" if rank.position == 0 else f"{pods}-0-{rank.position}"
                hosts.append(f"{pod}.{pods}")
                ports.append(str(rank.port))
    return {f"{side}-hosts": hosts, f"{side}-ports": ports}
