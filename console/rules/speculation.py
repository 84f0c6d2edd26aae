"""Rules about DSpark, which drafts whole blocks of tokens, and about what the prefix cache of DeepSeek-V4 keeps: R29, R30."""

from __future__ import annotations

from collections.abc import Iterator

from console.model.findings import Severity
from console.rules.rule import Hit, Rule, RuleContext, whole

MIN_DSPARK_TOKENS = 5
"""Block that the published DSpark weights of DeepSeek-V4 were trained for (vllm-ascend's tutorials)."""
_INTERVAL = "VLLM_PREFIX_CACHE_RETENTION_INTERVAL"


def _dspark(scene: RuleContext, group: str) -> int | None:
    """Tokens a group drafts with DSpark; None when it does not, 0 when their number is no whole number."""
    if scene.setting(group, "speculative-config", "method") != "dspark":
        return None
    return whole(scene.setting(group, "speculative-config", "num_speculative_tokens")) or 0


def _blocks(scene: RuleContext) -> Iterator[Hit]:
    for name in scene.groups:
        tokens = _dspark(scene, name)
        if tokens is not None and tokens < MIN_DSPARK_TOKENS and scene.is_v4():
            message = f"{name}: DSpark with {tokens} speculative tokens; it takes {MIN_DSPARK_TOKENS} or more"
            yield Hit(message, scene.at_flag(name, "speculative-config", "num_speculative_tokens"))
    for prefill, decode in scene.pairs():
        ahead, after = _dspark(scene, prefill), _dspark(scene, decode)
        if ahead != after:
            one, other = _words(ahead), _words(after)
            message = f"{prefill} drafts {one}, {decode} {other}; with DSpark both draft the same"
            yield Hit(message, scene.at_flag(decode, "speculative-config", "num_speculative_tokens"))


def _words(tokens: int | None) -> str:
    return "without DSpark" if tokens is None else f"{tokens} tokens with DSpark"


def _interval(scene: RuleContext) -> Iterator[Hit]:
    for name in scene.groups:
        written = scene.env(name).get(_INTERVAL)
        if written is None:
            continue
        where = scene.at(name, "env", _INTERVAL)
        tokens, block = whole(written), scene.number(name, "block-size")
        if tokens is None:
            yield Hit(f"{name}: {_INTERVAL} is {written!r}, which is no number of tokens", where)
        elif block and tokens % block:
            yield Hit(f"{name}: {_INTERVAL} is {tokens}, no multiple of block-size {block}", where)
        elif scene.args(name).get("enable-prefix-caching") is False:
            message = f"{name}: {_INTERVAL} has no effect, for prefix caching is off"
            yield Hit(message, where, Severity.NOTE)


RULES = (
    Rule(
        "R29",
        "DSpark drafts whole blocks, the same on both sides",
        Severity.ERROR,
        "Its draft attends over a whole block: vLLM refuses fewer tokens than the block of the weights, and prefill and decode "
        "hand over the draft's cache too.",
        f"Set num_speculative_tokens to {MIN_DSPARK_TOKENS} or more, in the layout's own args, so that both sides have the same.",
        "vLLM 0.27.1 config/speculative.py; vllm-ascend's DeepSeek-V4-Flash tutorial",
        _blocks,
    ),
    Rule(
        "R30",
        "The retention interval is a multiple of the block size",
        Severity.ERROR,
        "It says how far apart the prefix cache keeps checkpoints; another number ends the start with a ValueError.",
        "Set it to 128 × block-size: 4096 for 32, 16384 for 128. It needs prefix caching.",
        "vLLM 0.27.1 v1/core/kv_cache_coordinator.py; vllm-ascend's DeepSeek-V4-Flash tutorial",
        _interval,
    ),
)
