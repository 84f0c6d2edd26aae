"""The files of a model in a directory, and what it lacks to be whole. How they travel is not here."""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from typing import Dict, List

TOKEN = "DSV4_WEIGHTS_TOKEN"
"""Variable with the secret both sides share."""
PART = ".part"
LEFT_OVER = (PART, ".incomplete", ".lock", ".tmp")
INDEX = ".index.json"
LAST = re.compile(r"(^|/)config\.json$|\.index\.json$")
"""What comes last, so that nothing takes half a model for a whole one."""
BLOCK = 1024 * 1024
GIB = float(2**30)

Files = Dict[str, List[int]]
"""Name below the model's directory → [size, time of its last change in ns]."""


class Trouble(Exception):
    """What is told in the last line, and ends the program with 1."""


def say(text: str) -> None:
    """One line of the log."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def manifest(root: str) -> Files:
    """Every file of the model; links are followed, what is left of downloads is not counted."""
    found: Files = {}
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(each for each in folders if not each.startswith("."))
        for name in sorted(names):
            path = os.path.join(folder, name)
            if name.startswith(".") or name.endswith(LEFT_OVER) or not os.path.isfile(path):
                continue
            facts = os.stat(path)
            found[os.path.relpath(path, root).replace(os.sep, "/")] = [facts.st_size, facts.st_mtime_ns]
    return found


def wanting(root: str, files: Files) -> List[str]:
    """What a model lacks to be whole, as words; nothing when it is."""
    indexes = [name for name in files if name.endswith(INDEX) and "/" not in name]
    if "config.json" not in files:
        return ["config.json is missing"]
    if not indexes and not any(name.endswith((".safetensors", ".bin")) for name in files):
        return ["there are no weights"]
    lacking: List[str] = []
    for index in indexes:
        try:
            with open(os.path.join(root, index), "rb") as file:
                shards = sorted(set(json.loads(file.read().decode("utf-8"))["weight_map"].values()))
        except (OSError, ValueError, KeyError, AttributeError, TypeError) as problem:
            return ["%s cannot be read: %s" % (index, problem)]
        lacking += ["%s is missing" % name for name in shards if name not in files]
        lacking += ["%s is empty" % name for name in shards if name in files and not files[name][0]]
    return lacking


def digest(path: str) -> str:
    """SHA-256 of a file."""
    found = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(BLOCK), b""):
            found.update(block)
    return found.hexdigest()
