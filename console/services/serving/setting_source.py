"""Finds where a setting of an engine is written: file, line and value. Changes no file."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from pydantic import BaseModel, JsonValue

from console.commands.masking import MASK, is_secret, masked_text
from console.commands.serve import INTERFACE_NAMES
from console.files import is_shipped
from console.model.deployment import Deployment, Rank
from console.model.key_positions import Path, Source
from console.model.layout import Group, NodeChange, flag_name
from console.model.snapshot import WrittenIn

OF_NODE = ("nic", "env_file")
"""Settings of a node in the cluster file."""
OF_LAYOUT = ("image", "model.path", "model.served_name")
_LONGEST = 48
"""Characters of a value; longer values are cut."""


@dataclass(frozen=True, slots=True)
class SettingLocations:
    """The locations of settings."""

    text: str = ""
    """One sentence with files, values and lines; empty without a location."""
    file: WrittenIn = ""
    """The file of the first setting."""
    line: int = 0
    """The first line in that file; 0 when unknown."""


NOWHERE = SettingLocations()


def setting_locations(deployment: Deployment, engine: str, names: Sequence[str]) -> SettingLocations:
    """The locations of these settings (names as in `signatures.yaml`) for an engine."""
    rank = next((each for each in deployment.ranks() if each.id == engine), None)
    if rank is None or rank.group not in deployment.layout.groups:
        return SettingLocations()
    names = tuple(_effective_names(deployment, rank, names))
    told = [
        _of_node(deployment, rank, [name for name in names if name in OF_NODE]),
        _of_layout(deployment, rank, [name for name in names if name not in OF_NODE]),
    ]
    told = [each for each in told if each.text]
    return replace(told[0], text="; ".join(each.text for each in told)) if told else SettingLocations()


def _effective_names(deployment: Deployment, rank: Rank, names: Sequence[str]) -> Iterator[str]:
    """The names of the effective settings: variables in the layout replace the `nic` of a node."""
    like = deployment.like(rank.group)
    for name in names:
        own = INTERFACE_NAMES if name == "nic" else ()
        yield from [each for each in own if _effective(deployment, rank, like, each) is not None] or [name]


def _of_node(deployment: Deployment, rank: Rank, names: Sequence[str]) -> SettingLocations:
    source, node = deployment.cluster.source, deployment.node(rank.node)
    if not names or source is None:
        return SettingLocations()
    parts, places = [], []
    for name in names:
        value = getattr(node, name)
        own = not value or ("nodes", rank.node, name) in source.marks
        places.append(("nodes", rank.node, name) if own else ("defaults", name))
        parts.append(_part(source, name, value, places[-1]) if value else f"{name} is not set")
    return SettingLocations(
        f"node {rank.node} in {source.path}: {', '.join(parts)}", "cluster", _line(source, places[0])
    )


def _of_layout(deployment: Deployment, rank: Rank, names: Sequence[str]) -> SettingLocations:
    if not names:
        return SettingLocations()
    layout = deployment.layout
    source = layout.source or Source("")
    like = deployment.like(rank.group)
    found: list[str] = []
    missing: list[str] = []
    place: Path = ("groups", like)
    for name in names:
        held = _effective(deployment, rank, like, name)
        if held is None:
            missing.append(name)
        else:
            place = place if found else held[0]
            found.append(_part(source, name, held[1], held[0]))
    if missing:
        places = " or ".join(dict.fromkeys(_place(like, name) for name in missing))
        found.append(f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} not set ({places})")
    file = f"{layout.name} (shipped)" if is_shipped(layout) or layout.source is None else layout.source.path
    return SettingLocations(f"{like} in {file}: {', '.join(found)}", "layout", _line(source, place))


def _line(source: Source, place: Path) -> int:
    mark = source.mark(*place)
    return mark.line if mark else 0


def _place(group: str, name: str) -> str:
    """Where to write a setting that is not set."""
    if name in OF_LAYOUT:
        return "at the top"
    kind = "" if "." in name or name in Group.model_fields else ".env" if name.isupper() else ".args"
    return f"groups.{group}{kind}"


def _plain(value: object) -> object:
    """A layout value as written in a file."""
    return value.model_dump(mode="json", exclude_defaults=True) if isinstance(value, BaseModel) else str(value)


def _part(source: Source, name: str, value: object, place: Path) -> str:
    line = _line(source, place)
    text = value if isinstance(value, str) else json.dumps(value, default=_plain)
    text = f"{name} {MASK if is_secret(name) else masked_text(text)}"
    cut = text if len(text) <= len(name) + _LONGEST else f"{text[: len(name) + _LONGEST - 3]}..."
    return f"{cut} (line {line})" if line else cut


def _effective(deployment: Deployment, rank: Rank, like: str, name: str) -> tuple[Path, object] | None:
    """The location and the effective value for the rank, or None when not set."""
    layout = deployment.layout
    group = layout.groups[rank.group]
    if name in OF_LAYOUT or "." in name or name in Group.model_fields:
        path: Path = tuple(name.split(".")) if name in OF_LAYOUT else ("groups", like, *name.split("."))
        value: object = layout if name in OF_LAYOUT else group
        for key in name.split("."):
            value = getattr(value, key, None)
        return None if value in (None, "") else (path, value)
    change = group.by_node.get(rank.position, NodeChange())
    node_path: Path = ("groups", like, "by_node", rank.position)
    levels: list[tuple[Path, Mapping[str, JsonValue] | Mapping[str, str] | Mapping[str, str | None]]]
    kind = "env" if name.isupper() else "args"
    levels = [
        ((*node_path, f"{kind}_from"), getattr(change, f"{kind}_from")),
        ((*node_path, kind), getattr(change, kind)),
        (("groups", like, f"{kind}_from"), getattr(group, f"{kind}_from")),
        (("groups", like, kind), getattr(group, kind)),
        ((kind,), getattr(layout, kind)),
    ]
    for path, level in levels:
        for key in _matching_keys(level, name):
            return (*path, key), level[key]
    return None


def _matching_keys(level: Mapping[str, object], name: str) -> Iterator[str]:
    """The keys of a level that mean the setting, in any spelling, the effective one first."""
    yield from reversed([key for key in level if (key if name.isupper() else flag_name(key)) == name])
