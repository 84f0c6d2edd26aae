"""Exports a deployment as files that run without the console: shell folders, systemd units, Kubernetes manifests, nginx."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from console.model.deployment import Deployment
from console.services.exporting.lws import lws_manifests
from console.services.exporting.nginx import nginx_configuration
from console.services.exporting.shell_folders import ExportedFile, shell_folders
from console.services.exporting.systemd import systemd_units

FORMATS: Mapping[str, Callable[[Deployment], tuple[ExportedFile, ...]]] = {
    "sh": shell_folders,
    "systemd": systemd_units,
    "lws": lws_manifests,
    "nginx": nginx_configuration,
}
"""Format → the function that makes its files."""

__all__ = ["FORMATS", "ExportedFile", "lws_manifests", "nginx_configuration", "shell_folders", "systemd_units"]
