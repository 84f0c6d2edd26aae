"""A layout: the groups of engines that serve a model, and their flags. It contains only values that cannot be computed."""

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
"""Most nodes or ranks of a group; a larger number is a mistake."""
KV_ROLES: Mapping[Role, str] = {"prefill": "kv_producer", "decode": "kv_consumer", "mixed": "kv_both"}
"""Role → its name in `--kv-transfer-config` (vLLM 0.21 config/kv_transfer.py)."""


def flag_name(key: str) -> str:
    """A key of `args` in the spelling that vLLM's parser compares: no leading dashes, `-` for `_` before the first dot."""
    head, dot, tail = key.lstrip("-").partition(".")
    return head.replace("_", "-") + dot + tail


class Model(Written):
    """The weights, and the served model name."""

    path: str
    source: str = ""
    """The repository of the weights on a model hub, `OWNER/NAME`."""
    served_name: str = ""
    """The name in `/v1/models`; the default of vLLM is the path."""
    weights_gib: float | None = Field(default=None, gt=0)
    """Size of the weights on disk, for the estimate of the HBM that they need."""
    accuracy: dict[str, Annotated[float, Field(ge=0, le=100)]] = Field(default_factory=dict)
    """Dataset → least accuracy of `eval` in percent; the defaults are the figures that upstream publishes for the model."""

    @field_validator("source")
    @classmethod
    def _published(cls, value: str) -> str:
        if value and not re.fullmatch(r"[\w.-]+/[\w.-]+", value):
            raise ValueError(f"{value!r} is not a repository of a hub; write OWNER/NAME")
        return value

    @property
    def family(self) -> str:
        """The name of the model without date and quantization: `DeepSeek-V4-Flash` for `…/DeepSeek-V4-Flash-0731-w8a8`."""
        name = (self.source or self.path).rstrip("/").rpartition("/")[2]
        return re.sub(r"(-\d{4})?-w\d+a\d+.*$", "", name, flags=re.IGNORECASE)


class DataParallel(Written):
    """The data-parallel ranks of a group."""

    size: int = Field(ge=1, le=MOST)
    """Ranks of the whole group."""
    per_node: int = Field(ge=1, le=MOST)
    """Ranks on each node (`--data-parallel-size-local`)."""
    balance: Balance = "internal"
    """internal: the API server of rank 0 distributes requests, the other nodes are headless.
    external: every rank has its own HTTP server.
    hybrid: each node serves its own ranks."""
    rpc_port: int = Field(default=29550, ge=1, le=65535)
    """`--data-parallel-rpc-port`; the default is that of vLLM (vllm/config/parallel.py, 0.21)."""


class KvTransfer(Written):
    """The KV connector of a prefill or decode group; role and sizes are computed."""

    connector: str
    """The KV connector, for example MooncakeHybridConnector."""
    port: int = Field(ge=1, le=65535)
    """The first handshake port (`kv_port`) of the group."""
    engine_id: str | tuple[str, ...] | None = None
    """One id for the group, or a list with one id for each of its nodes."""
    extra: dict[str, JsonValue] = Field(default_factory=dict)
    """More keys of `kv_connector_extra_config`; they override the computed sizes of prefill and decode."""
    further: dict[str, JsonValue] = Field(default_factory=dict)
    """More keys of `--kv-transfer-config`, for example `kv_buffer_device`."""

    @field_validator("engine_id", mode="before")
    @classmethod
    def _text(cls, value: object) -> object:
        if isinstance(value, list):
            return tuple(cls._text(item) for item in value)
        return str(value) if isinstance(value, int) and not isinstance(value, bool) else value

    def engine_id_of(self, position: int) -> str | None:
        """The engine id on the node at `position` of the group; None after the end of the list."""
        if isinstance(self.engine_id, tuple):
            return self.engine_id[position] if position < len(self.engine_id) else None
        return self.engine_id


class NodeChange(Written):
    """The differences of one node of a group."""

    env: dict[str, str | None] = Field(default_factory=dict)
    """Variables that override those of the group; null removes a variable."""
    args: dict[str, JsonValue] = Field(default_factory=dict)
    """Flags that override those of the group; null removes a flag, also a computed one."""
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
    """One data-parallel group: its engines start, fail and stop together."""

    role: Role
    """What its engines do: `prefill`, `decode`, or both (`mixed`)."""
    nodes: int = Field(ge=1, le=MOST)
    """Number of nodes."""
    count: int = Field(default=1, ge=1, le=MOST)
    """Number of equal groups: the second one is NAME2, with its own nodes, engine id and KV port."""
    nodes_per_engine: int = Field(default=1, ge=1, le=MOST)
    """Number of nodes that one engine spans; its devices are divided evenly between them."""
    master_port: int = Field(default=29501, ge=1, le=65535)
    """Port on the first node over which the parts of such engines connect (default of vLLM 0.21, vllm/config/parallel.py)."""
    tensor_parallel: int = Field(ge=1, le=MOST)
    pipeline_parallel: int = Field(default=1, ge=1, le=MOST)
    prefill_context_parallel: int = Field(default=1, ge=1, le=MOST)
    data_parallel: DataParallel
    port: int = Field(ge=1, le=65535)
    """HTTP port of the first engine on a node; each further engine uses the next port."""
    first_device: int = Field(default=0, ge=0, le=MOST)
    """First device of a node that the group uses, for two groups on one node."""
    kv_transfer: KvTransfer | None = None
    env: Environment = Field(default_factory=dict)
    env_from: dict[str, str] = Field(default_factory=dict)
    """Variables that differ between ranks: name → a fact, or a text with facts in braces (`tcp://{address}:80`)."""
    args: dict[str, JsonValue] = Field(default_factory=dict)
    args_from: dict[str, JsonValue] = Field(default_factory=dict)
    """Flags that differ between ranks and override `args`; texts contain facts in braces."""
    by_node: dict[int, NodeChange] = Field(default_factory=dict)
    """Position of a node in the group, from 0 → its differences. Use it rarely, because ranks of a group should be equal."""
    restart: Restart = Restart()
    """The restart policy; by default a failed group is not restarted."""

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
            raise ValueError(f"{ranks} ranks in all and {devices} devices on a node; at most {MOST} are allowed")
        return self

    @property
    def devices_per_rank(self) -> int:
        """Number of devices of one data-parallel rank."""
        return self.tensor_parallel * self.pipeline_parallel * self.prefill_context_parallel

    @property
    def devices_on_node(self) -> int:
        """Number of devices that the group uses on each of its nodes, rounded up."""
        return self.data_parallel.per_node * -(-self.devices_per_rank // self.nodes_per_engine)

    @property
    def ranks(self) -> int:
        """Number of data-parallel ranks on its nodes."""
        return self.nodes // self.nodes_per_engine * self.data_parallel.per_node

    @property
    def places(self) -> str:
        """The distribution of ranks over nodes: `2 per node`, or `each over 2 nodes`."""
        span = self.nodes_per_engine
        return f"each over {span} nodes" if span > 1 else f"{self.data_parallel.per_node} per node"

    def first_port(self, position: int) -> int:
        """The HTTP port of the first engine on the node at `position` of the group."""
        change = self.by_node.get(position)
        return self.port if change is None or change.port is None else change.port


class Shape(Written):
    """The size that an operator gave to a group, instead of the size in the layout."""

    nodes: int = Field(ge=1, le=MOST)
    size: int = Field(ge=1, le=MOST)
    per_node: int = Field(ge=1, le=MOST)
    tensor_parallel: int = Field(ge=1, le=MOST)


class Proxy(Written):
    """The router in front of prefill and decode groups (vllm-ascend's example proxies)."""

    kind: ProxyKind = "load-balance"
    """The example proxy of vllm-ascend: `load-balance` and `layerwise` use prefill and decode, `dp` one rank for each request."""
    node: str = ""
    """`GROUP/INDEX` of the layout, or a node name; empty means the first node of the first group."""
    host: str = "0.0.0.0"
    port: int = Field(default=8000, ge=1, le=65535)
    script: str = ""
    """Path of the Python file of the proxy on the node; the default is its path in the vllm-ascend image."""
    args: dict[str, JsonValue] = Field(default_factory=dict)


class Layout(Written):
    """A deployment without the names of its nodes."""

    name: str
    title: str = ""
    hardware: Hardware
    version: str = ""
    """The vllm-ascend release of the layout, for example v0.21.0rc1; rules depend on it."""
    image: str = ""
    model: Model
    env: Environment = Field(default_factory=dict)
    args: dict[str, JsonValue] = Field(default_factory=dict)
    """Flags of every engine: true = the flag alone, false = `--no-…`, a mapping = JSON, a list = several values."""
    groups: dict[str, Group]
    services: dict[str, ServiceProcess] = Field(default_factory=dict)
    """Processes beside the engines; they start before the engines and stop after them."""
    proxy: Proxy | None = None
    assign: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """Nodes of each group, used without `--assign` when no assignment is saved."""
    source: Source | None = Field(default=None, exclude=True, repr=False)
    written: Layout | None = Field(default=None, exclude=True, repr=False)
    """The layout of the file, when groups have another size or copies."""

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
            raise ValueError("a layout needs at least one group")
        for name in value:
            if plain_name(name) == "proxy":
                raise ValueError("a group cannot have the name proxy, which belongs to the proxy")
        for name, like in counted_names(value).items():
            if name in value:
                raise ValueError(f"count of {like!r} adds a group {name!r}, which exists already; rename one of them")
        return value

    @field_validator("services")
    @classmethod
    def _services(cls, value: dict[str, ServiceProcess], info: ValidationInfo) -> dict[str, ServiceProcess]:
        groups = info.data.get("groups", {})
        taken = {"proxy", *groups, *counted_names(groups)}
        for name in map(plain_name, value):
            group, _, rest = name.rpartition("-")
            if name in taken or (group in taken and rest.replace(".", "").isdecimal()):
                raise ValueError(
                    f"a service cannot have the name {name!r}, which belongs to a group, an engine or the proxy; rename it"
                )
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
        """Whether a layout was chosen; False for `no_layout`."""
        return bool(self.groups)

    @property
    def counted(self) -> Mapping[str, str]:
        """The groups that `count` adds: name → the copied group."""
        return counted_names((self.written or self).groups)

    def shaped(self, shapes: Mapping[str, Shape] | None = None, copies: Mapping[str, str] | None = None) -> Layout:
        """The layout with groups in these sizes and with copies (name → group), each copy after its group.

        The copies of `count` are added too. Sizes and copies of unknown groups are ignored.
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
        """The `--kv-transfer-config` on the node at `position` of a group; None without a connector."""
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
    """An empty layout for the case that none is chosen: it has no groups, so no engines are planned."""
    model = Model.model_construct(path="")
    return Layout.model_construct(name="", hardware=hardware, model=model, groups={})
