"""The file of display settings that the console keeps between sessions on one cluster. A broken file is ignored."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

from console.private_files import open_private

FILE = "view.json"


def load(directory: Path) -> dict[str, object]:
    """What was remembered; empty when nothing was, or nothing readable."""
    try:
        found = json.loads((directory / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def save(directory: Path, view: Mapping[str, object]) -> bool:
    """Remember; False when that cannot be written, which nobody needs to be stopped for."""
    path = directory / FILE
    fresh = path.with_suffix(".new")
    try:
        descriptor = open_private(fresh, os.O_WRONLY | os.O_TRUNC)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(dict(view), file, indent=1)
        fresh.replace(path)
    except OSError:
        return False
    return True
