"""Checks before an evaluation: tool, dataset and endpoint. Changes nothing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from pydantic import JsonValue

from console.commands.evaluation import AccuracyLoad, BenchLoad, Endpoint, Presence, presence, presence_argv
from console.evaluation.records import Tool
from console.model.deployment import Deployment, Rank
from console.model.findings import Finding, Severity
from console.probes.sanitize import clean, decode
from console.remote.http import EngineHttp, HttpAnswer
from console.remote.link import NodeLink

TIMEOUT_S = 10.0
SMOKE_S = 120.0
"""Limit of a test request; the first one may wait for graph compilation."""
PRESENCE_S = 60.0
MOST_SMOKE = 16
INSTALL = "git clone https://github.com/AISBench/benchmark, then pip3 install -e ./ --use-pep517 in a venv of its own"


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """The model that an engine reports."""

    id: str = ""
    max_model_len: int | None = None
    version: str = ""
    """The version of vLLM."""
    error: str = ""
    """Why the model id is unknown."""


@dataclass(frozen=True, slots=True)
class CheckResults:
    """The results of all checks."""

    model: ModelFacts = ModelFacts()
    tool: Presence = field(default_factory=Presence)
    findings: tuple[Finding, ...] = ()


async def ask_model(http: EngineHttp, host: str, port: int) -> ModelFacts:
    """The first model of `/v1/models`, and `/version`."""
    listed, version = await asyncio.gather(
        http.get(host, port, "/v1/models", TIMEOUT_S), http.get(host, port, "/version", TIMEOUT_S)
    )
    body = _json(listed)
    models = body.get("data") if isinstance(body, dict) else None
    first = models[0] if isinstance(models, list) and models else None
    if not isinstance(first, dict) or not isinstance(first.get("id"), str):
        return ModelFacts(error=f"/v1/models of {host}:{port}: {_answer_text(listed)}")
    length = first.get("max_model_len")
    said = _json(version)
    number = str(said.get("version", "")) if isinstance(said, dict) else ""
    return ModelFacts(clean(str(first["id"])), length if isinstance(length, int) else None, clean(number))


async def smoke(http: EngineHttp, where: Endpoint, model: str, times: int) -> str:
    """Send test requests to the endpoint. Gives the first fault, or an empty text when every answer has text.

    A proxy without decoder answers 200 without text, which is a fault; several requests reach several pairs of prefill and
    decode.
    """
    body = {
        "model": model,
        "messages": [{"role": "user", "content": "Who are you?"}],
        "max_tokens": 256,
        "temperature": 0,
    }
    count = max(1, min(times, MOST_SMOKE))
    answers = await asyncio.gather(
        *(http.post_json(where.host, where.port, "/v1/chat/completions", body, SMOKE_S) for _ in range(count))
    )
    bad = [fault for answer in answers if (fault := _fault(answer))]
    return f"{len(bad)} of {count} test requests failed: {bad[0]}" if bad else ""


def _fault(answer: HttpAnswer) -> str:
    if answer.error or answer.status != 200:
        return _answer_text(answer)
    body = _json(answer)
    choices = body.get("choices") if isinstance(body, dict) else None
    first = choices[0] if isinstance(choices, list) and choices else None
    message = first.get("message") if isinstance(first, dict) else None
    if not isinstance(message, dict):
        return "HTTP 200 with nothing in it" if not answer.body.strip() else "HTTP 200 without a message"
    words = (message.get(name) for name in ("content", "reasoning_content", "reasoning"))
    return "" if any(isinstance(each, str) and each.strip() for each in words) else "HTTP 200 with an empty message"


def _answer_text(answer: HttpAnswer) -> str:
    if answer.error:
        return clean(answer.error)
    return f"HTTP {answer.status} {' '.join(decode(answer.body[:300]).split())[:200]}".rstrip()


def _json(answer: HttpAnswer) -> JsonValue:
    if answer.error or answer.status != 200:
        return None
    try:
        value: JsonValue = json.loads(answer.body)
    except (ValueError, RecursionError):
        return None
    return value


async def ask_presence(
    link: NodeLink, within: tuple[str, ...], program: str, distribution: str, files: tuple[str, ...]
) -> Presence:
    """Whether the tool and the files of the dataset are on the node, checked with the prefix `within`. Raises what the link
    raises.
    """
    sample = await link.run_command(presence_argv(within, program, distribution, files), PRESENCE_S)
    if sample.exit_code is None:
        return Presence(trouble=f"no answer in {PRESENCE_S:.0f} s")
    if sample.exit_code:
        return Presence(trouble=decode(sample.stderr.strip())[:300] or f"exit code {sample.exit_code}")
    return presence("\n".join(decode(line) for line in sample.stdout.splitlines()))


def tool_findings(found: Presence, node: str, program: str, dataset: str) -> Iterator[Finding]:
    """Findings about the tool and the dataset."""
    if found.trouble:
        yield _error("EVAL-TOOL", f"{program} could not be checked: {found.trouble}", node, "check the node")
    elif not found.program:
        fix = INSTALL if "ais_bench" in program else "run it on a node whose container has vLLM, or give --program"
        yield _error("EVAL-TOOL", f"{program} is not installed on {node}", node, fix)
    if found.missing:
        names = ", ".join(clean(name) for name in found.missing)
        fix = f"unzip {dataset}.zip of OpenCompass's data there"
        yield _error("EVAL-DATA", f"files of the dataset {dataset} are missing: {names}", node, fix)


def model_findings(facts: ModelFacts, given: str, endpoint: str) -> Iterator[Finding]:
    """Findings about the model that the engine reports."""
    if facts.error and not given:
        yield _error(
            "EVAL-MODEL", f"the model id is not known: {facts.error}", endpoint, "start the engines, or give --model"
        )
    elif not facts.error and given and facts.id != given:
        yield Finding(
            "EVAL-MODEL", Severity.WARNING, f"the engine serves {facts.id!r}, requests will name {given!r}", endpoint
        )


def length_findings(load: BenchLoad | AccuracyLoad, tool: Tool, longest: int | None, where: str) -> Iterator[Finding]:
    """Findings about requests that exceed the context length, which every engine refuses. AISBench takes prompts from its
    dataset.
    """
    if longest is None:
        return
    if isinstance(load, BenchLoad) and tool is not Tool.AISBENCH:
        if load.input_tokens + load.output_tokens > longest:
            text = (
                f"{load.input_tokens} input and {load.output_tokens} output tokens do not fit max_model_len {longest}"
            )
            yield _error("EVAL-LEN", text, where, "ask for less")
        return
    output, option = (
        (load.output_tokens, "--output-len")
        if isinstance(load, BenchLoad)
        else (load.max_out_tokens, "--max-out-tokens")
    )
    if output >= longest:
        text = f"{output} output tokens and a prompt do not fit max_model_len {longest}"
        yield _error("EVAL-LEN", text, where, f"give a smaller {option}")


def smoke_finding(fault: str, endpoint: str) -> Finding:
    """The finding of a failed test request."""
    return _error("EVAL-SMOKE", fault, endpoint, "see the endpoint's log; `verify` shows which check fails")


def smoke_times(deployment: Deployment) -> int:
    """Number of test requests: the ranks of the largest group for separate prefill and decode, else one."""
    groups: Mapping[str, int] = {
        name: group.data_parallel.size for name, group in deployment.layout.groups.items() if group.role != "mixed"
    }
    return max(groups.values(), default=1)


def asked_rank(deployment: Deployment, where: Endpoint) -> Rank | None:
    """The engine to ask for the model: the endpoint itself, or behind a proxy the first decoding engine."""
    serving = [rank for rank in deployment.ranks() if rank.port is not None]
    own = next((rank for rank in serving if rank.id == where.engine), None)
    return own or next((rank for rank in serving if rank.role != "prefill"), next(iter(serving), None))


def _error(rule: str, message: str, where: str, fix: str) -> Finding:
    return Finding(rule, Severity.ERROR, message, where, fix=fix)
