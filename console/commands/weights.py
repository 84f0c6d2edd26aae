"""The scripts that copy weights between nodes, and the commands that download them. Runs nothing."""

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
"""Placeholder for the port of the source, which is known when the source runs."""
_END = "DSV4_END_OF_PROGRAM"
_OWN_IMPORT = re.compile(rf"^from (?:{re.escape(PACKAGE)}\.\w+|__future__) import .*\n", re.MULTILINE)


def program() -> str:
    """The program as one text for a Python interpreter; its first argument is `serve` or `fetch`."""
    parts = [resources.files(PACKAGE).joinpath(f"{name}.py").read_text("utf-8") for name in ("model", "serve", "fetch")]
    return "from __future__ import annotations\n\n" + "\n\n".join(_OWN_IMPORT.sub("", part) for part in parts)


def serve_argv(node: Node, root: str, address: str, fetchers: int) -> tuple[str, ...]:
    """The command on the source node: serve the model at `root` to `fetchers` nodes, on a port that it chooses and prints."""
    return (*_interpreter(node), "serve", root, address, str(fetchers))


def fetch_argv(node: Node, root: str, host: str) -> tuple[str, ...]:
    """The command on a target node: fetch the model from `host`; `PORT` is replaced when the port of the source is known."""
    return (*_interpreter(node), "fetch", root, host, PORT)


def script_of(argv: Sequence[str], token: str) -> str:
    """The `cmd.sh` of either command: the program comes on stdin, the token in the environment."""
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
    """The commands that download the weights `source` (`OWNER/NAME`) to a path: from ModelScope, and from Hugging Face.

    A path that is not absolute is the name of a repository, which vLLM finds in the cache of the hub.
    """
    name, place = (source or path, path) if PurePosixPath(path).is_absolute() else (path, "")
    modelscope = ("modelscope", "download", "--model", name, *(("--local_dir", place) if place else ()))
    hub = ("huggingface-cli", "download", name, *(("--local-dir", place) if place else ()))
    return (join(modelscope), join(hub))


def _interpreter(node: Node) -> tuple[str, ...]:
    return (node.python, "-I", "-S", "-u", "-")
