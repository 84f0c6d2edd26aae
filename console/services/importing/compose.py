"""Imports docker-compose files: services that start a server become engines on one node (Compose specification, services)."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

from pydantic import JsonValue

from console.files import Document
from console.services.importing.environment import interpolated
from console.services.importing.shell_scripts import (
    Followed,
    Script,
    Unknowns,
    contained_start,
    fault,
    settings_file,
)
from console.services.importing.shell_scripts.unknowns import without_private

_CONTAINER_KEYS = {
    *(
        "volumes",
        "devices",
        "shm_size",
        "privileged",
        "cap_add",
        "ulimits",
        "ipc",
        "pid",
        "security_opt",
        "tmpfs",
        "configs",
    ),
    *(
        "secrets",
        "mem_limit",
        "cpus",
        "cpuset",
        "group_add",
        "user",
        "runtime",
        "working_dir",
        "dns",
        "extra_hosts",
        "pull_policy",
    ),
    *("ports", "expose", "networks", "deploy", "restart", "healthcheck", "labels", "logging", "profiles", "extends"),
}
"""Keys about the container, not about what runs in it: the console makes its own containers."""
_READ = {"image", "environment", "env_file", "command", "entrypoint", "container_name", "hostname", "network_mode"}
_QUIET = {
    "depends_on",
    "stdin_open",
    "tty",
    "stop_grace_period",
    "init",
    "stop_signal",
    "platform",
    "build",
    "annotations",
}


def is_compose(document: Document) -> bool:
    """Whether the document has services, as a compose file has."""
    value = document.value
    services = value.get("services") if isinstance(value, dict) else None
    return isinstance(services, dict) and any(
        isinstance(each, dict) and {"image", "command", "build", "extends"} & set(each) for each in services.values()
    )


def read_compose(document: Document, unknowns: Unknowns, files: Mapping[str, Script]) -> Followed:
    """What the services start. `files` are the other given files by name: environment files and scripts."""
    found = Followed(unknowns)
    reader = _Reader(document, unknowns, files, found)
    assert isinstance(document.value, dict)
    services = document.value["services"]
    assert isinstance(services, dict)
    for name, service in services.items():
        if isinstance(service, dict):
            reader.service(name, service)
    return found


class _Reader:
    """Reads one compose file."""

    def __init__(self, document: Document, unknowns: Unknowns, files: Mapping[str, Script], found: Followed) -> None:
        self._source = document.source
        self._unknowns = unknowns
        self._files = files
        self._found = found
        self._known = settings_file(files[".env"].text) if ".env" in files else {}

    def service(self, name: str, service: Mapping[str, JsonValue]) -> None:
        """Add what one service starts."""
        before = self._count()
        image = self._text(service.get("image"), name, "image")
        env = self._environment(name, service)
        words = [*self._words(name, service, "entrypoint"), *self._words(name, service, "command")]
        line = self._line("services", name, "command")
        if words and "entrypoint" not in service and words[0].startswith("-"):
            words = ["vllm", "serve", *words]
        elif words and "entrypoint" not in service and words[0] == "serve":
            words = ["vllm", *words]
        if words:
            given = contained_start(
                words, env, self._unknowns, (self._source.path, line), image=image, files=self._files
            )
            self._found.started += given.started
            self._found.proxies += given.proxies
            self._found.services += given.services
            self._found.notes += given.notes
            self._found.questions += given.questions
        if before == self._count():
            self._note("starts no server; left out", "services", name)
            return
        for key in service:
            if key in _CONTAINER_KEYS:
                self._note(
                    "not carried over: the console makes its own containers (`containers`)", "services", name, key
                )
            elif key not in _READ | _QUIET:
                self._note("is not read", "services", name, key)
        deploy = service.get("deploy")
        replicas = deploy.get("replicas") if isinstance(deploy, dict) else service.get("scale")
        if isinstance(replicas, int) and replicas > 1:
            self._note(f"{replicas} replicas: the layout has one; give its group `count: {replicas}`", "services", name)

    def _count(self) -> int:
        return len(self._found.started) + len(self._found.proxies) + len(self._found.services)

    def _environment(self, name: str, service: Mapping[str, JsonValue]) -> dict[str, str]:
        env: dict[str, str] = {}
        files = service.get("env_file") or []
        for each in files if isinstance(files, list) else [files]:
            path = str(each.get("path") if isinstance(each, dict) else each)
            script = self._files.get(path.rpartition("/")[2])
            if script is None:
                self._note(f"{path} is not read. Give it too: import FILE {path}", "services", name, "env_file")
            else:
                env |= settings_file(script.text)
        written = service.get("environment") or {}
        if isinstance(written, list):
            pairs = [
                (str(each).partition("=")[0], str(each).partition("=")[2] if "=" in str(each) else None)
                for each in written
            ]
        else:
            pairs = [
                (key, value if value is None else str(value).lower() if isinstance(value, bool) else str(value))
                for key, value in (written.items() if isinstance(written, dict) else ())
            ]
        for key, value in pairs:
            env[key] = self._text(f"${{{key}}}" if value is None else value, name, "environment")
        return env

    def _words(self, name: str, service: Mapping[str, JsonValue], key: str) -> list[str]:
        value = service.get(key)
        if value is None:
            return []
        if isinstance(value, list):
            return [self._text(each, name, key) for each in value]
        text = self._text(value, name, key)
        try:
            return shlex.split(text)
        except ValueError as error:
            line = self._line("services", name, key)
            raise fault(self._source.path, line, f"cannot be split into words: {error}", key) from None

    def _text(self, value: JsonValue, name: str, key: str) -> str:
        line = self._line("services", name, key)
        text = without_private("" if value is None else str(value))
        return interpolated(text, self._known, self._unknowns, self._source.path, line)

    def _line(self, *path: str) -> int:
        mark = self._source.mark(*path)
        return mark.line if mark else 0

    def _note(self, message: str, *path: str) -> None:
        self._found.notes.append(f"{self._source.where(*path)}: {path[-1]}: {message}")
