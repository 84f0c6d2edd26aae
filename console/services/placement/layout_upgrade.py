"""Upgrades a layout to another release: what changes, and the text of the changed file.

Removed settings stay as comments, renamed settings get their new name, everything else is unchanged.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from console.files import is_shipped, layout_text, load_document, parse_layout, read_document, shipped_text
from console.files.yaml_editing import Edit, applied, difference, edited
from console.model.errors import FileError, Problem, UsageError
from console.model.findings import Finding, Severity
from console.model.image_name import release_named, tag_of, with_release
from console.model.key_positions import Source
from console.model.layout import Layout, flag_name
from console.releases.facts import Release, facts_of, names, release_name
from console.releases.renames import shown_setting
from console.rules import check
from console.rules.release_changes import Change, ChangeKind, changes
from console.services.placement.edits import example

SettingPath = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Upgrade:
    """The result of an upgrade."""

    layout: Layout
    file: str
    """The layout's file; a shipped layout by its name."""
    old: Release
    new: Release
    changes: tuple[Change, ...]
    findings: tuple[Finding, ...]
    """Findings that only the changed layout has."""
    text: str
    """The present text of the file."""
    changed: str
    """The text for the new release."""
    comments_kept: bool
    by_hand: tuple[str, ...]
    """Changes that the operator must make, as text."""
    source: Source

    @property
    def fits(self) -> bool:
        """Whether the new release accepts the whole layout and no rule reports an error."""
        wrong = any(change.kind.breaks for change in self.changes) or bool(self.by_hand)
        return not wrong and not any(each.severity is Severity.ERROR for each in self.findings)

    def line(self, change: Change) -> int | None:
        """The line of a change in the file; None when the setting is not written."""
        mark = self.source.mark(*change.path) if change.path else None
        return mark.line if mark else None

    def diff(self) -> Iterator[str]:
        """The changed lines of the file, as `diff -u` shows them."""
        return difference(self.text, self.changed, self.file, f"{self.file} for v{self.new.name}")


def upgrade(layout: Layout, to: str, start: str = "") -> Upgrade:
    """Upgrade a layout to a release. `start` replaces the release that the layout names.

    Raises UsageError for a release without facts, FileError when the layout's file cannot be read.
    """
    new = facts_or_error(to)
    old = facts_or_error(start or release_named(layout))
    text, file = _text(layout)
    document = read_document(text.encode(), file)
    content: dict[str, Any] = document.value if isinstance(document.value, dict) else {}
    found = changes(content, old, new)
    edits, by_hand = _edits(content, found, old, new)
    changed, kept = edited(text, edits)
    try:
        after = parse_layout(changed.encode(), file)
    except FileError as error:
        problem = Problem(file, 0, 0, "", f"the changed layout cannot be read: {error.problems[0].message}")
        raise FileError((problem, *error.problems)) from error
    findings = _new_findings(parse_layout(text.encode(), file), after)
    return Upgrade(layout, file, old, new, found, findings, text, changed, kept, tuple(by_hand), document.source)


def facts_or_error(text: str) -> Release:
    """The facts of a release. Raises UsageError with the known releases."""
    release = facts_of(release_name(text.strip()))
    if release is None:
        held = ", ".join(f"v{name}" for name in names())
        what, how = f"no facts about {text!r}", ""
        if not text:
            what, how = "the layout names no release", "write its version into the layout, or compare with --from; "
        raise UsageError(what, hint=f"{how}known releases: {held}")
    return release


def _text(layout: Layout) -> tuple[str, str]:
    if is_shipped(layout):
        return shipped_text(layout.name), f"{layout.name}.yaml"
    if layout.source is None:
        return layout_text(layout), f"{layout.name}.yaml"
    load_document(Path(layout.source.path))
    return Path(layout.source.path).read_text(encoding="utf-8-sig"), layout.source.path


def _new_findings(before: Layout, after: Layout) -> tuple[Finding, ...]:
    """The findings of the changed layout only; findings about releases are part of the changes."""
    known = {(each.rule, each.message) for each in check(example(before))}
    found = (each for each in check(example(after)) if not each.rule.startswith("V"))
    return tuple(each for each in found if (each.rule, each.message) not in known)


def _edits(
    content: Mapping[str, Any], found: tuple[Change, ...], old: Release, new: Release
) -> tuple[list[Edit], list[str]]:
    """The edits of the file, and the changes that the operator must make."""
    edits: list[Edit] = []
    by_hand: list[str] = []
    version, image = content.get("version"), content.get("image")
    if not isinstance(image, str) or release_name(str(version or "")) or version:
        prefix = "" if isinstance(version, str) and version[:1].isdigit() else "v"
        edits.append(Edit(("version",), f"{prefix}{new.name}"))
    if isinstance(image, str) and image:
        other = with_release(image, new.name)
        if other != image:
            edits.append(Edit(("image",), other))
        elif release_name(tag_of(image)) != new.name:
            by_hand.append(f"the image {image} names no release: choose the one of v{new.name}")
    for change in sorted(found, key=lambda each: len(each.path)):
        mine = _edits_of(content, change, new)
        if mine is None:
            by_hand.append(f"{change.setting}: write {change.new} where this layout sets it for each rank")
        for edit in mine or ():
            content = applied(content, edit)  # type: ignore[arg-type,assignment]
            edits.append(edit)
    return edits, by_hand


def _edits_of(content: Mapping[str, Any], change: Change, new: Release) -> list[Edit] | None:
    """The edits for one change of the present content; None when a renamed setting has no place."""
    path = tuple(str(key) for key in change.path)
    if change.kind is ChangeKind.GONE and path[-2:] != ("kv_transfer", "connector"):
        return _removal(content, path, change, f"gone in v{new.name}")
    if change.kind is not ChangeKind.RENAMED:
        return []
    placed = _rename_edits(content, path, change)
    return None if placed is None else [*_removal(content, path, change, f"now {shown_setting(change.new)}"), *placed]


def _removal(content: Mapping[str, Any], path: SettingPath, change: Change, note: str) -> list[Edit]:
    """Remove a setting; of a JSON text only the key."""
    value, key = _at(content, path), change.setting.partition(".")[2]
    if not key or path[-1] == key or path[-1].partition(".")[2] == key:
        return [Edit(path, remove=True, note=note)]
    rest = {
        name: each for name, each in (_json(value) if isinstance(value, str) else value or {}).items() if name != key
    }
    return [Edit(path, rest)] if rest else [Edit(path, remove=True, note=note)]


def _rename_edits(content: Mapping[str, Any], path: SettingPath, change: Change) -> list[Edit] | None:
    """The edits that write the new name: beside the old one, or in the mapping that applies; None when there is no place.

    A mapping of a group replaces the mapping of the layout, so a key for all groups is written into each group's mapping too.
    """
    if change.new.isupper():
        return [Edit((*path[:-1], change.new), change.value)]
    scope = path[: path.index("env")] if "env" in path else path[: path.index("args")] if "args" in path else None
    if scope is None or path[-2].endswith("_from"):
        return None
    flag, _, key = change.new.partition(".")
    if not key:
        return [Edit((*scope, "args", flag), change.new_value)]
    groups: Mapping[str, Any] = content.get("groups") or {}
    left = [("groups", name) for name in groups if not scope and not _overrides(content, ("groups", name), path)]
    own = [each for each in left if _flag_key(content, each, flag)]
    targets = [*([scope] if scope or len(own) < len(left) else []), *own]
    found = [_into_mapping(content, target, flag, key, change.new_value) for target in targets]
    return None if any(each is None for each in found) else [edit for each in found for edit in each or ()]


def _overrides(content: Mapping[str, Any], group: SettingPath, path: SettingPath) -> bool:
    """Whether a group sets the old name itself."""
    return path[-1] in (_at(content, (*group, path[-2])) or {})


def _into_mapping(content: Mapping[str, Any], scope: SettingPath, flag: str, key: str, value: Any) -> list[Edit] | None:
    """The edits that add a key to the JSON flag of a layout, a group or a node, unless it exists; None when the flag differs
    by rank.
    """
    if any(flag_name(each).partition(".")[0] == flag for each in _at(content, (*scope, "args_from")) or {}):
        return None
    keys = tuple(key.split("."))
    written = _flag_key(content, scope, flag)
    if written.partition(".")[2]:
        return [Edit((*scope, "args", f"{flag}.{key}"), value)]
    outer = scope[:2] if len(scope) > 2 else ()
    mapping = _at(content, (*scope, "args", written)) if written else None
    if not written and scope:
        above = _flag_key(content, outer, flag) or _flag_key(content, (), flag)
        inherited = _at(content, (*outer, "args", above)) or _at(content, ("args", above)) if above else None
        if above.partition(".")[2]:
            return [Edit((*scope, "args", f"{flag}.{key}"), value)]
        return [Edit((*scope, "args", flag), _with_key(inherited, keys, value))]
    if isinstance(mapping, str):
        return [Edit((*scope, "args", written), _with_key(mapping, keys, value))]
    if isinstance(_at(content, (*scope, "args", written or flag, *keys[:1])), dict) and len(keys) > 1:
        there = keys[1] in _at(content, (*scope, "args", written or flag, keys[0]))
    else:
        there = isinstance(mapping, dict) and keys[0] in mapping
    return [] if there else [Edit((*scope, "args", written or flag, *keys), value)]


def _with_key(mapping: object, keys: SettingPath, value: Any) -> dict[str, Any]:
    """A copy of a mapping, or of a JSON text, with one more key."""
    whole = _json(mapping) if isinstance(mapping, str) else dict(mapping) if isinstance(mapping, dict) else {}
    if len(keys) > 1:
        return {**whole, keys[0]: _with_key(whole.get(keys[0]), keys[1:], value)}
    return {**whole, keys[0]: whole.get(keys[0], value)}


def _flag_key(content: Mapping[str, Any], scope: SettingPath, flag: str) -> str:
    """The key of a flag in the `args` of a scope, also in dotted form; empty without it."""
    args = _at(content, (*scope, "args")) or {}
    return next((key for key in args if flag_name(key).partition(".")[0] == flag), "")


def _json(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _at(content: object, path: SettingPath) -> Any:
    for key in path:
        content = content.get(key) if isinstance(content, dict) else None
    return content
