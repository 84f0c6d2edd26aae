"""The release that a demo node says it has: that of the layout the demo is made for, else vllm-ascend v0.21.0rc1.

What the simulated engine does is what was seen of vLLM 0.21.0, whatever it says.
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
    """Whether the node's vLLM is that one or a later one."""
    first, second = os.environ.get(VLLM_VARIABLE, VLLM).split(".")[:2]
    return (int(first), int(second)) >= (major, minor)
