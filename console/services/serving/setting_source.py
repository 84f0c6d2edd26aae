"""Where a setting of an engine is written: the file, the line and what it says there. Changing files is not its job."""

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
"""Settings of a node, in the cluster file."""
OF_LAYOUT = ("image", "model.path", "model.served_name")
_LONGEST = 48
"""Characters of a value; what is longer is told by its begin."""


@dataclass(frozen=True, slots=True)
class SettingLocations:
    """Where settings are written."""

    text: str = ""
    """One sentence: files, values, lines; empty when there is nothing to say."""
    file: WrittenIn = ""
    """The file of the first of them."""
    line: int = 0
    """The first line to look at in it; 0 when none has one."""


NOWHERE = SettingLocations()


def setting_locations(deployment: Deployment, engine: str, names: Sequence[str]) -> SettingLocations:
    """Where the settings of these names (see `signatures.yaml`) are written for an engine."""
    rank = next((each for each in deployment.ranks() if each.id == engine), None)
    if rank is None or rank.group not in deployment.layout.groups:
        return SettingLocations()
    names = tuple(_holding(deployment, rank, names))
    told = [
        _of_node(deployment, rank, [name for name in names if name in OF_NODE]),
        _of_layout(deployment, rank, [name for name in names if name not in OF_NODE]),
    ]
    told = [each for each in told if each.text]
    return replace(told[0], text="; ".join(each.text for each in told)) if told else SettingLocations()


def _holding(deployment: Deployment, rank: Rank, names: Sequence[str]) -> Iterator[str]:
    """The names of what holds: variables that a layout sets itself stand in the place of a node's `nic`."""
    like = deployment.like(rank.group)
    for name in names:
        own = INTERFACE_NAMES if name == "nic" else ()
        yield from [each for each in own if _held(deployment, rank, like, each) is not None] or [name]


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
        held = _held(deployment, rank, like, name)
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
    """Where a setting that is written nowhere belongs."""
    if name in OF_LAYOUT:
        return "at the top"
    kind = "" if "." in name or name in Group.model_fields else ".env" if name.isupper() else ".args"
    return f"groups.{group}{kind}"


def _plain(value: object) -> object:
    """A part of a layout as it may be written."""
    return value.model_dump(mode="json", exclude_defaults=True) if isinstance(value, BaseModel) else str(value)


def _part(source: Source, name: str, value: object, place: Path) -> str:
    line = _line(source, place)
    text = value if isinstance(value, str) else json.dumps(value, default=_plain)
    text = f"{name} {MASK if is_secret(name) else masked_text(text)}"
    cut = text if len(text) <= len(name) + _LONGEST else f"{text[: len(name) + _LONGEST - 3]}..."
    return f"{cut} (line {line})" if line else cut


def _held(deployment: Deployment, rank: Rank, like: str, name: str) -> tuple[Path, object] | None:
    """The place and value that hold for the rank, or None when it is written nowhere."""
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
        for key in _spelt(level, name):
            return (*path, key), level[key]
    return None


def _spelt(level: Mapping[str, object], name: str) -> Iterator[str]:
    """Keys of the level that mean the setting, however they are spelt; the last one is what holds."""
    yield from reversed([key for key in level if (key if name.isupper() else flag_name(key)) == name])
