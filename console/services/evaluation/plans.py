"""Builds the exact run of an evaluation request. Pure; asks nothing and runs nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from pydantic import JsonValue

from console.commands import evaluation as commands
from console.commands.evaluation import AccuracyLoad, BenchLoad, Endpoint
from console.commands.masking import masked_argv
from console.commands.quoting import join
from console.evaluation.records import Kind, Tool, layout_hash
from console.evaluation.reference_accuracy import reference_accuracy
from console.model.counting import counted
from console.model.deployment import Deployment
from console.model.errors import UsageError
from console.model.findings import Finding, Severity
from console.model.payload import EngineContainer, NodeCommands
from console.model.plan import Confirm, Plan, Stage, Step
from console.model.run import RunKey
from console.services.evaluation.evaluation_checks import CheckResults

_NOT_PLAIN = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True, slots=True)
class EvaluationRequest:
    """One evaluation that an operator requests."""

    tool: Tool
    load: BenchLoad | AccuracyLoad
    node: str = ""
    """The node of the tool; empty: the endpoint's node."""
    endpoint: str = ""
    """`HOST:PORT`; empty: the proxy, or the first serving engine."""
    model: str = ""
    """The model id; empty: the id that the engine reports."""
    program: str = ""
    """Path of AISBench's program when it is not on PATH."""
    config: str = ""
    """AISBench's dataset configuration of a performance run."""
    generation: Mapping[str, JsonValue] = field(default_factory=dict)
    """Further sampling parameters of AISBench."""

    @property
    def kind(self) -> Kind:
        """Accuracy or performance."""
        return Kind.ACCURACY if isinstance(self.load, AccuracyLoad) else Kind.PERFORMANCE

    @property
    def subject(self) -> str:
        """A short name of the dataset or load."""
        if isinstance(self.load, AccuracyLoad):
            return self.load.dataset
        if self.tool is Tool.AISBENCH:
            return self.config or commands.PERFORMANCE_DATASET
        return f"random {self.load.input_tokens}/{self.load.output_tokens}"


@dataclass(frozen=True, slots=True)
class EvaluationPlan:
    """The complete run and the results of its checks. `script` runs on the node exactly as it is."""

    ask: EvaluationRequest
    where: Endpoint
    node: str
    """Empty for the built-in generator on this machine."""
    model: str
    key: RunKey
    script: str = field(repr=False)
    argv: tuple[str, ...] = field(repr=False)
    findings: tuple[Finding, ...]
    spec: Mapping[str, JsonValue]
    basis: str | None
    """The newest run of the same name when the plan was made."""
    versions: Mapping[str, str]
    container: EngineContainer | None = None
    """The container of the run, when its node has no permanent container."""
    api_key: str = field(default="", repr=False)
    """The API key of the endpoint."""

    @property
    def blocked(self) -> bool:
        """Whether a check failed."""
        return any(finding.severity is Severity.ERROR for finding in self.findings)

    @property
    def command(self) -> str:
        """The tool's command line, secrets masked."""
        return join(masked_argv(self.argv))


def tool_argv(
    deployment: Deployment, ask: EvaluationRequest, where: Endpoint, model: str, *, keyed: bool = False
) -> tuple[tuple[str, ...], tuple[str, str]]:
    """The argv of the tool and, for AISBench, its configuration. Raises UsageError for unsupported requests."""
    load = ask.load
    if isinstance(load, AccuracyLoad):
        if ask.tool is not Tool.AISBENCH:
            raise UsageError(f"{ask.tool} does not measure accuracy", hint="use aisbench")
        config = commands.model_config(
            deployment,
            where,
            model,
            stream=False,
            max_out_tokens=load.max_out_tokens,
            concurrency=load.concurrency,
            generation=ask.generation,
            keyed=keyed,
        )
        return commands.accuracy_argv(load, ask.program or "ais_bench"), (commands.MODEL_CONFIGS[False], config)
    if ask.tool is Tool.AISBENCH:
        config = commands.model_config(
            deployment,
            where,
            model,
            stream=True,
            max_out_tokens=load.output_tokens,
            concurrency=load.concurrency or 1,
            rate=load.rate,
            generation=ask.generation,
            keyed=keyed,
        )
        argv = commands.performance_argv(load, ask.config, ask.program or "ais_bench")
        return argv, (commands.MODEL_CONFIGS[True], config)
    if ask.tool is Tool.VLLM_BENCH:
        return commands.bench_argv(deployment, where, model, load), ("", "")
    words = (f"{name}={value}" for name, value in parameters(ask).items())
    return ("POST", f"http://{where}/v1/chat/completions", f"model={model}", *words), ("", "")


def next_argv(plan: EvaluationPlan, deployment: Deployment, ask: EvaluationRequest) -> tuple[str, ...]:
    """The argv of a following run: same endpoint and model, another load."""
    argv, _ = tool_argv(deployment, ask, plan.where, plan.model or "MODEL", keyed=bool(plan.api_key))
    return argv


def dialog_plan(
    plan: EvaluationPlan, deployment: Deployment, following: Sequence[EvaluationRequest] = (), busy: int = 0
) -> Plan:
    """The run as a plan for the dialog: commands, node, findings, following runs.

    `busy` is the number of requests of users that run now. Each run is a stage, because no two run at the same time.
    """
    node = plan.node or "this machine"
    runs = [(plan.ask, plan.argv), *((ask, next_argv(plan, deployment, ask)) for ask in following)]
    stages: list[Stage] = []
    for number, (ask, argv) in enumerate(runs, start=1):
        title = f"{ask.tool} {ask.subject}, {_load_words(ask)}"
        engines = () if stages else (plan.key.engine,)
        stages.append(Stage(title, (Step(f"run-{number}", "launch", title, node, engines, NodeCommands((argv,))),)))
    purpose = [("Requests", f"to {plan.where}, model {plan.model or 'unknown'}")]
    if following:
        purpose.append(("Runs", f"{len(runs)}, one after the other, as long as this console is open"))
    production = "production" in deployment.cluster.tags
    return Plan(
        "start",
        deployment.cluster.name,
        deployment.name,
        (plan.key.engine,),
        tuple(stages),
        Confirm("name", deployment.cluster.name) if production else Confirm("key", "y"),
        (*plan.findings, *_users_finding(busy, str(plan.where))),
        purpose=tuple(purpose),
    )


def _users_finding(busy: int, where: str) -> Iterator[Finding]:
    """A warning when users wait for answers: the measurement and they slow each other down."""
    if busy:
        text = f"{counted(busy, 'request')} of users run now; both they and the measurement will be slower"
        yield Finding("EVAL-USERS", Severity.WARNING, text, where, fix="measure when no user sends requests")


def _load_words(ask: EvaluationRequest) -> str:
    """A short text for the load of one run."""
    load = ask.load
    if isinstance(load, BenchLoad) and load.rate is not None:
        return f"{load.rate:g} requests/s"
    return f"concurrency {load.concurrency}" if load.concurrency else "all at once"


def run_spec(
    deployment: Deployment,
    ask: EvaluationRequest,
    where: Endpoint,
    model: str,
    *,
    token: str,
    argv: tuple[str, ...],
    versions: Mapping[str, str],
    by: str,
) -> dict[str, JsonValue]:
    """The spec of the run on its node; any console can make the record from it."""
    return {
        "cluster": deployment.cluster.name,
        "role": "evaluation",
        "headless": True,
        "argv": list(masked_argv(argv)),
        "by": by,
        "evaluation": {
            "token": token,
            "tool": str(ask.tool),
            "kind": str(ask.kind),
            "subject": ask.subject,
            "endpoint": str(where),
            "model": model,
            "cluster": deployment.cluster.name,
            "layout_hash": layout_hash(deployment.layout),
            "by": by,
            "parameters": parameters(ask),
            "reference": reference(deployment, ask),
            "versions": dict(versions),
        },
    }


def reference(deployment: Deployment, ask: EvaluationRequest) -> float | None:
    """The expected accuracy in percent; None when none is published or the model at the endpoint is unknown."""
    if not isinstance(ask.load, AccuracyLoad) or ask.endpoint:
        return None
    if ask.model and ask.model != (deployment.layout.model.served_name or deployment.layout.model.path):
        return None
    return reference_accuracy(deployment.layout, ask.load.dataset, ask.load.config)


def parameters(ask: EvaluationRequest) -> dict[str, JsonValue]:
    """The parameters that must be equal to compare results."""
    load = ask.load
    if isinstance(load, AccuracyLoad):
        own: dict[str, JsonValue] = {
            "config": load.dataset_config,
            "max_out_tokens": load.max_out_tokens,
            "concurrency": load.concurrency,
            "requests": load.requests,
        }
    else:
        own = {
            "input_tokens": None if ask.tool is Tool.AISBENCH else load.input_tokens,
            "output_tokens": load.output_tokens,
            "requests": load.requests,
            "concurrency": load.concurrency,
            "rate": load.rate,
            "seed": load.seed,
            "warmups": load.warmups,
        }
    if ask.generation:
        own["generation"] = dict(ask.generation)
    return {name: value for name, value in own.items() if value is not None}


def versions(deployment: Deployment, checked: CheckResults, tool: Tool) -> dict[str, str]:
    """Versions of the measured and the measuring software; unknown ones are left out."""
    found = {"vllm": checked.model.version, "vllm-ascend (layout)": deployment.layout.version}
    if tool is Tool.AISBENCH:
        found["ais_bench"] = checked.tool.version
    return {name: value for name, value in found.items() if value}


def node_needs(ask: EvaluationRequest) -> tuple[str, str, tuple[str, ...]]:
    """(program, its Python distribution, dataset files) that a node needs."""
    if ask.tool is Tool.VLLM_BENCH:
        return "vllm", "vllm", ()
    files = commands.DATASET_FILES.get(ask.subject if ask.kind is Kind.ACCURACY else "gsm8k", ())
    if ask.kind is Kind.PERFORMANCE and ask.config:
        files = ()
    return ask.program or "ais_bench", "ais_bench_benchmark", files


def engine_id(ask: EvaluationRequest) -> str:
    """The name of the run on its node; runs of one name exclude each other."""
    return run_name(ask.tool, ask.kind, ask.subject)


def run_name(tool: Tool, kind: Kind, subject: str) -> str:
    """The name of the run of a record."""
    if kind is Kind.ACCURACY:
        return f"eval-{_NOT_PLAIN.sub('-', subject)[:60]}"
    names = {Tool.VLLM_BENCH: "bench-vllm", Tool.AISBENCH: "bench-aisbench", Tool.BUILT_IN: "bench-built-in"}
    return names[tool]


def address(text: str) -> Endpoint:
    """`HOST:PORT` (`[IPv6]:PORT`) as an endpoint. Raises UsageError."""
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not re.fullmatch(r"[A-Za-z0-9._:-]+", host) or not port.isdecimal() or not 0 < int(port) < 65536:
        raise UsageError(f"{text!r} is not an endpoint", hint="give HOST:PORT, for example 10.0.0.1:8000")
    return Endpoint(host, int(port), "", "")
