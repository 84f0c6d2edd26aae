"""The release that a demo node reports: the release of the demo's layout, else vllm-ascend v0.21.0rc1.

The simulated engine always behaves as vLLM 0.21.0 did, whatever release it reports.
"""

from __future__ import annotations

import os
from typing import Final

RELEASE_VARIABLE: Final = "DSV4_DEMO_RELEASE"
VLLM_VARIABLE: Final = "DSV4_DEMO_VLLM"
RELEASE: Final = os.environ.get(RELEASE_VARIABLE, "0.21.0rc1")
"""Of vllm-ascend."""
VLLM: Final = os.environ.get(VLLM_VARIABLE, "0.21.0")


def since(major: int, minor: int) -> bool:
    """Whether the vLLM of the node is this version or a later one."""
    first, second = os.environ.get(VLLM_VARIABLE, VLLM).split(".")[:2]
    return (int(first), int(second)) >= (major, minor)
