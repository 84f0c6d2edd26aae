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
from console.services.importing.shell import Shell, Started
from console.services.importing.words import Variables

_OF_THE_NODE = ("HCCL_IF_IP", "VLLM_HOST_IP", "HCCL_SOCKET_IFNAME", "GLOO_SOCKET_IFNAME", "TP_SOCKET_IFNAME")
_OWN_PATHS = ("LD_PRELOAD", "LD_LIBRARY_PATH", "PATH", "PYTHONPATH")


def read_script(text: str, path: str, name: str, *, arguments: Sequence[str] = (), hardware: str = "") -> Foreign:
    """What the script starts on one node; `arguments` are its `$1`, `$2` …, `hardware` a known name when it cannot be guessed.

    Raises FileError when there is no `vllm serve` in it, more than one, one in a loop, or a size is left open.
    """
    unset: set[str] = set()

    def unknown(variable: str) -> str:
        unset.add(variable)
        return f"${variable}" if variable in _OWN_PATHS or re.fullmatch("[0-9]+", variable) else ""

    variables = Variables(arguments=arguments, unknown=unknown)
    started = _only(list(Shell(text, variables).started()), path)
    model, words = _model(started, path)
    args, doubts = parse_words(words)
    doubts += variables.doubts
    _resolved({"": model, **args}, path, started)
    doubts += [
        f"${each} is not set in the script; nothing was put in its place"
        for each in sorted(unset - set(_OWN_PATHS))
        if not each.isdecimal()
    ]
    env = _environment(started, doubts)
    headless = args.pop("headless", None)
    rank_zero = _on_our_addresses(args)
    if headless is not None or not rank_zero:
        doubts.append("the script is for a further node of its group; the layout is the whole group")
    devices = _devices(args, env.pop("ASCEND_RT_VISIBLE_DEVICES", ""), hardware)
    node = ForeignNode(0, _role(args), (ForeignRank(args, env),))
    doubts = [f"{path}: {doubt}" for doubt in dict.fromkeys(doubts)]
    return Foreign(name, "", model, devices, (node,), tuple(doubts), copies=True, image=started.image)


def _only(found: Sequence[Started], path: str) -> Started:
    if len(found) != 1:
        what = (
            f"there are {len(found)} `vllm serve` commands in it" if found else "there is no `vllm serve MODEL` in it"
        )
        raise FileError((Problem(path, found[1].number if found else 0, 0, "", what),))
    if found[0].looped:
        message = "`vllm serve` stands in a loop; write out the command of one engine and import that"
        raise FileError((Problem(path, found[0].number, 0, "", message),))
    return found[0]


def _model(started: Started, path: str) -> tuple[str, list[str]]:
    """The model and the words without it: it is the first word, or `--model` says it."""
    words = list(started.words)
    if words and not words[0].startswith("-"):
        return words[0], words[1:]
    for at, word in enumerate(words):
        if word.startswith("--model="):
            return word.removeprefix("--model="), [*words[:at], *words[at + 1 :]]
        if word == "--model" and at + 1 < len(words):
            return words[at + 1], [*words[:at], *words[at + 2 :]]
    message = "the model does not follow `vllm serve`, nor is it said by --model"
    raise FileError((Problem(path, started.number, 0, "", message),))


def _resolved(args: dict[str, JsonValue], path: str, started: Started) -> None:
    for key, value in args.items():
        if isinstance(value, str) and (found := re.search(r"\$(\d+)", value)):
            message = f"the value is the script's argument {found[0]}; give the script's arguments after --"
            raise FileError((Problem(path, started.number, 0, f"--{key}" if key else "MODEL", message),))


def _environment(started: Started, doubts: list[str]) -> dict[str, str]:
    own = [name for name in _OF_THE_NODE if name in started.env]
    doubts += [f"{name} is computed for each node; the script's value is not taken" for name in own]
    return {name: value for name, value in started.env.items() if name not in (*own, "IFNAME")}


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
