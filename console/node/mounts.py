"""The type of the file system of a path."""

from __future__ import annotations

import os
import re
from typing import Optional

_ESCAPED = re.compile(r"\\([0-7]{3})")


def file_system(path: str, table: str = "/proc/self/mountinfo") -> str:
    """The type in the terms of the kernel (`ext4`, `nfs4`, `fuse.glusterfs`); empty when unknown.

    The last mount on the longest directory above the path counts, because a later mount hides earlier ones.
    """
    try:
        with open(table, encoding="utf-8", errors="surrogateescape") as file:
            lines = file.read().splitlines()
    except OSError:
        return ""
    if path.startswith("/proc/"):
        return ""  # inside the root of a container, whose mounts are not in this table
    wanted = os.path.realpath(path)
    best, kind = -1, ""
    for line in lines:
        place, found = _mount(line)
        if place is None or not (wanted + "/").startswith(place.rstrip("/") + "/"):
            continue
        if len(place) >= best:
            best, kind = len(place), found
    return kind


def _mount(line: str) -> "tuple[Optional[str], str]":
    before, _, after = line.partition(" - ")
    words = before.split(" ")
    if len(words) < 5 or not after:
        return None, ""
    place = _ESCAPED.sub(lambda found: chr(int(found.group(1), 8)), words[4])
    return place, after.split(" ")[0]
