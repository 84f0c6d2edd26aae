"""Imports one shell script."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from console.services.importing.deployment_builder import deployed
from console.services.importing.external_deployment import ExternalDeployment
from console.services.importing.shell_scripts import Script, Unknowns, fault, follow, without_private


def read_script(
    text: str,
    path: str,
    name: str,
    *,
    arguments: Sequence[str] = (),
    hardware: str = "",
    settings: Mapping[str, str] | None = None,
) -> ExternalDeployment:
    """What the script starts. `arguments` are its `$1`, `$2` …; `settings` are values for its unknown variables.

    Raises FileError when it starts no server, or when a value that a layout needs is unknown.
    """
    unknowns = Unknowns(dict(settings or {}))
    followed = follow([Script(path, without_private(text))], unknowns, arguments)
    if not followed.started:
        raise fault(path, 0, "there is no `vllm serve MODEL` in it")
    return deployed([followed], name, hardware=hardware)
