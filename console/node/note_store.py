"""Short notes of consoles on a deployment, in one file on its first node. Notes on a single run are in its directory."""

from __future__ import annotations

import json
import os
from typing import Any, Dict

from console.node.lease import locked
from console.node.request_error import RequestError
from console.node.run_dirs import NAME, Base, read_json, write_json

NOTES = "notes.json"
MAX_NOTES = 64
MAX_BYTES = 16 * 1024
"""Largest note."""
MAX_ALL = 256 * 1024
"""Largest sum of all notes, because one answer contains all of them."""


def look(base: Base, deployment: str) -> Dict[str, Any]:
    """Name → note; empty when there are no notes or the file cannot be read."""
    return read_json(os.path.join(base.path, deployment, NOTES)) or {}


def keep(base: Base, deployment: str, name: str, value: Dict[str, Any]) -> None:
    """Replace one note; an empty note deletes it. Raises RequestError."""
    if not NAME.match(name) or not isinstance(value, dict) or len(json.dumps(value)) > MAX_BYTES:
        raise RequestError("bad-request", "a note needs a valid name and a short object")
    with locked(base, deployment):
        notes = look(base, deployment)
        notes.pop(name, None)
        if value:
            notes[name] = value
        if len(notes) > MAX_NOTES or len(json.dumps(notes)) > MAX_ALL:
            raise RequestError("refused", "there are %d notes on %s already" % (len(notes) - 1, deployment))
        write_json(os.path.join(base.path, deployment, NOTES), notes)
