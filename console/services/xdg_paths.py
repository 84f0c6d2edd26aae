"""Paths of the console's own files on the jump host, by the XDG rules. Creates directories only."""

from __future__ import annotations

import os
import re
from pathlib import Path

from console.private_files import APP


def state_home() -> Path:
    """`$XDG_STATE_HOME/dsv4-console`: logs, journal, assignments, known hosts."""
    return _base("XDG_STATE_HOME", "~/.local/state")


def config_home() -> Path:
    """`$XDG_CONFIG_HOME/dsv4-console`: files of the operator."""
    return _base("XDG_CONFIG_HOME", "~/.config")


def assignment_path(state_dir: Path, cluster: str, layout: str) -> Path:
    """The path of the assignment of a cluster and a layout."""
    return state_dir / "assignments" / file_name(cluster) / f"{file_name(layout)}.yaml"


def journal_path(state_dir: Path, cluster: str) -> Path:
    """The path of the journal of a cluster."""
    return state_dir / "journal" / f"{file_name(cluster)}.jsonl"


def report_path(state_dir: Path, cluster: str, layout: str) -> Path:
    """The path of the last preflight report of a cluster and a layout."""
    return state_dir / "preflight" / file_name(cluster) / f"{file_name(layout)}.json"


def file_name(text: str) -> str:
    """A name as one safe path component; different names give different components in practice."""
    plain = re.sub(r"[^A-Za-z0-9._@+-]", lambda found: f"%{ord(found.group()):x}", text)
    return plain.replace("..", "%2e.") if plain not in ("", ".") else "%"


def _base(variable: str, default: str) -> Path:
    value = os.environ.get(variable, "")
    root = Path(value) if value.startswith("/") else Path(default).expanduser()
    return root / APP
