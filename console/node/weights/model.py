"""The files of a model in a directory, and what is missing. Does not copy them."""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from typing import Dict, List

TOKEN = "DSV4_WEIGHTS_TOKEN"
"""The variable with the secret that both sides share."""
PART = ".part"
LEFT_OVER = (PART, ".incomplete", ".lock", ".tmp")
INDEX = ".index.json"
LAST = re.compile(r"(^|/)config\.json$|\.index\.json$")
"""Files that are copied last, so that an incomplete model is not taken for a complete one."""
BLOCK = 1024 * 1024
GIB = float(2**30)

Files = Dict[str, List[int]]
"""Name below the model's directory → [size, time of its last change in ns]."""


class Trouble(Exception):
    """An error that ends the program with code 1; its text is the last line of the log."""


def say(text: str) -> None:
    """Write one line to the log."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def manifest(root: str) -> Files:
    """Every file of the model; links are followed, incomplete downloads do not count."""
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
    """What is missing in a model, as texts; empty for a complete model."""
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
