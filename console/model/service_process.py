"""A service beside the engines, such as the master of a KV pool: its command, node, port and health check."""

from __future__ import annotations

from pydantic import Field, field_validator

from console.model.cluster import Written
from console.model.layout_texts import Environment


class ServiceHealthCheck(Written):
    """How the console checks a service."""

    path: str = ""
    """A GET of this path must return a status below 400; empty: the port must accept a connection."""
    port: int | None = Field(default=None, ge=1, le=65535)
    """The port of the check; the default is the port of the service."""

    @field_validator("path")
    @classmethod
    def _absolute(cls, value: str) -> str:
        if value and (not value.startswith("/") or not value.isascii() or not value.isprintable() or " " in value):
            raise ValueError(f"{value!r} is not a path; write one such as /health")
        return value


class ServiceProcess(Written):
    """A process that starts before the engines and stops after them."""

    command: tuple[str, ...] = Field(min_length=1)
    """argv, run without a shell; facts in braces are filled in (`{address}`, `{address:prefill/0}`)."""
    node: str = ""
    """`GROUP/INDEX` of the layout, or a node name; empty means the first node of the first group."""
    port: int | None = Field(default=None, ge=1, le=65535)
    """The port that it listens on; without a port the console only checks that the process runs."""
    health: ServiceHealthCheck = ServiceHealthCheck()
    env: Environment = Field(default_factory=dict)
    """Its variables, with facts as in the command; variables of the layout are for engines only."""

    @field_validator("command", mode="before")
    @classmethod
    def _words(cls, value: object) -> object:
        """Turns numbers into words, and refuses a text, which is not a list of words."""
        if isinstance(value, str):
            raise ValueError("write the command as a list of words: [mooncake_master, --port, 50051]")
        if not isinstance(value, list):
            return value
        return [str(word) if isinstance(word, int | float) and not isinstance(word, bool) else word for word in value]

    @field_validator("command")
    @classmethod
    def _program(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value[0]:
            raise ValueError("the first word is the program and cannot be empty")
        return value
