"""vllm-ascend's multi-node CI configurations, expanded as their own loader expands them.

Two kinds: `external_dp` (routing, config, templates: one `vllm serve` per data-parallel rank) and `internal_dp` (deployment:
one per node). Source: vllm-ascend tests/e2e/nightly/multi_node/{external_dp,internal_dp}/scripts. Benchmarks are left out.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from pydantic import JsonValue

from console.files import Document
from console.model.errors import FileError, Problem
from console.model.layout import Role
from console.model.source import Path as KeyPath
from console.services.importing.foreign import NIC, Foreign, ForeignNode, ForeignRank, address_of, parse_words

EXTERNAL_PROXY_PORT = 1999
INTERNAL_PROXY_PORT = 6000
"""The first of 6000-7000; their loader takes the first that is free."""
_KNOWN_KEYS = {"test_name", "model", "num_nodes", "npu_per_node", "routing", "config", "templates", "deployment"}
_QUIET_KEYS = {"benchmarks", "disaggregated_prefill"}
_DROPPED = {
    "cluster_hosts": "hosts written in the file are not taken; assign your own nodes",
    "special_dependencies": "packages it wants installed are left to the image",
    "kv_pool": "its KV pool server is not started by the console",
}
_OWN_PATHS = ("LD_PRELOAD", "LD_LIBRARY_PATH", "PATH", "PYTHONPATH")


class _Text(NamedTuple):
    """A rendered text, and whether a placeholder was in it."""

    text: str
    templated: bool


def is_ci_config(document: Document) -> bool:
    """Whether the document looks like a configuration of either kind."""
    value = document.value
    return isinstance(value, dict) and ("deployment" in value or {"config", "templates"} <= set(value))


def read_ci_config(document: Document, name: str) -> Foreign:
    """What the configuration starts. Raises FileError with line and key when it is not one."""
    return _Reader(document, name).read()


class _Reader:
    """Reads one configuration; one instance per file."""

    def __init__(self, document: Document, name: str) -> None:
        self._document = document
        self._source = document.source
        self._name = name
        self._model = ""
        self._warnings: list[str] = [str(doubt) for doubt in document.doubts]

    def read(self) -> Foreign:
        top = self._mapping((), self._document.value)
        internal = "deployment" in top
        for key in top:
            if key in _DROPPED:
                self._warn(_DROPPED[key], key)
            elif key not in _KNOWN_KEYS | _QUIET_KEYS and not key.startswith("env_"):
                self._warn("is not a key of these files", key)
        nodes = self._internal(top) if internal else self._external(top)
        devices = self._number((), top, "npu_per_node")
        separated = any(node.role != "mixed" for node in nodes)
        port = (INTERNAL_PROXY_PORT if internal else EXTERNAL_PROXY_PORT) if separated else None
        title = top.get("test_name")
        model = self._text((), top, "model")
        return Foreign(self._name, str(title or ""), self._model or model, devices, nodes, tuple(self._warnings), port)

    def _external(self, top: Mapping[str, JsonValue]) -> tuple[ForeignNode, ...]:
        configs = self._list((), top, "config")
        templates = self._list((), top, "templates")
        roles = self._external_roles(top, len(configs))
        if len(templates) != len(configs):
            raise self._fault(("templates",), f"{len(templates)} templates for {len(configs)} nodes")
        nodes = []
        for index in range(len(configs)):
            path: KeyPath = ("config", index)
            config = self._mapping(path, configs[index])
            template = self._mapping(("templates", index), templates[index])
            count = self._number(path, config, "dp_size_local")
            if not 0 < count <= 64:
                raise self._fault((*path, "dp_size_local"), f"{count} engines on one node")
            ranks = tuple(self._external_rank(index, local, config, template) for local in range(count))
            nodes.append(ForeignNode(index, roles.get(index, "mixed"), ranks))
        return tuple(nodes)

    def _external_roles(self, top: Mapping[str, JsonValue], count: int) -> dict[int, Role]:
        routing = self._mapping(("routing",), top.get("routing"))
        groups = self._mapping(("routing", "groups"), routing.get("groups"))
        roles: dict[int, Role] = {}
        named: tuple[tuple[str, Role], ...] = (("prefiller", "prefill"), ("decoder", "decode"))
        for key, role in named:
            for index in self._indexes(("routing", "groups"), groups, key, count):
                roles[index] = role
        return roles

    def _external_rank(
        self, index: int, local: int, config: Mapping[str, JsonValue], template: Mapping[str, JsonValue]
    ) -> ForeignRank:
        path: KeyPath = ("templates", index)
        table = self._table(index, local, config)
        loader = self._loader_env(index, 0)
        env: dict[str, str] = {}
        templated: set[str] = set(loader)
        written = self._mapping((*path, "envs"), template.get("envs") or {})
        for name, raw in written.items():
            env[name], marked = self._rendered(str(raw), table, env, (*path, "envs", name), own=name)
            if marked:
                templated.add(name)
        env |= loader
        words = []
        for place, word in enumerate(self._list(path, template, "server_cmd_template")):
            text = self._rendered(str(word), table, env, (*path, "server_cmd_template", place), own="").text
            words.append(text)
        args, doubts = parse_words(words)
        self._warnings += [f"{self._source.where(*path, 'server_cmd_template')}: {doubt}" for doubt in doubts]
        return ForeignRank(args, env, frozenset(templated))

    def _table(self, index: int, local: int, config: Mapping[str, JsonValue]) -> dict[str, str]:
        path: KeyPath = ("config", index)
        sizes = {key: self._number(path, config, f"{key}_size", 1) for key in ("tp", "cp", "sp", "pp")}
        start, first = self._number(path, config, "port_start"), self._number(path, config, "dp_rank_start", 0)
        width = sizes["tp"] * sizes["pp"] * sizes["cp"]
        table = {
            "MODEL": self._text((), self._mapping((), self._document.value), "model"),
            "PORT_START": str(start),
            "PORT": str(start + local),
            "DP_SIZE": str(self._number(path, config, "dp_size")),
            "DP_SIZE_LOCAL": str(self._number(path, config, "dp_size_local")),
            "DP_RANK_START": str(first),
            "DP_RANK": str(first + local),
            "LOCAL_RANK": str(local),
            **{f"{key.upper()}_SIZE": str(size) for key, size in sizes.items()},
            "DP_RPC_PORT": str(self._number(path, config, "dp_rpc_port", 29550)),
            "VISIBLE_DEVICES": ",".join(str(device) for device in range(local * width, (local + 1) * width)),
            "NODE_INDEX": str(index),
            "CONFIG_INDEX": str(index),
            "LWS_WORKER_INDEX": str(index),
            "LOCAL_IP": address_of(index),
            "MASTER_IP": address_of(0),
        }
        count = len(self._list((), self._mapping((), self._document.value), "config"))
        table |= {f"NODE_{each}_IP": address_of(each) for each in range(count)}
        address = self._text(path, config, "dp_address")
        table["DP_ADDRESS"] = self._rendered(address, table, {}, (*path, "dp_address"), own="").text
        return table

    def _internal(self, top: Mapping[str, JsonValue]) -> tuple[ForeignNode, ...]:
        deployment = self._list((), top, "deployment")
        split = top.get("disaggregated_prefill")
        roles: dict[int, Role] = {}
        masters = dict.fromkeys(range(len(deployment)), 0)
        if isinstance(split, dict) and split.get("enabled") is not False:
            path: KeyPath = ("disaggregated_prefill",)
            roles |= dict.fromkeys(self._indexes(path, split, "prefiller_host_index", len(deployment)), "prefill")
            decoders = self._indexes(path, split, "decoder_host_index", len(deployment))
            roles |= dict.fromkeys(decoders, "decode")
            masters |= dict.fromkeys(decoders, min(decoders, default=0))
        return tuple(
            ForeignNode(index, roles.get(index, "mixed"), (self._internal_rank(index, masters[index], each),))
            for index, each in enumerate(deployment)
        )

    def _internal_rank(self, index: int, master: int, node: JsonValue) -> ForeignRank:
        path: KeyPath = ("deployment", index)
        given = self._mapping(path, node)
        written = self._mapping((*path, "envs"), given.get("envs") or {})
        env = {name: str(value) for name, value in written.items()}
        loader = self._loader_env(index, master)
        env |= loader
        table = {"SERVER_PORT": env.get("SERVER_PORT", "8080"), **loader}
        command = self._text(path, given, "server_cmd")
        text = self._rendered(command, table, env, (*path, "server_cmd"), own="").text
        try:
            words = shlex.split(text)
        except ValueError as error:
            raise self._fault((*path, "server_cmd"), f"cannot be split into words: {error}") from None
        if words[:2] != ["vllm", "serve"] or len(words) < 3:
            raise self._fault((*path, "server_cmd"), "does not begin with `vllm serve MODEL`")
        if self._model and words[2] != self._model:
            self._warn(f"serves {words[2]}, another node serves {self._model}; the first is taken", *path, "server_cmd")
        self._model = self._model or words[2]
        args, doubts = parse_words(words[3:])
        self._warnings += [f"{self._source.where(*path, 'server_cmd')}: {doubt}" for doubt in doubts]
        return ForeignRank(args, env, frozenset(loader))

    def _loader_env(self, index: int, master: int) -> dict[str, str]:
        """What their loader sets itself, over the file's own values."""
        local = address_of(index)
        interfaces = dict.fromkeys(("HCCL_SOCKET_IFNAME", "GLOO_SOCKET_IFNAME", "TP_SOCKET_IFNAME", "NIC_NAME"), NIC)
        return {"HCCL_IF_IP": local, "LOCAL_IP": local, **interfaces, "MASTER_IP": address_of(master)}

    def _rendered(
        self, text: str, table: Mapping[str, str], env: Mapping[str, str], path: KeyPath, *, own: str
    ) -> _Text:
        """`${X}` from the table, then bare `$X` from the variables so far; a search path keeps the name of itself."""

        def put(found: re.Match[str]) -> str:
            name = found[1] or found[2]
            if name == own and own in _OWN_PATHS:
                return f"${own}"
            known = table.get(name, env.get(name)) if found[1] or name not in env else env[name]
            if known is None:
                self._warn(f"nothing is known of ${name}; it is kept as written", *path)
                return found[0]
            return known

        rendered = re.sub(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}|\$([A-Za-z_][A-Za-z0-9_]*)", put, text)
        return _Text(rendered, "$" in text)

    def _warn(self, message: str, *path: str | int) -> None:
        warning = f"{self._source.where(*path)}: {path[-1]}: {message}" if path else message
        if warning not in self._warnings:
            self._warnings.append(warning)

    def _fault(self, path: KeyPath, message: str) -> FileError:
        mark = self._source.mark(*path)
        key = ".".join(str(step) for step in path)
        return FileError(
            (Problem(self._source.path, mark.line if mark else 0, mark.column if mark else 0, key, message),)
        )

    def _mapping(self, path: KeyPath, value: JsonValue) -> Mapping[str, JsonValue]:
        if not isinstance(value, dict):
            raise self._fault(path, "must be a mapping")
        return value

    def _list(self, path: KeyPath, given: Mapping[str, JsonValue], key: str) -> Sequence[JsonValue]:
        value = given.get(key)
        if not isinstance(value, list) or not value:
            raise self._fault((*path, key), "must be a list that is not empty")
        return value

    def _text(self, path: KeyPath, given: Mapping[str, JsonValue], key: str) -> str:
        value = given.get(key)
        if not isinstance(value, str) or not value:
            raise self._fault((*path, key), "must be a text")
        return value

    def _number(self, path: KeyPath, given: Mapping[str, JsonValue], key: str, default: int | None = None) -> int:
        value = given.get(key, default)
        if isinstance(value, str) and value.isdecimal() and len(value) < 10:
            return int(value)
        if not isinstance(value, int) or isinstance(value, bool):
            raise self._fault((*path, key), "must be a whole number")
        return value

    def _indexes(self, path: KeyPath, given: Mapping[str, JsonValue], key: str, count: int) -> list[int]:
        value = given.get(key) or []
        if not isinstance(value, list):
            raise self._fault((*path, key), "must be a list of node numbers")
        numbers = [each for each in value if isinstance(each, int) and not isinstance(each, bool)]
        if len(numbers) != len(value) or any(not 0 <= each < count for each in numbers):
            raise self._fault((*path, key), f"must be a list of node numbers below {count}")
        return numbers
