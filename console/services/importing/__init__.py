"""Foreign deployments as layouts: vllm-ascend's CI configurations, and shell scripts as people have them.

Every reader makes a `Foreign` of what it finds; one builder makes the layout. Nothing is run and no address is taken as real.
"""

from __future__ import annotations

from console.services.importing.building import Imported, build, placed, renamed
from console.services.importing.ci_configs import read_ci_config
from console.services.importing.scripts import read_script

__all__ = ["Imported", "build", "placed", "read_ci_config", "read_script", "renamed"]
