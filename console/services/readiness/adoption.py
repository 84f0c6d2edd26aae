"""Keeps which existing containers an operator adopted instead of the containers of the cluster file.

An adoption applies only while the cluster file names the same container. The cluster file is not changed.
"""

from __future__ import annotations

import json
from pathlib import Path

from console.files.saving import save_text
from console.model.cluster import Cluster, Node
from console.services.xdg_paths import file_name


class AdoptedContainers:
    """The adopted containers of one cluster."""

    def __init__(self, state_dir: Path, cluster: str) -> None:
        self._path = state_dir / "adopted" / f"{file_name(cluster)}.json"
        self._kept = self._read()

    def applied(self, cluster: Cluster) -> Cluster:
        """The cluster with the adopted containers."""
        nodes = {}
        for name, node in cluster.nodes.items():
            kept = self._kept.get(name)
            if kept is not None and kept["instead"] == node.runtime.container:
                runtime = node.runtime.model_copy(update={"container": kept["container"]})
                node = node.model_copy(update={"runtime": runtime})
            nodes[name] = node
        return cluster.model_copy(update={"nodes": nodes})

    def written(self, node: Node) -> str:
        """The name of the node's container in the cluster file."""
        kept = self._kept.get(node.name)
        return kept["instead"] if kept and kept["container"] == node.runtime.container else node.runtime.container

    def take(self, node: Node, *, instead: str) -> None:
        """Save that the container of this node replaces `instead`, the container of the cluster file. The latter itself ends
        the adoption.

        Raises ConsoleError when the file cannot be written.
        """
        kept = {name: each for name, each in self._read().items() if name != node.name}
        if instead != node.runtime.container:
            kept[node.name] = {"container": node.runtime.container, "instead": instead}
        save_text(self._path, json.dumps(kept, indent=1, sort_keys=True) + "\n")
        self._kept = kept

    def _read(self) -> dict[str, dict[str, str]]:
        """The saved adoptions; empty for a missing or invalid file."""
        try:
            data = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return {
            name: {key: each[key] for key in ("container", "instead")}
            for name, each in (data.items() if isinstance(data, dict) else ())
            if isinstance(each, dict) and all(isinstance(each.get(key), str) for key in ("container", "instead"))
        }
