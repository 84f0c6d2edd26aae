# ruff: noqa: E501  (log lines are as long as they are)
"""The reduced logs of field_logs.yaml, set into the lines an engine of vLLM writes around a failure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

_START = """\
INFO 11-20 08:00:01 [__init__.py:217] Platform plugin ascend is activated
(APIServer pid=100) INFO 11-20 08:00:08 [utils.py:233] non-default args: {'model_tag': '/models/m', 'port': 8004}
(EngineCore_DP0 pid=200) INFO 11-20 08:00:20 [core.py:77] Initializing a V1 LLM engine (v0.21.0) with config: model='/models/m'
"""
_READY = """\
(APIServer pid=100) INFO 11-20 08:05:00 [launcher.py:37] Available routes are:
(APIServer pid=100) INFO:     Application startup complete.
"""
_WORKER = "(Worker_TP0 pid=300) ERROR 11-20 08:03:00 [multiproc_executor.py:870] "
_CORE = "(EngineCore_DP0 pid=200) ERROR 11-20 08:03:05 [core.py:900] "
_SERVING = "(EngineCore_DP0 pid=200) ERROR 11-20 08:28:03 [core.py:1138] "
_TRACE = ("Traceback (most recent call last):", '  File "/vllm-workspace/x.py", line 571, in y', "    z(*args)")
_FAILED = (
    f"{_CORE}EngineCore failed to start.\n"
    f"{_CORE}Exception: WorkerProc initialization failed due to an exception in a background process. See stack trace for root cause.\n"
    "(APIServer pid=100) RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}\n"
)
_DEAD = (
    "(APIServer pid=100) ERROR 11-20 08:28:04 [async_llm.py:546] AsyncLLM output_handler failed.\n"
    "(APIServer pid=100) ERROR 11-20 08:28:04 [async_llm.py:546] vllm.v1.engine.exceptions.EngineDeadError: EngineCore encountered "
    "an issue. See stack trace (above) for the root cause.\n"
)
_RAY = "(EngineCore_DP0 pid=820) (RayWorkerWrapper pid=1189, ip=10.0.0.3) ERROR 11-20 08:03:00 [ray_utils.py:74] "


@dataclass(frozen=True)
class FieldLog:
    """One reduced log."""

    name: str
    record: str
    right: str | None
    text: str


def _prefixed(prefix: str, *lines: str) -> str:
    return "".join(f"{prefix}{line}\n" for line in lines)


def _framed(frame: str, lines: list[str]) -> str:
    bare = _prefixed("", *lines)
    worker = _START + _prefixed(_WORKER, "WorkerProc failed to start.", *_TRACE, *lines) + _FAILED
    return {
        "plain": _START + bare,
        "worker": worker,
        "core": _START + _prefixed(_CORE, "EngineCore failed to start.", *_TRACE, *lines) + _FAILED,
        "api": _START + _prefixed("(APIServer pid=100) ", *_TRACE, *lines),
        "serving": _START
        + _READY
        + _prefixed(_SERVING, "EngineCore encountered a fatal error.", *_TRACE, *lines)
        + _DEAD,
        "old": _START + _prefixed("ERROR 11-20 08:03:00 [engine.py:458] ", *_TRACE, *lines),
        "rank": _START + _prefixed("[rank0]: ", *_TRACE, *lines),
        "ray": _START + _prefixed(_RAY, "Error executing method 'execute_model'.", *_TRACE, *lines) + _FAILED,
        "clean": _START + bare + _READY,
        "served": _START + _READY + bare,
    }[frame]


def field_logs() -> Iterator[FieldLog]:
    """All of them."""
    path = Path(__file__).with_name("field_logs.yaml")
    for each in yaml.safe_load(path.read_text(encoding="utf-8"))["logs"]:
        yield FieldLog(each["name"], each["record"], each["right"], _framed(each["frame"], each["lines"]))
