"""Reads the name of a container image: its tag, its hardware and its release. Does not ask a registry."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from console.model.layout import Layout

_KINDS = {"a3": "a3", "a5": "a5", "950dt": "a5", "950pr": "a5", "310p": "310p"}
"""Suffix of a tag of vllm-ascend → kind of hardware; an image without a suffix is for A2 (its Dockerfiles)."""
_UPSTREAM_TAG = re.compile(r"(?i)v?\d+\.\d|main\b|nightly\b|latest\b|releases\b|deepseek")
"""Tags that vllm-ascend publishes: only for these a missing suffix means A2."""


def tag_of(image: str) -> str:
    """The tag of an image name; empty without one. The port of a registry and a digest are not tags."""
    name = image.partition("@")[0].rpartition("/")[2]
    return name.rpartition(":")[2] if ":" in name else ""


def built_for(image: str) -> str:
    """The kind of hardware of a vllm-ascend image, for example `a2` or `a3`; empty when the tag does not show it."""
    tag = tag_of(image)
    parts = tag.lower().split("-")
    for suffix, kind in _KINDS.items():
        if suffix in parts:
            return kind
    return "a2" if _UPSTREAM_TAG.match(tag) else ""


def release_named(layout: Layout) -> str:
    """The release of a layout as text: its `version`, else the tag of its image; empty without both."""
    return layout.version or tag_of(layout.image)


def with_release(image: str, release: str) -> str:
    """The same image for another release, with the suffixes of its tag kept; unchanged when the tag does not name a release."""
    tag = tag_of(image)
    found = re.match(r"(v?)\d+\.\d+(?:\.\d+)?(?:rc\d+)?(?:\.post\d+)?(?=$|[-+])", tag)
    if not found:
        return image
    name = image.partition("@")[0]
    return f"{name[: len(name) - len(tag)]}{found[1]}{release.removeprefix('v')}{tag[found.end() :]}"
