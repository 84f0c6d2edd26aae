"""What the name of a container image says: its tag, and the hardware it is built for. Asks no registry."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from console.model.layout import Layout

_KINDS = {"a3": "a3", "a5": "a5", "950dt": "a5", "950pr": "a5", "310p": "310p"}
"""Suffix of vllm-ascend's tags → the kind of hardware it stands for; without one an image is for A2 (its Dockerfiles)."""
_UPSTREAM_TAG = re.compile(r"(?i)v?\d+\.\d|main\b|nightly\b|latest\b|releases\b|deepseek")
"""Tags that vllm-ascend publishes, so that the missing suffix means something; a name of one's own need not follow it."""


def tag_of(image: str) -> str:
    """The tag of an image's name; empty when it has none. A registry's port and a digest are no tag."""
    name = image.partition("@")[0].rpartition("/")[2]
    return name.rpartition(":")[2] if ":" in name else ""


def built_for(image: str) -> str:
    """The kind of hardware an image of vllm-ascend is built for, such as `a2` or `a3`; empty when its tag does not say it."""
    tag = tag_of(image)
    parts = tag.lower().split("-")
    for suffix, kind in _KINDS.items():
        if suffix in parts:
            return kind
    return "a2" if _UPSTREAM_TAG.match(tag) else ""


def release_named(layout: Layout) -> str:
    """The release that a layout says it is for: its `version`, else the tag of its image; empty when it says none."""
    return layout.version or tag_of(layout.image)


def with_release(image: str, release: str) -> str:
    """The image of another release: the start of its tag changed, its suffixes kept; unchanged when its tag names no release."""
    tag = tag_of(image)
    found = re.match(r"(v?)\d+\.\d+(?:\.\d+)?(?:rc\d+)?(?:\.post\d+)?(?=$|[-+])", tag)
    if not found:
        return image
    name = image.partition("@")[0]
    return f"{name[: len(name) - len(tag)]}{found[1]}{release.removeprefix('v')}{tag[found.end() :]}"
