"""An alert: a condition that an operator must know even when nobody looks. An event happened; an alert holds now."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["warning", "error"]


@dataclass(frozen=True, slots=True)
class Alert:
    """One condition, whatever the number of engines or nodes that show it."""

    key: str
    """The subject: `group/decode`, `links`, or the id of a signature."""
    level: Level
    title: str
    since: float
    """Seconds since the epoch on the jump host's clock."""
    text: str = ""
    """What was seen; untrusted, with secrets masked."""
    remedy: str = ""
    subjects: tuple[str, ...] = ()
    """The engines or nodes that show it."""
    calm: bool = False
    """Whether it does not hold at this moment; the alert ends when this lasts for a while."""
