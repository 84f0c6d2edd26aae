"""Lists the data-parallel ranks behind each API server, and how to address a request to one of them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from console.model.deployment import Deployment

HEADER = "X-data-parallel-rank"
"""Selects one of the ranks behind a server (vLLM, entrypoints/openai, since 0.11; older servers ignore it)."""


@dataclass(frozen=True, slots=True)
class RankTarget:
    """One data-parallel rank as the target of a request."""

    id: str
    """`GROUP-DPRANK`; the same number labels it in `/metrics`."""
    server: str
    """The engine whose port serves the rank."""
    process: str
    """The engine that runs the rank; differs from the server for headless engines."""
    index: int | None = None
    """Its index among the ranks behind the server, for the header; None for the only rank."""

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers that address a request to this rank."""
        return _NONE if self.index is None else {HEADER: str(self.index)}


_NONE: Mapping[str, str] = MappingProxyType({})


def rank_targets(deployment: Deployment) -> tuple[RankTarget, ...]:
    """Every data-parallel rank of the deployment, in the order of its engines."""
    ranks = deployment.ranks()
    heads = {rank.group: rank.id for rank in reversed(ranks) if not rank.headless}
    found = []
    for rank in (each for each in ranks if not each.part):
        group = deployment.layout.groups[rank.group]
        internal = group.data_parallel.balance == "internal"
        several = rank.dp_size > 1 if internal else rank.local_size > 1
        for local in range(rank.local_size):
            name = f"{rank.group}-{rank.dp_rank + local}"
            server = heads.get(rank.group, rank.id) if internal else rank.id
            index = rank.dp_rank + local if internal else local
            found.append(RankTarget(name, server, rank.id, index if several else None))
    return tuple(found)
