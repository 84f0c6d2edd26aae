"""The facts of each vllm-ascend release: the flags, variables, configuration keys and connectors that it knows, and defaults.

`make releases` collects the data from the parsers of the releases. The data stores the differences between releases; this
module combines them. A release that is not in the data has no facts.
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
"""nothing: a flag without a value. switch: the same with a `--no-` form. size: a whole number with k, m or g, or `auto`."""
Kind = Literal["flags", "env", "additional", "connectors"]


@dataclass(frozen=True, slots=True)
class Flag:
    """The values that the parser of `vllm serve` accepts for one flag."""

    takes: Takes
    many: bool = False
    """Whether it accepts several values."""
    optional: bool = False
    """Whether the value may be left out."""
    choices: tuple[str, ...] = ()
    """The allowed values; empty when any value is allowed."""
    keys: Mapping[str, tuple[str, ...]] | None = None
    """The keys of its JSON value → the allowed texts (empty: any); None when any key is allowed."""
    same_as: str = ""
    """The flag that this name is an alias of."""


@dataclass(frozen=True, slots=True)
class Release:
    """A release of vllm-ascend together with the vLLM of its image."""

    name: str
    """Without the `v`, for example `0.21.0rc1`."""
    vllm: str
    flags: Mapping[str, Flag]
    """Name without dashes → flag; short names such as `tp` are included."""
    env: frozenset[str]
    """Variables with the prefix VLLM_ that vLLM or vllm-ascend reads."""
    additional: frozenset[str]
    """Top-level keys of `--additional-config`."""
    connectors: frozenset[str]
    """Allowed values of `kv_connector`."""
    defaults: Mapping[str, str]
    """`flag`, `flag.key`, `additional-config.key` or a variable → its default as JSON, when it is a constant."""
    strict: bool
    """Whether vllm-ascend refuses an unknown key of `--additional-config`; else it ignores the key."""
    sequence_parallel: frozenset[str]
    """Variables and keys of `--additional-config` that turn on sequence parallelism, which `enable_dsa_cp` needs."""

    def known(self, kind: Kind) -> frozenset[str]:
        """The names of a kind that this release knows."""
        return frozenset(self.flags) if kind == "flags" else getattr(self, kind)


def release_name(text: str) -> str:
    """The release in the `version` of a layout or in the tag of an image: `v0.21.0rc1-a3` → `0.21.0rc1`; empty without one."""
    found = re.match(r"v?(\d+\.\d+(?:\.\d+)?(?:rc\d+)?(?:\.post\d+)?)(?:$|[-+])", text)
    return found[1] if found else ""


def names() -> tuple[str, ...]:
    """The vllm-ascend releases of the data, oldest first."""
    return tuple(_data("ascend"))


@lru_cache(maxsize=64)
def facts_of(name: str) -> Release | None:
    """The facts of a vllm-ascend release such as `0.21.0rc1`; None when it is not in the data."""
    ascend = whole_data("ascend")
    if name not in ascend or ascend[name]["vllm"] not in whole_data("vllm"):
        return None
    own = ascend[name]
    vllm = whole_data("vllm")[own["vllm"]]
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
    """The facts of the layout's release, by `version`, else by the tag of its image; None when there are none."""
    return facts_of(release_name(layout.version) or release_name(tag_of(layout.image)))


def first_and_last(kind: Kind, name: str) -> tuple[str, str]:
    """The first and the last release that know a name; empty texts when none does."""
    knowing = [each for each in names() if (facts := facts_of(each)) is not None and name in facts.known(kind)]
    return (knowing[0], knowing[-1]) if knowing else ("", "")


def gone_since(kind: Kind, name: str, release: str) -> str:
    """The release that removed a name that `release` lacks; empty when no earlier release had the name."""
    return _gone_and_come(release, lambda facts: name in facts.known(kind))[0]


def key_history(flag: str, key: str, release: str) -> str:
    """`removed in X` or `added in X` for a key of a JSON flag that `release` lacks; empty when no release has the key."""
    return _history(release, lambda facts: key in (((spec := facts.flags.get(flag)) and spec.keys) or ()))


def value_history(flag: str, key: str, value: str, release: str) -> str:
    """The same for a value of a flag, or of a key of the flag."""

    def allows(facts: Release) -> bool:
        spec = facts.flags.get(flag)
        return spec is not None and value in ((spec.keys or {}).get(key, ()) if key else spec.choices)

    return _history(release, allows)


def _history(release: str, knows: Callable[[Release], bool]) -> str:
    gone, come = _gone_and_come(release, knows)
    return f"removed in {gone}" if gone else f"added in {come}" if come else ""


def _gone_and_come(release: str, knows: Callable[[Release], bool]) -> tuple[str, str]:
    """(the release that removed something that `release` lacks, the first later release that has it); empty text: none."""
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
def whole_data(which: str) -> Mapping[str, Mapping[str, Any]]:
    """The complete data of every release, from the first release and the differences of the others."""
    whole: dict[str, Any] = {}
    found: dict[str, Mapping[str, Any]] = {}
    for name, change in _data(which).items():
        whole = {**whole, **{part: _after(whole.get(part, {}), value) for part, value in change.items()}}
        found[name] = whole
    return found


def _after(before: Any, change: Any) -> Any:
    """One part of a release: a text, or the part of the previous release without `gone` and with `set`."""
    if isinstance(change, str):
        return change
    new = change.get("set", {})
    kept = {name: spec for name, spec in before.items() if name not in change.get("gone", ())}
    return {**kept, **(new if isinstance(new, dict) else dict.fromkeys(new, ""))}
