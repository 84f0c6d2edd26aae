"""What a rank is for; a word of its own, because snapshots need it without everything a deployment is computed from."""

from __future__ import annotations

from typing import Literal

RankRole = Literal["prefill", "decode", "mixed", "proxy", "service"]
BESIDE_ENGINES: frozenset[RankRole] = frozenset(("proxy", "service"))
"""Roles of what is launched, stopped and logged like an engine and is none."""
