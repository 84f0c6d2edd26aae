"""The flags of `vllm serve` 0.21 and what its parser refuses, with its texts and exit codes. What the values mean
is not judged here.

The real parser takes any name for quantization, parsers, connectors and load strategy; a wrong one fails later in
the launch.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Sequence
from typing import Final, NoReturn

from console.demo.json_types import JsonValue
from console.demo.release import since

USAGE = "usage: vllm [-h] [-v]\n            {chat,complete,serve,launch,bench,collect-env,run-batch} ...\n"

_TEXT: Final = """
allowed-media-domains allowed-local-media-path chat-template chat-template-content-format config
config-format code-revision data-parallel-address:dpa data-parallel-backend:dpb decode-context-parallel-comm
distributed-executor-backend download-dir generation-config guided-decoding-backend hf-config-path hf-token
host ignore-patterns kv-cache-dtype kv-offloading-backend load-format log-config-file master-addr middleware
model model-impl model-loader-class model-tag reasoning-parser reasoning-parser-plugin response-role revision
root-path quantization:q runner convert safetensors-load-strategy scheduler-cls scheduling-policy ssl-ca-certs
ssl-certfile ssl-keyfile structured-outputs-backend task tokenizer tokenizer-mode tokenizer-revision
tool-call-parser tool-parser-plugin tool-server uds worker-cls worker-extension-cls uvicorn-log-level
otlp-traces-endpoint mm-processor-cache-type io-processor-plugin ec-connector attention-backend moe-backend
prefix-caching-hash-algo mamba-cache-dtype mamba-ssm-cache-dtype allowed-origins allowed-methods
allowed-headers optimization-level disable-access-log-for-endpoints
"""
_INTEGERS: Final = """
api-server-count:asc block-size data-parallel-rank:dpn data-parallel-rpc-port:dpp data-parallel-size:dp
data-parallel-size-local:dpl data-parallel-start-rank:dpr decode-context-parallel-size:dcp
dcp-kv-cache-interleave-size cp-kv-cache-interleave-size prefill-context-parallel-size:pcp
h11-max-header-count h11-max-incomplete-event-size long-prefill-token-threshold
max-cpu-loras max-log-len max-logprobs max-lora-rank max-loras max-long-partial-prefills
max-num-partial-prefills max-num-seqs max-parallel-loading-workers master-port nnodes:n node-rank:r
num-gpu-blocks-override num-redundant-experts pipeline-parallel-size:pp port seed shutdown-timeout
stream-interval tensor-parallel-size:tp ubatch-size dbo-decode-token-threshold dbo-prefill-token-threshold
ssl-cert-reqs
"""
_HUMAN: Final = "max-num-batched-tokens kv-cache-memory-bytes"
_NUMBERS: Final = "cpu-offload-gb gpu-memory-utilization swap-space kv-offloading-size mm-processor-cache-gb"
_BOOLS: Final = """
allow-credentials async-scheduling calculate-kv-scales data-parallel-external-lb:dpe
data-parallel-hybrid-lb:dph disable-cascade-attn disable-chunked-mm-input
disable-custom-all-reduce disable-fastapi-docs disable-frontend-multiprocessing
disable-hybrid-kv-cache-manager disable-log-requests disable-nccl-for-dp-synchronization
disable-sliding-window disable-uvicorn-access-log enable-auto-tool-choice enable-chunked-prefill enable-dbo
enable-elastic-ep enable-eplb enable-expert-parallel:ep enable-force-include-usage
enable-layerwise-nvtx-tracing enable-log-outputs enable-log-requests enable-lora enable-mfu-metrics
enable-mm-embeds enable-prefix-caching enable-prompt-embeds enable-prompt-tokens-details
enable-request-id-headers enable-return-routed-experts enable-server-load-tracking enable-sleep-mode
enable-ssl-refresh enable-tokenizer-info-endpoint enforce-eager exclude-tools-when-tool-choice-none
fully-sharded-loras interleave-mm-strings kv-sharing-fast-prefill language-model-only log-error-stack
return-tokens-as-token-ids skip-mm-profiling skip-tokenizer-init tokens-only trust-remote-code
trust-request-chat-template use-tqdm-on-load kv-cache-metrics
"""
_JSON: Final = """
additional-config compilation-config:cc default-chat-template-kwargs eplb-config hf-overrides kv-events-config
kv-transfer-config limit-mm-per-prompt media-io-kwargs mm-processor-kwargs model-loader-extra-config
override-generation-config pooler-config profiler-config reasoning-config speculative-config:sc
structured-outputs-config weight-transfer-config ec-transfer-config attention-config:ac kernel-config
offload-config
"""
_CHOICES: Final = {
    "dtype": ("auto", "bfloat16", "float", "float16", "float32", "half"),
    "all2all-backend": (
        "allgather_reducescatter",
        "deepep_high_throughput",
        "deepep_low_latency",
        "flashinfer_all2allv",
        "flashinfer_nvlink_one_sided",
        "flashinfer_nvlink_two_sided",
        "mori",
        "naive",
        "nixl_ep",
        "pplx",
    ),
}
_LISTS: Final = "api-key served-model-name lora-modules cudagraph-capture-sizes"
_LOADS: Final = "Value {value} cannot be converted to <function loads at 0x{address:x}>."
_KV_KEYS: Final = """
kv_connector engine_id kv_buffer_device kv_buffer_size kv_role kv_rank kv_parallel_size kv_ip kv_port
kv_connector_extra_config kv_connector_module_path enable_permute_local_kv kv_load_failure_policy
"""
_KV_ROLES: Final = ("kv_producer", "kv_both", "kv_consumer")
_LEVEL: Final = re.compile(r"-O=?(.*)")
_DOTTED: Final = re.compile(r"--?[A-Za-z][^.]*\.")
_SUFFIX: Final = {"k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_PYDANTIC: Final = "    For further information visit https://errors.pydantic.dev/2.14/v/"


class FlagError(Exception):
    """The parser says no: what it prints on standard error, and the exit code."""

    def __init__(self, text: str, code: int = 2) -> None:
        super().__init__(text)
        self.text = text
        self.code = code


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise FlagError(f"usage: vllm serve [model_tag] [options]\nvllm serve: error: {message}\n")


def human_readable_int(text: str) -> int:
    """`1.5k` = 1500, `128K` = 131072, `7` = 7 (vLLM 0.21 engine/arg_utils.py). argparse prints the name of this function."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([kmgtKMGT])", text.strip())
    if match is None:
        return int(text)
    number, suffix = match.groups()
    if suffix.isupper() and "." in number:
        said = f"Decimals are not allowed with binary suffixes like {suffix}."
        raise argparse.ArgumentTypeError(f"{said} Did you mean to use {number}{suffix.lower()} instead?")
    return int(float(number) * _SUFFIX[suffix])


def human_readable_int_or_auto(text: str) -> int:
    """The same, and `auto` = -1."""
    return -1 if text.strip().lower() == "auto" else human_readable_int(text)


def _json(text: str) -> JsonValue:
    try:
        value: JsonValue = json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(_LOADS.format(value=text, address=id(json.loads))) from error
    return value


def _kv_transfer(text: str) -> JsonValue:
    first = "1 validation error for KVTransferConfig\n"
    try:
        value: JsonValue = json.loads(text)
    except ValueError as error:
        where = (
            f"Invalid JSON: {_serde(text, error)} [type=json_invalid, input_value={json.dumps(text)}, input_type=str]"
        )
        raise argparse.ArgumentTypeError(f"{first}  {where}\n{_PYDANTIC}json_invalid") from error
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError(f"{first}  Input should be a dictionary [type=dataclass_type]")
    for key, item in value.items():
        if key not in _KV_KEYS.split():
            kind = "unexpected_keyword_argument"
            said = (
                f"{key}\n  Unexpected keyword argument [type={kind}, input_value={item!r},"
                f" input_type={type(item).__name__}]"
            )
            raise argparse.ArgumentTypeError(f"{first}{said}\n{_PYDANTIC}{kind}")
    role = value.get("kv_role")
    if role is not None and role not in _KV_ROLES:
        said = (
            "kv_role\n  Input should be 'kv_producer', 'kv_both' or 'kv_consumer' [type=literal_error,"
            f" input_value={role!r}, input_type=str]"
        )
        raise argparse.ArgumentTypeError(f"{first}{said}\n{_PYDANTIC}literal_error")
    if role is None and value.get("kv_connector") is not None:
        said = f"  Value error, Please specify kv_role when kv_connector is set, supported roles are {_KV_ROLES}"
        said += f" [type=value_error, input_value={value!r}, input_type=dict]"
        raise argparse.ArgumentTypeError(f"{first}{said}\n{_PYDANTIC}value_error")
    return value


def _serde(text: str, error: ValueError) -> str:
    """The one JSON fault people make most has its own words in the real parser's JSON reader."""
    if re.match(r"\s*\{\s*'", text):
        return f"key must be a string at line 1 column {text.index(chr(39)) + 1}"
    return str(error)


def _compilation(text: str) -> JsonValue:
    value = _json(text)
    mode = value.get("cudagraph_mode") if isinstance(value, dict) else None
    known = {"NONE", "PIECEWISE", "FULL", "FULL_DECODE_ONLY", "FULL_AND_PIECEWISE"}
    if isinstance(mode, str) and mode.upper() not in known:
        raise FlagError(f"Traceback (most recent call last):\nKeyError: '{mode}'\n", code=1)
    return value


_JSON_TYPES: Final[dict[str, Callable[[str], JsonValue]]] = {
    "kv-transfer-config": _kv_transfer,
    "compilation-config": _compilation,
}


def parser() -> argparse.ArgumentParser:
    """The parser of `vllm serve`."""
    made = _Parser(prog="vllm serve", add_help=False)
    made.add_argument("model_tag", nargs="?")
    made.add_argument("-h", "--help", nargs="?", const="", dest="help")
    for name in ("headless", "disable-log-stats", "aggregate-engine-logging"):
        made.add_argument(f"--{name}", action="store_true")
    groups: tuple[tuple[str, Callable[[str], object] | None], ...] = (
        (_TEXT, None),
        (_INTEGERS, int),
        (_HUMAN, human_readable_int),
        ("max-model-len", human_readable_int_or_auto),
        (_NUMBERS, float),
    )
    for names, convert in groups:
        for name, options in _options(names):
            made.add_argument(*options, dest=name, type=convert or str)
    for name, options in _options(f"{_JSON} engram-config" if since(0, 30) else _JSON):
        made.add_argument(*options, dest=name, type=_JSON_TYPES.get(options[0][2:], _json))
    for name, options in _options(_BOOLS):
        made.add_argument(*options, dest=name, action=argparse.BooleanOptionalAction)
    for name, choices in _CHOICES.items():
        made.add_argument(f"--{name}", choices=choices)
    for name, options in _options(_LISTS):
        made.add_argument(*options, dest=name, nargs="+")
    return made


def _options(names: str) -> list[tuple[str, list[str]]]:
    found = []
    for word in names.split():
        name, _, short = word.partition(":")
        options = [f"--{name}"] + ([f"-{short}"] if short and short != name else [])
        found.append((name.replace("-", "_"), options))
    return found


def _plain(words: Sequence[str]) -> list[str]:
    """Dashes for underscores in flag names, `-O3` as a flag with a value, and `--config.key value` or `-cc.key value`
    gathered into JSON, as vLLM's flexible parser does."""
    plain: list[str] = []
    dotted: dict[str, dict[str, JsonValue]] = {}
    queue = list(words)
    while queue:
        word = queue.pop(0)
        name, equals, value = word.partition("=")
        if level := _LEVEL.fullmatch(word):
            plain += ["--optimization-level", *([level[1]] if level[1] else [])]
        elif _DOTTED.match(name):
            flag, _, key = name.partition(".")
            text = value if equals else (queue.pop(0) if queue else "")
            _put(dotted.setdefault(flag.replace("_", "-"), {}), key, text)
        elif name.startswith("--"):
            plain.append(name.replace("_", "-") + equals + value)
        else:
            plain.append(word)
    for flag, tree in dotted.items():
        plain += [flag, json.dumps(tree)]
    return plain


def _put(tree: dict[str, JsonValue], path: str, text: str) -> None:
    """A value at its place; `key+` adds to a list what stands between commas."""
    *keys, last = path.removesuffix("+").split(".")
    for key in keys:
        below = tree.setdefault(key, {})
        if not isinstance(below, dict):
            below = tree[key] = {}
        tree = below
    if path.endswith("+"):
        before = tree.get(last)
        tree[last] = [*(before if isinstance(before, list) else []), *text.split(",")]
        return
    try:
        tree[last] = json.loads(text)
    except ValueError:
        tree[last] = text


def parse(words: Sequence[str]) -> argparse.Namespace:
    """The words after `vllm serve`; Refusal with the real text where the real parser refuses."""
    args, extra = parser().parse_known_args(_plain(words))
    if extra:
        raise FlagError(f"{USAGE}vllm: error: unrecognized arguments: {' '.join(extra)}\n")
    if args.headless and (args.api_server_count or 0) > 0:
        said = (
            f"--api-server-count={args.api_server_count} cannot be used with --headless (no API servers are"
            " started in headless mode)."
        )
        raise FlagError(f"Traceback (most recent call last):\nValueError: {said}\n", code=1)
    external = args.data_parallel_external_lb or args.data_parallel_rank is not None
    hybrid = args.data_parallel_hybrid_lb or args.data_parallel_start_rank is not None
    if external and hybrid and not args.headless:
        said = (
            "Cannot use both external and hybrid data parallel load balancing modes. External LB is enabled via"
            " --data-parallel-external-lb"
            " or --data-parallel-rank. Hybrid LB is enabled via --data-parallel-hybrid-lb or"
            " --data-parallel-start-rank. Use one mode or the other."
        )
        raise FlagError(f"Traceback (most recent call last):\nValueError: {said}\n", code=1)
    if args.enable_auto_tool_choice and not args.tool_call_parser:
        raise FlagError(
            "Traceback (most recent call last):\nTypeError: Error: --enable-auto-tool-choice requires"
            " --tool-call-parser\n",
            code=1,
        )
    return args
