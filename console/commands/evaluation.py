"""The commands of accuracy and performance runs for a deployment, and the check of what they need. Does not read results.

Options as in vLLM 0.21 `vllm bench serve --help`, the AISBench command line, and vllm-ascend's guide "Using AISBench".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import JsonValue

from console.commands.flags import flag_words
from console.model.api_keys import CLIENT_KEY
from console.model.deployment import Command, Deployment, Rank
from console.model.errors import UsageError

MODEL_CONFIGS = {False: "dsv4_console_general_chat", True: "dsv4_console_stream_chat"}
"""Names of the console's AISBench model configurations, without and with streaming; files of the package do not change."""
DATASETS: Mapping[str, str] = {
    "gpqa": "gpqa_gen_0_shot_str",
    "gsm8k": "gsm8k_gen_0_shot_cot_chat_prompt",
}
"""Dataset → the dataset configuration for accuracy in vllm-ascend's guide."""
PERFORMANCE_DATASET = "gsm8k_gen_0_shot_cot_str_perf"
DATASET_FILES: Mapping[str, tuple[str, ...]] = {
    "gsm8k": ("gsm8k/train.jsonl", "gsm8k/test.jsonl"),
    "gpqa": ("gpqa/gpqa_diamond.csv",),
}
"""Dataset → the files below `ais_bench/datasets/` that a run opens (AISBench datasets/gsm8k.py, datasets/gpqa.py)."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The endpoint that gets the requests of an evaluation."""

    host: str
    port: int
    node: str
    """The node of the endpoint; empty for an address given by the operator."""
    engine: str
    """`proxy` or the id of the engine; empty for an address given by the operator."""
    group: str = ""
    """`proxy` or the group of the engine; empty for an address given by the operator."""

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class BenchLoad:
    """The load of a performance run."""

    input_tokens: int = 1024
    output_tokens: int = 256
    requests: int = 100
    concurrency: int | None = None
    rate: float | None = None
    """Requests per second; None sends as fast as the concurrency allows."""
    seed: int = 0
    warmups: int | None = None
    """Requests before the measurement; None uses the default of the tool."""

    def __post_init__(self) -> None:
        for name in ("input_tokens", "output_tokens", "requests", "concurrency"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"{name.replace('_', ' ')} is {value}", hint="give 1 or more")
        if self.warmups is not None and self.warmups < 0:
            raise UsageError(f"warmups is {self.warmups}", hint="give 0 or more")
        if self.rate is not None and not 0 < self.rate < 1e6:
            raise UsageError(f"the request rate is {self.rate:g} per second", hint="give a rate above 0")


@dataclass(frozen=True, slots=True)
class AccuracyLoad:
    """An accuracy run of AISBench."""

    dataset: str
    config: str = ""
    """The dataset configuration of AISBench; empty uses the one of vllm-ascend's guide."""
    max_out_tokens: int = 32768
    concurrency: int = 32
    requests: int | None = None
    """Number of questions, from the first on; None uses all."""

    @property
    def dataset_config(self) -> str:
        """The dataset configuration. Raises UsageError when none is known for the dataset."""
        found = self.config or DATASETS.get(self.dataset)
        if not found:
            raise UsageError(
                f"no AISBench configuration is known for {self.dataset!r}",
                hint=f"known: {', '.join(DATASETS)}; for others give --config (ais_bench --search lists them)",
            )
        return found


def serving_ranks(deployment: Deployment) -> tuple[Rank, ...]:
    """Engines with an HTTP server, in layout order."""
    return tuple(rank for rank in deployment.ranks() if rank.port is not None)


def endpoint(deployment: Deployment) -> Endpoint:
    """The endpoint of the proxy, or of the first serving engine without a proxy. Raises UsageError when there is neither."""
    proxy = deployment.proxy_rank()
    if deployment.layout.proxy is not None and proxy is None:
        raise UsageError("the proxy has no node yet", hint="assign nodes first")
    chosen = proxy or next(iter(serving_ranks(deployment)), None)
    if chosen is None or chosen.port is None or not chosen.address:
        raise UsageError("no engine of this deployment serves requests", hint="assign nodes first")
    return Endpoint(chosen.address, chosen.port, chosen.node, chosen.id, chosen.group)


def bench_argv(deployment: Deployment, where: Endpoint, model: str, load: BenchLoad) -> tuple[str, ...]:
    """argv of `vllm bench serve` with random prompts, which need the tokenizer of the model but no dataset files."""
    layout = deployment.layout
    args: dict[str, JsonValue] = {
        "backend": "openai-chat",
        "endpoint": "/v1/chat/completions",
        "host": where.host,
        "port": where.port,
        "model": layout.model.path,
        "served-model-name": model,
        "tokenizer": layout.model.path,
        **_tokenizer_mode(deployment),
        "trust-remote-code": True,
        "dataset-name": "random",
        "random-input-len": load.input_tokens,
        "random-output-len": load.output_tokens,
        "num-prompts": load.requests,
        "num-warmups": load.warmups,
        "max-concurrency": load.concurrency,
        "request-rate": load.rate,
        "seed": load.seed,
        "ignore-eos": True,
        "percentile-metrics": "ttft,tpot,itl,e2el",
        "metric-percentiles": "50,90,99",
        "ready-check-timeout-sec": 0,
        "save-result": True,
        "result-filename": "bench.json",
    }
    return ("vllm", "bench", "serve", *flag_words(args))


def _tokenizer_mode(deployment: Deployment) -> dict[str, JsonValue]:
    groups = deployment.layout.groups.values()
    written = {**deployment.layout.args, **{key: value for group in groups for key, value in group.args.items()}}
    mode = written.get("tokenizer-mode", written.get("tokenizer_mode"))
    return {"tokenizer-mode": mode} if isinstance(mode, str) else {}


def accuracy_argv(load: AccuracyLoad, program: str = "ais_bench") -> tuple[str, ...]:
    """argv of an accuracy run of AISBench, as in vllm-ascend's guide; `--debug` sends all its output to the log of the run."""
    args: dict[str, JsonValue] = {
        "models": MODEL_CONFIGS[False],
        "datasets": load.dataset_config,
        "mode": "all",
        "num-prompts": load.requests,
        "dump-eval-details": True,
        "merge-ds": True,
        **_AISBENCH_PLACES,
    }
    return (program, *flag_words(args))


def performance_argv(load: BenchLoad, dataset: str = "", program: str = "ais_bench") -> tuple[str, ...]:
    """argv of a performance run of AISBench."""
    args: dict[str, JsonValue] = {
        "models": MODEL_CONFIGS[True],
        "datasets": dataset or PERFORMANCE_DATASET,
        "mode": "perf",
        "summarizer": "default_perf",
        "num-prompts": load.requests,
        "num-warmups": load.warmups,
        **_AISBENCH_PLACES,
    }
    return (program, *flag_words(args))


_AISBENCH_PLACES: Mapping[str, JsonValue] = {"config-dir": "config", "work-dir": "outputs", "debug": True}
"""Directories below the work directory of the run."""


def model_config(
    deployment: Deployment,
    where: Endpoint,
    model: str,
    *,
    stream: bool,
    max_out_tokens: int,
    concurrency: int,
    rate: float | None = None,
    generation: Mapping[str, JsonValue] | None = None,
    keyed: bool = False,
) -> str:
    """The text of an AISBench model configuration: the one of the installed release, with the values of the console on top.

    `stream` uses the streaming configuration, which AISBench needs for the TTFT. A request rate of 0 means "all at once" in
    AISBench. `generation` (sampling, `chat_template_kwargs`) overrides the other values. With `keyed` the API key comes from
    the environment of the run, so that no command line contains it.
    """
    base = "vllm_api_stream_chat" if stream else "vllm_api_general_chat"
    sampling = {**(_PERFORMANCE_SAMPLING if stream else _ACCURACY_SAMPLING), **(generation or {})}
    own: dict[str, object] = {
        "path": deployment.layout.model.path,
        "model": model,
        "request_rate": rate or 0,
        "host_ip": where.host,
        "host_port": where.port,
        "max_out_len": max_out_tokens,
        "batch_size": concurrency,
        "trust_remote_code": True,
    }
    fields = "".join(f"    {name}={value!r},\n" for name, value in own.items())
    return (
        "from mmengine.config import read_base\n\n"
        "with read_base():\n"
        f"    from ais_bench.benchmark.configs.models.vllm_api.{base} import models\n\n"
        f"models[0].update(dict(\n{fields}))\n"
        f"models[0]['generation_kwargs'] = dict(models[0].get('generation_kwargs', {{}}), **{sampling!r})\n"
        + (f"models[0]['api_key'] = __import__('os').environ[{CLIENT_KEY!r}]\n" if keyed else "")
    )


_ACCURACY_SAMPLING: Mapping[str, JsonValue] = {"temperature": 0.6, "top_p": 0.95}
"""As in vllm-ascend's guide "Using AISBench"."""
_PERFORMANCE_SAMPLING: Mapping[str, JsonValue] = {"temperature": 0.0, "ignore_eos": True}
"""As vllm-ascend's CI runs its performance cases (tools/aisbench.py)."""


def run_command(token: str, argv: tuple[str, ...], config: tuple[str, str] = ("", ""), api_key: str = "") -> Command:
    """The command of a supervised run: it runs the tool and then prints its result files into the log, marked with `token`.

    `config` is the name and text of the model configuration to write first, if any. `vllm bench serve` sends OPENAI_API_KEY
    (vLLM 0.21 benchmarks/lib/endpoint_request_func.py).

    The tool is the child of a small program that passes TERM on to all processes of the run, so that none remains after a
    cancel.
    """
    return Command(
        {CLIENT_KEY: api_key} if api_key else {}, ("bash", "-c", _PROGRAM, "dsv4-evaluation", token, *config, *argv)
    )


_PROGRAM = """
token=$1 name=$2 config=$3
shift 3
fact() { printf "dsv4-fact %s %s %s\\n" "$token" "$1" "$2"; }
give() {
  if ! [ -f "$2" ]; then return 0; fi
  size=$(wc -c <"$2")
  sum=$(sha256sum <"$2")
  printf "\\ndsv4-result %s %s %d %s\\n" "$token" "$1" "$size" "${sum%% *}"
  cat "$2"
  printf "\\n"
}
newest() { ls -t "$@" 2>/dev/null | grep -v _details | head -n 1; }
if [ -n "$config" ]; then
  mkdir -p config/models && printf "%s" "$config" >"config/models/$name.py" || exit 73
fi
stopped=
trap "stopped=yes; trap : TERM; kill -TERM 0" TERM
"$@" &
child=$!
while :; do
  wait "$child"
  code=$?
  kill -0 "$child" 2>/dev/null || break
done
give bench.json bench.json
give summary.csv "$(newest outputs/*/summary/summary_*.csv)"
give performance.csv "$(newest outputs/*/performances/*/*.csv)"
give performance.json "$(newest outputs/*/performances/*/*.json)"
answers() { find outputs/*/predictions -name "*.jsonl" ! -path "*/tmp/*" "$@" -exec cat {} + 2>/dev/null; }
if [ -d outputs ]; then
  fact answers "$(answers ! -name "*_failed.jsonl" | wc -l)"
  fact failed-requests "$(answers -name "*_failed.jsonl" | wc -l)"
  fact empty-answers "$(answers ! -name "*_failed.jsonl" | grep -cE "\\"prediction\\": ?\\"\\"")"
fi
if [ -n "$stopped" ]; then fact stopped yes; fi
fact exit "$code"
exit "$code"
""".strip()
"""Arguments: token, name and text of the model configuration (or empty), then the words of the tool.
It is bash, because `wait` of bash ends when TERM arrives. AISBench writes answers to DATASET.jsonl and failed requests to
DATASET_failed.jsonl (openicl/icl_inferencer/output_handler/base_handler.py)."""


def presence_argv(
    within: tuple[str, ...], program: str, distribution: str, files: tuple[str, ...] = ()
) -> tuple[str, ...]:
    """argv that checks on a node for a tool, its version and the files of a dataset; `presence` reads the output.

    `within` are the words that run a command in the environment of engines (`console.commands.container.inside`).
    """
    return (*within, "sh", "-c", _PRESENCE, "dsv4-presence", program, distribution, *files)


_PRESENCE = """
program=$(command -v "$1") || { echo "no-tool $1"; exit 0; }
echo "tool $program"
python=${program%/*}/python3
[ -x "$python" ] || python=$(command -v python3) || { echo no-python; exit 0; }
distribution=$2
shift 2
"$python" - "$distribution" "$@" <<"END"
import importlib.metadata as metadata
import importlib.util as util
import os
import sys

try:
    print("version", metadata.version(sys.argv[1]))
except metadata.PackageNotFoundError:
    print("no-version")
if sys.argv[2:]:
    spec = util.find_spec("ais_bench")
    places = list(spec.submodule_search_locations or []) if spec else []
    root = os.environ.get("AIS_BENCH_DATASETS_CACHE") or (os.path.join(places[0], "datasets") if places else "")
    if not root:
        print("no-package ais_bench")
    for name in sys.argv[2:] if root else []:
        path = os.path.join(root, name)
        print("file" if os.path.isfile(path) and os.path.getsize(path) else "no-file", path)
END
""".strip()


@dataclass(frozen=True, slots=True)
class Presence:
    """Whether a node has a tool, and what is missing for it."""

    program: str = ""
    """Path of the tool; empty when it is missing."""
    version: str = ""
    missing: tuple[str, ...] = ()
    """Dataset files that are missing or empty."""
    trouble: str = ""
    """Why the result is unknown; empty when it is known."""


def presence(output: str) -> Presence:
    """The result in the output of `presence_argv`."""
    facts = [line.split(" ", 1) for line in output.splitlines()]
    values = {fact[0]: fact[1] if len(fact) > 1 else "" for fact in facts}
    missing = tuple(fact[1] for fact in facts if fact[0] == "no-file" and len(fact) > 1)
    trouble = "it has no python3" if "no-python" in values else ""
    if "no-package" in values:
        trouble = "its python3 does not have the package ais_bench"
    if "tool" not in values and "no-tool" not in values:
        trouble = f"the check printed an unexpected answer: {' '.join(output.split())[:200]!r}"
    return Presence(values.get("tool", ""), values.get("version", ""), missing, trouble)
