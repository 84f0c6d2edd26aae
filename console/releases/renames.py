"""Settings that a vllm-ascend release renamed, replaced or gave another meaning.

The data was collected by hand from release notes and sources; each entry of `renames.json` names its source. The name of a
setting is `flag`, `flag.key` or a variable.
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
    """The first vllm-ascend release with the new setting."""
    source: str
    new: str = ""
    """The setting with the same meaning; empty when there is none, then `hint` says what to do."""
    becomes: As = ""
    """The new type of the value of a variable: `int`, `bool`, or empty for text."""
    hint: str = ""
    note: str = ""
    """A known doubt about the replacement."""
    only_gone: bool = False
    """Whether the old setting is replaced only in releases that do not know it any more."""


@dataclass(frozen=True, slots=True)
class MeaningChange:
    """A setting that a release treats differently from the previous release."""

    setting: str
    since: str
    before: str
    after: str
    source: str
    value: str = ""
    """The only value that changes its meaning; empty: every value."""


def rename_of(setting: str, release: Release) -> Rename | None:
    """The replacement of a setting in a release, from the newest entry up to that release; None when none is known."""
    order = names()
    found = [each for each in _renames() if each.old == setting and each.since in order]
    found = [each for each in found if order.index(each.since) <= order.index(release.name)]
    found = [each for each in found if not each.new or known_setting(each.new, release)]
    return max(found, key=lambda each: order.index(each.since), default=None)


def meaning_changes(setting: str, value: str, old: Release, new: Release) -> Iterator[tuple[str, str, str]]:
    """(release, before, after) of each change of meaning between two releases, in the direction from old to new."""
    order = names()
    first, last = sorted((order.index(old.name), order.index(new.name)))
    for each in _changes():
        if each.setting == setting and each.value in ("", value) and first < order.index(each.since) <= last:
            on = order.index(new.name) > order.index(old.name)
            yield (each.since, each.before, each.after) if on else (each.since, each.after, each.before)


def known_setting(setting: str, release: Release) -> bool:
    """Whether a release has a setting: a variable, a flag, or a key of a flag when its keys are known."""
    if setting.isupper():
        return setting in release.env
    flag, _, key = setting.partition(".")
    if flag not in release.flags or not key:
        return flag in release.flags
    top = key.partition(".")[0]
    keys = release.flags[flag].keys
    return top in release.additional if flag == "additional-config" else keys is None or top in keys


def shown_setting(name: str) -> str:
    """A setting as text: `--flag`, `key of --flag`, or the variable."""
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
