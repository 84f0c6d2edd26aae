"""What a rule is, and the scene rules look at: one deployment with its ranks and the flags and variables of each group."""

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
"""A version after every release: the development branch."""

INERT = {"VLLM_RPC_TIMEOUT": "vLLM up to 0.22 defines it and reads it nowhere, later releases do not know it"}
"""Variables that the tutorials set and no release reads, with why that is known: worth a note, whatever the release."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A place where a rule does not hold."""

    message: str
    where: str
    severity: Severity | None = None
    """When it differs from the rule's own."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One thing that must hold, why, and what to do when it does not."""

    id: str
    title: str
    severity: Severity
    why: str
    fix: str
    source: str
    check: Callable[[RuleContext], Iterator[Hit]]
    npus: bool = False
    """Whether it is about what comes with NPUs, HCCL and CANN: a plain machine has none of it."""

    def findings(self, scene: RuleContext) -> Iterator[Finding]:
        """A finding for every hit."""
        if self.npus and not scene.layout.hardware.devices:
            return
        for hit in self.check(scene):
            severity = hit.severity or self.severity
            yield Finding(self.id, severity, hit.message, hit.where, self.why, self.fix, self.source)


class RuleContext:
    """A deployment as rules ask for it. Computed once per check, never kept."""

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
        """Flags of a group as written, by name without dashes."""
        return self._args[group]

    def written(self, group: str) -> Iterator[tuple[str, JsonValue, Path]]:
        """(flag, value, path of its key) of every flag of a group that is not taken away, those of single nodes too."""
        for flag, value in self.args(group).items():
            if value is not None:
                yield flag, value, _flag_path(self, group, flag)
        for flag, value, path in self.written_by_node(group):
            if value is not None:
                yield flag, value, path

    def written_by_node(self, group: str) -> Iterator[tuple[str, JsonValue, Path]]:
        """(flag, value, path of its key) for what is written for single nodes of a group."""
        for position, change in self.groups[group].by_node.items():
            for kind, args in (("args", change.args), ("args_from", change.args_from)):
                for key, value in args.items():
                    yield flag_name(key), value, _key_path(self, group, "by_node", str(position), kind, key)

    def env(self, group: str) -> Mapping[str, str]:
        """Variables of a group as written."""
        return {**self.layout.env, **self.groups[group].env}

    def setting(self, group: str, flag: str, key: str) -> JsonValue:
        """A key of a flag that holds a mapping, for example `additional-config` `enable_dsa_cp`; None when absent."""
        value = self.args(group).get(flag)
        dotted = self.args(group).get(f"{flag}.{key}")
        return value.get(key, dotted) if isinstance(value, dict) else dotted

    def number(self, group: str, flag: str) -> int | None:
        """A flag's whole number, None when it is absent or something else."""
        return whole(self.args(group).get(flag))

    def with_role(self, role: str) -> Iterator[tuple[str, Group]]:
        """Groups of a role."""
        return ((name, group) for name, group in self.groups.items() if group.role == role)

    def pairs(self) -> Iterator[tuple[str, str]]:
        """Every prefill group with every decode group."""
        return ((prefill, decode) for prefill, _ in self.with_role("prefill") for decode, _ in self.with_role("decode"))

    def transfer(self, group: str) -> Mapping[str, JsonValue]:
        """What the group's `--kv-transfer-config` will say; empty without one."""
        written = self.args(group).get("kv-transfer-config")
        if isinstance(written, str):
            written = _json(written)
        if isinstance(written, dict):
            return written
        return self.layout.kv_transfer_config(group) or {}

    def kv_role(self, group: str) -> str:
        """The role the engines of a group will have in KV transfer; empty without a connector."""
        transfer = self.transfer(group)
        return str(transfer.get("kv_role", KV_ROLES[self.groups[group].role])) if transfer else ""

    def is_v4(self) -> bool:
        """Whether the model is a DeepSeek-V4."""
        named = f"{self.layout.model.path} {self.layout.model.served_name} {self.layout.args.get('tokenizer-mode', '')}"
        return re.search(r"deepseek[-_.]?v4", named, re.IGNORECASE) is not None

    @cached_property
    def version(self) -> tuple[int, int, int] | None:
        """The vllm-ascend release of the layout, from `version`, else the image's tag; None when neither says."""
        return version_of(self.layout.version) or version_of(tag_of(self.layout.image))

    def at(self, group: str, *keys: str) -> str:
        """`FILE:LINE` of a group's key, of the layout's key of that name, or of the group; `group NAME` without a file."""
        return self.at_path(group, _key_path(self, group, *keys))

    def at_path(self, group: str, path: Path, *keys: str) -> str:
        """`FILE:LINE` of a path, or of a key below it where that stands in the file; `group NAME` without a file."""
        return self.source.where(*path, *keys) if self.source.marks else f"group {group}"

    def at_flag(self, group: str, flag: str, *keys: str) -> str:
        """The place of a flag, or of a key of its mapping, however they are spelt."""
        dotted = ".".join((flag, *keys))
        if dotted in self.args(group):
            return self.at_path(group, _flag_path(self, group, dotted))
        return self.at_path(group, _flag_path(self, group, flag), *keys)

    def at_node(self, node: str, *keys: str) -> str:
        """`FILE:LINE` of a node's key in the cluster file, of the default for it, or of the node; `node NAME` without a file."""
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


def _flag_path(scene: RuleContext, group: str, flag: str) -> Path:
    """The path of a flag's key, in the group or else in the layout; of the group's `args` where it is in neither."""
    own = scene.groups[group]
    for kind, args in (("args_from", own.args_from), ("args", own.args), ("args", scene.layout.args)):
        for written in args:
            if flag_name(written) == flag:
                return _key_path(scene, group, kind, written)
    return _key_path(scene, group, "args")


def _key_path(scene: RuleContext, group: str, *keys: str) -> Path:
    """The path of a group's key, or of the layout's key of that name where only that is in the file.

    The key of a group that is a copy is that of the group it is like.
    """
    own: Path = ("groups", scene.deployment.like(group), *keys)
    marks = scene.source.marks
    return keys if keys and own not in marks and keys in marks else own


def _json(text: str) -> JsonValue:
    """JSON in a text, with a number in the place of each fact; None when it is none."""
    try:
        value: JsonValue = json.loads(str(filled(text, lambda _: "0")))
    except ValueError:
        return None
    return value


def whole(value: JsonValue) -> int | None:
    """A whole number from what a file holds: 60 or "60"; None for anything else."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    return int(value) if isinstance(value, str) and re.fullmatch(r"[0-9]{1,12}", value) else None


def version_of(text: str) -> tuple[int, int, int] | None:
    """`v0.21.0rc1` or `v0.21.0rc1-a3` → (0, 21, 0); `main` → later than all; None when it names no release."""
    if re.match(r"main\b|nightly|latest", text):
        return MAIN
    found = re.match(r"v?(\d+)\.(\d+)(?:\.(\d+))?", text)
    return (int(found[1]), int(found[2]), int(found[3] or 0)) if found else None
