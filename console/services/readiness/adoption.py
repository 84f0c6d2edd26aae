"""Which containers an operator adopted in place of those the cluster file names; kept per cluster, the file is never written.

An adoption counts only while the cluster file still names the container it stands for.
"""

from __future__ import annotations

import json
from pathlib import Path

from console.files.saving import save_text
from console.model.cluster import Cluster, Node
from console.services.xdg_paths import file_name


class Adopted:
    """The adoptions of one cluster."""

    def __init__(self, state_dir: Path, cluster: str) -> None:
        self._path = state_dir / "adopted" / f"{file_name(cluster)}.json"
        self._kept = self._read()

    def applied(self, cluster: Cluster) -> Cluster:
        """The cluster with the adopted containers in it."""
        nodes = {}
        for name, node in cluster.nodes.items():
            kept = self._kept.get(name)
            if kept is not None and kept["instead"] == node.runtime.container:
                runtime = node.runtime.model_copy(update={"container": kept["container"]})
                node = node.model_copy(update={"runtime": runtime})
            nodes[name] = node
        return cluster.model_copy(update={"nodes": nodes})

    def written(self, node: Node) -> str:
        """What the cluster file calls the node's container."""
        kept = self._kept.get(node.name)
        return kept["instead"] if kept and kept["container"] == node.runtime.container else node.runtime.container

    def take(self, node: Node, *, instead: str) -> None:
        """Use the container of this node from now on `instead` of the one the cluster file names; that one ends the adoption.

        Raises ConsoleError when it cannot be kept.
        """
        kept = {name: each for name, each in self._read().items() if name != node.name}
        if instead != node.runtime.container:
            kept[node.name] = {"container": node.runtime.container, "instead": instead}
        save_text(self._path, json.dumps(kept, indent=1, sort_keys=True) + "\n")
        self._kept = kept

    def _read(self) -> dict[str, dict[str, str]]:
        """What is kept; a file that is missing or makes no sense holds nothing."""
        try:
            data = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return {
            name: {key: each[key] for key in ("container", "instead")}
            for name, each in (data.items() if isinstance(data, dict) else ())
            if isinstance(each, dict) and all(isinstance(each.get(key), str) for key in ("container", "instead"))
        }
