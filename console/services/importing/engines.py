"""Converts a started `vllm serve` into an engine of a deployment: flags in layout form, and values that must be known."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from pydantic import JsonValue

from console.model.errors import FileError, Problem
from console.model.layout import KV_ROLES, MOST, Role, flag_name
from console.services.importing.external_deployment import parse_words, value_of
from console.services.importing.rank_marks import mark
from console.services.importing.shell_scripts import Started, Unknown, Unknowns, fault, is_open, names, ray

OF_THE_NODE = ("HCCL_IF_IP", "VLLM_HOST_IP", "HCCL_SOCKET_IFNAME", "GLOO_SOCKET_IFNAME", "TP_SOCKET_IFNAME")
"""Variables that the console computes for each node."""
_PRELOAD, _PRELOADED = "LD_PRELOAD", ("$LD_PRELOAD", "${LD_PRELOAD}")
"""The script of an engine puts its libraries before what is preloaded already."""
ADDRESS = re.compile(r"[0-9]{1,3}(\.[0-9]{1,3}){3}|[0-9a-fA-F]*:[0-9a-fA-F:]+")
DEVICES = "ASCEND_RT_VISIBLE_DEVICES"
WIDTHS = ("tensor-parallel-size", "pipeline-parallel-size", "prefill-context-parallel-size")
"""Flags whose product is the devices of one rank."""
PLACES = ("data-parallel-rank", "data-parallel-start-rank", "node-rank")
"""Flags that say an engine's place in its group."""
_ADDRESSES = ("data-parallel-address", "master-addr")
_BY_ENVIRONMENT = {
    "VLLM_DP_SIZE": "data-parallel-size",
    "VLLM_DP_RANK": "data-parallel-rank",
    "VLLM_DP_MASTER_IP": "data-parallel-address",
    "VLLM_DP_MASTER_PORT": "data-parallel-rpc-port",
}
"""Variables by which vLLM is told the same as by the flag, when that is absent (vLLM 0.21 config/parallel.py)."""
_DP_REST = ("VLLM_DP_RANK_LOCAL", "VLLM_DP_SIZE_LOCAL")
_SETTING = re.compile(
    r"(VLLM|HCCL|ASCEND|ACL|OMP|PYTORCH|TORCH|NPU|TASK_QUEUE|CPU_AFFINITY|LD|PYTHON|PATH|MOONCAKE|MC|MMC|GLOO|TP|LCCL|"
    r"CLOSE|USE|HF|MODELSCOPE|TRANSFORMERS|NO_PROXY|INF_NAN|STREAMS|RAY|MINDIE|ATB|TRITON|KV|AIV)"
)
"""Beginnings of the names of variables that change how an engine runs; others are the script's own."""
_DASHES = "\u2010\u2011\u2012\u2013\u2014\u2015\u2212"
_EXPANDED = re.compile(r"\$[A-Za-z_]\w*|\$\{[^}]*\}|\$\([^)]*\)|`[^`]+`")
"""What a shell would expand."""
_OWN_PATHS = re.compile(r"\$(LD_PRELOAD|LD_LIBRARY_PATH|PATH|PYTHONPATH)\b")


@dataclass(slots=True)
class Engine:
    """An engine that a file starts."""

    started: Started
    model: str
    args: dict[str, JsonValue]
    env: dict[str, str]
    local: int = 0
    """Ranks on its node, where a variable says it."""
    notes: list[str] = field(default_factory=list)

    @property
    def where(self) -> str:
        """The file and line that start it."""
        return f"{self.started.file}:{self.started.line}"

    @property
    def own_address(self) -> str:
        """The address of its node according to its variables; empty when they have none."""
        said = (self.started.env.get(name, "") for name in ("HCCL_IF_IP", "VLLM_HOST_IP"))
        return next((text for text in said if ADDRESS.fullmatch(text)), "")

    def flag(self, name: str) -> JsonValue:
        """The value of a flag in any spelling; None when it is absent."""
        return next((value for key, value in self.args.items() if flag_name(key) == name), None)

    def number(self, name: str, default: int) -> int:
        """The whole number of a flag, or the default."""
        value = self.flag(name)
        return value if isinstance(value, int) and not isinstance(value, bool) else default

    def put(self, name: str, value: JsonValue) -> None:
        """Set a flag; None removes it."""
        self.args = {key: old for key, old in self.args.items() if flag_name(key) != name}
        if value is not None:
            self.args[name] = value

    @property
    def role(self) -> Role:
        """The role that its KV transfer names."""
        transfer = self.flag("kv-transfer-config")
        text = (
            transfer.get("kv_role")
            if isinstance(transfer, dict)
            else str(transfer or self.flag("kv-transfer-config.kv_role"))
        )
        return next(
            (role for role, name in KV_ROLES.items() if name == text or (name != "kv_both" and name in str(text))),
            "mixed",
        )

    @property
    def place(self) -> int | None:
        """Its place in the group: the number of its first rank, or of its node; None when unknown."""
        for name in PLACES:
            value = self.flag(name)
            if value is not None:
                return value if isinstance(value, int) else None
        return None if self.flag("headless") is not None else 0


def engine_of(started: Started, unknowns: Unknowns) -> Engine:
    """The started engine. Raises FileError for what the console does not start, and for unknown values."""
    model, words = _model(started)
    _refuse_dashes(started, words)
    args, doubts = parse_words(words)
    engine = Engine(started, model, args, dict(started.env))
    engine.notes = [f"{engine.where}: {unknowns.shown(doubt)}" for doubt in doubts]
    _refuse_kinds(engine)
    _take_data_parallel(engine)
    _leave_out_computed(engine, unknowns)
    problems = list(_left_open(engine, unknowns)) or list(_wrong_sizes(engine))
    if problems:
        how = names([unknown for _, unknown in problems])
        raise FileError(
            tuple(dict.fromkeys(problem for problem, _ in problems)),
            hint=f"give what is missing: {how}" if how else "fix the value in the file, then import it again",
        )
    engine.notes += _literal(engine)
    return engine


def _model(started: Started) -> tuple[str, list[str]]:
    """The model, and the words without it: the model is the first word, or the value of `--model`."""
    words = list(started.words)
    if words and not words[0].startswith("-"):
        return words[0], words[1:]
    for at, word in enumerate(words):
        if word.startswith("--model="):
            return word.removeprefix("--model="), [*words[:at], *words[at + 1 :]]
        if word == "--model" and at + 1 < len(words):
            return words[at + 1], [*words[:at], *words[at + 2 :]]
    message = "the model does not follow `vllm serve`, nor is it said by --model"
    if any(word == "--config" or word.startswith("--config=") for word in words):
        message = "the model stands in the file of --config, which was not given"
    raise fault(started.file, started.line, message)


def _refuse_dashes(started: Started, words: list[str]) -> None:
    """Refuse a flag in which a word processor replaced hyphens by a dash: vLLM would take it for a value."""
    wrong = next((word for word in words if word[:1] in _DASHES), None)
    if wrong is not None:
        message = f"{wrong} begins with a dash, not with two hyphens; vLLM does not take it for a flag"
        raise fault(started.file, started.line, message, hint=f"write --{wrong.lstrip(_DASHES + '-')}")


def _refuse_kinds(engine: Engine) -> None:
    """Refuse what a layout cannot hold: Ray, and engines that only encode."""
    started = engine.started
    if "ec_producer" in str(engine.flag("ec-transfer-config")):
        message = "is an encoder on its own (--ec-transfer-config), which is no role of a layout"
        raise fault(started.file, started.line, message, hint="import the engines that prefill and decode without it")
    for name in ("distributed-executor-backend", "data-parallel-backend"):
        if engine.flag(name) == "ray":
            raise ray(started.file, started.line)


def _take_data_parallel(engine: Engine) -> None:
    """Replace variables about data parallelism by flags."""
    env = engine.env
    if "VLLM_DP_SIZE" not in env or engine.flag("data-parallel-size") is not None:
        return
    local = env.get("VLLM_DP_SIZE_LOCAL", "")
    engine.local = int(local) if re.fullmatch(r"[1-9][0-9]{0,3}", local) else 0
    for variable, name in _BY_ENVIRONMENT.items():
        if variable in env:
            engine.put(name, value_of(env[variable]))
    said = [name for name in (*_BY_ENVIRONMENT, *_DP_REST) if name in env]
    for name in said:
        del env[name]
    if engine.flag("data-parallel-rank") is None:
        engine.put("data-parallel-rank", 0)
    engine.notes.append(
        f"{engine.where}: {', '.join(said)}: it is one rank of several; they become the layout's data-parallel fields"
    )
    if "VLLM_DP_MASTER_PORT" in said:
        engine.notes.append(f"{engine.where}: VLLM_DP_MASTER_PORT is taken as --data-parallel-rpc-port")


def _leave_out_computed(engine: Engine, unknowns: Unknowns) -> None:
    """Remove unknown values that the console computes itself."""
    where = engine.where
    own = [name for name in OF_THE_NODE if name in engine.env]
    said = [name for name in own if engine.env.pop(name) not in (mark("address"), mark("nic"))]
    engine.env.pop("IFNAME", None)
    if said:
        engine.notes.append(f"{where}: {', '.join(said)}: computed for each node, the file's value is not taken")
    if _PRELOAD in engine.env:
        engine.env[_PRELOAD] = ":".join(
            each for each in engine.env[_PRELOAD].split(":") if each and each not in _PRELOADED
        )

    if is_open(engine.env.get(DEVICES, "")):
        shown = unknowns.shown(engine.env.pop(DEVICES))
        engine.notes.append(f"{where}: {DEVICES}={shown}: not known here; the console counts devices from the first on")
    host = engine.flag("host")
    if isinstance(host, str) and (is_open(host) or host == mark("address")):
        engine.put("host", None)
        engine.notes.append(f"{where}: --host {unknowns.shown(host)}: left out, the engine listens on all addresses")
    for name in _ADDRESSES:
        value = engine.flag(name)
        if isinstance(value, str) and is_open(value):
            engine.notes.append(f"{where}: --{name} {unknowns.shown(value)}: computed from the assignment")


def _left_open(engine: Engine, unknowns: Unknowns) -> Iterator[tuple[Problem, Unknown]]:
    """Unknown values that must be known."""
    started = engine.started
    args = {key: value for key, value in engine.args.items() if flag_name(key) not in (*PLACES, *_ADDRESSES)}
    named: list[tuple[str, JsonValue]] = [
        ("MODEL", engine.model),
        *((f"--{key}", value) for key, value in args.items()),
    ]
    for key, value in named:
        for text in (key, *_texts(value)):
            for unknown in unknowns.within(text):
                yield _problem(started, unknowns.shown(key), text, unknown, unknowns), unknown
            if (found := _OWN_PATHS.search(text)) is not None:
                yield _open_path(started, key, found[0])
    for key, value in args.items():
        if (
            isinstance(value, str)
            and value.lstrip().startswith("{")
            and not is_open(value)
            and (what := _no_json(value))
        ):
            yield Problem(started.file, started.line, 0, f"--{key}", what), _nothing(started)
    for name, text in list(engine.env.items()):
        inner = unknowns.within(text)
        if inner and not _SETTING.match(name):
            del engine.env[name]
            engine.notes.append(
                f"{engine.where}: {name}={unknowns.shown(text)}: known only where the script runs, and no setting of the "
                f"engine; left out (--set {name}=… keeps it)"
            )
            continue
        for unknown in inner:
            yield _problem(started, name, text, unknown, unknowns), unknown
        other = [each[0] for each in _OWN_PATHS.finditer(text) if each[1] != name]
        if other:
            yield _open_path(started, name, other[0])


def _wrong_sizes(engine: Engine) -> Iterator[tuple[Problem, Unknown]]:
    """Sizes that a layout cannot have."""
    started = engine.started
    for name in (*WIDTHS, "data-parallel-size", "data-parallel-size-local", "nnodes"):
        value = engine.flag(name)
        if value is None or (isinstance(value, int) and not isinstance(value, bool) and 0 < value <= MOST):
            continue
        what = f"{value!r} is no number from 1 to {MOST}"
        if value == 0 and name == "data-parallel-size-local":
            what = "a node that serves without engines of its own is no part of a layout"
        yield Problem(started.file, started.line, 0, f"--{name}", what), _nothing(started)


def _problem(started: Started, key: str, text: str, unknown: Unknown, unknowns: Unknowns) -> Problem:
    """An unknown value, with its line and the reason."""
    at = f" (line {unknown.line})" if unknown.line not in (0, started.line) or unknown.file != started.file else ""
    if unknown.name.isdecimal():
        what = f"the value is the script's argument ${unknown.name}"
    elif unknown.is_variable:
        what = f"the value needs {unknown.source}, which nothing in the script sets"
    else:
        what = f"the value comes of `{unknown.source}`{at}, which only the node that runs it knows"
    return Problem(started.file, started.line, 0, key, what)


def _no_json(text: str) -> str:
    """Why a text is not JSON; empty when it is."""
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        quoted = _EXPANDED.search(text)
        why = f"; quotes keep the shell from expanding {quoted[0]}" if quoted else ""
        return f"is no JSON, vLLM refuses it: {error.msg} at character {error.pos + 1}{why}"
    return ""


def _literal(engine: Engine) -> Iterator[str]:
    """Notes on values that look like an expansion but are plain text."""
    every = [*((f"--{key}", text) for key, value in engine.args.items() for text in _texts(value)), *engine.env.items()]
    for key, text in every:
        found = _EXPANDED.search(_OWN_PATHS.sub("", text))
        if found is not None:
            yield f"{engine.where}: {key}: {found[0]} is plain text there; quotes keep the shell from expanding it"


def _open_path(started: Started, key: str, name: str) -> tuple[Problem, Unknown]:
    message = f"the value needs the node's own {name}"
    return Problem(started.file, started.line, 0, key, message), _nothing(started)


def _nothing(started: Started) -> Unknown:
    """Used where a value has no name by which it can be given."""
    return Unknown(started.file, started.line, "", "")


def _texts(value: JsonValue) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from _texts(item)
