"""The `ssh` command that opens a shell on a node or in a container, with the route and the host keys of the console's links.

Does not run it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from console.commands.quoting import join
from console.model.cluster import Cluster, Node, SshFiles

_INSIDE = ("sh", "-c", "command -v bash >/dev/null && exec bash || exec sh")
"""Uses sh, because an image may not have bash."""


def shell_words(cluster: Cluster, node: Node, own_keys: Path, container: str = "") -> tuple[str, ...]:
    """argv of an interactive `ssh` to a node, or to a shell in a container on it.

    Only host keys in `own_keys` (accepted in this console) and in the file of the operator are trusted.
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
        words += ["-o", f"ProxyCommand={_proxy_command(cluster, node.jump, own_keys)}"]
    return tuple(words)


def _proxy_command(cluster: Cluster, jump: str, own_keys: Path) -> str:
    """The proxy command for a jump host. `ssh -J` would not use the identity and the host keys of the console for it."""
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
    """A file name for an option with several names, in which `%` starts a token."""
    return '"' + str(path).replace("%", "%%") + '"'
