"""On which kind of file system a path lies. What kinds are good for is the console's business."""

from __future__ import annotations

import os
import re
from typing import Optional

_ESCAPED = re.compile(r"\\([0-7]{3})")


def file_system(path: str, table: str = "/proc/self/mountinfo") -> str:
    """Its type as the kernel names it (`ext4`, `nfs4`, `fuse.glusterfs`); empty when it cannot be told.

    The last mount on the longest directory above the path counts: a later one covers what was there before.
    """
    try:
        with open(table, encoding="utf-8", errors="surrogateescape") as file:
            lines = file.read().splitlines()
    except OSError:
        return ""
    if path.startswith("/proc/"):
        return ""  # seen through the root of a container, whose mounts are not in our table
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
