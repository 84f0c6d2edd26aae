"""What was renamed, replaced or given another meaning from one vllm-ascend release to a later one.

Read by hand in release notes and sources; each entry of `renames.json` names its own. A setting is named `flag`,
`flag.key` or by its variable.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Any, Literal

from console.releases.facts import Release, names

As = Literal["", "bool", "int"]


@dataclass(frozen=True, slots=True)
class Rename:
    """A setting that another one replaces."""

    old: str
    since: str
    """The first vllm-ascend release that takes the new one."""
    source: str
    new: str = ""
    """The setting that means the same; empty when nothing does exactly, `hint` then says what to do."""
    becomes: As = ""
    """What the text of a variable becomes: `1` a number or true; empty: as it is."""
    hint: str = ""
    note: str = ""
    """What is not sure of it."""
    only_gone: bool = False
    """Whether the old one is only replaced where it is not known any more."""


@dataclass(frozen=True, slots=True)
class MeaningChange:
    """A setting that a release takes differently from the one before."""

    setting: str
    since: str
    before: str
    after: str
    source: str
    value: str = ""
    """The only value that it is about; empty for any."""


def rename_of(setting: str, release: Release) -> Rename | None:
    """What replaces a setting in a release, from the newest entry up to it; None when nothing is known to."""
    order = names()
    found = [each for each in _renames() if each.old == setting and each.since in order]
    found = [each for each in found if order.index(each.since) <= order.index(release.name)]
    found = [each for each in found if not each.new or known_setting(each.new, release)]
    return max(found, key=lambda each: order.index(each.since), default=None)


def meaning_changes(setting: str, value: str, old: Release, new: Release) -> Iterator[tuple[str, str, str]]:
    """(release, before, after) of each change of meaning between two releases, as seen on the way from old to new."""
    order = names()
    first, last = sorted((order.index(old.name), order.index(new.name)))
    for each in _changes():
        if each.setting == setting and each.value in ("", value) and first < order.index(each.since) <= last:
            on = order.index(new.name) > order.index(old.name)
            yield (each.since, each.before, each.after) if on else (each.since, each.after, each.before)


def known_setting(setting: str, release: Release) -> bool:
    """Whether a release has a setting: a variable, a flag, or a key of a flag as far as its keys are known."""
    if setting.isupper():
        return setting in release.env
    flag, _, key = setting.partition(".")
    if flag not in release.flags or not key:
        return flag in release.flags
    top = key.partition(".")[0]
    keys = release.flags[flag].keys
    return top in release.additional if flag == "additional-config" else keys is None or top in keys


def shown_setting(name: str) -> str:
    """`--flag`, `key of --flag`, or the variable."""
    flag, _, key = name.partition(".")
    if name.isupper():
        return name
    return f"{key} of --{flag}" if key else f"--{flag}"


@lru_cache(maxsize=1)
def _renames() -> tuple[Rename, ...]:
    return tuple(
        Rename(**{"becomes" if key == "as" else key: value for key, value in each.items()}) for each in _data("renames")
    )


@lru_cache(maxsize=1)
def _changes() -> tuple[MeaningChange, ...]:
    return tuple(MeaningChange(**each) for each in _data("changes"))


def _data(part: str) -> list[dict[str, Any]]:
    text = resources.files("console.releases").joinpath("renames.json").read_text(encoding="utf-8")
    found: list[dict[str, Any]] = json.loads(text)[part]
    return found
