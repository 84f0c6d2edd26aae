"""Rules about prefill and decode groups that hand over KV caches: R10–R14, R18–R22, R24, R26, and their proxy."""

from __future__ import annotations

from collections.abc import Iterator

from console.model.findings import Severity
from console.releases.facts import facts_of, names, release_of
from console.rules.rule import MAIN, Hit, Rule, RuleContext, whole

_HYBRID = "MooncakeHybridConnector"
V4_BLOCK_SIZES = (32, 64, 128)
_FLASHCOMM = {"VLLM_ASCEND_ENABLE_FLASHCOMM1", "enable_flashcomm1"}
_DEFAULT_BLOCK = "vLLM's default of 16 becomes 32 on Ascend"


def at_connector(scene: RuleContext, group: str) -> str:
    """Where the connector of a group is written."""
    if scene.args(group).get("kv-transfer-config") is not None:
        return scene.at_flag(group, "kv-transfer-config", "kv_connector")
    return scene.at(group, "kv_transfer", "connector")


def _parallel_sizes(scene: RuleContext) -> Iterator[Hit]:
    for prefill, decode in scene.pairs():
        wide, narrow = scene.groups[prefill].tensor_parallel, scene.groups[decode].tensor_parallel
        if wide < narrow:
            message = (
                f"tensor_parallel of {prefill} is {wide}, of {decode} {narrow}; prefill must have at least as much"
            )
            yield Hit(message, scene.at(decode, "tensor_parallel"))
        elif wide % narrow:
            message = f"tensor_parallel {wide} of {prefill} is no multiple of {narrow} of {decode}"
            yield Hit(message, scene.at(decode, "tensor_parallel"), Severity.WARNING)
    for name, group in scene.with_role("decode"):
        if group.pipeline_parallel > 1 and scene.transfer(name):
            message = f"{name}: pipeline_parallel is {group.pipeline_parallel}; a decode group takes 1"
            yield Hit(message, scene.at(name, "pipeline_parallel"))
    for name, group in scene.groups.items():
        context = group.prefill_context_parallel * (scene.number(name, "decode-context-parallel-size") or 1)
        if context > 1 and scene.transfer(name).get("kv_connector") == _HYBRID:
            message = f"{name}: context parallelism {context} does not go with {_HYBRID}"
            yield Hit(message, scene.at(name, "prefill_context_parallel"))


def _real_sizes(scene: RuleContext) -> Iterator[Hit]:
    for name, group in scene.groups.items():
        written = scene.args(name).get("kv-transfer-config")
        if written is not None and group.kv_transfer is not None:
            message = f"{name}: --kv-transfer-config replaces the computed one of kv_transfer; keep one of the two"
            yield Hit(message, scene.at_flag(name, "kv-transfer-config"))
        if group.role == "mixed":
            continue
        extra = scene.transfer(name).get("kv_connector_extra_config")
        for role in ("prefill", "decode"):
            said = extra.get(role) if isinstance(extra, dict) else None
            peer = group if group.role == role else next((each for _, each in scene.with_role(role)), None)
            if not isinstance(said, dict) or peer is None:
                continue
            real = (peer.data_parallel.size, peer.tensor_parallel)
            told = (whole(said.get("dp_size")), whole(said.get("tp_size")))
            if told != real:
                message = (
                    f"{name}: says {role} has dp {told[0]}, tp {told[1]}; the layout has dp {real[0]}, tp {real[1]}"
                )
                yield Hit(message, scene.at(name, "kv_transfer", "extra"))


def _engine_ids(scene: RuleContext) -> Iterator[Hit]:
    for prefill, decode in scene.pairs():
        same = scene.transfer(prefill).get("engine_id")
        if same is not None and same == scene.transfer(decode).get("engine_id"):
            yield Hit(
                f"{prefill} and {decode} have the same engine_id {same}", scene.at(decode, "kv_transfer", "engine_id")
            )


def _prefill_groups(scene: RuleContext) -> Iterator[Hit]:
    seen: dict[str, str] = {}
    for name, _ in scene.with_role("prefill"):
        engine = scene.transfer(name).get("engine_id")
        if engine is not None and seen.setdefault(str(engine), name) != name:
            message = f"the prefill groups {seen[str(engine)]} and {name} have the same engine_id {engine}"
            called_back = "Layerwise" in str(scene.transfer(name).get("kv_connector"))
            yield Hit(message, scene.at(name, "kv_transfer", "engine_id"), Severity.WARNING if called_back else None)


def _roles(scene: RuleContext) -> Iterator[Hit]:
    wanted = {"prefill": "kv_producer", "decode": "kv_consumer"}
    for name, group in scene.groups.items():
        transfer = scene.transfer(name)
        if group.role == "mixed":
            continue
        if not transfer:
            yield Hit(f"{name}: a {group.role} group needs a kv_transfer", scene.at(name, "role"))
        elif scene.kv_role(name) not in (wanted[group.role], "kv_both"):
            message = f"{name}: kv_role {scene.kv_role(name)} does not go with role {group.role}"
            yield Hit(message, scene.at_flag(name, "kv-transfer-config", "kv_role"))
    for prefill, decode in scene.pairs():
        one, other = (scene.transfer(name).get("kv_connector") for name in (prefill, decode))
        if one and other and one != other:
            yield Hit(f"{prefill} hands over with {one}, {decode} with {other}", at_connector(scene, decode))
    for role, other_role in (("prefill", "decode"), ("decode", "prefill")):
        if not any(scene.with_role(other_role)):
            for name, _ in scene.with_role(role):
                yield Hit(f"{name}: there is no {other_role} group to go with it", scene.at(name, "role"))


def _hybrid_cache(scene: RuleContext) -> Iterator[Hit]:
    for name, group in scene.groups.items():
        said = scene.args(name).get("disable-hybrid-kv-cache-manager")
        if group.role == "mixed" or not scene.is_v4() or said is False:
            continue
        if said is True:
            yield Hit(f"{name}: --disable-hybrid-kv-cache-manager turns it off", scene.at(name, "args"))
        elif scene.version != MAIN:
            known = None if scene.version else Severity.WARNING
            yield Hit(f"{name}: --no-disable-hybrid-kv-cache-manager is missing", scene.at(name, "args"), known)


def speculative_tokens(scene: RuleContext, group: str) -> int:
    """Tokens the group speculates per step; 0 without speculation."""
    return whole(scene.setting(group, "speculative-config", "num_speculative_tokens")) or 0


def _speculation(scene: RuleContext) -> Iterator[Hit]:
    for prefill, decode in scene.pairs():
        ahead, after = speculative_tokens(scene, prefill), speculative_tokens(scene, decode)
        if ahead > 1 and scene.setting(prefill, "speculative-config", "method") != "dspark":
            yield Hit(
                f"{prefill} speculates {ahead} tokens; prefill takes 1",
                scene.at_flag(prefill, "speculative-config", "num_speculative_tokens"),
            )
        if ahead and not after:
            yield Hit(f"{prefill} speculates, {decode} does not", scene.at_flag(decode, "speculative-config"))


def _decode_batch(scene: RuleContext) -> Iterator[Hit]:
    for name, _ in scene.with_role("decode"):
        tokens, seqs = scene.number(name, "max-num-batched-tokens"), scene.number(name, "max-num-seqs")
        speculated = speculative_tokens(scene, name)
        if tokens is not None and seqs is not None and tokens < seqs * (1 + speculated):
            message = f"{name}: max-num-batched-tokens {tokens} is less than max-num-seqs {seqs} × (1 + {speculated})"
            yield Hit(message, scene.at_flag(name, "max-num-batched-tokens"))


def _recompute(scene: RuleContext) -> Iterator[Hit]:
    for name, group in scene.groups.items():
        if scene.setting(name, "additional-config", "recompute_scheduler_enable") is not True:
            continue
        if group.role == "mixed" and scene.kv_role(name) in ("", "kv_both"):
            message = f"{name}: recompute_scheduler_enable is refused outside prefill and decode groups"
            yield Hit(message, scene.at_flag(name, "additional-config", "recompute_scheduler_enable"))
        elif scene.kv_role(name) == "kv_producer":
            message = f"{name}: recompute_scheduler_enable has no effect on a prefill group"
            where = scene.at_flag(name, "additional-config", "recompute_scheduler_enable")
            yield Hit(message, where, Severity.WARNING)


def _context_parallel(scene: RuleContext) -> Iterator[Hit]:
    release = release_of(scene.layout) or (facts_of(names()[-1]) if scene.version == MAIN else None)
    if release is None:
        return
    for name in scene.groups:
        sharded = scene.setting(name, "additional-config", "enable_dsa_cp") is True
        on = {each for each in release.sequence_parallel if _turned_on(scene, name, each)}
        if sharded and not on:
            message = f"{name}: enable_dsa_cp needs sequence parallelism; {release.name} turns it on by none of the settings here"
            yield Hit(message, scene.at_flag(name, "additional-config", "enable_dsa_cp"))
        for old in sorted(on & _FLASHCOMM) if "enable_dsa_cp" in release.sequence_parallel else ():
            where = scene.at(name, "env", old) if old.isupper() else scene.at_flag(name, "additional-config", old)
            yield Hit(f"{name}: {old} is deprecated since {_first_of('enable_dsa_cp')}", where, Severity.WARNING)


def _turned_on(scene: RuleContext, group: str, setting: str) -> bool:
    """Whether a variable or a key of `--additional-config` is on; shared experts need expert and tensor parallelism for it."""
    if setting.isupper():
        configured = scene.setting(group, "additional-config", "enable_flashcomm1")
        return configured is None and scene.env(group).get(setting, "0").strip().lower() not in ("0", "", "false")
    if scene.setting(group, "additional-config", setting) is not True:
        return False
    expert = scene.args(group).get("enable-expert-parallel") is True and scene.groups[group].tensor_parallel > 1
    return expert if setting == "enable_shared_expert_dp" else True


def _first_of(setting: str) -> str:
    """The first release in which a setting turns on sequence parallelism."""
    found = (each for each in names() if (facts := facts_of(each)) and setting in facts.sequence_parallel)
    return next(found, "")


def _dense(scene: RuleContext) -> Iterator[Hit]:
    for name, group in scene.with_role("prefill"):
        expert = scene.args(name).get("enable-expert-parallel") is True
        if group.data_parallel.per_node > 1 and scene.transfer(name) and not expert and not scene.is_v4():
            message = f"{name}: if the model is dense, its ranks on one node bind the same KV ports"
            yield Hit(message, scene.at(name, "kv_transfer", "port"))


def _block_size(scene: RuleContext) -> Iterator[Hit]:
    for name in scene.groups:
        size = scene.args(name).get("block-size")
        if scene.is_v4() and size is None:
            yield Hit(f"{name}: --block-size is not given; {_DEFAULT_BLOCK}", scene.at(name, "args"))
        elif scene.is_v4() and whole(size) not in V4_BLOCK_SIZES:
            yield Hit(
                f"{name}: block-size is {size}; DeepSeek-V4 takes 32, 64 or 128", scene.at_flag(name, "block-size")
            )
    for prefill, decode in scene.pairs():
        one, other = (scene.args(name).get("block-size") for name in (prefill, decode))
        if str(one) != str(other) and not (scene.is_v4() and None in (one, other)):
            yield Hit(f"block-size of {prefill} is {one}, of {decode} {other}", scene.at_flag(decode, "block-size"))


def _proxy(scene: RuleContext) -> Iterator[Hit]:
    proxy = scene.layout.proxy
    pairs = tuple(scene.pairs())
    if proxy is None:
        if pairs:
            yield Hit("prefill and decode groups have no proxy in front", scene.at_top("groups"), Severity.WARNING)
        return
    if proxy.kind != "dp" and not pairs:
        yield Hit(f"a {proxy.kind} proxy needs a prefill and a decode group", scene.at_top("proxy"))
    for prefill, decode in pairs:
        connectors = {str(scene.transfer(name).get("kv_connector", "")) for name in (prefill, decode)}
        layerwise = any("Layerwise" in connector for connector in connectors)
        if proxy.kind != "dp" and layerwise != (proxy.kind == "layerwise"):
            need = "layerwise" if layerwise else "load-balance"
            yield Hit(f"the connector of {prefill} and {decode} needs a {need} proxy", scene.at_top("proxy", "kind"))
    if scene.deployment.complete() and scene.deployment.proxy_rank() is None:
        yield Hit(f"the proxy's node {proxy.node!r} is neither a node nor GROUP/INDEX", scene.at_top("proxy", "node"))


_E, _W, _N = Severity.ERROR, Severity.WARNING, Severity.NOTE
_CONNECTOR = "vllm-ascend v0.21.0rc1 mooncake_hybrid_connector.py"
RULES = (
    Rule(
        "R10",
        "Prefill is at least as wide as decode",
        _E,
        'A decode rank reads from whole prefill ranks; otherwise: "prefill_tp_size must be greater than or equal to the '
        'decode_tp_size".',
        "Raise tensor_parallel of prefill or lower that of decode, keeping one a multiple of the other.",
        _CONNECTOR,
        _parallel_sizes,
    ),
    Rule(
        "R11",
        "The connector knows the real sizes",
        _E,
        "The sizes of both sides decide which bytes are fetched from where; wrong ones fetch wrong bytes.",
        "Leave prefill and decode out of kv_transfer.extra: they are computed.",
        _CONNECTOR,
        _real_sizes,
    ),
    Rule(
        "R12",
        "Prefill and decode have different engine ids",
        _E,
        'A decode engine refuses a peer of its own id: "Conflict engine id".',
        "Give the two groups different engine_id values, or leave both out.",
        _CONNECTOR,
        _engine_ids,
    ),
    Rule(
        "R13",
        "Independent prefill groups have different engine ids",
        _E,
        "Inside one group the ranks share an id; two groups of one id cannot be told apart.",
        "Give each prefill group its own engine_id, and its own kv port where they share a node.",
        _CONNECTOR,
        _prefill_groups,
    ),
    Rule(
        "R14",
        "KV transfer roles fit the groups",
        _E,
        "Prefill produces, decode consumes, both through the same connector.",
        "Give both groups a kv_transfer with the same connector; kv_role is computed.",
        _CONNECTOR,
        _roles,
    ),
    Rule(
        "R18",
        "The hybrid KV cache stays on for DeepSeek-V4",
        _E,
        "With a connector vLLM turns the hybrid cache off unless told not to (on main it asks the connector first), and the "
        "cache of V4 then does not fit into HBM.",
        "Set `disable-hybrid-kv-cache-manager: false` in args.",
        "vllm-ascend issue 9975",
        _hybrid_cache,
    ),
    Rule(
        "R19",
        "Prefill speculates one token",
        _W,
        "Prefill only drafts the first token; decode may speculate more but not less than one. DSpark drafts whole blocks.",
        "Set num_speculative_tokens to 1 on prefill and 1 or more on decode.",
        "vllm-ascend's CI configurations",
        _speculation,
    ),
    Rule(
        "R20",
        "A decode batch holds all sequences",
        _W,
        "Each running sequence takes one token and its speculated ones per step; a smaller batch leaves the captured graph.",
        "Set max-num-batched-tokens to max-num-seqs × (1 + num_speculative_tokens) or more.",
        "the tutorial, decode commands (120 = 60 × 2)",
        _decode_batch,
    ),
    Rule(
        "R21",
        "Recompute scheduling is for decode groups",
        _E,
        "Elsewhere the engine refuses to start, or ignores it.",
        "Move recompute_scheduler_enable to the decode group's additional-config.",
        "vllm-ascend v0.21.0rc1 platform.py",
        _recompute,
    ),
    Rule(
        "R22",
        "DSA context parallelism has its sequence parallelism",
        _E,
        'Up to 0.26.0rc1 the start ends with "DSA CP requires SP to be enabled"; from 0.27.1rc1 on enable_dsa_cp turns it on.',
        "Up to 0.26.0rc1 set enable_flashcomm1 in additional-config (from 0.20.2rc1 on) or VLLM_ASCEND_ENABLE_FLASHCOMM1; later "
        "leave both out.",
        "vllm-ascend utils.py and ascend_config.py of each release, collected by `make releases`; pull request 13946",
        _context_parallel,
    ),
    Rule(
        "R24",
        "KV ports of dense models",
        _N,
        "For dense models the engine counts every rank as 0, so the KV port formula gives all ranks of a node the same ports.",
        "Use one rank per node, or one group per rank with its own kv port.",
        "vLLM 0.21 v1/engine/core.py (read, not run)",
        _dense,
    ),
    Rule(
        "R26",
        "The block size is given and equal on both sides",
        _E,
        "The layout of V4's caches depends on it and the two sides never compare it: unequal sizes move wrong bytes.",
        "Set `block-size` to 128 (or 32, 64) in the layout's own args, so that every group has the same.",
        "vllm-ascend v0.21.0rc1 utils.py, mooncake_hybrid_connector.py; the tutorial leaves it out on A2 prefill",
        _block_size,
    ),
    Rule(
        "X1",
        "The proxy fits the groups",
        _E,
        "Clients need one address; each connector needs the proxy written for it.",
        "Use load-balance for Mooncake V1 and Hybrid connectors, layerwise for the Layerwise one, dp without prefill groups.",
        "vllm-ascend examples/disaggregated_prefill_v1",
        _proxy,
    ),
)
