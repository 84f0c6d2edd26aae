"""Reads shell scripts and tells which servers they start. Nothing is run.

The text becomes commands (`parser`), which are followed with the variables they set (`interpreter`, `expansion`, `programs`).
What only a node or a caller knows stays marked as unknown (`unknowns`). Where a condition is open, every way is followed
(`follow`).
"""

from __future__ import annotations

from console.services.importing.shell_scripts.follow import Followed, contained_start, follow
from console.services.importing.shell_scripts.launchers import ray
from console.services.importing.shell_scripts.script_state import (
    ProxyStart,
    Question,
    Script,
    ServiceStart,
    Started,
    fault,
)
from console.services.importing.shell_scripts.texts import settings_file
from console.services.importing.shell_scripts.unknowns import Unknown, Unknowns, is_open, names, without_private

__all__ = [
    "Followed",
    "ProxyStart",
    "Question",
    "Script",
    "ServiceStart",
    "Started",
    "Unknown",
    "Unknowns",
    "contained_start",
    "fault",
    "follow",
    "is_open",
    "names",
    "ray",
    "settings_file",
    "without_private",
]
