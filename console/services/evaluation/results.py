"""Makes the record of an ended run from its log and the samples of NPUs. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Literal

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from console.evaluation import aisbench, vllm_bench
from console.evaluation.figures import ResultError, ToolFigures
from console.evaluation.records import (
    LONGEST_GAP_S,
    Ending,
    Kind,
    NpuSample,
    NpuUse,
    Record,
    ServedSample,
    TimePoint,
    Tool,
)
from console.evaluation.result_transfer import TransferredFiles, unpack
from console.model.run import RunState, RunVerdict
from console.probes.sanitize import decode


class EvaluationSpec(BaseModel):
    """The spec of an evaluation run, from which any console can make the record."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    token: str
    tool: Literal["aisbench", "vllm-bench"]
    kind: Literal["accuracy", "performance"]
    subject: str
    endpoint: str
    model: str
    cluster: str
    layout_hash: str
    by: str = ""
    parameters: dict[str, JsonValue] = {}
    versions: dict[str, str] = {}
    reference: float | None = None


def spec_of(state: RunState) -> EvaluationSpec | None:
    """The evaluation spec of a run; None for other runs and invalid specs."""
    found = state.spec.get("evaluation")
    if not isinstance(found, Mapping):
        return None
    try:
        return EvaluationSpec.model_validate(found)
    except ValidationError:
        return None


def record_of(
    state: RunState,
    spec: EvaluationSpec,
    node: str,
    log: bytes,
    samples: Sequence[NpuSample],
    clock_offset_s: float,
    served: Sequence[ServedSample] = (),
) -> Record:
    """The record of an ended run. An error in the results is in `error`, and then there are no figures.

    `served` are samples of the engines' throughput, used as timeline for tools without times of their own.
    """
    base = _base_record(state, spec, node, samples, clock_offset_s)
    try:
        delivery = unpack(log, spec.token)
        if (ending := _early_end(state, delivery)) is not None:
            return replace(base, ending=ending[0], error=_with_cause(ending[1], log))
        reading = _read(spec, delivery, log)
    except ResultError as error:
        text = f"{error}" + (f" ({error.hint})" if error.hint else "")
        return replace(base, ending=Ending.FAILED, error=_with_cause(text, log))
    answers, failed = _count(delivery, "answers"), _count(delivery, "failed-requests")
    counted = spec.kind == "accuracy" and bool((answers or 0) + (failed or 0))
    return replace(
        base,
        numbers=dict(reading.numbers),
        failed_requests=failed if counted else reading.failed_requests,
        total_requests=(answers or 0) + (failed or 0) if counted else reading.total_requests,
        empty_answers=_count(delivery, "empty-answers") if answers else None,
        timeline=reading.timeline or _timeline(served, base.started_at, base.ended_at),
        warnings=reading.warnings,
    )


def _base_record(
    state: RunState, spec: EvaluationSpec, node: str, samples: Sequence[NpuSample], clock_offset_s: float
) -> Record:
    """The record without results."""
    started = (state.started_at or 0.0) - clock_offset_s
    ended = state.exit.at - clock_offset_s if state.exit and state.exit.at is not None else None
    return Record(
        run=state.key.run,
        cluster=spec.cluster,
        deployment=state.key.deployment,
        layout_hash=spec.layout_hash,
        tool=Tool(spec.tool),
        kind=Kind(spec.kind),
        subject=spec.subject,
        node=node,
        endpoint=spec.endpoint,
        model=spec.model,
        started_at=started,
        ended_at=ended,
        by=spec.by,
        versions=dict(spec.versions),
        parameters=dict(spec.parameters),
        reference=spec.reference,
        npu=npu_use(samples, started, ended),
    )


def _count(delivery: TransferredFiles, name: str) -> int | None:
    text = delivery.facts.get(name, "")
    return int(text) if text.isdecimal() else None


def _early_end(state: RunState, delivery: TransferredFiles) -> tuple[Ending, str] | None:
    """The ending of a run without results, or None."""
    if state.stopping or "stopped" in delivery.facts:
        return Ending.CANCELLED, "cancelled before it ended"
    if state.verdict is RunVerdict.LOST:
        return Ending.FAILED, f"ended, cause not recorded{': ' + state.reason if state.reason else ''}"
    code = state.exit.code if state.exit else None
    if state.exit is not None and code != 0:
        return Ending.FAILED, f"the tool exited with {state.exit}"
    return None


def _with_cause(text: str, log: bytes) -> str:
    """The error, with the first error of the tool's log."""
    found = aisbench.first_error(decode(line[:2000]) for line in log.splitlines())
    return f"{text}: {found}" if found and found not in text else text


def _read(spec: EvaluationSpec, delivery: TransferredFiles, log: bytes) -> ToolFigures:
    if spec.tool == "vllm-bench":
        if "bench.json" in delivery.files:
            return vllm_bench.read_json(delivery.text("bench.json"))
        return vllm_bench.read_block([decode(line) for line in log[-256 * 1024 :].splitlines()])
    if spec.kind == "accuracy":
        return aisbench.read_accuracy(delivery.text("summary.csv"), spec.subject)
    return aisbench.read_performance(delivery.text("performance.csv"), delivery.text("performance.json"))


def _timeline(served: Sequence[ServedSample], started: float, ended: float | None) -> tuple[TimePoint, ...]:
    inside = [each for each in served if each.at >= started and (ended is None or each.at <= ended + LONGEST_GAP_S)]
    return tuple(TimePoint(each.at - started, each.tokens_per_s, each.running) for each in inside)


def npu_use(samples: Sequence[NpuSample], started: float, ended: float | None) -> NpuUse | None:
    """The NPU use between two times (seconds, jump host's clock); None without samples."""
    inside = [each for each in samples if each.at >= started and (ended is None or each.at <= ended)]
    if not inside:
        return None
    core = [each.aicore_percent for each in inside if each.aicore_percent is not None]
    memory = [each.hbm_used_mib for each in inside if each.hbm_used_mib is not None]
    return NpuUse(
        aicore_percent_mean=sum(core) / len(core) if core else None,
        aicore_percent_max=max(core, default=None),
        hbm_used_mib_max=max(memory, default=None),
        power_w_mean=_power(inside),
        watched_share=_watched(inside, started, ended),
        samples=tuple(inside),
    )


def _power(samples: Sequence[NpuSample]) -> float | None:
    """The sum of the mean power of each node; None unless every node reported power."""
    by_node: dict[str, list[float]] = {each.node: [] for each in samples}
    for each in samples:
        if each.power_w is not None:
            by_node[each.node].append(each.power_w)
    if not all(by_node.values()):
        return None
    return sum(sum(values) / len(values) for values in by_node.values())


def _watched(samples: Sequence[NpuSample], started: float, ended: float | None) -> float | None:
    if ended is None or ended <= started:
        return None
    times = [started, *sorted({each.at for each in samples}), ended]
    covered = sum(min(later - earlier, LONGEST_GAP_S) for earlier, later in pairwise(times))
    return min(1.0, covered / (ended - started))
