"""A service beside the engines of a layout, such as the master of a KV pool: its command, its node, its port, its health."""

from __future__ import annotations

from pydantic import Field, field_validator

from console.model.cluster import Written
from console.model.layout_texts import Environment


class ServiceHealthCheck(Written):
    """How a service is asked whether it works."""

    path: str = ""
    """GET of this must answer below 400; empty: the port must take a connection."""
    port: int | None = Field(default=None, ge=1, le=65535)
    """Where, if not at the service's own port."""

    @field_validator("path")
    @classmethod
    def _absolute(cls, value: str) -> str:
        if value and (not value.startswith("/") or not value.isascii() or not value.isprintable() or " " in value):
            raise ValueError(f"{value!r} is no path; write one such as /health")
        return value


class ServiceProcess(Written):
    """One process that is started before the engines and stopped after them."""

    command: tuple[str, ...] = Field(min_length=1)
    """Its words, run without a shell; facts in braces are filled in (`{address}`, `{address:prefill/0}`)."""
    node: str = ""
    """`GROUP/INDEX` of the layout, or a node name; empty means the first node of the first group."""
    port: int | None = Field(default=None, ge=1, le=65535)
    """Where it listens; without one only its process is watched."""
    health: ServiceHealthCheck = ServiceHealthCheck()
    env: Environment = Field(default_factory=dict)
    """Its variables, with facts as in the command; those of the layout are for engines alone."""

    @field_validator("command", mode="before")
    @classmethod
    def _words(cls, value: object) -> object:
        """Numbers are words too; a text would be taken apart at its letters."""
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
