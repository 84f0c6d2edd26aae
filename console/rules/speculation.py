"""Rules about DSpark, which drafts whole blocks of tokens (R29), and about the prefix cache of DeepSeek-V4 (R30)."""

from __future__ import annotations

from collections.abc import Iterator

from console.model.findings import Severity
from console.rules.rule import Rule, RuleContext, Violation, whole

MIN_DSPARK_TOKENS = 5
"""Block size that the published DSpark weights of DeepSeek-V4 were trained for (vllm-ascend's tutorials)."""
_INTERVAL = "VLLM_PREFIX_CACHE_RETENTION_INTERVAL"


def _dspark(context: RuleContext, group: str) -> int | None:
    """Tokens that a group drafts with DSpark; None without DSpark, 0 when the setting is not a whole number."""
    if context.setting(group, "speculative-config", "method") != "dspark":
        return None
    return whole(context.setting(group, "speculative-config", "num_speculative_tokens")) or 0


def _blocks(context: RuleContext) -> Iterator[Violation]:
    for name in context.groups:
        tokens = _dspark(context, name)
        if tokens is not None and tokens < MIN_DSPARK_TOKENS and context.is_v4():
            message = f"{name}: DSpark drafts {tokens} speculative tokens, but needs {MIN_DSPARK_TOKENS} or more"
            yield Violation(message, context.at_flag(name, "speculative-config", "num_speculative_tokens"))
    for prefill, decode in context.pairs():
        ahead, after = _dspark(context, prefill), _dspark(context, decode)
        if ahead != after:
            one, other = _words(ahead), _words(after)
            message = f"{prefill} drafts {one}, {decode} drafts {other}; with DSpark the numbers must be equal"
            yield Violation(message, context.at_flag(decode, "speculative-config", "num_speculative_tokens"))


def _words(tokens: int | None) -> str:
    return "none with DSpark" if tokens is None else f"{tokens} tokens with DSpark"


def _interval(context: RuleContext) -> Iterator[Violation]:
    for name in context.groups:
        written = context.env(name).get(_INTERVAL)
        if written is None:
            continue
        where = context.at(name, "env", _INTERVAL)
        tokens, block = whole(written), context.number(name, "block-size")
        if tokens is None:
            yield Violation(f"{name}: {_INTERVAL} is {written!r}, which is not a whole number", where)
        elif block and tokens % block:
            yield Violation(f"{name}: {_INTERVAL} is {tokens}, which is not a multiple of block-size {block}", where)
        elif context.args(name).get("enable-prefix-caching") is False:
            message = f"{name}: {_INTERVAL} has no effect, because prefix caching is off"
            yield Violation(message, where, Severity.NOTE)


RULES = (
    Rule(
        "R29",
        "DSpark drafts whole blocks, equal on prefill and decode",
        Severity.ERROR,
        "The draft model works on whole blocks: vLLM refuses fewer tokens than the block size of the weights. Prefill also sends "
        "the cache of the draft model to decode.",
        f"Set num_speculative_tokens to {MIN_DSPARK_TOKENS} or more in the top-level args of the layout, so that both are equal.",
        "vLLM 0.27.1 config/speculative.py; vllm-ascend's DeepSeek-V4-Flash tutorial",
        _blocks,
    ),
    Rule(
        "R30",
        "The retention interval is a multiple of the block size",
        Severity.ERROR,
        "The interval is the distance between checkpoints of the prefix cache; with another number the start ends in a "
        "ValueError.",
        "Set it to 128 × block-size: 4096 for block-size 32, 16384 for 128. It needs prefix caching.",
        "vLLM 0.27.1 v1/core/kv_cache_coordinator.py; vllm-ascend's DeepSeek-V4-Flash tutorial",
        _interval,
    ),
)
