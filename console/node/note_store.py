"""What consoles remember together of a deployment: a few short notes in one file on its first node.

What a note means is the consoles' business. Runs do not enter here: what concerns one run is in its directory.
"""

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
"""Of one note."""
MAX_ALL = 256 * 1024
"""Of all of them: they go into one answer."""


def look(base: Base, deployment: str) -> Dict[str, Any]:
    """All notes by name; none when nothing was noted, or nothing that can be read."""
    return read_json(os.path.join(base.path, deployment, NOTES)) or {}


def keep(base: Base, deployment: str, name: str, value: Dict[str, Any]) -> None:
    """Replace one note; an empty one takes it away. Raises Refusal."""
    if not NAME.match(name) or not isinstance(value, dict) or len(json.dumps(value)) > MAX_BYTES:
        raise RequestError("bad-request", "a note has a plain name and a short object")
    with locked(base, deployment):
        notes = look(base, deployment)
        notes.pop(name, None)
        if value:
            notes[name] = value
        if len(notes) > MAX_NOTES or len(json.dumps(notes)) > MAX_ALL:
            raise RequestError("refused", "there are %d notes on %s already" % (len(notes) - 1, deployment))
        write_json(os.path.join(base.path, deployment, NOTES), notes)
