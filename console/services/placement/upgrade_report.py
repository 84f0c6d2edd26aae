"""Formats the upgrade of a layout as text and as data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pydantic import JsonValue
from typing_extensions import TypedDict

from console.model.findings import FindingData
from console.model.shortening import list_text
from console.releases.renames import shown_setting
from console.rules.release_changes import Change, ChangeKind
from console.services.placement.layout_upgrade import Upgrade

_MOST = 4
"""Number of settings of one kind to name on one line."""
_ALL_WELL = "with these changes v{} knows every setting of the layout"


def report_lines(found: Upgrade) -> Iterator[str]:
    """The changes with their lines, the diff of the file, and what is left to do."""
    old, new = found.old, found.new
    yield f"{found.layout.name}: v{old.name} (vLLM {old.vllm}) to v{new.name} (vLLM {new.vllm})"
    for change in found.changes:
        line = found.line(change)
        yield f"  {change.kind:<10} {f'line {line}' if line else '':<8} {change.text}"
    for finding in found.findings:
        yield f"  {finding.rule:<10} {'':<8} {finding.severity}: {finding.message}"
    if not found.changes and not found.findings:
        yield "  no difference"
    yield ""
    yield from found.diff()
    yield ""
    yield from _left(found)


def summary_line(found: Sequence[Change]) -> str:
    """The changed settings by kind on one line: `gone: --x; renamed: VLLM_A; 3 other defaults`."""
    parts = []
    for kind in ChangeKind:
        mine = list(dict.fromkeys(shown_setting(each.setting) for each in found if each.kind is kind))
        if kind in (ChangeKind.DEFAULT, ChangeKind.CHOICES):
            parts += [f"{len(mine)} other {kind}{'s' if kind is ChangeKind.DEFAULT else ''}"] if mine else []
        elif mine:
            parts.append(f"{kind}: {list_text(mine, _MOST)}")
    return "; ".join(parts) or "no difference for this layout"


def _left(found: Upgrade) -> Iterator[str]:
    kinds = [change.kind for change in found.changes]
    counts = {kind: kinds.count(kind) for kind in (ChangeKind.GONE, ChangeKind.UNKNOWN, ChangeKind.REFUSED)}
    told = ", ".join(f"{count} {kind}" for kind, count in counts.items() if count)
    yield from (f"by hand: {text}" for text in found.by_hand)
    if not found.comments_kept:
        yield "the whole layout is rewritten without its comments, because it uses aliases or merged mappings"
    if told:
        yield f"{told}: v{found.new.name} does not support these settings; read its release notes"
    elif found.fits:
        yield _ALL_WELL.format(found.new.name)


class ReleaseData(TypedDict):
    """A release and the vLLM in it."""

    release: str
    """vllm-ascend release, for example `v0.21.0rc1`."""
    vllm: str


class SettingData(TypedDict):
    """What a setting becomes."""

    setting: str
    value: JsonValue


class ChangeData(TypedDict):
    """A setting that the two releases take differently."""

    kind: ChangeKind
    """With the first three the new release does not do what the layout says."""
    setting: str
    """A flag, `FLAG.KEY`, a variable, or `kv_transfer.connector`."""
    path: list[str | int]
    """Keys of the layout that lead to it; empty for a default: the layout does not contain it."""
    line: int | None
    """Line of the layout's file."""
    value: JsonValue
    """What the layout has; null for a default."""
    new: SettingData | None
    """What is written instead, where that is known."""
    message: str


_From = TypedDict("_From", {"from": ReleaseData})  # no name of a class's field can be a keyword


class UpgradeData(_From):
    """A layout seen from another release."""

    layout: str
    """Name of the layout."""
    file: str
    """The file of the layout, or the name of a shipped layout."""
    to: ReleaseData
    fits: bool
    """False when the new release does not know or refuses something, or a finding is an error."""
    changes: list[ChangeData]
    findings: list[FindingData]
    """Findings that the layout has with the new release and not with the old one."""
    by_hand: list[str]
    """What could not be written into the layout."""
    diff: list[str]
    """Lines of a unified diff from the layout to the layout for the new release."""
    saved: str | None
    """The file that `--save` wrote; null without it."""


def report_data(found: Upgrade, saved: str | None = None) -> UpgradeData:
    """The upgrade as plain data; the keys are a contract."""
    return {
        "layout": found.layout.name,
        "file": found.file,
        "from": {"release": f"v{found.old.name}", "vllm": found.old.vllm},
        "to": {"release": f"v{found.new.name}", "vllm": found.new.vllm},
        "fits": found.fits,
        "changes": [
            {
                "kind": change.kind,
                "setting": change.setting,
                "path": list(change.path),
                "line": found.line(change),
                "value": change.value,
                "new": {"setting": change.new, "value": change.new_value} if change.new else None,
                "message": change.text,
            }
            for change in found.changes
        ],
        "findings": [each.data() for each in found.findings],
        "by_hand": list(found.by_hand),
        "diff": list(found.diff()),
        "saved": saved,
    }
