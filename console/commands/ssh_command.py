"""The words that open a shell on a node, or in a container there, with the machine's own `ssh`: same way, same keys as the links.

Opening it is a front end's job.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from console.commands.quoting import join
from console.model.cluster import Cluster, Node, SshFiles

_INSIDE = ("sh", "-c", "command -v bash >/dev/null && exec bash || exec sh")
"""An image may have no bash."""


def shell_words(cluster: Cluster, node: Node, own_keys: Path, container: str = "") -> tuple[str, ...]:
    """argv of an interactive `ssh` to a node, or to a shell inside a container there.

    `own_keys` are the host keys accepted in this console; with those of the operator they are the only ones trusted.
    """
    words = _ssh(cluster, node, own_keys)
    if not container:
        return (*words, "--", node.host)
    inside = (*(("sudo", "-n") if node.sudo else ()), *node.runtime.words, "exec", "-it", container, *_INSIDE)
    return (*words, "-t", "--", node.host, join(inside))


def _ssh(cluster: Cluster, node: Node, own_keys: Path) -> tuple[str, ...]:
    words = ["ssh"]
    if cluster.ssh.config != SshFiles().config:
        words += ["-F", str(Path(cluster.ssh.config).expanduser())]
    files = (own_keys, Path(cluster.ssh.known_hosts).expanduser())
    words += ["-o", "UserKnownHostsFile=" + " ".join(_file(each) for each in files)]
    words += ["-o", "StrictHostKeyChecking=yes", "-o", "ForwardAgent=no"]
    if node.port is not None:
        words += ["-p", str(node.port)]
    if node.user is not None:
        words += ["-l", node.user]
    if node.identity is not None:
        words += ["-o", "IdentitiesOnly=yes", "-i", str(Path(node.identity).expanduser())]
    if node.jump:
        words += ["-o", f"ProxyCommand={_through(cluster, node.jump, own_keys)}"]
    return tuple(words)


def _through(cluster: Cluster, jump: str, own_keys: Path) -> str:
    """The command that carries a connection over a jump host; `ssh -J` would not give our keys and host keys to it."""
    *before, last = jump.split(",")
    known = cluster.nodes.get(last)
    if known is None:
        user, _, rest = last.rpartition("@")
        host, _, port = rest.partition(":")
        known = Node(name=last, host=host, user=user or None, port=int(port) if port.isdigit() else None)
        known = known.model_copy(update={"jump": ",".join(before) or None})
    words: Sequence[str] = _ssh(cluster, known, own_keys)
    return f"{join(each.replace('%', '%%') for each in words)} -W '[%h]:%p' -- {join([known.host.replace('%', '%%')])}"


def _file(path: Path) -> str:
    """A file name inside an option that takes several, where `%` starts a token."""
    return '"' + str(path).replace("%", "%%") + '"'
