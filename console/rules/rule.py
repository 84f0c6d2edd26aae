"""A rule, and the context that rules read: one deployment with its ranks and the flags and variables of each group."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from pydantic import JsonValue

from console.model.deployment import Deployment, Rank
from console.model.findings import Finding, Severity
from console.model.image_name import tag_of
from console.model.key_positions import Path, Source
from console.model.layout import KV_ROLES, Group, Layout, flag_name
from console.model.rank_facts import filled

MAIN = (999, 0, 0)
"""The version of the development branch: later than every release."""

INERT = {"VLLM_RPC_TIMEOUT": "vLLM up to 0.22 defines it but does not read it, later releases do not know it"}
"""Variables that tutorials set but no release reads → how that is known."""


@dataclass(frozen=True, slots=True)
class Violation:
    """A place where a rule does not hold."""

    message: str
    where: str
    severity: Severity | None = None
    """Only when it differs from the severity of the rule."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One condition that must hold, the reason, and the fix."""

    id: str
    title: str
    severity: Severity
    why: str
    fix: str
    source: str
    check: Callable[[RuleContext], Iterator[Violation]]
    npus: bool = False
    """Whether the rule is about NPUs, HCCL or CANN, which a machine without NPUs does not have."""

    def findings(self, context: RuleContext) -> Iterator[Finding]:
        """One finding for every place where the rule does not hold."""
        if self.npus and not context.layout.hardware.devices:
            return
        for hit in self.check(context):
            severity = hit.severity or self.severity
            yield Finding(self.id, severity, hit.message, hit.where, self.why, self.fix, self.source)


class RuleContext:
    """A deployment in the form that rules read. One object serves one check."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment
        self.layout: Layout = deployment.layout
        self.groups: Mapping[str, Group] = deployment.layout.groups
        self.source = deployment.layout.source or Source("")
        self._args: Mapping[str, Mapping[str, JsonValue]] = {
            name: {
                flag_name(key): value for key, value in {**self.layout.args, **group.args, **group.args_from}.items()
            }
            for name, group in self.groups.items()
        }

    @cached_property
    def ranks(self) -> tuple[Rank, ...]:
        """Every rank that has a node."""
        return self.deployment.ranks()

    @cached_property
    def ranks_of(self) -> Mapping[str, tuple[Rank, ...]]:
        """Ranks by group."""
        found: dict[str, list[Rank]] = {name: [] for name in self.groups}
        for rank in self.ranks:
            found[rank.group].append(rank)
        return {name: tuple(ranks) for name, ranks in found.items()}

    def args(self, group: str) -> Mapping[str, JsonValue]:
        """The flags of a group as the layout has them: name without dashes → value."""
        return self._args[group]

    def written(self, group: str) -> Iterator[tuple[str, JsonValue, Path]]:
        """(flag, value, path of its key) of every flag of a group and of its single nodes, without removed flags (null)."""
        for flag, value in self.args(group).items():
            if value is not None:
                yield flag, value, _flag_path(self, group, flag)
        for flag, value, path in self.written_by_node(group):
            if value is not None:
                yield flag, value, path

    def written_by_node(self, group: str) -> Iterator[tuple[str, JsonValue, Path]]:
        """(flag, value, path of its key) of the flags of single nodes of a group."""
        for position, change in self.groups[group].by_node.items():
            for kind, args in (("args", change.args), ("args_from", change.args_from)):
                for key, value in args.items():
                    yield flag_name(key), value, _key_path(self, group, "by_node", str(position), kind, key)

    def env(self, group: str) -> Mapping[str, str]:
        """The variables of a group as the layout has them."""
        return {**self.layout.env, **self.groups[group].env}

    def setting(self, group: str, flag: str, key: str) -> JsonValue:
        """A key of a flag that holds a mapping, for example `additional-config` `enable_dsa_cp`; None when absent."""
        value = self.args(group).get(flag)
        dotted = self.args(group).get(f"{flag}.{key}")
        return value.get(key, dotted) if isinstance(value, dict) else dotted

    def number(self, group: str, flag: str) -> int | None:
        """The value of a flag as a whole number; None when it is absent or not a whole number."""
        return whole(self.args(group).get(flag))

    def with_role(self, role: str) -> Iterator[tuple[str, Group]]:
        """(name, group) of every group with that role."""
        return ((name, group) for name, group in self.groups.items() if group.role == role)

    def pairs(self) -> Iterator[tuple[str, str]]:
        """(prefill group, decode group) for every combination of the two."""
        return ((prefill, decode) for prefill, _ in self.with_role("prefill") for decode, _ in self.with_role("decode"))

    def transfer(self, group: str) -> Mapping[str, JsonValue]:
        """The `--kv-transfer-config` that the group will get; empty without one."""
        written = self.args(group).get("kv-transfer-config")
        if isinstance(written, str):
            written = json_of(written)
        if isinstance(written, dict):
            return written
        return self.layout.kv_transfer_config(group) or {}

    def kv_role(self, group: str) -> str:
        """The KV transfer role that the engines of a group will get; empty without a connector."""
        transfer = self.transfer(group)
        return str(transfer.get("kv_role", KV_ROLES[self.groups[group].role])) if transfer else ""

    def is_v4(self) -> bool:
        """Whether the model is a DeepSeek-V4."""
        named = f"{self.layout.model.path} {self.layout.model.served_name} {self.layout.args.get('tokenizer-mode', '')}"
        return re.search(r"deepseek[-_.]?v4", named, re.IGNORECASE) is not None

    @cached_property
    def version(self) -> tuple[int, int, int] | None:
        """The vllm-ascend release of the layout, from `version`, else from the tag of the image; None when neither names one."""
        return version_of(self.layout.version) or version_of(tag_of(self.layout.image))

    def at(self, group: str, *keys: str) -> str:
        """`FILE:LINE` of a key of the group, else of that key of the layout, else of the group; `group NAME` without a file."""
        return self.at_path(group, _key_path(self, group, *keys))

    def at_path(self, group: str, path: Path, *keys: str) -> str:
        """`FILE:LINE` of a path, or of a key below it when the file has that key; `group NAME` without a file."""
        return self.source.where(*path, *keys) if self.source.marks else f"group {group}"

    def at_flag(self, group: str, flag: str, *keys: str) -> str:
        """The place of a flag, or of a key of its mapping, in any spelling."""
        dotted = ".".join((flag, *keys))
        if dotted in self.args(group):
            return self.at_path(group, _flag_path(self, group, dotted))
        return self.at_path(group, _flag_path(self, group, flag), *keys)

    def at_node(self, node: str, *keys: str) -> str:
        """`FILE:LINE` of a node's key in the cluster file, else of its default, else of the node; `node NAME` without a file."""
        source = self.deployment.cluster.source
        if source is None or ("nodes", node) not in source.marks:
            return f"node {node}"
        for path in (("nodes", node, *keys), ("defaults", *keys)):
            if keys and path in source.marks:
                return source.where(*path)
        return source.where("nodes", node)

    def at_top(self, *keys: str) -> str:
        """`FILE:LINE` of a key of the layout; `layout NAME` without a file."""
        return self.source.where(*keys) if self.source.marks else f"layout {self.layout.name}"


def _flag_path(context: RuleContext, group: str, flag: str) -> Path:
    """The path of a flag's key in the group, else in the layout, else the path of the group's `args`."""
    own = context.groups[group]
    for kind, args in (("args_from", own.args_from), ("args", own.args), ("args", context.layout.args)):
        for written in args:
            if flag_name(written) == flag:
                return _key_path(context, group, kind, written)
    return _key_path(context, group, "args")


def _key_path(context: RuleContext, group: str, *keys: str) -> Path:
    """The path of a key of the group, or of the same key of the layout when only the layout has it.

    A copy of a group has the paths of its original.
    """
    own: Path = ("groups", context.deployment.like(group), *keys)
    marks = context.source.marks
    return keys if keys and own not in marks and keys in marks else own


def json_of(text: str) -> JsonValue:
    """The value of a JSON text, with 0 in the place of each rank fact; None when the text is not JSON."""
    try:
        value: JsonValue = json.loads(str(filled(text, lambda _: "0")))
    except ValueError:
        return None
    return value


def whole(value: JsonValue) -> int | None:
    """The whole number of a value such as 60 or "60"; None for other values."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    return int(value) if isinstance(value, str) and re.fullmatch(r"[0-9]{1,12}", value) else None


def version_of(text: str) -> tuple[int, int, int] | None:
    """`v0.21.0rc1` or `v0.21.0rc1-a3` → (0, 21, 0); `main` → later than all; None when the text names no release."""
    if re.match(r"main\b|nightly|latest", text):
        return MAIN
    found = re.match(r"v?(\d+)\.(\d+)(?:\.(\d+))?", text)
    return (int(found[1]), int(found[2]), int(found[3] or 0)) if found else None
