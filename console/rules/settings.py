"""Rules about variables, flags and images: R23, R25, E1–E9, K1–K4."""

from __future__ import annotations

from collections.abc import Iterator

from console.model.findings import Severity
from console.model.hardware import HARDWARE
from console.model.image_name import built_for, tag_of
from console.model.quiet_logs import silenced_by
from console.releases.facts import release_name
from console.rules.rule import INERT, Rule, RuleContext, Violation, version_of, whole

MIN_EXECUTE_S = 1836
"""Time limit of HCCL for an operator in seconds; a shorter limit of vLLM hides its message (vllm-ascend platform.py)."""
GOOD_EXECUTE_S = 3000
MIN_READY_S = 3600
_HCCL_STEP_S = 68
_MAX_FUSED_EXPERTS = 32
_SHELL_PATHS = ("PATH", "LD_LIBRARY_PATH", "PYTHONPATH")
_ONE_RUN_FLAGS = ("--rm", "-it", "-i", "-t", "-ti", "--interactive", "--tty")


def _execute_timeout(context: RuleContext) -> Iterator[Violation]:
    for name in context.groups:
        written = context.env(name).get("VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS")
        seconds = whole(written)
        if seconds is None or seconds <= MIN_EXECUTE_S:
            now = "is not set (default 300 s)" if written is None else f"is {written}"
            message = (
                f"{name}: VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS {now}, less than the limit of HCCL, {MIN_EXECUTE_S} s"
            )
            yield Violation(message, context.at(name, "env", "VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS"))


def _host_ip(context: RuleContext) -> Iterator[Violation]:
    for name in context.groups:
        if "VLLM_HOST_IP" in context.env(name):
            message = f"{name}: VLLM_HOST_IP is computed for each node; this value is ignored"
            yield Violation(message, context.at(name, "env", "VLLM_HOST_IP"))


def _ready_timeout(context: RuleContext) -> Iterator[Violation]:
    for name in context.groups:
        written = context.env(name).get("VLLM_ENGINE_READY_TIMEOUT_S")
        seconds = whole(written)
        if seconds is None or seconds < MIN_READY_S:
            now = "is not set (default 600 s)" if written is None else f"is {written}"
            message = f"{name}: VLLM_ENGINE_READY_TIMEOUT_S {now}, but loading the weights can take longer"
            yield Violation(message, context.at(name, "env", "VLLM_ENGINE_READY_TIMEOUT_S"))


def _rounded(context: RuleContext) -> Iterator[Violation]:
    for name in context.groups:
        seconds = whole(context.env(name).get("HCCL_EXEC_TIMEOUT"))
        if seconds is not None and seconds % _HCCL_STEP_S:
            real = seconds - seconds % _HCCL_STEP_S
            message = f"{name}: HCCL_EXEC_TIMEOUT {seconds} is rounded down to {real} (a multiple of {_HCCL_STEP_S} s)"
            yield Violation(message, context.at(name, "env", "HCCL_EXEC_TIMEOUT"))


def _inert(context: RuleContext) -> Iterator[Violation]:
    for name, group in context.groups.items():
        env = context.env(name)
        for variable, why in INERT.items():
            if variable in env:
                yield Violation(f"{name}: {variable} has no effect: {why}", context.at(name, "env", variable))
        for variable in ("ASCEND_CONNECT_TIMEOUT", "ASCEND_TRANSFER_TIMEOUT"):
            if variable in env and group.role == "mixed" and not context.transfer(name):
                yield Violation(
                    f"{name}: {variable} is for KV transfer, which this group does not use",
                    context.at(name, "env", variable),
                )


def _loading(context: RuleContext) -> Iterator[Violation]:
    for name in context.groups:
        many = context.setting(name, "model-loader-extra-config", "enable_multithread_load")
        if isinstance(many, str):
            message = f'{name}: enable_multithread_load is the text {many!r}; every text counts as true, even "false"'
            yield Violation(
                message, context.at_flag(name, "model-loader-extra-config", "enable_multithread_load"), Severity.WARNING
            )
        strategy = context.args(name).get("safetensors-load-strategy")
        if many and strategy not in (None, "lazy"):  # threads always read lazily, so vLLM accepts this value
            message = f"{name}: --safetensors-load-strategy has no effect together with enable_multithread_load"
            yield Violation(message, context.at_flag(name, "safetensors-load-strategy"))


def _fused(context: RuleContext) -> Iterator[Violation]:
    for name, group in context.groups.items():
        if context.env(name).get("VLLM_ASCEND_ENABLE_FUSED_MC2", "0") in ("0", ""):
            continue
        experts = group.data_parallel.size * group.tensor_parallel
        if context.args(name).get("enable-expert-parallel") is True and experts > _MAX_FUSED_EXPERTS:
            message = f"{name}: fused MC2 with expert parallel size {experts}; it supports {_MAX_FUSED_EXPERTS} at most"
            yield Violation(message, context.at(name, "env", "VLLM_ASCEND_ENABLE_FUSED_MC2"))


def _paths(context: RuleContext) -> Iterator[Violation]:
    for name in context.groups:
        for variable in _SHELL_PATHS:
            value = context.env(name).get(variable)
            if value is not None and not _extends(variable, value):
                message = f"{name}: {variable} replaces the value that the CANN environment sets"
                yield Violation(message, context.at(name, "env", variable))


def _extends(variable: str, value: str) -> bool:
    return variable in _SHELL_PATHS and value.endswith((f":${variable}", f":${{{variable}}}")) and value.count("$") == 1


def _unexpanded(context: RuleContext) -> Iterator[Violation]:
    for name in context.groups:
        for variable, value in context.env(name).items():
            if "$" in value and variable != "LD_PRELOAD" and not _extends(variable, value):
                message = f"{name}: {variable} contains a $, but values are not expanded"
                yield Violation(message, context.at(name, "env", variable))


def _served(context: RuleContext) -> Iterator[Violation]:
    if context.layout.model.served_name == "auto":
        yield Violation("the model is served under the name `auto`", context.at_top("model", "served_name"))
    for name in context.groups:
        if context.args(name).get("served-model-name") is not None and context.layout.model.served_name:
            message = f"{name}: --served-model-name replaces model.served_name"
            yield Violation(message, context.at_flag(name, "served-model-name"), Severity.WARNING)


def _quiet(context: RuleContext) -> Iterator[Violation]:
    for name in context.groups:
        setting = silenced_by(context.args(name), context.env(name))
        key, _, _ = setting.partition("=")
        if setting:
            where = context.at_flag(name, key[2:]) if key.startswith("--") else context.at(name, "env", key)
            yield Violation(f"{name}: {setting} hides the progress of a start in the log", where)


def _image_hardware(context: RuleContext) -> Iterator[Violation]:
    for image, hardware, where in _images(context):
        kind = built_for(image)
        npus = hardware in HARDWARE and HARDWARE[hardware].devices
        if kind and npus and kind != hardware:
            yield Violation(f"the image {image} is for {kind}, not for {hardware}", where)


def _image_version(context: RuleContext) -> Iterator[Violation]:
    wanted = context.layout.version
    for image, _, where in _images(context):
        tag = tag_of(image)
        if release_name(wanted) and release_name(tag):
            differs = release_name(wanted) != release_name(tag)
        else:
            differs = None not in (version_of(wanted), version_of(tag)) and version_of(wanted) != version_of(tag)
        if differs:
            yield Violation(f"the layout is made for {wanted}, but the image is {image}", where)


def _images(context: RuleContext) -> Iterator[tuple[str, str, str]]:
    if context.layout.image:
        yield context.layout.image, context.layout.hardware.name, context.at_top("image")
    for node in dict.fromkeys(rank.node for rank in context.ranks):
        known = context.deployment.cluster.nodes.get(node)
        if known is not None and known.runtime.kind != "host" and known.runtime.image:
            yield known.runtime.image, known.hardware.name, context.at_node(node, "runtime", "image")


def _one_image(context: RuleContext) -> Iterator[Violation]:
    first: tuple[str, str] | None = None
    for node in dict.fromkeys(rank.node for rank in context.ranks):
        known = context.deployment.cluster.nodes.get(node)
        if known is None or known.runtime.kind == "host" or not known.runtime.image:
            continue
        if first is not None and first[1] != known.runtime.image:
            where = context.at_node(node, "runtime", "image")
            yield Violation(f"{first[0]} runs {first[1]}, {node} runs {known.runtime.image}", where)
        first = first or (node, known.runtime.image)


def _run_flags(context: RuleContext) -> Iterator[Violation]:
    for node in dict.fromkeys(rank.node for rank in context.ranks):
        known = context.deployment.cluster.nodes.get(node)
        for flag in known.runtime.run_flags if known else ():
            if flag in _ONE_RUN_FLAGS:
                message = f"{node}: run_flags has {flag}: the container ends with the session that created it"
                yield Violation(message, context.at_node(node, "runtime", "run_flags"))


_E, _W, _N = Severity.ERROR, Severity.WARNING, Severity.NOTE
RULES = (
    Rule(
        "R23",
        "vLLM waits longer than HCCL",
        _W,
        "When vLLM stops waiting before HCCL does, the log does not contain the reason that HCCL gives.",
        f"Set VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS to {GOOD_EXECUTE_S} or more.",
        "vllm-ascend platform.py",
        _execute_timeout,
        npus=True,
    ),
    Rule(
        "R25",
        "Each node advertises its own address",
        _W,
        "The console sets VLLM_HOST_IP to the address of each node. One value for all nodes would be wrong on all but one.",
        "Remove VLLM_HOST_IP from env.",
        "vLLM 0.21 utils/network_utils.py get_ip",
        _host_ip,
    ),
    Rule(
        "E1",
        "The API server waits until the weights are loaded",
        _W,
        "The API server stops waiting for its engines after VLLM_ENGINE_READY_TIMEOUT_S seconds (default 600).",
        f"Set VLLM_ENGINE_READY_TIMEOUT_S to {MIN_READY_S}.",
        "vLLM 0.21 envs.py",
        _ready_timeout,
    ),
    Rule(
        "E2",
        "HCCL_EXEC_TIMEOUT is a multiple of 68 seconds",
        _N,
        "HCCL rounds it down to a multiple of 68 seconds.",
        "Write the multiple that you want.",
        "CANN HCCL documentation",
        _rounded,
        npus=True,
    ),
    Rule(
        "E3",
        "Variables have an effect",
        _N,
        "A variable that nothing reads misleads the next reader of the layout.",
        "Remove the variable.",
        "vLLM 0.21 envs.py; Mooncake transfer_executor_base.cpp",
        _inert,
    ),
    Rule(
        "E4",
        "Only one way of loading weights is set",
        _N,
        'Multithreaded loading overrides a safetensors strategy, and every text, also "false", counts as true.',
        "Write enable_multithread_load as true or false, and keep one of the two flags.",
        "vLLM 0.21 model_executor/model_loader/default_loader.py",
        _loading,
    ),
    Rule(
        "E5",
        "Fused MC2 is used within its limit",
        _W,
        "The fused operator supports 32 expert-parallel ranks at most.",
        "Remove VLLM_ASCEND_ENABLE_FUSED_MC2 from this group.",
        "vllm-ascend v0.21.0rc1 envs.py",
        _fused,
    ),
    Rule(
        "E6",
        "Search paths come from the CANN environment",
        _W,
        "The values are exported after the CANN environment is sourced, so they replace its paths.",
        "Extend the path in an env_file of the node.",
        "CANN set_env.sh",
        _paths,
        npus=True,
    ),
    Rule(
        "E7",
        "Values are plain text",
        _N,
        "A $ is not expanded: the engine gets the text as it is.",
        "Write the value itself.",
        "cmd.sh",
        _unexpanded,
    ),
    Rule(
        "E8",
        "There is one served model name",
        _N,
        'Clients must use the exact name; "auto" is not resolved, and the requests of the tutorial use dsv4.',
        "Set model.served_name to the name that clients use.",
        "vLLM 0.21 /v1/models",
        _served,
    ),
    Rule(
        "E9",
        "The log shows the progress of a start",
        _W,
        "The console reads phases, progress, stalls and most causes of failures from INFO lines in the format of vLLM.",
        "Keep VLLM_LOGGING_LEVEL at INFO; to hide the line of each request use --disable-uvicorn-access-log.",
        "vLLM 0.21 envs.py, logger.py",
        _quiet,
    ),
    Rule(
        "K1",
        "The image is made for the hardware",
        _E,
        "The kernels of an image are built for one chip: images without a suffix are for A2, images with -a3 for A3.",
        "Use the image of the same version with the suffix of this hardware.",
        "vllm-ascend installation guide",
        _image_hardware,
    ),
    Rule(
        "K2",
        "The image has the version that the layout is made for",
        _W,
        "Flags and variables differ between releases.",
        "Use the image of the layout, or change `version` after you read the release notes.",
        "vllm-ascend versioning policy",
        _image_version,
    ),
    Rule(
        "K3",
        "All nodes run the same image",
        _W,
        "Ranks of different releases refuse to work together, or give wrong answers.",
        "Set the same runtime.image for every node.",
        "vLLM 0.21 v1/engine/utils.py",
        _one_image,
    ),
    Rule(
        "K4",
        "The container outlives the session",
        _W,
        "With --rm or a terminal the container ends with the session that created it, and its engines and logs are lost.",
        "Remove the flag from runtime.run_flags.",
        "docker run reference; the tutorial, section 4.1",
        _run_flags,
    ),
)
