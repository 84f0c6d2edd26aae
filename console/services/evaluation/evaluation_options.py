"""Parses the options of `bench` and `eval`, for the command line and the screen."""

from __future__ import annotations

import argparse
import json
import shlex
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import NoReturn

from pydantic import JsonValue

from console.commands.evaluation import DATASETS, AccuracyLoad, BenchLoad
from console.evaluation.records import Tool
from console.model.errors import UsageError
from console.services.evaluation.plans import EvaluationRequest

TOOLS = {"vllm": Tool.VLLM_BENCH, "aisbench": Tool.AISBENCH, "built-in": Tool.BUILT_IN}
VERBS = ("bench", "eval")


def add_bench(parser: argparse.ArgumentParser) -> None:
    """Add the options of a performance run; `args.asks(args)` gives the requests."""
    parser.add_argument(
        "--tool", choices=tuple(TOOLS), default="vllm", help="measuring tool (default: vllm bench serve)"
    )
    parser.add_argument("--input-len", type=int, default=1024, metavar="TOKENS", help="length of the random prompts")
    parser.add_argument("--output-len", type=int, default=256, metavar="TOKENS", help="length of each answer")
    parser.add_argument("--num-prompts", type=int, default=100, metavar="N")
    parser.add_argument("--warmups", type=int, metavar="N", help="warm-up requests before the measurement")
    parser.add_argument("--concurrency", type=int, metavar="N", help="maximum number of concurrent requests")
    parser.add_argument("--request-rate", type=float, metavar="PER_S", help="open loop: send at this rate")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sweep", metavar="N,N,…", help="one run after the other at these concurrencies")
    parser.add_argument("--sweep-rate", metavar="R,R,…", help="one run after the other at these request rates")
    parser.set_defaults(asks=_bench_asks)
    _add_common(parser)


def add_eval(parser: argparse.ArgumentParser) -> None:
    """Add the options of an accuracy run; `args.asks(args)` gives the requests."""
    parser.add_argument("dataset", nargs="?", default="", help=f"known: {', '.join(DATASETS)}; others with --config")
    parser.add_argument("--max-out-tokens", type=int, default=32768, metavar="TOKENS")
    parser.add_argument("--concurrency", type=int, default=32, metavar="N")
    parser.add_argument("--num-prompts", type=int, metavar="N", help="only the first N questions")
    parser.set_defaults(asks=_accuracy_asks)
    _add_common(parser)


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--on", default="", metavar="NODE", help="where the tool runs (default: the endpoint's node)")
    parser.add_argument("--endpoint", default="", metavar="HOST:PORT", help="default: the proxy, or the first engine")
    parser.add_argument("--model", default="", metavar="ID", help="default: the model name that the engine reports")
    parser.add_argument("--config", default="", metavar="NAME", help="AISBench's dataset configuration")
    parser.add_argument("--program", default="", metavar="PATH", help="ais_bench, where it is not on PATH")
    parser.add_argument("--generation", metavar="JSON", help="further sampling parameters of AISBench")


_ADD: Mapping[str, Callable[[argparse.ArgumentParser], None]] = {"bench": add_bench, "eval": add_eval}


class _LineParser(argparse.ArgumentParser):
    """A parser that raises UsageError instead of exiting."""

    def error(self, message: str) -> NoReturn:
        """Raises UsageError."""
        raise UsageError(f"{self.prog}: {message}", hint=f"`dsv4-console {self.prog} --help` lists the options")


def parse_line(verb: str, text: str) -> tuple[EvaluationRequest, ...]:
    """The evaluation requests of a typed line; `verb` is `bench` or `eval`. Raises UsageError."""
    parser = _LineParser(prog=verb, add_help=False, allow_abbrev=False)
    _ADD[verb](parser)
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise UsageError(f"{verb}: {error}", hint="close the quotation") from None
    args = parser.parse_args(words)
    found: tuple[EvaluationRequest, ...] = args.asks(args)
    return found


def _ask(args: argparse.Namespace, tool: Tool, load: BenchLoad | AccuracyLoad) -> EvaluationRequest:
    return EvaluationRequest(
        tool, load, args.on, args.endpoint, args.model, args.program, args.config, _generation(args.generation)
    )


def _bench_asks(args: argparse.Namespace) -> tuple[EvaluationRequest, ...]:
    load = BenchLoad(
        args.input_len,
        args.output_len,
        args.num_prompts,
        args.concurrency,
        args.request_rate,
        args.seed,
        args.warmups,
    )
    tool = TOOLS[args.tool]
    if args.sweep and args.sweep_rate:
        raise UsageError("--sweep and --sweep-rate cannot be combined", hint="give one of them")
    loads = [load]
    if args.sweep:
        loads = [replace(load, concurrency=int(each)) for each in _numbers(args.sweep, "--sweep", whole=True)]
    if args.sweep_rate:
        loads = [replace(load, rate=each) for each in _numbers(args.sweep_rate, "--sweep-rate", whole=False)]
    return tuple(_ask(args, tool, each) for each in loads)


def _accuracy_asks(args: argparse.Namespace) -> tuple[EvaluationRequest, ...]:
    if not args.dataset:
        raise UsageError("which dataset?", hint=f"known: {', '.join(DATASETS)}")
    load = AccuracyLoad(args.dataset, args.config, args.max_out_tokens, args.concurrency, args.num_prompts)
    return (_ask(args, Tool.AISBENCH, load),)


def _numbers(text: str, option: str, *, whole: bool) -> list[float]:
    try:
        found = [float(int(word) if whole else float(word)) for word in text.split(",")]
    except ValueError:
        raise UsageError(f"{option} {text}: not a list of numbers", hint="for example 1,2,4,8,16") from None
    return found


def _generation(text: str | None) -> dict[str, JsonValue]:
    if not text:
        return {}
    try:
        value = json.loads(text)
    except ValueError as error:
        raise UsageError(f"--generation is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise UsageError("--generation is not a JSON object", hint='for example {"top_p": 0.95}')
    return value
