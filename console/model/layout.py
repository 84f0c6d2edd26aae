"""A layout: which groups of engines serve the model, and with which flags. What can be computed is not in it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, JsonValue, ValidationInfo, field_validator, model_validator

from console.model.cluster import Written
from console.model.group_copies import counted_names, group_copy, group_in_shape
from console.model.hardware import Hardware, named_hardware
from console.model.key_positions import Source
from console.model.layout_texts import Environment, env_names, env_text, plain_name, with_facts
from console.model.restart import Restart
from console.model.service_process import ServiceProcess

Role = Literal["prefill", "decode", "mixed"]
Balance = Literal["internal", "external", "hybrid"]
ProxyKind = Literal["load-balance", "layerwise", "dp"]
MOST = 4096
"""No group has more nodes or ranks; a larger number is a slip, and would only be found out by waiting."""
KV_ROLES: Mapping[Role, str] = {"prefill": "kv_producer", "decode": "kv_consumer", "mixed": "kv_both"}
"""What each role is called in `--kv-transfer-config` (vLLM 0.21 config/kv_transfer.py)."""


def flag_name(key: str) -> str:
    """A key of `args` in the spelling vLLM's parser compares by: no leading dashes, `-` for `_` before any dot."""
    head, dot, tail = key.lstrip("-").partition(".")
    return head.replace("_", "-") + dot + tail


class Model(Written):
    """The weights and the name they are served under."""

    path: str
    source: str = ""
    """Where the weights are published, `OWNER/NAME` on a hub; the path alone does not say it."""
    served_name: str = ""
    """What `/v1/models` lists; empty means vLLM's default, the path itself."""
    weights_gib: float | None = Field(default=None, gt=0)
    """Size of the weights on disk, for the estimate of what they take of HBM."""
    accuracy: dict[str, Annotated[float, Field(ge=0, le=100)]] = Field(default_factory=dict)
    """Dataset -> what `eval` must come to, percent; without it the figures that upstream prints for the model hold."""

    @field_validator("source")
    @classmethod
    def _published(cls, value: str) -> str:
        if value and not re.fullmatch(r"[\w.-]+/[\w.-]+", value):
            raise ValueError(f"{value!r} names no weights on a hub; write OWNER/NAME")
        return value

    @property
    def family(self) -> str:
        """The model's name without date and quantization: `DeepSeek-V4-Flash` of `…/DeepSeek-V4-Flash-0731-w8a8`."""
        name = (self.source or self.path).rstrip("/").rpartition("/")[2]
        return re.sub(r"(-\d{4})?-w\d+a\d+.*$", "", name, flags=re.IGNORECASE)


class DataParallel(Written):
    """How one group is spread over data-parallel ranks."""

    size: int = Field(ge=1, le=MOST)
    """Ranks of the whole group."""
    per_node: int = Field(ge=1, le=MOST)
    """Ranks on each node (`--data-parallel-size-local`)."""
    balance: Balance = "internal"
    """internal: rank 0's API server spreads requests, other nodes are headless.
    external: every rank is an HTTP server of its own.
    hybrid: each node serves its own ranks."""
    rpc_port: int = Field(default=29550, ge=1, le=65535)
    """vLLM's default when the flag is absent (vllm/config/parallel.py, 0.21)."""


class KvTransfer(Written):
    """The KV connector of a prefill or decode group; role and sizes are computed."""

    connector: str
    port: int = Field(ge=1, le=65535)
    engine_id: str | tuple[str, ...] | None = None
    """One for the group, or a list with one for each of its nodes."""
    extra: dict[str, JsonValue] = Field(default_factory=dict)
    """Further keys of `kv_connector_extra_config`, merged over the computed prefill and decode sizes."""
    further: dict[str, JsonValue] = Field(default_factory=dict)
    """Further keys beside it, for example `kv_buffer_device`."""

    @field_validator("engine_id", mode="before")
    @classmethod
    def _text(cls, value: object) -> object:
        if isinstance(value, list):
            return tuple(cls._text(item) for item in value)
        return str(value) if isinstance(value, int) and not isinstance(value, bool) else value

    def engine_id_of(self, position: int) -> str | None:
        """The engine id on the group's node at `position`; None beyond the list."""
        if isinstance(self.engine_id, tuple):
            return self.engine_id[position] if position < len(self.engine_id) else None
        return self.engine_id


class NodeChange(Written):
    """What is different on one node of a group."""

    env: dict[str, str | None] = Field(default_factory=dict)
    """Variables over the group's; null takes one away."""
    args: dict[str, JsonValue] = Field(default_factory=dict)
    """Flags over the group's; null takes one away, a computed one too."""
    env_from: dict[str, str] = Field(default_factory=dict)
    args_from: dict[str, JsonValue] = Field(default_factory=dict)
    port: int | None = Field(default=None, ge=1, le=65535)
    """HTTP port of the first engine on this node."""

    @field_validator("env", mode="before")
    @classmethod
    def _env(cls, value: object) -> object:
        return env_text(value)

    @field_validator("env_from", "args_from")
    @classmethod
    def _known_facts(cls, value: dict[str, JsonValue]) -> dict[str, JsonValue]:
        return with_facts(value)


class Group(Written):
    """One data-parallel group: it starts, fails and stops as one."""

    role: Role
    nodes: int = Field(ge=1, le=MOST)
    """How many nodes run it."""
    count: int = Field(default=1, ge=1, le=MOST)
    """How many such groups there are: the second is NAME2, on nodes of its own, with its own engine id and KV port."""
    nodes_per_engine: int = Field(default=1, ge=1, le=MOST)
    """Nodes that one engine spans; its tensor, pipeline and prefill-context parallel devices are spread evenly over them."""
    master_port: int = Field(default=29501, ge=1, le=65535)
    """Where the parts of such engines meet, on the group's first node; vLLM's default (vllm/config/parallel.py, 0.21)."""
    tensor_parallel: int = Field(ge=1, le=MOST)
    pipeline_parallel: int = Field(default=1, ge=1, le=MOST)
    prefill_context_parallel: int = Field(default=1, ge=1, le=MOST)
    data_parallel: DataParallel
    port: int = Field(ge=1, le=65535)
    """HTTP port of the first engine on a node; each further one takes the next."""
    first_device: int = Field(default=0, ge=0, le=MOST)
    """First device of the node this group may use; for two groups on one node."""
    kv_transfer: KvTransfer | None = None
    env: Environment = Field(default_factory=dict)
    env_from: dict[str, str] = Field(default_factory=dict)
    """Variables whose value differs from rank to rank: name → a fact, or a text with facts in braces (`tcp://{address}:80`)."""
    args: dict[str, JsonValue] = Field(default_factory=dict)
    args_from: dict[str, JsonValue] = Field(default_factory=dict)
    """Flags whose value differs from rank to rank, over `args`: as there, with facts in braces in its texts."""
    by_node: dict[int, NodeChange] = Field(default_factory=dict)
    """Position of a node in the group, from 0 → what is different there. Rarely wise: ranks of a group should be equal."""
    restart: Restart = Restart()
    """Whether a console that may act starts the group again when it failed; by default it never does."""

    @field_validator("env_from")
    @classmethod
    def _env_names(cls, value: dict[str, str]) -> dict[str, str]:
        return env_names(value)

    @field_validator("env_from", "args_from")
    @classmethod
    def _known_facts(cls, value: dict[str, JsonValue]) -> dict[str, JsonValue]:
        return with_facts(value)

    @model_validator(mode="after")
    def _bounded(self) -> Group:
        ranks, devices = self.nodes * self.data_parallel.per_node, self.devices_on_node
        if max(ranks, devices) > MOST:
            raise ValueError(f"{ranks} ranks in all and {devices} devices on a node; at most {MOST} are planned")
        return self

    @property
    def devices_per_rank(self) -> int:
        """Devices one data-parallel rank occupies."""
        return self.tensor_parallel * self.pipeline_parallel * self.prefill_context_parallel

    @property
    def devices_on_node(self) -> int:
        """Devices the group occupies on each of its nodes; rounded up where they cannot be spread evenly."""
        return self.data_parallel.per_node * -(-self.devices_per_rank // self.nodes_per_engine)

    @property
    def ranks(self) -> int:
        """Data-parallel ranks that its nodes carry."""
        return self.nodes // self.nodes_per_engine * self.data_parallel.per_node

    @property
    def places(self) -> str:
        """How ranks are spread over nodes: `2 per node`, or `each over 2 nodes`."""
        span = self.nodes_per_engine
        return f"each over {span} nodes" if span > 1 else f"{self.data_parallel.per_node} per node"

    def first_port(self, position: int) -> int:
        """HTTP port of the first engine on the group's node at `position`."""
        change = self.by_node.get(position)
        return self.port if change is None or change.port is None else change.port


class Shape(Written):
    """A group's size as an operator changed it, over what the layout says."""

    nodes: int = Field(ge=1, le=MOST)
    size: int = Field(ge=1, le=MOST)
    per_node: int = Field(ge=1, le=MOST)
    tensor_parallel: int = Field(ge=1, le=MOST)


class Proxy(Written):
    """The router in front of prefill and decode groups (vllm-ascend's example proxies)."""

    kind: ProxyKind = "load-balance"
    node: str = ""
    """`GROUP/INDEX` of the layout, or a node name; empty means the first node of the first group."""
    host: str = "0.0.0.0"
    port: int = Field(default=8000, ge=1, le=65535)
    script: str = ""
    """Path of the proxy's Python file on the node; empty means where the vllm-ascend image keeps it."""
    args: dict[str, JsonValue] = Field(default_factory=dict)


class Layout(Written):
    """A whole deployment without its nodes' names."""

    name: str
    title: str = ""
    hardware: Hardware
    version: str = ""
    """The vllm-ascend release it is made for, for example v0.21.0rc1; rules that differ by version ask it."""
    image: str = ""
    model: Model
    env: Environment = Field(default_factory=dict)
    args: dict[str, JsonValue] = Field(default_factory=dict)
    """Flags of every engine: true = bare flag, false = `--no-…`, a mapping = JSON, a list = repeated words."""
    groups: dict[str, Group]
    services: dict[str, ServiceProcess] = Field(default_factory=dict)
    """What runs beside the engines, started before them and stopped after them."""
    proxy: Proxy | None = None
    assign: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    source: Source | None = Field(default=None, exclude=True, repr=False)
    written: Layout | None = Field(default=None, exclude=True, repr=False)
    """The layout as its file has it, when groups were given other shapes or copies since."""

    @field_validator("hardware", mode="before")
    @classmethod
    def _hardware(cls, value: object) -> object:
        return named_hardware(value)

    @field_validator("name")
    @classmethod
    def _plain(cls, value: str) -> str:
        return plain_name(value)

    @field_validator("groups")
    @classmethod
    def _groups(cls, value: dict[str, Group]) -> dict[str, Group]:
        if not value:
            raise ValueError("a layout has at least one group")
        for name in value:
            if plain_name(name) == "proxy":
                raise ValueError("a group cannot be called proxy: that is the proxy's own name")
        for name, like in counted_names(value).items():
            if name in value:
                raise ValueError(f"the groups that count of {like!r} makes and {name!r} have the same name; rename one")
        return value

    @field_validator("services")
    @classmethod
    def _services(cls, value: dict[str, ServiceProcess], info: ValidationInfo) -> dict[str, ServiceProcess]:
        groups = info.data.get("groups", {})
        taken = {"proxy", *groups, *counted_names(groups)}
        for name in map(plain_name, value):
            group, _, rest = name.rpartition("-")
            if name in taken or (group in taken and rest.replace(".", "").isdecimal()):
                raise ValueError(f"a service cannot be called {name!r}: a group, an engine or the proxy is; rename it")
        return value

    @field_validator("assign")
    @classmethod
    def _assigned(cls, value: dict[str, tuple[str, ...]], info: ValidationInfo) -> dict[str, tuple[str, ...]]:
        groups = info.data.get("groups")
        known = (*groups, *counted_names(groups)) if groups is not None else tuple(value)
        for name in value:
            if name not in known:
                raise ValueError(f"there is no group {name!r} (groups: {', '.join(known)})")
        return value

    @property
    def chosen(self) -> bool:
        """Whether it is a layout at all: False of what stands for one while an operator only looks at a cluster."""
        return bool(self.groups)

    @property
    def counted(self) -> Mapping[str, str]:
        """The groups that `count` adds to those of the file: name → the group it is like."""
        return counted_names((self.written or self).groups)

    def shaped(self, shapes: Mapping[str, Shape] | None = None, copies: Mapping[str, str] | None = None) -> Layout:
        """The layout as written, its groups in these shapes, each followed by its copies (name → group).

        Copies are those that `count` asks for and those that are named. What is said of groups that it has not is left out.
        """
        written = self.written or self
        shaped = {name: shape for name, shape in (shapes or {}).items() if name in written.groups}
        added = dict(self.counted)
        for name, like in (copies or {}).items():
            if like in written.groups and name not in written.groups:
                added.setdefault(name, like)
        if not shaped and not added:
            return written
        groups: dict[str, Group] = {}
        for name, group in written.groups.items():
            one = group.model_copy(update={"count": 1}) if group.count > 1 else group
            groups[name] = group_in_shape(one, shaped[name]) if name in shaped else one
            for copy in (each for each, like in added.items() if like == name):
                groups[copy] = group_copy(groups[name], [*written.groups.values(), *groups.values()])
        return written.model_copy(update={"groups": groups, "written": written})

    def kv_transfer_config(self, name: str, position: int = 0) -> dict[str, JsonValue] | None:
        """What `--kv-transfer-config` says on a group's node at `position`, role and sizes computed; None without a connector."""
        group = self.groups[name]
        transfer = group.kv_transfer
        if transfer is None:
            return None
        config: dict[str, JsonValue] = {
            "kv_connector": transfer.connector,
            "kv_role": KV_ROLES[group.role],
            "kv_port": str(transfer.port),
        }
        engine_id = transfer.engine_id_of(position)
        if engine_id is not None:
            config["engine_id"] = engine_id
        extra = {**self._kv_sizes(group), **transfer.extra}
        if extra:
            config["kv_connector_extra_config"] = extra
        return {**config, **transfer.further}

    def _kv_sizes(self, group: Group) -> dict[str, JsonValue]:
        sizes: dict[str, JsonValue] = {}
        for role in ("prefill", "decode") if group.role != "mixed" else ():
            peer = (
                group
                if group.role == role
                else next((each for each in self.groups.values() if each.role == role), None)
            )
            if peer is not None:
                sizes[role] = {"dp_size": peer.data_parallel.size, "tp_size": peer.tensor_parallel}
        return sizes


def no_layout(hardware: Hardware) -> Layout:
    """What stands for a layout where none is chosen: without a group, so that no engine is planned anywhere."""
    model = Model.model_construct(path="")
    return Layout.model_construct(name="", hardware=hardware, model=model, groups={})
