"""Finds facts about serving engines for failure signatures, from snapshots. Pure; `diagnosis` reads logs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set

from console.diagnosis.root_cause import PEER_DEAD
from console.diagnosis.signatures import Signature
from console.model.deployment import engine_words, is_address
from console.model.role import BESIDE_ENGINES
from console.model.snapshot import ClusterSnapshot, EngineSnapshot, EngineState, Grade, HealthCheck
from console.services.monitoring.engine_states import is_dead
from console.services.monitoring.service_state import listed_counts

KV_FULL, KV_FREE = 0.95, 0.90
"""Upper and lower limit: a cache counts as full from the upper limit until it is below the lower one, while requests wait."""
STORM_S, CALM_S = 1.0, 0.2
"""Upper and lower limit of preemptions per second, used in the same way."""

HANG = "hang"
MEMORY_KILLED = "memory-killed"
BAD_ANSWERS = "bad-answers"
SERVICE_DOWN = "service-down"
DISAGREE = "ranks-disagree"
_KERNEL = ("the kernel killed", "killed by signal 9; the kernel killed")
"""Start of the reason that a node reports for such a run (`console.node.oom_kills`)."""

OWN = (
    Signature(
        "S1", "running", "the engine hangs",
        "Requests run, no token comes, and /health looks only at the error flag of the engine.",
        "Read the logs of all ranks of the group for the first error, collect a support bundle (Q, or `support-bundle`; it holds "
        "the stacks), then restart the group.",
        "vllm-ascend issues 13648, 13964", where="console", fact=HANG,
    ),
    Signature(
        "S2", "running", "the KV cache is full", "More tokens are in flight than the cache holds, so requests wait.",
        "Send fewer or shorter requests at once, add decode engines, or lower --max-num-seqs.",
        "vLLM 0.21 metric vllm:kv_cache_usage_perc", where="console", fact="kv-full",
    ),
    Signature(
        "S3", "running", "requests are preempted again and again",
        "Running requests are thrown out for want of KV cache and computed anew, which costs throughput.",
        "Lower --max-num-seqs, or give more memory with --gpu-memory-utilization.",
        "vLLM 0.21 metric vllm:num_preemptions_total", where="console", fact="preemption-storm",
    ),
    Signature(
        "S5", "running", "the proxy lacks engines that are ready",
        "It lists fewer than serve, so the others get no request.",
        "Have it list what is ready: key D on the screen, or `sync-proxy`; another kind of proxy is restarted.",
        "vllm-ascend examples/disaggregated_prefill_v1", where="console", fact="proxy-misses",
    ),
    Signature(
        "S4", "running", "the engine serves another model name",
        "/v1/models does not list the name of the layout, so requests with that name are answered 404.",
        "Set --served-model-name to the same word on every engine, then restart the engine.",
        "vLLM 0.21 entrypoints/openai", where="console", fact="wrong-model",
    ),
    Signature(
        "S6", "running", "the proxy is down",
        "It ended by itself, so no request reaches the engines that are ready behind it.",
        "Read its log, then start it: key s on the proxy, or `start proxy`; the engines need no restart.",
        "vllm-ascend examples/disaggregated_prefill_v1", where="console", fact="proxy-down",
    ),
    Signature(
        "S12", "running", "a service beside the engines is down",
        "It ended by itself; engines that use it fail at their next use of it, or go on without what it kept.",
        "Read its log, then start it: key s on it, or `start` with its name; restart engines that do not connect again.",
        "services of the layout", where="console", fact=SERVICE_DOWN,
    ),
    Signature(
        "S7", "running", "the node's disk is full",
        "What engines log is lost from here on, and no run can be prepared.",
        "Free space where the runs are kept, or set `base` of the node to a larger file system before the next start.",
        "df", where="console", fact="disk-full",
    ),
    Signature(
        "S8", "fatal", "the kernel killed it for lack of memory",
        "The node, or the control group of the container, has less host memory than its engines took.",
        "Give the node or the container more memory, or its engines less (fewer of them there, smaller KV pools on the CPU); "
        "dmesg names what was killed.",
        "Linux kernel, oom_kill of memory.events and /proc/vmstat", where="console", fact=MEMORY_KILLED,
    ),
    Signature(
        "S9", "running", "it answers requests wrongly",
        "A test request that was sent to it got an unusable answer twice, or failed in `verify`, while /health says 200: "
        "its users get nothing, or nonsense.",
        "Restart its group, then run `verify`. If it answers wrongly again, compare its weights, image and NPUs with those "
        "of its peers.",
        "vllm-ascend issues 13648, 13964", where="console", fact=BAD_ANSWERS, settings=("model.path", "image"),
    ),
    Signature(
        "S10", "running", "ranks answer the same question differently",
        "All ranks load the same weights and get the same greedy request, so at least one of them computes wrongly; "
        "there are too few to tell which.",
        "Compare weights, image and NPUs of the ranks, restart the group, then run `verify`; an accuracy run (`eval`) tells "
        "how bad it is.",
        "vLLM 0.21, sampling with temperature 0", where="console", fact=DISAGREE,
    ),
)  # fmt: skip
"""Signatures of conditions that no log line shows."""

DISK_MIB = 64
"""A disk with less free space counts as full; a failing engine writes this much within seconds."""

_GONE = (EngineState.FAILED, EngineState.LOST, EngineState.STUCK, EngineState.EXITED, EngineState.IDLE)
_SERVE = (EngineState.READY, EngineState.DEGRADED)
_BROKEN = (EngineState.FAILED, EngineState.LOST, EngineState.STUCK)


def facts_of(snapshot: ClusterSnapshot, before: frozenset[tuple[str, str]]) -> Iterator[tuple[str, str, str]]:
    """(fact, engine, observation) of every fact that holds now; `before` are the (fact, engine) that held at the last call."""
    for engine in snapshot.engines.values():
        if engine.role in BESIDE_ENGINES and engine.state in _BROKEN and "@" not in engine.id:
            yield from _down_facts(snapshot, engine)
        if engine.state in _BROKEN and engine.cause.startswith(_KERNEL):
            yield MEMORY_KILLED, engine.id, engine.cause
        if engine.state not in (EngineState.READY, EngineState.DEGRADED) or is_dead(engine):
            continue
        checks = {check.name: check for check in engine.health}
        yield from _check_facts(engine, checks)
        yield from _load_facts(engine, before)
        yield from _shared_port(snapshot, engine)
        if engine.role == "proxy" and "http" in checks and checks["http"].grade is Grade.OK:
            yield from _proxy_list_facts(snapshot, engine, checks["http"])
    yield from _peer_facts(snapshot)
    yield from _disk_facts(snapshot)


def _disk_facts(snapshot: ClusterSnapshot) -> Iterator[tuple[str, str, str]]:
    """Nodes without free disk space for logs, each once, for its first running engine."""
    told: set[str] = set()
    for engine in snapshot.engines.values():
        node = snapshot.nodes.get(engine.node)
        free = node.system.disk_free_mib if node is not None else None
        if free is not None and free < DISK_MIB and engine.state.alive and engine.node not in told:
            told.add(engine.node)
            yield "disk-full", engine.id, f"{engine.node} has {free} MiB left where its runs and logs are kept"


def _check_facts(engine: EngineSnapshot, checks: Mapping[str, HealthCheck]) -> Iterator[tuple[str, str, str]]:
    hangs = [checks[name].evidence for name in ("process", "works") if name in checks]
    if words := next((words for words in hangs if words.startswith("hangs: ")), ""):
        yield HANG, engine.id, words.removeprefix("hangs: ")
    tried = ("verify",) if engine.role == "proxy" else ("works", "verify")
    wrong = [checks[name].evidence for name in tried if name in checks and checks[name].grade is Grade.FAIL]
    if words := next((each for each in wrong if not each.startswith("hangs: ")), ""):
        yield BAD_ANSWERS, engine.id, words
    model = checks.get("model")
    if model is not None and model.grade is Grade.FAIL and model.evidence.startswith("serves "):
        yield "wrong-model", engine.id, model.evidence


def rank_to_check_text(engines: Mapping[str, EngineSnapshot], hung: str, waiting: Set[str]) -> str:
    """Which rank of a hanging group to check first: the only one whose log does not report that it waits for its workers.

    `waiting` are the ranks whose logs report it; their cores run. A sleeping core writes nothing (vLLM 0.21,
    v1/engine/core.py).
    """
    group = engines[hung].group
    members = {each.id for each in engines.values() if group and each.group == group and each.state in _SERVE}
    quiet = members - waiting
    if len(quiet) != 1 or quiet == members:
        return ""
    return f"; of {group} only {next(iter(quiet))} does not report that it waits for its workers: check it first"


def _down_facts(snapshot: ClusterSnapshot, proxy: EngineSnapshot) -> Iterator[tuple[str, str, str]]:
    engines = (each for each in snapshot.engines.values() if each.role not in BESIDE_ENGINES)
    waiting = engine_words([each.id for each in engines if each.state is EngineState.READY and not each.part])
    if not waiting.startswith("0 "):
        why = f": {proxy.cause}" if proxy.cause else ""
        fact, how = (
            (SERVICE_DOWN, "running without it") if proxy.role == "service" else ("proxy-down", "ready behind it")
        )
        yield fact, proxy.id, f"{proxy.id} {proxy.state}{why}; {waiting} {how}"


def _shared_port(snapshot: ClusterSnapshot, engine: EngineSnapshot) -> Iterator[tuple[str, str, str]]:
    """An unmanaged vLLM that serves at the engine's port and at the same address."""
    node = snapshot.nodes.get(engine.node)
    for each in node.unmanaged if node is not None and engine.port is not None else ():
        words = each.command.split()
        if "serve" in words and _port_of(words) == engine.port and _same_address(snapshot, engine, words):
            who = f"pid {each.pid}" + (f" of {each.owner}" if each.owner else "")
            yield "port-shared", engine.id, f"{who} on {engine.node} serves at port {engine.port} too"


def _port_of(words: Sequence[str]) -> int:
    """The port of a `vllm serve` command; its default is 8000."""
    found = _flag(words, "--port") or "8000"
    return int(found) if found.isascii() and found.isdecimal() and len(found) < 6 else 0


def _same_address(snapshot: ClusterSnapshot, engine: EngineSnapshot, words: Sequence[str]) -> bool:
    """Whether a server with this `--host` uses the engine's address: all addresses, or the engine's own.

    Nodes on one machine differ only by address. A host name may be any address.
    """
    host = _flag(words, "--host")
    node = snapshot.nodes[engine.node]
    mine = {node.host, *(address for address, _ in node.system.addresses)} if is_address(node.host) else set()
    return not is_address(host) or host in ("0.0.0.0", "::") or not mine or host in mine


def _flag(words: Sequence[str], name: str) -> str:
    """The last value of a flag on a command line; empty without it."""
    found = ""
    for word, after in zip(words, [*words[1:], ""], strict=True):
        found = after if word == name else word[len(name) + 1 :] if word.startswith(f"{name}=") else found
    return found


def _load_facts(engine: EngineSnapshot, before: frozenset[tuple[str, str]]) -> Iterator[tuple[str, str, str]]:
    serving = engine.serving
    if serving is None:
        return
    limit = KV_FREE if ("kv-full", engine.id) in before else KV_FULL
    if serving.kv_usage is not None and serving.kv_usage >= limit and serving.waiting:
        yield "kv-full", engine.id, f"KV cache {serving.kv_usage:.0%} used, {serving.waiting} requests wait"
    limit = CALM_S if ("preemption-storm", engine.id) in before else STORM_S
    if serving.preemptions_s is not None and serving.preemptions_s >= limit:
        yield "preemption-storm", engine.id, f"{serving.preemptions_s:.1f} preemptions/s"


def _proxy_list_facts(
    snapshot: ClusterSnapshot, proxy: EngineSnapshot, check: HealthCheck
) -> Iterator[tuple[str, str, str]]:
    """Compare the counts of the proxy's `/healthcheck` with the engines that it should list; the proxy does not probe them."""
    counts = listed_counts(check)
    for role in counts or ("prefill", "decode", "mixed"):
        mine = listable(snapshot, role)
        being_stopped = snapshot.work.ends if snapshot.work else frozenset[str]()
        gone = [each.id for each in mine if each.state in _GONE and each.id not in being_stopped]
        used = counts.get(role, len(mine)) - len(isolated_of(snapshot, proxy.isolated, role))
        if gone and used > len(mine) - len(gone):
            still_used = [name for name in gone if name not in proxy.isolated]
            yield "proxy-lists-dead", proxy.id, f"it still sends requests to {', '.join(still_used or gone)}"
        serving = sum(each.state is EngineState.READY and each.id not in proxy.isolated for each in mine)
        if used < serving and not gone:
            yield "proxy-misses", proxy.id, f"it lists {used} of {serving} {role} engines that are ready"


def listable(snapshot: ClusterSnapshot, role: str) -> list[EngineSnapshot]:
    """The engines of the deployment that the proxy can list for a role."""
    engines = snapshot.engines.values()
    return [each for each in engines if each.role == role and each.port is not None and "@" not in each.id]


def isolated_of(snapshot: ClusterSnapshot, names: Iterable[str], role: str) -> set[str]:
    """The isolated engines of a role; an engine whose group was removed is recognized by the name of its original group."""
    groups = tuple({each.group for each in listable(snapshot, role)})
    mine = {each.id for each in listable(snapshot, role)}
    return {name for name in names if name in mine or (name not in snapshot.engines and name.startswith(groups))}


def _peer_facts(snapshot: ClusterSnapshot) -> Iterator[tuple[str, str, str]]:
    for group in dict.fromkeys(each.group for each in snapshot.engines.values() if each.role != "proxy" and each.group):
        members = [each for each in snapshot.engines.values() if each.group == group]
        dead = [each for each in members if is_dead(each)]
        orphans = any(each.state is EngineState.STUCK for each in dead)  # with their cores a group may serve on
        runs = (EngineState.DEGRADED, EngineState.READY) if orphans else (EngineState.DEGRADED,)
        alive = [each for each in members if each.state in runs and each not in dead]
        causes = {each.after for each in alive}
        dead += [each for each in members if each.state is EngineState.EXITED and each.id in causes]
        for each in dead if alive or len(dead) > 1 else ():
            yield PEER_DEAD, each.id, _death_text(each, group, len(alive))


def _death_text(engine: EngineSnapshot, group: str, alive: int) -> str:
    """How a rank of a group died, and how many ranks of the group still run."""
    how = "died while its process still runs" if engine.state is EngineState.DEGRADED else str(engine.state)
    how += f" (exit {engine.exit})" if engine.exit else ""
    if not alive:
        return f"{engine.id} {how}, and {group} cannot serve without it"
    return f"{engine.id} {how} while {f'{alive} ranks of {group} still run' if alive > 1 else f'a rank of {group} still runs'}"
