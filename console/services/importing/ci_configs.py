"""vllm-ascend's multi-node CI configurations, expanded as their own loader expands them.

Two kinds: `external_dp` (routing, config, templates: one `vllm serve` per data-parallel rank) and `internal_dp` (deployment:
one per node). Source: vllm-ascend tests/e2e/nightly/multi_node/{external_dp,internal_dp}/scripts. Benchmarks are left out.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence

from pydantic import JsonValue

from console.files import Document
from console.model.errors import FileError, Problem
from console.model.key_positions import Path as KeyPath
from console.model.layout import Role
from console.services.importing.external_deployment import (
    RPC_DEFAULT,
    ExternalDeployment,
    ExternalNode,
    ExternalProxy,
    ExternalRank,
    parse_words,
)
from console.services.importing.layout_builder import flag
from console.services.importing.rank_marks import NIC, mark

EXTERNAL_PROXY_PORT = 1999
INTERNAL_PROXY_PORT = 6000
"""The first of 6000-7000; their loader takes the first that is free."""
_KNOWN_KEYS = {"test_name", "model", "num_nodes", "npu_per_node", "routing", "config", "templates", "deployment"}
_QUIET_KEYS = {"benchmarks", "disaggregated_prefill"}
_TEST_KEYS = {"test_content", "acceptance_rate", "chat_prompts", "prompts", "api_keyword_args", "expected_response"}
"""What their tests ask of the running service; nothing of it is started."""
_ANCHORS = re.compile(r"env_|.*_common$")
"""Keys that only hold what others repeat by `<<`."""
_DROPPED = {
    "cluster_hosts": "hosts written in the file are not taken; assign your own nodes",
    "special_dependencies": "packages it wants installed are left to the image",
    "kv_pool": "its KV pool server is not started, nor are the variables set that name it (MOONCAKE_…, MMC_…)",
}
_BRACED = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_BARE = re.compile(r"(?<![$])[$]([^\W\d]\w*)", re.ASCII)
"""A name without braces; behind a second `$` it is none."""
_OWN_PATHS = ("LD_PRELOAD", "LD_LIBRARY_PATH", "PATH", "PYTHONPATH")


def is_ci_config(document: Document) -> bool:
    """Whether the document looks like a configuration of either kind."""
    value = document.value
    return isinstance(value, dict) and ("deployment" in value or {"config", "templates"} <= set(value))


def read_ci_config(document: Document, name: str) -> ExternalDeployment:
    """What the configuration starts. Raises FileError with line and key when it is not one."""
    return _Reader(document, name).read()


def _own_role(rank: ExternalRank) -> Role:
    """The role that the KV transfer of the engine names."""
    transfer = flag(rank.args, "kv-transfer-config")
    own = transfer.get("kv_role") if isinstance(transfer, dict) else None
    if own == "kv_producer":
        return "prefill"
    return "decode" if own == "kv_consumer" else "mixed"


class _Reader:
    """Reads one configuration; one instance per file."""

    def __init__(self, document: Document, name: str) -> None:
        self._document = document
        self._source = document.source
        self._name = name
        self._model = ""
        self._warnings: list[str] = [str(problem) for problem in document.problems]

    def read(self) -> ExternalDeployment:
        if not is_ci_config(self._document):
            raise self._fault(
                (), "is no multi-node configuration of vllm-ascend's CI (config and templates, or deployment)"
            )
        top = self._mapping((), self._document.value)
        internal = "deployment" in top
        for key in top:
            if key in _DROPPED:
                self._warn(_DROPPED[key], key)
            elif key not in _KNOWN_KEYS | _QUIET_KEYS | _TEST_KEYS and not _ANCHORS.match(key):
                self._warn("is not a known key of a CI configuration", key)
        nodes = self._internal(top) if internal else self._external(top)
        if (count := self._number((), top, "num_nodes", len(nodes))) != len(nodes):
            self._warn(
                f"is {count}, but the file describes {len(nodes)} nodes; vllm-ascend's own loader refuses the file",
                "num_nodes",
            )
        devices = self._number((), top, "npu_per_node")
        routing = top.get("routing")
        routed = isinstance(routing, dict) and routing.get("type") == "generic_dp"
        routed = routed or any(node.role != "mixed" for node in nodes)
        proxy = ExternalProxy(INTERNAL_PROXY_PORT if internal else EXTERNAL_PROXY_PORT) if routed else None
        title = top.get("test_name")
        model = self._text((), top, "model")
        return ExternalDeployment(
            self._name, str(title or ""), self._model or model, devices, nodes, tuple(self._warnings), proxy
        )

    def _external(self, top: Mapping[str, JsonValue]) -> tuple[ExternalNode, ...]:
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
            count = self._number(path, config, "dp_size_local", 1)
            if not 0 < count <= 64:
                raise self._fault((*path, "dp_size_local"), f"{count} engines on one node")
            ranks = tuple(self._external_rank(index, local, config, template) for local in range(count))
            nodes.append(ExternalNode(index, roles.get(index, "mixed"), ranks))
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
    ) -> ExternalRank:
        path: KeyPath = ("templates", index)
        table = self._table(index, config)
        written = self._mapping((*path, "envs"), template.get("envs") or {})
        env: dict[str, str] = {}
        for name, value in {**written, **self._loader_env(index, mark("master", 0))}.items():
            place = (*path, "envs", name)
            env[name] = self._env_value(name, value, table, env, place) if isinstance(value, str) else str(value)
        words = []
        for at, word in enumerate(self._list(path, template, "server_cmd_template")):
            place = (*path, "server_cmd_template", at)
            text = self._put(_BRACED, str(word), table, place)
            words.append(self._put(_BARE, text, env, place))
        args, doubts = parse_words(words)
        self._warnings += [f"{self._source.where(*path, 'server_cmd_template')}: {doubt}" for doubt in doubts]
        return ExternalRank(args, env, self._facts(local, config, index))

    def _env_value(self, name: str, text: str, table: Mapping[str, str], env: Mapping[str, str], path: KeyPath) -> str:
        """A variable as their loader makes it: `$X` is an earlier variable, else empty; a search path keeps its own `$X`."""

        def put(found: re.Match[str]) -> str:
            if found[1] == name and name in _OWN_PATHS:
                return found[0]
            if found[1] not in env:
                self._warn(f"no earlier variable is called ${found[1]}; it becomes empty", *path)
            return env.get(found[1], "")

        return _BARE.sub(put, self._put(_BRACED, text, table, path))

    def _put(self, names: re.Pattern[str], text: str, known: Mapping[str, str], path: KeyPath) -> str:
        def put(found: re.Match[str]) -> str:
            if found[1] not in known:
                self._warn(f"${found[1]} is unknown; it is kept as written", *path)
            return known.get(found[1], found[0])

        return names.sub(put, text)

    def _facts(self, local: int, config: Mapping[str, JsonValue], index: int) -> dict[str, str]:
        """The values of the marks of a rank."""
        path: KeyPath = ("config", index)
        width = 1
        for key in ("tp_size", "pp_size", "cp_size", "sp_size"):
            width *= self._number(path, config, key, 1)
        return {
            "port": str(self._number(path, config, "port_start") + local),
            "dp_rank": str(self._number(path, config, "dp_rank_start", 0) + local),
            "local_rank": str(local),
            "devices": ",".join(str(device) for device in range(local * width, (local + 1) * width)),
            "nic": NIC,
        }

    def _table(self, index: int, config: Mapping[str, JsonValue]) -> dict[str, str]:
        """The value of a placeholder in braces on a node; a mark when the value differs between ranks."""
        path: KeyPath = ("config", index)
        count = len(self._list((), self._mapping((), self._document.value), "config"))
        table = {
            "MODEL": self._text((), self._mapping((), self._document.value), "model"),
            "PORT_START": str(self._number(path, config, "port_start")),
            "PORT": mark("port"),
            "DP_SIZE": str(self._number(path, config, "dp_size", 1)),
            "DP_SIZE_LOCAL": str(self._number(path, config, "dp_size_local", 1)),
            "DP_RANK_START": str(self._number(path, config, "dp_rank_start", 0)),
            "DP_RANK": mark("dp_rank"),
            "LOCAL_RANK": mark("local_rank"),
            **{
                f"{key}_SIZE": str(self._number(path, config, f"{key.lower()}_size", 1))
                for key in ("TP", "CP", "SP", "PP")
            },
            "DP_RPC_PORT": str(self._number(path, config, "dp_rpc_port", RPC_DEFAULT)),
            "VISIBLE_DEVICES": mark("devices"),
            **dict.fromkeys(("NODE_INDEX", "CONFIG_INDEX", "LWS_WORKER_INDEX"), str(index)),
            "LOCAL_IP": mark("local", index),
            "MASTER_IP": mark("master", 0),
            **{f"NODE_{each}_IP": mark("node", each) for each in range(count)},
        }
        if "host" in config:
            table["HOST"] = self._text(path, config, "host")
        written = self._text(path, config, "dp_address")
        return {**table, "DP_ADDRESS": self._put(_BRACED, written, table, (*path, "dp_address"))}

    def _internal(self, top: Mapping[str, JsonValue]) -> tuple[ExternalNode, ...]:
        deployment = self._list((), top, "deployment")
        split = bool(top.get("disaggregated_prefill"))
        roles, masters = self._internal_roles(top, len(deployment))
        nodes = []
        for index, each in enumerate(deployment):
            rank = self._internal_rank(index, masters.get(index, 0), each)
            role = roles.get(index) or (_own_role(rank) if split else "mixed")
            nodes.append(ExternalNode(index, role, (rank,)))
        return tuple(nodes)

    def _internal_roles(self, top: Mapping[str, JsonValue], count: int) -> tuple[dict[int, Role], dict[int, int]]:
        """Roles by node, where the lists name exactly one, and masters by node. Their loader never reads `enabled`."""
        split = top.get("disaggregated_prefill")
        if not isinstance(split, dict) or not split:
            return {}, {}
        path: KeyPath = ("disaggregated_prefill",)
        prefillers, decoders = (
            self._indexes(path, split, f"{name}_host_index", count) for name in ("prefiller", "decoder")
        )
        both = sorted({*prefillers} & {*decoders})
        if both:
            listed = ", ".join(map(str, both))
            self._warn(f"nodes {listed} are in both lists; vllm-ascend's own loader refuses the file", *path)
        roles: dict[int, Role] = {**dict.fromkeys(prefillers, "prefill"), **dict.fromkeys(decoders, "decode")}
        masters = {index: next(iter(decoders), 0) for index in range(count) if index not in prefillers}
        return {index: role for index, role in roles.items() if index not in both}, masters

    def _internal_rank(self, index: int, master: int, node: JsonValue) -> ExternalRank:
        path: KeyPath = ("deployment", index)
        given = self._mapping(path, node)
        written = self._mapping((*path, "envs"), given.get("envs") or {})
        env = {name: str(value) for name, value in written.items()}
        env |= self._loader_env(index, mark("node", master))
        command = self._text(path, given, "server_cmd")
        place = (*path, "server_cmd")
        known = {"SERVER_PORT": "8080", **env}
        text = self._put(_BARE, self._put(_BRACED, command, known, place), known, place)
        try:
            words = shlex.split(text)
        except ValueError as error:
            raise self._fault(place, f"cannot be split into words: {error}") from None
        if words[:2] != ["vllm", "serve"] or len(words) < 3:
            raise self._fault(place, "does not start with `vllm serve MODEL`")
        if self._model and words[2] != self._model:
            self._warn(
                f"serves {words[2]}, but an earlier node serves {self._model}; the layout takes the earlier one", *place
            )
        self._model = self._model or words[2]
        args, doubts = parse_words(words[3:])
        self._warnings += [f"{self._source.where(*place)}: {doubt}" for doubt in doubts]
        return ExternalRank(args, env, {"nic": NIC})

    def _loader_env(self, index: int, master: str) -> dict[str, str]:
        """The variables that their loader sets itself; they replace those of the file."""
        local = mark("local", index)
        names = ("HCCL_SOCKET_IFNAME", "GLOO_SOCKET_IFNAME", "TP_SOCKET_IFNAME", "NIC_NAME")
        return {"HCCL_IF_IP": local, "LOCAL_IP": local, **dict.fromkeys(names, mark("nic")), "MASTER_IP": master}

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
