"""Rules about variables, flags and images: R23, R25, E1–E9, K1–K4."""

from __future__ import annotations

from collections.abc import Iterator

from console.model.findings import Severity
from console.model.hardware import HARDWARE
from console.model.image_name import built_for, tag_of
from console.model.quiet_logs import silenced_by
from console.releases.facts import release_name
from console.rules.rule import INERT, Hit, Rule, RuleContext, version_of, whole

MIN_EXECUTE_S = 1836
"""HCCL's own time limit for an operator; a shorter one of vLLM hides it (vllm-ascend platform.py)."""
GOOD_EXECUTE_S = 3000
MIN_READY_S = 3600
_HCCL_STEP_S = 68
_MAX_FUSED_EXPERTS = 32
_SHELL_PATHS = ("PATH", "LD_LIBRARY_PATH", "PYTHONPATH")
_ONE_RUN_FLAGS = ("--rm", "-it", "-i", "-t", "-ti", "--interactive", "--tty")


def _execute_timeout(scene: RuleContext) -> Iterator[Hit]:
    for name in scene.groups:
        written = scene.env(name).get("VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS")
        seconds = whole(written)
        if seconds is None or seconds <= MIN_EXECUTE_S:
            now = "is not set, so 300 s hold" if written is None else f"is {written}"
            message = f"{name}: VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS {now}; HCCL gives an operator {MIN_EXECUTE_S} s"
            yield Hit(message, scene.at(name, "env", "VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS"))


def _host_ip(scene: RuleContext) -> Iterator[Hit]:
    for name in scene.groups:
        if "VLLM_HOST_IP" in scene.env(name):
            message = f"{name}: VLLM_HOST_IP is computed for each node; written by hand it is ignored"
            yield Hit(message, scene.at(name, "env", "VLLM_HOST_IP"))


def _ready_timeout(scene: RuleContext) -> Iterator[Hit]:
    for name in scene.groups:
        written = scene.env(name).get("VLLM_ENGINE_READY_TIMEOUT_S")
        seconds = whole(written)
        if seconds is None or seconds < MIN_READY_S:
            now = "is not set, so 600 s hold" if written is None else f"is {written}"
            message = f"{name}: VLLM_ENGINE_READY_TIMEOUT_S {now}; loading these weights can take longer"
            yield Hit(message, scene.at(name, "env", "VLLM_ENGINE_READY_TIMEOUT_S"))


def _rounded(scene: RuleContext) -> Iterator[Hit]:
    for name in scene.groups:
        seconds = whole(scene.env(name).get("HCCL_EXEC_TIMEOUT"))
        if seconds is not None and seconds % _HCCL_STEP_S:
            real = seconds - seconds % _HCCL_STEP_S
            message = f"{name}: HCCL_EXEC_TIMEOUT {seconds} counts as {real} (steps of {_HCCL_STEP_S} s)"
            yield Hit(message, scene.at(name, "env", "HCCL_EXEC_TIMEOUT"))


def _inert(scene: RuleContext) -> Iterator[Hit]:
    for name, group in scene.groups.items():
        env = scene.env(name)
        for variable, why in INERT.items():
            if variable in env:
                yield Hit(f"{name}: {variable} has no effect: {why}", scene.at(name, "env", variable))
        for variable in ("ASCEND_CONNECT_TIMEOUT", "ASCEND_TRANSFER_TIMEOUT"):
            if variable in env and group.role == "mixed" and not scene.transfer(name):
                yield Hit(
                    f"{name}: {variable} is for KV transfer, which this group has not", scene.at(name, "env", variable)
                )


def _loading(scene: RuleContext) -> Iterator[Hit]:
    for name in scene.groups:
        many = scene.setting(name, "model-loader-extra-config", "enable_multithread_load")
        if isinstance(many, str):
            message = f'{name}: enable_multithread_load is the text {many!r}; even "false" counts as true'
            yield Hit(
                message, scene.at_flag(name, "model-loader-extra-config", "enable_multithread_load"), Severity.WARNING
            )
        strategy = scene.args(name).get("safetensors-load-strategy")
        if many and strategy not in (None, "lazy"):  # threads read lazily themselves, and vLLM accepts to be told so
            message = f"{name}: --safetensors-load-strategy has no effect beside enable_multithread_load"
            yield Hit(message, scene.at_flag(name, "safetensors-load-strategy"))


def _fused(scene: RuleContext) -> Iterator[Hit]:
    for name, group in scene.groups.items():
        if scene.env(name).get("VLLM_ASCEND_ENABLE_FUSED_MC2", "0") in ("0", ""):
            continue
        experts = group.data_parallel.size * group.tensor_parallel
        if scene.args(name).get("enable-expert-parallel") is True and experts > _MAX_FUSED_EXPERTS:
            message = (
                f"{name}: fused MC2 with expert parallel size {experts}; it is made for up to {_MAX_FUSED_EXPERTS}"
            )
            yield Hit(message, scene.at(name, "env", "VLLM_ASCEND_ENABLE_FUSED_MC2"))


def _paths(scene: RuleContext) -> Iterator[Hit]:
    for name in scene.groups:
        for variable in _SHELL_PATHS:
            value = scene.env(name).get(variable)
            if value is not None and not _extends(variable, value):
                message = f"{name}: {variable} replaces the one the CANN environment sets"
                yield Hit(message, scene.at(name, "env", variable))


def _extends(variable: str, value: str) -> bool:
    return variable in _SHELL_PATHS and value.endswith((f":${variable}", f":${{{variable}}}")) and value.count("$") == 1


def _unexpanded(scene: RuleContext) -> Iterator[Hit]:
    for name in scene.groups:
        for variable, value in scene.env(name).items():
            if "$" in value and variable != "LD_PRELOAD" and not _extends(variable, value):
                message = f"{name}: {variable} holds a $; values are passed as they are, not expanded"
                yield Hit(message, scene.at(name, "env", variable))


def _served(scene: RuleContext) -> Iterator[Hit]:
    if scene.layout.model.served_name == "auto":
        yield Hit("the model is served under the name `auto`", scene.at_top("model", "served_name"))
    for name in scene.groups:
        if scene.args(name).get("served-model-name") is not None and scene.layout.model.served_name:
            message = f"{name}: --served-model-name replaces model.served_name"
            yield Hit(message, scene.at_flag(name, "served-model-name"), Severity.WARNING)


def _quiet(scene: RuleContext) -> Iterator[Hit]:
    for name in scene.groups:
        setting = silenced_by(scene.args(name), scene.env(name))
        key, _, _ = setting.partition("=")
        if setting:
            where = scene.at_flag(name, key[2:]) if key.startswith("--") else scene.at(name, "env", key)
            yield Hit(f"{name}: {setting} keeps the log from telling how far a start is", where)


def _image_hardware(scene: RuleContext) -> Iterator[Hit]:
    for image, hardware, where in _images(scene):
        kind = built_for(image)
        npus = hardware in HARDWARE and HARDWARE[hardware].devices
        if kind and npus and kind != hardware:
            yield Hit(f"the image {image} is for {kind}, not for {hardware}", where)


def _image_version(scene: RuleContext) -> Iterator[Hit]:
    wanted = scene.layout.version
    for image, _, where in _images(scene):
        tag = tag_of(image)
        if release_name(wanted) and release_name(tag):
            differs = release_name(wanted) != release_name(tag)
        else:
            differs = None not in (version_of(wanted), version_of(tag)) and version_of(wanted) != version_of(tag)
        if differs:
            yield Hit(f"the layout is for {wanted}, the image is {image}", where)


def _images(scene: RuleContext) -> Iterator[tuple[str, str, str]]:
    if scene.layout.image:
        yield scene.layout.image, scene.layout.hardware.name, scene.at_top("image")
    for node in dict.fromkeys(rank.node for rank in scene.ranks):
        known = scene.deployment.cluster.nodes.get(node)
        if known is not None and known.runtime.kind != "host" and known.runtime.image:
            yield known.runtime.image, known.hardware.name, scene.at_node(node, "runtime", "image")


def _one_image(scene: RuleContext) -> Iterator[Hit]:
    first: tuple[str, str] | None = None
    for node in dict.fromkeys(rank.node for rank in scene.ranks):
        known = scene.deployment.cluster.nodes.get(node)
        if known is None or known.runtime.kind == "host" or not known.runtime.image:
            continue
        if first is not None and first[1] != known.runtime.image:
            where = scene.at_node(node, "runtime", "image")
            yield Hit(f"{first[0]} runs {first[1]}, {node} runs {known.runtime.image}", where)
        first = first or (node, known.runtime.image)


def _run_flags(scene: RuleContext) -> Iterator[Hit]:
    for node in dict.fromkeys(rank.node for rank in scene.ranks):
        known = scene.deployment.cluster.nodes.get(node)
        for flag in known.runtime.run_flags if known else ():
            if flag in _ONE_RUN_FLAGS:
                message = f"{node}: run_flags has {flag}: the container goes with the session that made it"
                yield Hit(message, scene.at_node(node, "runtime", "run_flags"))


_E, _W, _N = Severity.ERROR, Severity.WARNING, Severity.NOTE
RULES = (
    Rule(
        "R23",
        "vLLM waits longer than HCCL",
        _W,
        "A step that vLLM gives up before HCCL does ends without HCCL's own reason in the log.",
        f"Set VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS to {GOOD_EXECUTE_S} or more.",
        "vllm-ascend platform.py",
        _execute_timeout,
        npus=True,
    ),
    Rule(
        "R25",
        "Each node advertises its own address",
        _W,
        "Without VLLM_HOST_IP a node with several networks advertises the one of its default route.",
        "Take VLLM_HOST_IP out of env; the console exports each node's own.",
        "vLLM 0.21 utils/network_utils.py get_ip",
        _host_ip,
    ),
    Rule(
        "E1",
        "The API server waits until weights are loaded",
        _W,
        "The process that serves HTTP gives up on its engines after VLLM_ENGINE_READY_TIMEOUT_S seconds, 600 by default.",
        f"Set VLLM_ENGINE_READY_TIMEOUT_S to {MIN_READY_S}.",
        "vLLM 0.21 envs.py",
        _ready_timeout,
    ),
    Rule(
        "E2",
        "HCCL_EXEC_TIMEOUT in whole steps",
        _N,
        "HCCL rounds it down to a multiple of 68 seconds.",
        "Write the multiple that is meant.",
        "CANN HCCL documentation",
        _rounded,
        npus=True,
    ),
    Rule(
        "E3",
        "Variables have an effect",
        _N,
        "What is read nowhere only misleads the next reader.",
        "Take it out.",
        "vLLM 0.21 envs.py; Mooncake transfer_executor_base.cpp",
        _inert,
    ),
    Rule(
        "E4",
        "One way of loading weights",
        _N,
        "Multithreaded loading takes precedence over a safetensors strategy, and a text counts as true whatever it says.",
        "Write enable_multithread_load as true or false, and keep one of the two flags.",
        "vLLM 0.21 model_executor/model_loader/default_loader.py",
        _loading,
    ),
    Rule(
        "E5",
        "Fused MC2 within its size",
        _W,
        "The fused operator is made for up to 32 expert-parallel ranks.",
        "Take VLLM_ASCEND_ENABLE_FUSED_MC2 out of this group.",
        "vllm-ascend v0.21.0rc1 envs.py",
        _fused,
    ),
    Rule(
        "E6",
        "Search paths come from the CANN environment",
        _W,
        "Values are exported after it is sourced and replace what it set.",
        "Write an env_file for the node that extends the path.",
        "CANN set_env.sh",
        _paths,
        npus=True,
    ),
    Rule(
        "E7",
        "Values are plain text",
        _N,
        "A $ is not expanded: the engine sees it as written.",
        "Write the value that is meant.",
        "cmd.sh",
        _unexpanded,
    ),
    Rule(
        "E8",
        "One served name",
        _N,
        'Clients must say the name exactly; "auto" is not resolved, and the tutorial\'s own requests ask for dsv4.',
        "Set model.served_name to the name clients use.",
        "vLLM 0.21 /v1/models",
        _served,
    ),
    Rule(
        "E9",
        "The log shows how far a start is",
        _W,
        "Phases, progress, silence and most causes of failures are read from lines of level INFO in vLLM's own form.",
        "Leave the level at INFO; --disable-uvicorn-access-log takes away the line of each request.",
        "vLLM 0.21 envs.py, logger.py",
        _quiet,
    ),
    Rule(
        "K1",
        "The image is made for the hardware",
        _E,
        "An image's kernels are built for one chip: without suffix for A2, -a3 for A3.",
        "Use the image of the same version with the right suffix.",
        "vllm-ascend installation guide",
        _image_hardware,
    ),
    Rule(
        "K2",
        "The image is the version the layout is made for",
        _W,
        "Flags and variables differ between releases.",
        "Use the layout's image, or change `version` after reading the release notes.",
        "vllm-ascend versioning policy",
        _image_version,
    ),
    Rule(
        "K3",
        "All nodes run one image",
        _W,
        "Ranks of different releases refuse each other or, worse, do not.",
        "Give every node the same runtime.image.",
        "vLLM 0.21 v1/engine/utils.py",
        _one_image,
    ),
    Rule(
        "K4",
        "The container outlives the session",
        _W,
        "--rm and a terminal tie a container to the one who started it; engines and evidence go with it.",
        "Take the flag out of runtime.run_flags.",
        "docker run reference; the tutorial, section 4.1",
        _run_flags,
    ),
)
