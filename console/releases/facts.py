"""The facts of one vllm-ascend release: which flags, variables, configuration keys and connectors it knows, and their defaults.

The data is made from the releases' own parsers by `make releases`. It is stored as differences from one release to the next
and put together here. Nothing is said of a release that the data does not hold.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib import resources
from typing import Any, Literal

from console.model.image_name import tag_of
from console.model.layout import Layout

Takes = Literal["nothing", "switch", "int", "size", "float", "json", "text"]
"""nothing: a bare flag. switch: a bare flag with a `--no-` form. size: a whole number with an optional k, m, g, or `auto`."""
Kind = Literal["flags", "env", "additional", "connectors"]


@dataclass(frozen=True, slots=True)
class Flag:
    """What the parser of `vllm serve` accepts after one flag."""

    takes: Takes
    many: bool = False
    """Whether several words may follow."""
    optional: bool = False
    """Whether it may also stand alone."""
    choices: tuple[str, ...] = ()
    """The values it allows; empty when it names none."""
    keys: Mapping[str, tuple[str, ...]] | None = None
    """The keys of its JSON value, each with the texts it allows (empty: any); None when any key may stand there."""
    same_as: str = ""
    """The flag whose other name this is."""


@dataclass(frozen=True, slots=True)
class Release:
    """A release of vllm-ascend with the vLLM that its image holds."""

    name: str
    """Without the `v`, for example `0.21.0rc1`."""
    vllm: str
    flags: Mapping[str, Flag]
    """By name without dashes; short names such as `tp` are among them."""
    env: frozenset[str]
    """Variables that vLLM or vllm-ascend reads and whose name starts with VLLM_."""
    additional: frozenset[str]
    """Top-level keys of `--additional-config`."""
    connectors: frozenset[str]
    """Names for `kv_connector`."""
    defaults: Mapping[str, str]
    """`flag`, `flag.key`, `additional-config.key` or a variable → its default as JSON, where the release has a plain one."""
    strict: bool
    """Whether an unknown key of `--additional-config` ends the start; else it is ignored."""
    sequence_parallel: frozenset[str]
    """Variables and keys of `--additional-config` each of which turns on sequence parallelism, which `enable_dsa_cp` needs."""

    def known(self, kind: Kind) -> frozenset[str]:
        """The names of a kind that this release knows."""
        return frozenset(self.flags) if kind == "flags" else getattr(self, kind)


def release_name(text: str) -> str:
    """The release that a layout's `version` or an image's tag names: `v0.21.0rc1-a3` → `0.21.0rc1`; empty when it names none."""
    found = re.match(r"v?(\d+\.\d+(?:\.\d+)?(?:rc\d+)?(?:\.post\d+)?)(?:$|[-+])", text)
    return found[1] if found else ""


def names() -> tuple[str, ...]:
    """The vllm-ascend releases the data holds, oldest first."""
    return tuple(_data("ascend"))


@lru_cache(maxsize=64)
def facts_of(name: str) -> Release | None:
    """The facts of a vllm-ascend release such as `0.21.0rc1`; None when the data does not hold it."""
    ascend = _unfolded("ascend")
    if name not in ascend or ascend[name]["vllm"] not in _unfolded("vllm"):
        return None
    own = ascend[name]
    vllm = _unfolded("vllm")[own["vllm"]]
    flags = {flag: _flag(spec) for flag, spec in vllm["flags"].items()}
    speculation = flags["speculative-config"]
    if speculation.keys is not None:
        methods = tuple(dict.fromkeys((*speculation.keys["method"], *own["methods"])))
        flags["speculative-config"] = replace(speculation, keys={**speculation.keys, "method": methods})
    return Release(
        name,
        own["vllm"],
        flags,
        frozenset(vllm["env"]) | frozenset(own["env"]),
        frozenset(own["additional"]),
        frozenset(vllm["connectors"]) | frozenset(own["connectors"]),
        {**vllm["defaults"], **own["defaults"]},
        own["unknown_keys"] == "refused",
        frozenset(own["sequence_parallel"]),
    )


def release_of(layout: Layout) -> Release | None:
    """The facts of the layout's release, from `version`, else from the tag of its image; None without facts."""
    return facts_of(release_name(layout.version) or release_name(tag_of(layout.image)))


def first_and_last(kind: Kind, name: str) -> tuple[str, str]:
    """The first and the last release that knows a name of a kind; empty texts when none does."""
    knowing = [each for each in names() if (facts := facts_of(each)) is not None and name in facts.known(kind)]
    return (knowing[0], knowing[-1]) if knowing else ("", "")


def gone_since(kind: Kind, name: str, release: str) -> str:
    """The release since which a name of a kind is missing up to `release`, which lacks it; empty when none before had it."""
    return _gone_and_come(release, lambda facts: name in facts.known(kind))[0]


def key_history(flag: str, key: str, release: str) -> str:
    """`gone since X` or `there since X` of a key of a JSON flag that `release` lacks; empty when no release has it."""
    return _history(release, lambda facts: key in (((spec := facts.flags.get(flag)) and spec.keys) or ()))


def value_history(flag: str, key: str, value: str, release: str) -> str:
    """The same of a value of a flag, or of a key of it."""

    def allows(facts: Release) -> bool:
        spec = facts.flags.get(flag)
        return spec is not None and value in ((spec.keys or {}).get(key, ()) if key else spec.choices)

    return _history(release, allows)


def _history(release: str, knows: Callable[[Release], bool]) -> str:
    gone, come = _gone_and_come(release, knows)
    return f"gone since {gone}" if gone else f"there since {come}" if come else ""


def _gone_and_come(release: str, knows: Callable[[Release], bool]) -> tuple[str, str]:
    """Since when `release` lacks something that one before had, and the first one after it that has it; empty texts for never."""
    order, at = names(), names().index(release)
    having = [index for index, each in enumerate(order) if (facts := facts_of(each)) is not None and knows(facts)]
    before, after = [index for index in having if index < at], [index for index in having if index > at]
    return order[before[-1] + 1] if before else "", order[after[0]] if after else ""


def _flag(spec: Any) -> Flag:
    if isinstance(spec, str):
        return Flag(spec)  # type: ignore[arg-type]
    keys = spec.get("keys")
    return Flag(
        spec["takes"],
        spec.get("many", False),
        spec.get("optional", False),
        tuple(spec.get("choices", ())),
        None if keys is None else {key: tuple(texts) for key, texts in keys.items()},
        spec.get("same_as", ""),
    )


@lru_cache(maxsize=2)
def _data(which: str) -> Mapping[str, Any]:
    text = resources.files("console.releases").joinpath(f"{which}.json").read_text(encoding="utf-8")
    found: Mapping[str, Any] = json.loads(text)
    return found


@lru_cache(maxsize=2)
def _unfolded(which: str) -> Mapping[str, Mapping[str, Any]]:
    """Every release whole, from the first one and the differences that follow."""
    whole: dict[str, Any] = {}
    found: dict[str, Mapping[str, Any]] = {}
    for name, change in _data(which).items():
        whole = {**whole, **{part: _after(whole.get(part, {}), value) for part, value in change.items()}}
        found[name] = whole
    return found


def _after(before: Any, change: Any) -> Any:
    """A part of a release: a text as it is, else what stood before without `gone` and with `set`."""
    if isinstance(change, str):
        return change
    new = change.get("set", {})
    kept = {name: spec for name, spec in before.items() if name not in change.get("gone", ())}
    return {**kept, **(new if isinstance(new, dict) else dict.fromkeys(new, ""))}
