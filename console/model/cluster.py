"""A cluster as its operator describes it: nodes, how to reach them, their hardware, and how engines run on them."""

from __future__ import annotations

import ipaddress
import re
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from console.model.hardware import HARDWARE, Hardware, named_hardware
from console.model.key_positions import Source


class Written(BaseModel):
    """Base of all data in files of an operator: immutable; an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Runtime(Written):
    """How engines run on a node: in an existing container, each in its own container, or on the host."""

    kind: Literal["docker", "podman", "host"] = "host"
    per: Literal["node", "engine"] = "node"
    """`node`: all engines run in `container`, which exists already. `engine`: each start creates a container from `image` for the
    engine, and a stop removes it."""
    container: str = "vllm-ascend"
    """The existing container that `per: node` uses."""
    image: str = ""
    """The image of containers that the console creates; the default is that of the layout."""
    command: tuple[str, ...] = ()
    """The command of the container tool, for example `[sudo, podman, --runtime, runc]`; the default is the value of `kind`."""
    run_flags: tuple[str, ...] = ()
    """More flags of `docker run` when the console creates the container."""

    @field_validator("command", "run_flags", mode="before")
    @classmethod
    def _words(cls, value: object) -> object:
        return tuple(value.split()) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _one_each(self) -> Runtime:
        if self.per == "engine" and self.kind == "host":
            raise ValueError("per: engine needs kind: docker or podman")
        return self

    @property
    def words(self) -> tuple[str, ...]:
        """The container tool as argv; empty on a host runtime."""
        return self.command or (() if self.kind == "host" else (self.kind,))


class Node(Written):
    """One machine, and how to reach it."""

    name: str = ""
    """Taken from its key in `nodes`."""
    host: str = ""
    """Address or name for SSH; names of `~/.ssh/config` work too. The default is the name of the node."""
    port: int | None = Field(default=None, ge=1, le=65535)
    """SSH port; the default comes from the SSH configuration, else 22."""
    user: str | None = None
    identity: str | None = None
    """Path of a private key on the jump host."""
    jump: str | None = None
    """The jump host: a node of this file, or a name that the SSH configuration knows."""
    ip: str | None = None
    """Service address that engines bind and advertise; the default is `host`."""
    nic: str | None = None
    """Network interface that has the address `ip`."""
    hardware: Hardware = HARDWARE["a3"]
    runtime: Runtime = Runtime()
    sudo: bool = False
    """Run the console's commands on the nodes with `sudo -n`."""
    python: str = "python3"
    """Interpreter for the helper (3.7 or later)."""
    base: str = "/var/tmp/dsv4-console"
    """Directory on the node that holds the run directories."""
    env_file: str | None = None
    """File that is sourced before an engine starts; the default is the CANN environment, if it exists."""
    http: Literal["tunnel", "direct"] = "tunnel"
    """How the built-in load generator reaches the HTTP port of engines: through the SSH connection, whose sshd must allow port
    forwarding, or directly from the jump host. Everything else is asked on the node."""

    @field_validator("hardware", mode="before")
    @classmethod
    def _hardware(cls, value: object) -> object:
        return named_hardware(value)

    @field_validator("ip")
    @classmethod
    def _address(cls, value: str | None) -> str | None:
        try:
            return value if value is None else str(ipaddress.ip_address(value))
        except ValueError:
            raise ValueError(f"{value!r} is not an IP address; for a name use host") from None

    @field_validator("host", "user", "jump")
    @classmethod
    def _no_option(cls, value: str | None) -> str | None:
        """Refuses parts that a program could take for an option or for several arguments."""
        parts = [] if value is None else [word for hop in value.split(",") for word in (hop, hop.rpartition("@")[2])]
        if any(not part or part.startswith("-") or not part.isprintable() or " " in part for part in parts):
            raise ValueError(f"{value!r} is not a name or address: it is empty, starts with `-` or contains a space")
        return value

    @field_validator("base")
    @classmethod
    def _absolute(cls, value: str) -> str:
        if not value.startswith("/") or not value.isprintable():
            raise ValueError(f"{value!r} is not an absolute path")
        return value


class SshFiles(Written):
    """The SSH files of the jump host that the console reads."""

    config: str = "~/.ssh/config"
    known_hosts: str = "~/.ssh/known_hosts"


class Alerts(Written):
    """Where alerts are sent."""

    command: tuple[str, ...] = ()
    """argv of a command on the jump host; it runs without a shell and gets the alert as JSON on stdin."""
    webhook: SecretStr | None = None
    """http or https address that gets the same JSON; it is never shown, because it often contains a token."""
    every: float = Field(default=60.0, ge=1.0, le=86400.0)
    """Least time between two messages in seconds; alerts in between are sent together."""
    hold: float = Field(default=5.0, ge=0.0, le=3600.0)
    """How long a condition must hold before it becomes an alert, in seconds."""
    level: Literal["warning", "error"] = "warning"
    """The lowest level of alerts that are sent."""

    @field_validator("webhook")
    @classmethod
    def _address(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not re.fullmatch(r"https?://[^\s/]+(/\S*)?", value.get_secret_value()):
            raise ValueError("not an http or https address")
        return value


class Cluster(Written):
    """A named set of nodes."""

    name: str
    nodes: dict[str, Node]
    ssh: SshFiles = SshFiles()
    tags: tuple[str, ...] = ()
    alerts: Alerts = Alerts()
    defaults: dict[str, object] = Field(default_factory=dict)
    """Default values of every node; `runtime` is merged key by key, other keys of a node replace the default."""
    source: Source | None = Field(default=None, exclude=True, repr=False)
    """The place of each key in the file; set by the loader, never written."""

    @field_validator("nodes")
    @classmethod
    def _node_names(cls, value: dict[str, Node]) -> dict[str, Node]:
        for name in value:
            if not re.fullmatch(r"[^\W_][\w.@:-]{0,63}", name):
                raise ValueError(f"{name!r} is not a valid node name (letters, digits and . _ - : @, at most 64)")
        return value

    @model_validator(mode="before")
    @classmethod
    def _merge_defaults(cls, data: object) -> object:
        if not isinstance(data, dict) or not isinstance(data.get("nodes"), dict):
            return data
        defaults = data.get("defaults") or {}
        if not isinstance(defaults, dict):
            return data
        nodes = {}
        for name, own in data["nodes"].items():
            own = {} if own is None else own
            if not isinstance(own, dict):
                nodes[name] = own
                continue
            merged = {**defaults, **own, "name": str(name)}
            both = (defaults.get("runtime"), own.get("runtime"))
            if all(isinstance(each, dict) for each in both):
                merged["runtime"] = {**both[0], **both[1]}  # type: ignore[dict-item]
            merged.setdefault("host", str(name))
            nodes[str(name)] = merged
        return {**data, "nodes": nodes}

    @property
    def read_only(self) -> bool:
        """Whether changes need `--write`: true for clusters with the tag production."""
        return "production" in self.tags
