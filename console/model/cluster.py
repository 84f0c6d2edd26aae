"""A cluster as its operator writes it down: nodes, how to reach them, what hardware they have, how engines run on them."""

from __future__ import annotations

import ipaddress
import re
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from console.model.hardware import HARDWARE, Hardware, named_hardware
from console.model.key_positions import Source


class Written(BaseModel):
    """Base of everything an operator writes: immutable, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Runtime(Written):
    """How an engine is run on a node: in a container that is already there, in one of its own, or on the host itself."""

    kind: Literal["docker", "podman", "host"] = "host"
    per: Literal["node", "engine"] = "node"
    """`node`: all engines in `container`, which is there already. `engine`: each in a container that is made from `image` for
    every start and removed by a stop."""
    container: str = "vllm-ascend"
    """The one that `per: node` runs everything in; it must be there."""
    image: str = ""
    command: tuple[str, ...] = ()
    """Words that run the container tool; empty means the kind's own name. For odd installs: `[sudo, podman, --runtime, runc]`."""
    run_flags: tuple[str, ...] = ()
    """Further flags of `docker run` when we create the container."""

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
    """One machine and the way to it."""

    name: str = ""
    """Filled from its key."""
    host: str = ""
    """Address or name to dial; anything `~/.ssh/config` knows works. Defaults to the node's name."""
    port: int | None = Field(default=None, ge=1, le=65535)
    """SSH port; unset leaves it to the SSH configuration, then 22."""
    user: str | None = None
    identity: str | None = None
    """Path of a private key on the jump host."""
    jump: str | None = None
    """A node name of this file, or anything SSH configuration knows."""
    ip: str | None = None
    """Service address the engines bind to and advertise; defaults to `host`."""
    nic: str | None = None
    """Interface that holds `ip`."""
    hardware: Hardware = HARDWARE["a3"]
    runtime: Runtime = Runtime()
    sudo: bool = False
    python: str = "python3"
    """Interpreter for the helper (3.7 or later)."""
    base: str = "/var/tmp/dsv4-console"
    """Root of the run directories on the node."""
    env_file: str | None = None
    """File sourced before an engine; unset means the CANN environment where it exists."""
    http: Literal["tunnel", "direct"] = "tunnel"
    """How the console speaks HTTP to engines: through the SSH connection, or straight from the jump host."""

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
            raise ValueError(f"{value!r} is no IP address; a name belongs into host") from None

    @field_validator("host", "user", "jump")
    @classmethod
    def _no_option(cls, value: str | None) -> str | None:
        """None of its parts may be taken for an option, or for several words, by a program that is given it."""
        parts = [] if value is None else [word for hop in value.split(",") for word in (hop, hop.rpartition("@")[2])]
        if any(not part or part.startswith("-") or not part.isprintable() or " " in part for part in parts):
            raise ValueError(f"{value!r} is no name or address: it starts with `-`, is empty or has a space in it")
        return value

    @field_validator("base")
    @classmethod
    def _absolute(cls, value: str) -> str:
        if not value.startswith("/") or not value.isprintable():
            raise ValueError(f"{value!r} is no absolute path")
        return value


class SshFiles(Written):
    """Which SSH files of the jump host are read."""

    config: str = "~/.ssh/config"
    known_hosts: str = "~/.ssh/known_hosts"


class Alerts(Written):
    """Who is told when something is wrong though nobody looks."""

    command: tuple[str, ...] = ()
    """argv, run without a shell on the jump host; the alert comes as JSON on its standard input."""
    webhook: SecretStr | None = None
    """http or https address that takes the same JSON; it often holds a token, so it is never shown."""
    every: float = Field(default=60.0, ge=1.0, le=86400.0)
    """Least time between two messages, seconds; what comes in between goes together."""
    hold: float = Field(default=5.0, ge=0.0, le=3600.0)
    """How long something must hold before it is an alert, seconds."""
    level: Literal["warning", "error"] = "warning"
    """From which level on messages are sent."""

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
    """Values every node starts from; `runtime` is merged key by key, all others are replaced."""
    source: Source | None = Field(default=None, exclude=True, repr=False)
    """Where each key stands in its file; set by the loader, never written."""

    @field_validator("nodes")
    @classmethod
    def _node_names(cls, value: dict[str, Node]) -> dict[str, Node]:
        for name in value:
            if not re.fullmatch(r"[^\W_][\w.@:-]{0,63}", name):
                raise ValueError(f"{name!r} is no name for a node (letters, digits and . _ - : @, at most 64)")
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
        """Whether acts need `--write`: true for clusters tagged production."""
        return "production" in self.tags
