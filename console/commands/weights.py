"""The scripts that carry a model's weights from node to node, and the command that downloads them. Runs nothing."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib import resources
from pathlib import PurePosixPath

from console.commands.quoting import join, quote
from console.model.cluster import Node

PACKAGE = "console.node.weights"
TOKEN = "DSV4_WEIGHTS_TOKEN"
PORT = "PORT"
"""Stands for the port of the source until that runs."""
_END = "DSV4_END_OF_PROGRAM"
_OWN_IMPORT = re.compile(rf"^from (?:{re.escape(PACKAGE)}\.\w+|__future__) import .*\n", re.MULTILINE)


def program() -> str:
    """The whole program as one text for a bare interpreter: it serves or fetches, as its first word says."""
    parts = [resources.files(PACKAGE).joinpath(f"{name}.py").read_text("utf-8") for name in ("model", "serve", "fetch")]
    return "from __future__ import annotations\n\n" + "\n\n".join(_OWN_IMPORT.sub("", part) for part in parts)


def serve_argv(node: Node, root: str, address: str, fetchers: int) -> tuple[str, ...]:
    """On the node that gives the model at `root` to that many others, on a port it chooses and prints."""
    return (*_interpreter(node), "serve", root, address, str(fetchers))


def fetch_argv(node: Node, root: str, host: str) -> tuple[str, ...]:
    """On a node that brings the model from the one that serves it, on a port that is known once it serves (`PORT`)."""
    return (*_interpreter(node), "fetch", root, host, PORT)


def script_of(argv: Sequence[str], token: str) -> str:
    """`cmd.sh` of either: the program itself comes on stdin, the token in the environment."""
    return "\n".join(
        (
            "#!/usr/bin/env bash",
            f"export {TOKEN}={quote(token)}",
            f"exec {join(argv)} <<'{_END}'",
            program().rstrip("\n"),
            _END,
            "",
        )
    )


def download_commands(source: str, path: str) -> tuple[str, ...]:
    """What a person types on a node that reaches a hub, to have the weights `source` (`OWNER/NAME`) at a path of the node.

    A path that is not absolute is itself a name on a hub, which vLLM resolves in the hub's own cache.
    """
    name, place = (source or path, path) if PurePosixPath(path).is_absolute() else (path, "")
    modelscope = ("modelscope", "download", "--model", name, *(("--local_dir", place) if place else ()))
    hub = ("huggingface-cli", "download", name, *(("--local-dir", place) if place else ()))
    return (join(modelscope), join(hub))


def _interpreter(node: Node) -> tuple[str, ...]:
    return (node.python, "-I", "-S", "-u", "-")
