"""A shell script with one `vllm serve` command, the way people have it, as a foreign deployment of one node."""

from __future__ import annotations

import re
from collections.abc import Sequence

from pydantic import JsonValue

from console.model.cluster import HARDWARE
from console.model.errors import FileError, Problem
from console.model.layout import KV_ROLES, Role
from console.services.importing.foreign import Foreign, ForeignNode, ForeignRank, parse_words
from console.services.importing.marks import address_of
from console.services.importing.words import Line, Script

_OF_THE_NODE = ("HCCL_IF_IP", "VLLM_HOST_IP", "HCCL_SOCKET_IFNAME", "GLOO_SOCKET_IFNAME", "TP_SOCKET_IFNAME")
_OWN_PATHS = ("LD_PRELOAD", "LD_LIBRARY_PATH", "PATH", "PYTHONPATH")


def read_script(text: str, path: str, name: str, *, arguments: Sequence[str] = (), hardware: str = "") -> Foreign:
    """What the script starts on one node; `arguments` are its `$1`, `$2` …, `hardware` a known name when it cannot be guessed.

    Raises FileError when there is no `vllm serve` in it, more than one, or a size is left open.
    """
    unset: set[str] = set()

    def unknown(variable: str) -> str:
        unset.add(variable)
        return f"${variable}" if variable in _OWN_PATHS or re.fullmatch("[0-9]+", variable) else ""

    script = Script(text, arguments, unknown=unknown)
    serves = [line for line in script.commands() if _is_serve(line)]
    if len(serves) != 1:
        what = (
            "there is no `vllm serve MODEL` in it"
            if not serves
            else f"there are {len(serves)} `vllm serve` commands in it"
        )
        raise FileError((Problem(path, serves[1].number if serves else 0, 0, "", what),))
    line = serves[0]
    words = line.words[line.words.index("vllm") :]
    args, doubts = parse_words(words[3:])
    doubts += script.doubts
    _resolved(args, path, line)
    doubts += [
        f"${each} is not set in the script; nothing was put in its place" for each in sorted(unset - set(_OWN_PATHS))
    ]
    env = _environment(script, line, doubts)
    headless = args.pop("headless", None)
    rank_zero = _on_our_addresses(args)
    if headless is not None or not rank_zero:
        doubts.append("the script is for a further node of its group; the layout is the whole group")
    devices = _devices(args, env.pop("ASCEND_RT_VISIBLE_DEVICES", ""), hardware)
    node = ForeignNode(0, _role(args), (ForeignRank(args, env),))
    doubts = [f"{path}: {doubt}" for doubt in dict.fromkeys(doubts)]
    return Foreign(name, "", words[2], devices, (node,), tuple(doubts), copies=True)


def _is_serve(line: Line) -> bool:
    words = line.words
    if "vllm" not in words:
        return False
    at = words.index("vllm")
    wrapped = all(each in ("exec", "nohup", "env", "sudo") or re.match(r"[A-Za-z_]\w*=", each) for each in words[:at])
    return wrapped and words[at + 1 : at + 2] == ("serve",) and len(words) > at + 2


def _resolved(args: dict[str, JsonValue], path: str, line: Line) -> None:
    for key, value in args.items():
        if isinstance(value, str) and (found := re.search(r"\$(\d+)", value)):
            message = f"the value is the script's argument {found[0]}; give the script's arguments after --"
            raise FileError((Problem(path, line.number, 0, f"--{key}", message),))


def _environment(script: Script, line: Line, doubts: list[str]) -> dict[str, str]:
    env = {name: script.variables[name] for name in script.variables if name in script.exported}
    for word in line.words[: line.words.index("vllm")]:
        name, equals, value = word.partition("=")
        if equals:
            env[name] = value
    own = [name for name in _OF_THE_NODE if name in env]
    doubts += [f"{name} is computed for each node; the script's value is not taken" for name in own]
    return {name: value for name, value in env.items() if name not in (*own, "IFNAME")}


def _on_our_addresses(args: dict[str, JsonValue]) -> bool:
    """Put what belongs to one place in the group back to rank 0 on our made-up address; whether the script was for rank 0."""
    first = True
    for key in ("data-parallel-start-rank", "data-parallel-rank"):
        if key in args:
            first = first and args[key] == 0
            args[key] = 0
    if "data-parallel-address" in args:
        args["data-parallel-address"] = address_of(0)
    return first


def _role(args: dict[str, JsonValue]) -> Role:
    transfer = args.get("kv-transfer-config")
    written = transfer.get("kv_role") if isinstance(transfer, dict) else None
    return next((role for role, name in KV_ROLES.items() if name == written), "mixed")


def _devices(args: dict[str, JsonValue], visible: str, hardware: str) -> int:
    if hardware in HARDWARE:
        return HARDWARE[hardware].devices
    width = args.get("tensor-parallel-size", 1)
    local = args.get("data-parallel-size-local", 1)
    wanted = (width if isinstance(width, int) else 1) * (local if isinstance(local, int) else 1)
    highest = max((int(each) for each in visible.split(",") if each.strip().isdecimal()), default=0) + 1
    return next(
        (each.devices for each in HARDWARE.values() if each.devices >= max(wanted, highest)), max(wanted, highest)
    )
