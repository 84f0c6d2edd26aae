"""Where the console keeps its own files on the jump host, by the XDG rules. It creates directories, never contents."""

from __future__ import annotations

import os
import re
from pathlib import Path

from console.private_files import APP


def state_home() -> Path:
    """`$XDG_STATE_HOME/dsv4-console`: logs, journal, assignments, known hosts."""
    return _base("XDG_STATE_HOME", "~/.local/state")


def config_home() -> Path:
    """`$XDG_CONFIG_HOME/dsv4-console`: what the operator writes."""
    return _base("XDG_CONFIG_HOME", "~/.config")


def assignment_path(state_dir: Path, cluster: str, layout: str) -> Path:
    """Where the assignment of a cluster and a layout is kept; the operator's own files are never written."""
    return state_dir / "assignments" / file_name(cluster) / f"{file_name(layout)}.yaml"


def journal_path(state_dir: Path, cluster: str) -> Path:
    """The journal of a cluster on this machine."""
    return state_dir / "journal" / f"{file_name(cluster)}.jsonl"


def report_path(state_dir: Path, cluster: str, layout: str) -> Path:
    """Where the last preflight of a cluster and a layout is kept."""
    return state_dir / "preflight" / file_name(cluster) / f"{file_name(layout)}.json"


def file_name(text: str) -> str:
    """A name from a file or a node made safe as one path component; equal only for equal texts in practice."""
    plain = re.sub(r"[^A-Za-z0-9._@+-]", lambda found: f"%{ord(found.group()):x}", text)
    return plain.replace("..", "%2e.") if plain not in ("", ".") else "%"


def _base(variable: str, default: str) -> Path:
    value = os.environ.get(variable, "")
    root = Path(value) if value.startswith("/") else Path(default).expanduser()
    return root / APP
