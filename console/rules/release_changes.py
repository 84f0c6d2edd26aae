"""Compares each setting of a layout under two releases, by their facts. Does no I/O and changes nothing."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pydantic import JsonValue

from console.model.key_positions import Path
from console.model.layout import flag_name
from console.releases.facts import Flag, Release, gone_since, key_history
from console.releases.renames import Rename, meaning_changes, rename_of, shown_setting
from console.rules.releases import instead, json_keys, key_troubles, value_trouble
from console.rules.rule import INERT

_OTHER_HARDWARE = (
    "ROCM",
    "XPU",
    "CUDA",
    "FLASHINFER",
    "TPU",
    "CUTLASS",
    "TRTLLM",
    "DEEPEP",
    "AITER",
    "PREGRAD",
    "RAY",
    "CPU_",
)
"""Parts of names of variables that have no meaning on Ascend."""
_ARGS, _ENV = ("args", "args_from"), ("env", "env_from")


class ChangeKind(StrEnum):
    """What happens to a setting. With the first three the new release does not do what the layout says."""

    GONE = "gone"
    UNKNOWN = "unknown"
    REFUSED = "refused"
    RENAMED = "renamed"
    DEPRECATED = "deprecated"
    MEANING = "meaning"
    CHOICES = "choices"
    DEFAULT = "default"

    @property
    def breaks(self) -> bool:
        """Whether the new release does not do what the layout says, and no replacement is known."""
        return self in (ChangeKind.GONE, ChangeKind.UNKNOWN, ChangeKind.REFUSED)


@dataclass(frozen=True, slots=True)
class Change:
    """One setting that two releases treat differently."""

    kind: ChangeKind
    setting: str
    """`flag`, `flag.key`, a variable, or `kv_transfer.connector`."""
    text: str
    """What happens to the setting, as text."""
    path: Path = ()
    """Its place in the file; empty for a default."""
    value: JsonValue = None
    new: str = ""
    """The setting that replaces it with the same meaning; empty when there is none."""
    new_value: JsonValue = None


@dataclass(frozen=True, slots=True)
class _Setting:
    """A flag, a key of a JSON flag or a variable at one place of the file."""

    name: str
    value: JsonValue
    path: Path


def changes(document: Mapping[str, Any], old: Release, new: Release) -> tuple[Change, ...]:
    """Every setting of a layout (as read from YAML) that differs between two releases; the worst kinds first, then by place."""
    found = [change for setting in _written(document) for change in _judged(setting, old, new)]
    found += _connectors(document, old, new)
    found += _defaults(document, old, new)
    order = list(ChangeKind)
    return tuple(sorted(found, key=lambda each: order.index(each.kind)))


def _written(document: Mapping[str, Any]) -> Iterator[_Setting]:
    yield from _of_part(document, ())
    for name, group in _mapping(document.get("groups")).items():
        yield from _of_part(_mapping(group), ("groups", name))
        for position, change in _mapping(_mapping(group).get("by_node")).items():
            yield from _of_part(_mapping(change), ("groups", name, "by_node", position))


def _of_part(part: Mapping[str, Any], path: Path) -> Iterator[_Setting]:
    for kind in _ENV:
        yield from (_Setting(name, value, (*path, kind, name)) for name, value in _mapping(part.get(kind)).items())
    for kind in _ARGS:
        for key, value in _mapping(part.get(kind)).items():
            if value is not None:
                yield _Setting(flag_name(key), value, (*path, kind, key))


def _judged(setting: _Setting, old: Release, new: Release) -> Iterator[Change]:
    if setting.path[-2] in _ENV:
        yield from _variable(setting, old, new)
        return
    flag, _, dotted = setting.name.partition(".")
    full, spec = _flag(flag, new)
    if spec is None:
        yield from _absent("flags", setting, flag, new, f"--{flag}")
        return
    if not dotted:
        trouble, before = value_trouble(full, spec, setting.value, new), _flag(flag, old)[1]
        if trouble:
            yield Change(ChangeKind.REFUSED, flag, f"--{flag} {trouble}", setting.path, setting.value)
        elif before is not None and before.choices != spec.choices and before.choices and spec.choices:
            yield Change(ChangeKind.CHOICES, flag, _choices(flag, before, spec), setting.path, setting.value)
    yield from _meaning(setting, full, old, new)
    for key, value in json_keys(setting.value, dotted).items():
        path = setting.path if dotted or isinstance(setting.value, str) else (*setting.path, key)
        yield from _key(_Setting(f"{full}.{key}", value, path), spec, old, new)


def _flag(name: str, release: Release) -> tuple[str, Flag | None]:
    """A flag by its name, its `no-` form or an unambiguous abbreviation; (name, None) when there is none."""
    for each in (name, name.removeprefix("no-")):
        if each in release.flags:
            return release.flags[each].same_as or each, release.flags[each]
    whole = [each for each in release.flags if each.startswith(name) and not release.flags[each].same_as]
    return (whole[0], release.flags[whole[0]]) if len(whole) == 1 else (name, None)


def _choices(flag: str, before: Flag, now: Flag) -> str:
    added = [each for each in now.choices if each not in before.choices]
    removed = [each for each in before.choices if each not in now.choices]
    parts = [
        *([f"new: {', '.join(added)}"] if added else []),
        *([f"removed: {', '.join(removed)}"] if removed else []),
    ]
    return (
        f"--{flag} accepts other values: {'; '.join(parts)}"
        if parts
        else f"--{flag} accepts the same values in another order"
    )


def _key(setting: _Setting, spec: Flag, old: Release, new: Release) -> Iterator[Change]:
    flag, _, key = setting.name.partition(".")
    shown = f"{key} of --{flag}"
    if flag == "additional-config":
        if key not in new.additional:
            yield from _absent("additional", setting, key, new, shown)
            return
    elif spec.keys is not None:
        for _, text in key_troubles(flag, spec.keys, {key: setting.value}, new):
            gone = key_history(flag, key, new.name).startswith("removed")
            kind = ChangeKind.REFUSED if key in spec.keys else ChangeKind.GONE if gone else ChangeKind.UNKNOWN
            yield Change(kind, setting.name, text, setting.path, setting.value)
            return
    yield from _deprecated(setting, new, shown)
    yield from _meaning(setting, setting.name, old, new)


def _variable(setting: _Setting, old: Release, new: Release) -> Iterator[Change]:
    name = setting.name
    if not name.startswith("VLLM_") or name in INERT:
        return
    if name not in new.env:
        yield from _absent("env", setting, name, new, name)
        return
    yield from _deprecated(setting, new, name)
    yield from _meaning(setting, name, old, new)


def _absent(kind: Any, setting: _Setting, name: str, new: Release, shown: str) -> Iterator[Change]:
    """A setting that the new release does not have: renamed, removed, added later, or unknown."""
    renamed = rename_of(setting.name, new)
    since = gone_since(kind, name, new.name)
    dashes = "--" if kind == "flags" else ""
    gone = (
        f"{shown} was removed in {since}" if since else f"{new.name} has no {shown}{instead(kind, name, new, dashes)}"
    )
    if renamed is not None and renamed.new:
        yield _renamed(setting, renamed, gone)
        return
    hint = f": {renamed.hint}" if renamed is not None else ""
    kind_of = ChangeKind.GONE if since else ChangeKind.UNKNOWN
    yield Change(kind_of, setting.name, gone + hint, setting.path, setting.value)


def _renamed(setting: _Setting, renamed: Rename, gone: str) -> Change:
    text = f"{gone}; {shown_setting(renamed.new)} replaces it" + (f" ({renamed.note})" if renamed.note else "")
    value = setting.value
    if isinstance(value, str) and renamed.becomes and value.strip().lstrip("-").isdigit():
        value = bool(int(value)) if renamed.becomes == "bool" else int(value)
    elif isinstance(value, str) and renamed.becomes == "bool" and value.lower() in ("true", "false"):
        value = value.lower() == "true"
    return Change(ChangeKind.RENAMED, setting.name, text, setting.path, setting.value, renamed.new, value)


def _deprecated(setting: _Setting, new: Release, shown: str) -> Iterator[Change]:
    renamed = rename_of(setting.name, new)
    if renamed is not None and not renamed.only_gone:
        then = f"{shown_setting(renamed.new)} replaces it" if renamed.new else renamed.hint
        yield Change(ChangeKind.DEPRECATED, setting.name, f"{shown} is deprecated; {then}", setting.path, setting.value)


def _meaning(setting: _Setting, name: str, old: Release, new: Release) -> Iterator[Change]:
    value = setting.value if isinstance(setting.value, str) else json.dumps(setting.value)
    for since, before, after in meaning_changes(name, value, old, new):
        text = f"{shown_setting(name)}: in v{old.name} it {before}, in v{new.name} it {after} (since {since})"
        yield Change(ChangeKind.MEANING, name, text, setting.path, setting.value)


def _connectors(document: Mapping[str, Any], old: Release, new: Release) -> Iterator[Change]:
    for name, group in _mapping(document.get("groups")).items():
        transfer = _mapping(_mapping(group).get("kv_transfer"))
        connector = transfer.get("connector")
        own_module = "kv_connector_module_path" in _mapping(transfer.get("further"))
        if isinstance(connector, str) and connector not in new.connectors and not own_module:
            path: Path = ("groups", name, "kv_transfer", "connector")
            setting = _Setting("kv_transfer.connector", connector, path)
            yield from _absent("connectors", setting, connector, new, f"KV connector {connector}")


def _defaults(document: Mapping[str, Any], old: Release, new: Release) -> Iterator[Change]:
    """Defaults that differ, of settings that some group of the layout does not set."""
    groups = {name: _set_in(document, _mapping(each)) for name, each in _mapping(document.get("groups")).items()}
    used = {name.partition(".")[0] for group in groups.values() for name in group} | {"additional-config"}
    for name, before in old.defaults.items():
        after = new.defaults.get(name)
        left = [group for group, found in groups.items() if name not in found]
        if after is None or after == before or not left or _elsewhere(name, used):
            continue
        where = "is not set" if len(left) == len(groups) else f"is not set in {', '.join(left)}"
        text = f"{shown_setting(name)} {where}; its default is {_default(after)}, it was {_default(before)}"
        yield Change(ChangeKind.DEFAULT, name, text)


def _default(text: str) -> str:
    return "none" if text == "null" else text


def _elsewhere(name: str, used: Collection[str]) -> bool:
    """Whether a default has no meaning for this layout: for other hardware, or a key of a JSON flag that it does not use."""
    if name.isupper():
        return any(part in name for part in _OTHER_HARDWARE)
    flag, dot, _ = name.partition(".")
    return bool(dot) and flag not in used


def _set_in(document: Mapping[str, Any], group: Mapping[str, Any]) -> set[str]:
    """All settings of one group and of the layout above it: variables, flags, and `flag.key` for keys of JSON flags."""
    own = {kind: {**_mapping(document.get(kind)), **_mapping(group.get(kind))} for kind in (*_ENV, *_ARGS)}
    found = {name for kind in _ENV for name in own[kind]}
    for key, value in {**own["args"], **own["args_from"]}.items():
        name = flag_name(key)
        flag, _, dotted = name.partition(".")
        found |= {name.removeprefix("no-"), *(f"{flag}.{each}" for each in json_keys(value, dotted))}
    return found


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
