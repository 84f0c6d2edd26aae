"""Packs `console/node` for a node: the command line of the helper, and the first bytes on its stdin. Writes no files."""

from __future__ import annotations

import functools
import shlex
from importlib import resources

from console.model.cluster import Node
from console.node.bundle_stdin import FLAGS, stdin_bytes

PACKAGE = "console.node"


@functools.cache
def sources() -> dict[str, str]:
    """Module name → source text of the bundle."""
    found = {}
    for entry in resources.files(PACKAGE).iterdir():
        if entry.name.endswith(".py"):
            stem = entry.name.removesuffix(".py")
            name = PACKAGE if stem == "__init__" else f"{PACKAGE}.{stem}"
            found[name] = entry.read_text(encoding="utf-8")
    return found


@functools.cache
def first_bytes() -> bytes:
    """The bytes that the interpreter of the helper reads before the first frame."""
    return stdin_bytes(sources(), [])


def helper_command(node: Node) -> str:
    """The command line that starts the helper on a node, for any login shell."""
    words = [node.python, *FLAGS, "dsv4-console", "helper"]
    return shlex.join(["sudo", "-n", *words] if node.sudo else words)
