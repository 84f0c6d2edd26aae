"""An alert: something an operator must know of though nobody is looking. Events tell what happened; alerts tell what holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["warning", "error"]


@dataclass(frozen=True, slots=True)
class Alert:
    """One thing that holds, however many engines or nodes show it."""

    key: str
    """What it is about: `group/decode`, `links`, or the id of a signature."""
    level: Level
    title: str
    since: float
    """Seconds since the epoch on the jump host's clock."""
    text: str = ""
    """What was seen; untrusted, secrets masked."""
    remedy: str = ""
    subjects: tuple[str, ...] = ()
    """The engines or nodes that show it."""
    calm: bool = False
    """Whether it does not hold at this moment, and is over when it stays so for a while."""
