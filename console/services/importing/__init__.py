"""Imports CI configurations, compose files, Kubernetes manifests and shell scripts as layouts.

Each reader finds what its file starts; one builder makes the layout. Runs nothing, and never connects to an address in a file.
"""

from __future__ import annotations

from console.services.importing.ci_configs import read_ci_config
from console.services.importing.layout_builder import Imported, build, placed, renamed
from console.services.importing.scripts import read_script
from console.services.importing.sources import read_files

__all__ = ["Imported", "build", "placed", "read_ci_config", "read_files", "read_script", "renamed"]
