"""Exports a systemd unit per engine and a target per group; a group starts and stops as one."""

from __future__ import annotations

from collections.abc import Iterator

from console.commands.container import run_container
from console.commands.launch_scripts import rank_script
from console.model.cluster import Node
from console.model.deployment import Deployment, Rank
from console.model.role import BESIDE_ENGINES
from console.services.exporting.shell_folders import ExportedFile, launched

PREFIX = "/opt/dsv4-console"
STOP_S = 60


def systemd_units(deployment: Deployment) -> tuple[ExportedFile, ...]:
    """Per node: units for /etc/systemd/system, scripts for /opt/dsv4-console/DEPLOYMENT. Raises UsageError as `launched`."""
    return tuple(_files(deployment))


def _files(deployment: Deployment) -> Iterator[ExportedFile]:
    targets: set[tuple[str, str]] = set()
    for rank in launched(deployment):
        node = deployment.node(rank.node)
        root = f"{rank.node}{PREFIX}/{deployment.name}"
        yield ExportedFile(f"{root}/{rank.id}/cmd.sh", rank_script(deployment, rank), executable=True)
        yield ExportedFile(
            f"{rank.node}/etc/systemd/system/{_unit(deployment, rank.id)}.service", _service(deployment, rank, node)
        )
        if (rank.node, rank.group) not in targets:
            targets.add((rank.node, rank.group))
            name = _unit(deployment, rank.group)
            yield ExportedFile(f"{rank.node}/etc/systemd/system/{name}.target", _target(deployment, rank))


def _unit(deployment: Deployment, name: str) -> str:
    return f"dsv4-{deployment.name}-{name}" if name != "proxy" else f"dsv4-{deployment.name}-the-proxy"


def _target(deployment: Deployment, rank: Rank) -> str:
    members = [each.id for each in launched(deployment) if (each.node, each.group) == (rank.node, rank.group)]
    wants = " ".join(f"{_unit(deployment, each)}.service" for each in members)
    lines = [
        "[Unit]",
        f"Description={_text(f'{rank.group} of {deployment.name} on {rank.node}')}",
        f"Wants={wants}",
        "",
    ]
    return "\n".join([*lines, "[Install]", "WantedBy=multi-user.target", ""])


def _service(deployment: Deployment, rank: Rank, node: Node) -> str:
    script = f"{PREFIX}/{deployment.name}/{rank.id}/cmd.sh"
    lines = [
        "[Unit]",
        f"Description={_text(f'{rank.id} of {deployment.name} (rank {rank.dp_rank} of {rank.dp_size})')}",
        "After=network-online.target" + ("" if node.runtime.kind == "host" else " docker.service"),
        "Wants=network-online.target",
        f"PartOf={_unit(deployment, rank.group)}.target",
        "",
        "[Service]",
        "Type=exec",
    ]
    if rank.role not in BESIDE_ENGINES and deployment.layout.groups[rank.group].restart.policy != "never":
        lines.append(
            "# The layout's restart policy is not here: one rank cannot rejoin its group. See dsv4-console auto-restart."
        )
    if node.runtime.kind == "host":
        lines += [f"ExecStart={_words('/usr/bin/env', 'bash', script)}", "KillMode=control-group"]
    else:
        name = _unit(deployment, rank.id)
        tool = node.runtime.words
        words = run_container(deployment, node, name=name, mounts=(f"{PREFIX}/{deployment.name}",))
        foreground = tuple(word for word in words if word != "-d")
        lines += [
            f"ExecStartPre=-{_words('/usr/bin/env', *tool, 'rm', '-f', name)}",
            f"ExecStart={_words('/usr/bin/env', *foreground, 'bash', script)}",
            f"ExecStop={_words('/usr/bin/env', *tool, 'stop', '-t', str(STOP_S), name)}",
        ]
    lines += [
        f"TimeoutStopSec={STOP_S + 30}",
        "SendSIGHUP=no",
        "Restart=no",
        "LimitNOFILE=1048576",
        "LimitMEMLOCK=infinity",
        "OOMScoreAdjust=-500",
        "",
    ]
    return "\n".join(lines)


def _words(*words: str) -> str:
    """Arguments quoted for systemd (systemd.service, COMMAND LINES): always quoted, `%` and `$` doubled."""
    return " ".join(_word(word) for word in words)


def _word(word: str) -> str:
    safe = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$").replace("\n", "\\n")
    return safe if safe == word and word and not any(char in " \t';" for char in word) else f'"{safe}"'


def _text(text: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in text).replace("%", "%%")
