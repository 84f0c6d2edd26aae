"""Data types of an imported deployment before it is a layout: nodes with roles, ranks with arguments and variables."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from pydantic import JsonValue

from console.model.layout import ProxyKind, Role, flag_name
from console.model.service_process import ServiceProcess
from console.services.importing.rank_marks import marked, plain

RPC_DEFAULT = 29550
"""`--data-parallel-rpc-port` when it is not given (vLLM 0.21 config/parallel.py)."""

_SHORT = {
    "-tp": "tensor-parallel-size",
    "-pp": "pipeline-parallel-size",
    "-pcp": "prefill-context-parallel-size",
    "-dcp": "decode-context-parallel-size",
    "-dp": "data-parallel-size",
    "-dpn": "data-parallel-rank",
    "-dpr": "data-parallel-start-rank",
    "-dpl": "data-parallel-size-local",
    "-dpa": "data-parallel-address",
    "-dpp": "data-parallel-rpc-port",
    "-dph": "data-parallel-hybrid-lb",
    "-dpe": "data-parallel-external-lb",
    "-dpb": "data-parallel-backend",
    "-dpm": "data-parallel-multi-port-external-lb",
    "-n": "nnodes",
    "-r": "node-rank",
    "-asc": "api-server-count",
    "-ep": "enable-expert-parallel",
    "-q": "quantization",
    "-sc": "speculative-config",
    "-cc": "compilation-config",
}
"""Short flags of `vllm serve` (vLLM 0.21 engine/arg_utils.py) that a layout must understand."""


@dataclass(frozen=True)
class ExternalRank:
    """One `vllm serve` of an imported file, with marks for values known only on its node or rank."""

    left_args: Mapping[str, JsonValue]
    left_env: Mapping[str, str]
    facts: Mapping[str, str] = field(default_factory=dict)
    """Values of marks that are not addresses."""

    @cached_property
    def args(self) -> dict[str, JsonValue]:
        """The flags on made-up addresses (`address_of`)."""
        return {
            name: value_of(plain(value, self.facts))
            if isinstance(value, str) and marked(value)
            else plain(value, self.facts)
            for name, value in self.left_args.items()
        }

    @cached_property
    def env(self) -> dict[str, str]:
        """The variables on made-up addresses."""
        return {name: plain(value, self.facts) for name, value in self.left_env.items()}


@dataclass(frozen=True, slots=True)
class ExternalNode:
    """One node of an imported file."""

    index: int
    role: Role
    ranks: tuple[ExternalRank, ...]
    group: str = ""
    """What nodes of one group have in common; empty: the address they meet at."""
    copies: bool = False
    """It stands for all nodes of its group: its own place in the group is not taken."""
    local: int = 0
    """Data-parallel ranks on it, where the file says more than it starts."""


@dataclass(frozen=True, slots=True)
class ExternalProxy:
    """The proxy of an imported deployment."""

    port: int
    kind: ProxyKind | None = None
    """None: what the connectors need."""
    host: str = "0.0.0.0"
    script: str = ""
    args: Mapping[str, JsonValue] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ExternalDeployment:
    """A whole imported deployment."""

    name: str
    title: str
    model: str
    devices: int
    """Devices of one node."""
    nodes: tuple[ExternalNode, ...]
    warnings: tuple[str, ...] = ()
    proxy: ExternalProxy | None = None
    image: str = ""
    version: str = ""
    hardware: str = ""
    """The kind that was named; empty: the first that has as many devices."""
    services: Mapping[str, ServiceProcess] = field(default_factory=dict)


def parse_words(words: Sequence[str]) -> tuple[dict[str, JsonValue], list[str]]:
    """Arguments after `vllm serve MODEL` as `args` of a layout, and the arguments that were dropped."""
    args: dict[str, JsonValue] = {}
    doubts: list[str] = []
    for key, values in _flags(words):
        name, value = _arg(key, values)
        old = next((each for each in args if flag_name(each) == flag_name(name)), None)
        if old is not None:
            doubts.append(f"--{flag_name(name)} is given twice; the last one counts")
            del args[old]
        if not key:
            doubts.append(f"the words {' '.join(values)!r} belong to no flag and are left out")
            continue
        args[name] = value
    return args, doubts


def _flags(words: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    key, values = "", list[str]()
    for word in words:
        if word.startswith("--") or (word.startswith("-") and word[1:2].isalpha()):
            if key or values:
                yield key, values
            head, equals, tail = word.partition("=")
            key, values = head, [tail] if equals else []
        else:
            values.append(word)
    if key or values:
        yield key, values


def _arg(key: str, values: list[str]) -> tuple[str, JsonValue]:
    name = _SHORT.get(key, key.removeprefix("--"))
    if not values:
        return (name.removeprefix("no-"), False) if name.startswith("no-") else (name, True)
    return name, value_of(values[0]) if len(values) == 1 else [value_of(each, plain=True) for each in values]


def value_of(word: str, *, plain: bool = False) -> JsonValue:
    """The value of an argument: a number, a mapping or a text that renders to an equal argument."""
    if plain:
        return word
    if word.isdecimal() and str(int(word)) == word:
        return int(word)
    try:
        if repr(float(word)) == word and word[-1:].isdecimal():
            return float(word)
    except ValueError:
        pass
    if word.lstrip().startswith("{"):
        try:
            value: JsonValue = json.loads(word)
            json.dumps(value, allow_nan=False)
        except ValueError:
            return word
        return value
    return word


def same(one: JsonValue, other: JsonValue) -> bool:
    """Whether two values render to arguments with the same meaning: 8 and "8" are the same."""
    if isinstance(one, dict | list) or isinstance(other, dict | list):
        return one == other
    return one is other if isinstance(one, bool) or isinstance(other, bool) else str(one) == str(other)
