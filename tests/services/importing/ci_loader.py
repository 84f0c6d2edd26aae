"""What vllm-ascend's CI would start from one of its configurations, expanded here a second time, by its documented rules.

Independent of the importer on purpose: PyYAML's safe loader, string templates, no type of ours.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

NIC = "nic0"
OS_ENV = {"LD_LIBRARY_PATH": "/os/lib", "LD_PRELOAD": "/os/preload.so", "PATH": "/os/bin"}


@dataclass(frozen=True)
class Started:
    """One `vllm serve`: its node, its words and what it is given as environment."""

    node: int
    argv: list[str]
    env: dict[str, str]


def _braced(text: str, table: dict[str, str]) -> str:
    return re.sub(r"\$\{(\w+)\}", lambda found: table[found[1]], text)


def _bare(text: str, env: dict[str, str]) -> str:
    return re.sub(r"(?<!\$)\$(\w+)", lambda found: env.get(found[1], ""), text)


def external(config: dict[str, Any], ips: list[str]) -> list[Started]:
    """One engine per data-parallel rank."""
    started = []
    for index, (node, template) in enumerate(zip(config["config"], config["templates"], strict=True)):
        cluster = {f"NODE_{each}_IP": ip for each, ip in enumerate(ips)}
        cluster |= {"LOCAL_IP": ips[index], "MASTER_IP": ips[0], "LWS_WORKER_INDEX": str(index)}
        width = (
            int(node["tp_size"])
            * int(node.get("pp_size", 1))
            * int(node.get("cp_size", 1))
            * int(node.get("sp_size", 1))
        )
        for local in range(int(node["dp_size_local"])):
            table = {
                **cluster,
                "MODEL": config["model"],
                "PORT_START": str(int(node["port_start"])),
                "PORT": str(int(node["port_start"]) + local),
                "DP_SIZE": str(int(node["dp_size"])),
                "DP_SIZE_LOCAL": str(int(node["dp_size_local"])),
                "DP_RANK_START": str(int(node["dp_rank_start"])),
                "DP_RANK": str(int(node["dp_rank_start"]) + local),
                "LOCAL_RANK": str(local),
                "TP_SIZE": str(int(node["tp_size"])),
                "CP_SIZE": str(node.get("cp_size", 1)),
                "SP_SIZE": str(node.get("sp_size", 1)),
                "PP_SIZE": str(node.get("pp_size", 1)),
                "DP_ADDRESS": _braced(node["dp_address"], cluster),
                "DP_RPC_PORT": str(node["dp_rpc_port"]),
                "VISIBLE_DEVICES": ",".join(str(each) for each in range(local * width, local * width + width)),
                "NODE_INDEX": str(index),
                "CONFIG_INDEX": str(index),
                "HOST": str(node.get("host", "")),
            }
            env: dict[str, str] = {}
            for name, value in {**template["envs"], **_loader(ips[index], ips[0])}.items():
                env[name] = _bare(_braced(value, table), {**OS_ENV, **env}) if isinstance(value, str) else str(value)
            argv = [_bare(_braced(str(word), table), env) for word in template["server_cmd_template"]]
            started.append(Started(index, ["vllm", "serve", config["model"], *argv], env))
    return started


def internal(config: dict[str, Any], ips: list[str]) -> list[Started]:
    """One engine per node."""
    split = config.get("disaggregated_prefill") or {}
    prefillers, decoders = split.get("prefiller_host_index", []), split.get("decoder_host_index", [])
    started = []
    for index, node in enumerate(config["deployment"]):
        master = ips[decoders[0]] if decoders and index not in prefillers else ips[0]
        env = {name: str(value) for name, value in node["envs"].items()} | _loader(ips[index], master)
        known = {"SERVER_PORT": "8080", **env}
        started.append(Started(index, shlex.split(_bare(_braced(node["server_cmd"], known), known)), env))
    return started


def _loader(local: str, master: str) -> dict[str, str]:
    names = ("HCCL_SOCKET_IFNAME", "GLOO_SOCKET_IFNAME", "TP_SOCKET_IFNAME", "NIC_NAME")
    return {"HCCL_IF_IP": local, "LOCAL_IP": local, "MASTER_IP": master, **dict.fromkeys(names, NIC)}


def expanded(path: Path, ips: list[str]) -> list[Started]:
    """Everything a configuration starts, node by node."""
    config = yaml.safe_load(path.read_text())
    return internal(config, ips) if "deployment" in config else external(config, ips)
