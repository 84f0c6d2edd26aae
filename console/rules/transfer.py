"""Rules about prefill and decode groups that transfer KV caches (R10–R14, R18–R22, R24, R26) and about their proxy (X1)."""

from __future__ import annotations

from collections.abc import Iterator

from console.model.findings import Severity
from console.releases.facts import facts_of, names, release_of
from console.rules.rule import MAIN, Rule, RuleContext, Violation, whole

_HYBRID = "MooncakeHybridConnector"
V4_BLOCK_SIZES = (32, 64, 128)
_FLASHCOMM = {"VLLM_ASCEND_ENABLE_FLASHCOMM1", "enable_flashcomm1"}
_DEFAULT_BLOCK = "on Ascend the default is then 32"


def at_connector(context: RuleContext, group: str) -> str:
    """The place in the layout where the connector of a group is set."""
    if context.args(group).get("kv-transfer-config") is not None:
        return context.at_flag(group, "kv-transfer-config", "kv_connector")
    return context.at(group, "kv_transfer", "connector")


def _parallel_sizes(context: RuleContext) -> Iterator[Violation]:
    for prefill, decode in context.pairs():
        wide, narrow = context.groups[prefill].tensor_parallel, context.groups[decode].tensor_parallel
        if wide < narrow:
            message = f"tensor_parallel of {prefill} is {wide}, less than {narrow} of {decode}; prefill needs at least as much"
            yield Violation(message, context.at(decode, "tensor_parallel"))
        elif wide % narrow:
            message = f"tensor_parallel {wide} of {prefill} is not a multiple of {narrow} of {decode}"
            yield Violation(message, context.at(decode, "tensor_parallel"), Severity.WARNING)
    for name, group in context.with_role("decode"):
        if group.pipeline_parallel > 1 and context.transfer(name):
            message = f"{name}: pipeline_parallel is {group.pipeline_parallel}; a decode group needs 1"
            yield Violation(message, context.at(name, "pipeline_parallel"))
    for name, group in context.groups.items():
        parallel = group.prefill_context_parallel * (context.number(name, "decode-context-parallel-size") or 1)
        if parallel > 1 and context.transfer(name).get("kv_connector") == _HYBRID:
            message = f"{name}: {_HYBRID} does not support context parallelism {parallel}"
            yield Violation(message, context.at(name, "prefill_context_parallel"))


def _real_sizes(context: RuleContext) -> Iterator[Violation]:
    for name, group in context.groups.items():
        written = context.args(name).get("kv-transfer-config")
        if written is not None and group.kv_transfer is not None:
            message = f"{name}: --kv-transfer-config replaces the one computed from kv_transfer; keep one of the two"
            yield Violation(message, context.at_flag(name, "kv-transfer-config"))
        if group.role == "mixed":
            continue
        extra = context.transfer(name).get("kv_connector_extra_config")
        for role in ("prefill", "decode"):
            written_sizes = extra.get(role) if isinstance(extra, dict) else None
            peer = group if group.role == role else next((each for _, each in context.with_role(role)), None)
            if not isinstance(written_sizes, dict) or peer is None:
                continue
            real = (peer.data_parallel.size, peer.tensor_parallel)
            sizes = (whole(written_sizes.get("dp_size")), whole(written_sizes.get("tp_size")))
            if sizes != real:
                message = f"{name} gives {role} dp {sizes[0]}, tp {sizes[1]}; the layout has dp {real[0]}, tp {real[1]}"
                yield Violation(message, context.at(name, "kv_transfer", "extra"))


def _engine_ids(context: RuleContext) -> Iterator[Violation]:
    for prefill, decode in context.pairs():
        same = context.transfer(prefill).get("engine_id")
        if same is not None and same == context.transfer(decode).get("engine_id"):
            yield Violation(
                f"{prefill} and {decode} have the same engine_id {same}", context.at(decode, "kv_transfer", "engine_id")
            )


def _prefill_groups(context: RuleContext) -> Iterator[Violation]:
    seen: dict[str, str] = {}
    for name, _ in context.with_role("prefill"):
        engine = context.transfer(name).get("engine_id")
        if engine is not None and seen.setdefault(str(engine), name) != name:
            message = f"the prefill groups {seen[str(engine)]} and {name} have the same engine_id {engine}"
            called_back = "Layerwise" in str(context.transfer(name).get("kv_connector"))
            yield Violation(
                message, context.at(name, "kv_transfer", "engine_id"), Severity.WARNING if called_back else None
            )


def _roles(context: RuleContext) -> Iterator[Violation]:
    wanted = {"prefill": "kv_producer", "decode": "kv_consumer"}
    for name, group in context.groups.items():
        transfer = context.transfer(name)
        if group.role == "mixed":
            continue
        if not transfer:
            yield Violation(f"{name}: a {group.role} group needs a kv_transfer", context.at(name, "role"))
        elif context.kv_role(name) not in (wanted[group.role], "kv_both"):
            message = f"{name}: kv_role {context.kv_role(name)} does not fit role {group.role}"
            yield Violation(message, context.at_flag(name, "kv-transfer-config", "kv_role"))
    for prefill, decode in context.pairs():
        one, other = (context.transfer(name).get("kv_connector") for name in (prefill, decode))
        if one and other and one != other:
            yield Violation(
                f"{prefill} uses the connector {one}, but {decode} uses {other}", at_connector(context, decode)
            )
    for role, other_role in (("prefill", "decode"), ("decode", "prefill")):
        if not any(context.with_role(other_role)):
            for name, _ in context.with_role(role):
                yield Violation(f"{name}: there is no {other_role} group for it", context.at(name, "role"))


def _hybrid_cache(context: RuleContext) -> Iterator[Violation]:
    for name, group in context.groups.items():
        disabled = context.args(name).get("disable-hybrid-kv-cache-manager")
        if group.role == "mixed" or not context.is_v4() or disabled is False:
            continue
        if disabled is True:
            yield Violation(
                f"{name}: --disable-hybrid-kv-cache-manager turns the hybrid KV cache off", context.at(name, "args")
            )
        elif context.version != MAIN:
            known = None if context.version else Severity.WARNING
            yield Violation(f"{name}: --no-disable-hybrid-kv-cache-manager is missing", context.at(name, "args"), known)


def speculative_tokens(context: RuleContext, group: str) -> int:
    """Tokens that the group speculates per step; 0 without speculation."""
    return whole(context.setting(group, "speculative-config", "num_speculative_tokens")) or 0


def _speculation(context: RuleContext) -> Iterator[Violation]:
    for prefill, decode in context.pairs():
        ahead, after = speculative_tokens(context, prefill), speculative_tokens(context, decode)
        if ahead > 1 and context.setting(prefill, "speculative-config", "method") != "dspark":
            yield Violation(
                f"{prefill} speculates {ahead} tokens; prefill needs 1",
                context.at_flag(prefill, "speculative-config", "num_speculative_tokens"),
            )
        if ahead and not after:
            yield Violation(
                f"{prefill} speculates, but {decode} does not", context.at_flag(decode, "speculative-config")
            )


def _decode_batch(context: RuleContext) -> Iterator[Violation]:
    for name, _ in context.with_role("decode"):
        tokens, seqs = context.number(name, "max-num-batched-tokens"), context.number(name, "max-num-seqs")
        speculated = speculative_tokens(context, name)
        if tokens is not None and seqs is not None and tokens < seqs * (1 + speculated):
            message = f"{name}: max-num-batched-tokens {tokens} is less than max-num-seqs {seqs} × (1 + {speculated})"
            yield Violation(message, context.at_flag(name, "max-num-batched-tokens"))


def _recompute(context: RuleContext) -> Iterator[Violation]:
    for name, group in context.groups.items():
        if context.setting(name, "additional-config", "recompute_scheduler_enable") is not True:
            continue
        if group.role == "mixed" and context.kv_role(name) in ("", "kv_both"):
            message = f"{name}: recompute_scheduler_enable is refused outside prefill and decode groups"
            yield Violation(message, context.at_flag(name, "additional-config", "recompute_scheduler_enable"))
        elif context.kv_role(name) == "kv_producer":
            message = f"{name}: recompute_scheduler_enable has no effect on a prefill group"
            where = context.at_flag(name, "additional-config", "recompute_scheduler_enable")
            yield Violation(message, where, Severity.WARNING)


def _context_parallel(context: RuleContext) -> Iterator[Violation]:
    release = release_of(context.layout) or (facts_of(names()[-1]) if context.version == MAIN else None)
    if release is None:
        return
    for name in context.groups:
        sharded = context.setting(name, "additional-config", "enable_dsa_cp") is True
        on = {each for each in release.sequence_parallel if _turned_on(context, name, each)}
        if sharded and not on:
            message = (
                f"{name}: enable_dsa_cp needs sequence parallelism, which no setting here turns on in {release.name}"
            )
            yield Violation(message, context.at_flag(name, "additional-config", "enable_dsa_cp"))
        for old in sorted(on & _FLASHCOMM) if "enable_dsa_cp" in release.sequence_parallel else ():
            where = context.at(name, "env", old) if old.isupper() else context.at_flag(name, "additional-config", old)
            yield Violation(f"{name}: {old} is deprecated since {_first_of('enable_dsa_cp')}", where, Severity.WARNING)


def _turned_on(context: RuleContext, group: str, setting: str) -> bool:
    """Whether a variable or a key of `--additional-config` turns sequence parallelism on; `enable_shared_expert_dp` does so only
    with expert and tensor parallelism.
    """
    if setting.isupper():
        configured = context.setting(group, "additional-config", "enable_flashcomm1")
        return configured is None and context.env(group).get(setting, "0").strip().lower() not in ("0", "", "false")
    if context.setting(group, "additional-config", setting) is not True:
        return False
    expert = context.args(group).get("enable-expert-parallel") is True and context.groups[group].tensor_parallel > 1
    return expert if setting == "enable_shared_expert_dp" else True


def _first_of(setting: str) -> str:
    """The first release in which a setting turns sequence parallelism on."""
    found = (each for each in names() if (facts := facts_of(each)) and setting in facts.sequence_parallel)
    return next(found, "")


def _dense(context: RuleContext) -> Iterator[Violation]:
    for name, group in context.with_role("prefill"):
        expert = context.args(name).get("enable-expert-parallel") is True
        if group.data_parallel.per_node > 1 and context.transfer(name) and not expert and not context.is_v4():
            message = f"{name}: if the model is dense, its ranks on one node bind the same KV ports"
            yield Violation(message, context.at(name, "kv_transfer", "port"))


def _block_size(context: RuleContext) -> Iterator[Violation]:
    for name in context.groups:
        size = context.args(name).get("block-size")
        if context.is_v4() and size is None:
            yield Violation(f"{name}: --block-size is not given; {_DEFAULT_BLOCK}", context.at(name, "args"))
        elif context.is_v4() and whole(size) not in V4_BLOCK_SIZES:
            yield Violation(
                f"{name}: block-size is {size}; DeepSeek-V4 needs 32, 64 or 128", context.at_flag(name, "block-size")
            )
    for prefill, decode in context.pairs():
        one, other = (context.args(name).get("block-size") for name in (prefill, decode))
        if str(one) != str(other) and not (context.is_v4() and None in (one, other)):
            yield Violation(
                f"block-size of {prefill} is {one}, but of {decode} {other}", context.at_flag(decode, "block-size")
            )


def _proxy(context: RuleContext) -> Iterator[Violation]:
    proxy = context.layout.proxy
    pairs = tuple(context.pairs())
    if proxy is None:
        if pairs:
            yield Violation("prefill and decode groups have no proxy", context.at_top("groups"), Severity.WARNING)
        return
    if proxy.kind != "dp" and not pairs:
        yield Violation(f"a {proxy.kind} proxy needs a prefill and a decode group", context.at_top("proxy"))
    for prefill, decode in pairs:
        connectors = {str(context.transfer(name).get("kv_connector", "")) for name in (prefill, decode)}
        layerwise = any("Layerwise" in connector for connector in connectors)
        if proxy.kind != "dp" and layerwise != (proxy.kind == "layerwise"):
            need = "layerwise" if layerwise else "load-balance"
            yield Violation(
                f"the connector of {prefill} and {decode} needs a {need} proxy", context.at_top("proxy", "kind")
            )
    if context.deployment.complete() and context.deployment.proxy_rank() is None:
        yield Violation(
            f"the proxy's node {proxy.node!r} is neither a node nor GROUP/INDEX", context.at_top("proxy", "node")
        )


_E, _W, _N = Severity.ERROR, Severity.WARNING, Severity.NOTE
_CONNECTOR = "vllm-ascend v0.21.0rc1 mooncake_hybrid_connector.py"
RULES = (
    Rule(
        "R10",
        "Prefill has at least the tensor parallel size of decode",
        _E,
        'A decode rank reads from whole prefill ranks; otherwise vLLM fails with "prefill_tp_size must be greater than '
        "or equal to the "
        'decode_tp_size".',
        "Raise tensor_parallel of prefill or lower that of decode; one must be a multiple of the other.",
        _CONNECTOR,
        _parallel_sizes,
    ),
    Rule(
        "R11",
        "The connector gets the real sizes",
        _E,
        "The connector computes from the sizes of both sides which bytes to read; with wrong sizes it reads wrong bytes.",
        "Remove prefill and decode from kv_transfer.extra: the console computes them.",
        _CONNECTOR,
        _real_sizes,
    ),
    Rule(
        "R12",
        "Prefill and decode have different engine ids",
        _E,
        'A decode engine refuses a peer with its own id: "Conflict engine id".',
        "Set different values of engine_id for the two groups, or remove both.",
        _CONNECTOR,
        _engine_ids,
    ),
    Rule(
        "R13",
        "Independent prefill groups have different engine ids",
        _E,
        "The ranks of a group share an id; two groups with the same id cannot be distinguished.",
        "Set a different engine_id for each prefill group, and a different kv port when they share a node.",
        _CONNECTOR,
        _prefill_groups,
    ),
    Rule(
        "R14",
        "KV transfer roles fit the groups",
        _E,
        "Prefill produces KV caches, decode consumes them, and both need the same connector.",
        "Set kv_transfer with the same connector in both groups; kv_role is computed.",
        _CONNECTOR,
        _roles,
    ),
    Rule(
        "R18",
        "The hybrid KV cache stays on for DeepSeek-V4",
        _E,
        "With a connector vLLM turns the hybrid cache off by default (on main it asks the connector first). The cache of V4 then "
        "does not fit into HBM.",
        "Set `disable-hybrid-kv-cache-manager: false` in args.",
        "vllm-ascend issue 9975",
        _hybrid_cache,
    ),
    Rule(
        "R19",
        "Prefill speculates one token",
        _W,
        "Prefill only needs the first token; decode needs one or more. DSpark drafts whole blocks.",
        "Set num_speculative_tokens to 1 on prefill and 1 or more on decode.",
        "vllm-ascend's CI configurations",
        _speculation,
    ),
    Rule(
        "R20",
        "A decode batch has room for all sequences",
        _W,
        "Each running sequence needs one token and its speculated tokens per step; a smaller batch does not use the "
        "captured graph.",
        "Set max-num-batched-tokens to max-num-seqs × (1 + num_speculative_tokens) or more.",
        "the tutorial, decode commands (120 = 60 × 2)",
        _decode_batch,
    ),
    Rule(
        "R21",
        "Recompute scheduling is for decode groups",
        _E,
        "In other groups the engine refuses to start, or ignores the setting.",
        "Move recompute_scheduler_enable to the decode group's additional-config.",
        "vllm-ascend v0.21.0rc1 platform.py",
        _recompute,
    ),
    Rule(
        "R22",
        "DSA context parallelism has sequence parallelism",
        _E,
        'Up to 0.26.0rc1 the start fails with "DSA CP requires SP to be enabled"; from 0.27.1rc1 on enable_dsa_cp turns it on.',
        "Up to 0.26.0rc1 set enable_flashcomm1 in additional-config (from 0.20.2rc1 on) or VLLM_ASCEND_ENABLE_FLASHCOMM1; in "
        "later releases remove both.",
        "vllm-ascend utils.py and ascend_config.py of each release, collected by `make releases`; pull request 13946",
        _context_parallel,
    ),
    Rule(
        "R24",
        "Ranks of dense models have different KV ports",
        _N,
        "With a dense model the engine takes every rank for rank 0, so all ranks of a node compute the same KV ports.",
        "Use one rank per node, or one group per rank with a different kv port.",
        "vLLM 0.21 v1/engine/core.py (read, not run)",
        _dense,
    ),
    Rule(
        "R26",
        "The block size is set, and equal on prefill and decode",
        _E,
        "The format of V4's caches depends on the block size, and the two sides do not compare it: with unequal sizes "
        "they transfer "
        "wrong bytes.",
        "Set `block-size` to 128 (or 32, 64) in the top-level args of the layout, so that all groups have the same.",
        "vllm-ascend v0.21.0rc1 utils.py, mooncake_hybrid_connector.py; the tutorial leaves it out on A2 prefill",
        _block_size,
    ),
    Rule(
        "X1",
        "The proxy fits the groups",
        _E,
        "Clients need one address, and each connector needs its own kind of proxy.",
        "Use load-balance for the Mooncake V1 and Hybrid connectors, layerwise for the Layerwise connector, dp without prefill "
        "groups.",
        "vllm-ascend examples/disaggregated_prefill_v1",
        _proxy,
    ),
)
