"""The role of a rank. It is a separate module, so that snapshots need not import deployments."""

from __future__ import annotations

from typing import Literal

RankRole = Literal["prefill", "decode", "mixed", "proxy", "service"]
BESIDE_ENGINES: frozenset[RankRole] = frozenset(("proxy", "service"))
"""Roles of processes that start, stop and log like engines but are not engines."""
