"""Real and composed engine logs: phase, progress, readiness and the first cause are what a person reads in them."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from console.probes.engine_log import LINE_BYTES, LaunchLog, LogState, Phase
from tests.probes.captures import capture


def _state(data: bytes, at: float = 100.0) -> LogState:
    log = LaunchLog()
    log.feed(data, at)
    return log.state


def _read(name: str) -> LogState:
    folder, _, file = name.rpartition("/")
    return _state(capture(f"vllm/engine/{folder}".rstrip("/"), file))


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("fail/bad_flag.log", "vllm: error: unrecognized arguments: --no-such-flag 1"),
        (
            "fail/bad_json.log",
            "vllm serve: error: argument --speculative-config/-sc: Value {num:1} cannot be converted",
        ),
        ("fail/dp2_worker_segfault_on_request.log", "Segfault encountered"),
        ("fail/external_lb_nonmoe.log", "ValueError: Non-MoE models do not support external data parallel mode."),
        ("fail/kv_connector_unknown.log", "ValueError: Unsupported connector type: MooncakeHybridConnector"),
        (
            "fail/max_model_len_too_long.log",
            "Value error, User-specified max_model_len (135000) is greater than the derived",
        ),
        (
            "fail/missing_model_path.log",
            "HFValidationError: Repo id must be in the form 'repo_name' or 'namespace/repo_name'",
        ),
        ("fail/model_dir_without_config.log", "Value error, Invalid repository ID or local directory specified"),
        ("fail/port_in_use_by_other.log", "OSError: [Errno 98] Address already in use"),
        ("fail/quantization_ascend_without_plugin.log", "Value error, Unknown quantization method: ascend."),
        (
            "fail/rank_and_start_rank.log",
            "ValueError: Cannot use both external and hybrid data parallel load balancing modes.",
        ),
        ("fail/reasoning_parser_unknown.log", "Reasoning parser 'nope' not found."),
        ("fail/tool_parser_unknown.log", "invalid tool call parser: nope"),
        (
            "fail/tp2_odd_heads.log",
            "Total number of attention heads (4) must be divisible by tensor parallel size (3).",
        ),
        (
            "dp/a3_node0.log",
            "RuntimeError: Remote engine 1 must use --headless unless in external or hybrid dp lb mode",
        ),
        ("dp/a3_node1.log", "Killed"),
        ("dp/ext_rank0.log", "Connection closed by peer [127.0.0.1]:25482."),
        ("dp/ext_rank1.log", "Killed"),
        ("dp/hl_node0.log", "Connection closed by peer [127.0.0.1]:9095."),
        ("engine_dead_on_first_request.log", "RuntimeError: _C::get_scheduler_metadata() is missing value"),
        ("kill9_enginecore.log", "the engine core ended without a message (EngineDeadError)"),
    ],
)
def test_the_first_cause(name: str, cause: str) -> None:
    state = _read(name)
    assert cause in state.first_error
    assert not state.ready or name == "dp/ext_rank1.log", "the log of a killed process ends without a word"


@pytest.mark.parametrize(
    "name",
    [
        "dp/hl_node1.log",
        "dp/internal_dp2.log",
        "fail/tokenizer_mode_deepseek_v4_wrong_model.log",
        "kill9_apiserver.log",
        "port_shared_with_other_vllm_SO_REUSEPORT.log",
        "sigint_inflight.log",
        "sigterm_inflight.log",
        "start_requests_sigterm.log",
    ],
)
def test_clean_runs_and_requests_gone_wrong_are_no_failure(name: str) -> None:
    state = _read(name)
    assert (state.first_error, state.dead) == ("", "")


@pytest.mark.parametrize(
    ("name", "phase"),
    [
        ("fail/bad_flag.log", Phase.START),
        ("fail/missing_model_path.log", Phase.CONFIG),
        ("dp/a3_node0.log", Phase.PEERS),
        ("fail/kv_connector_unknown.log", Phase.KV),
        ("kill9_apiserver.log", Phase.SERVING),
        ("dp/hl_node1.log", Phase.ENDED),
        ("start_requests_sigterm.log", Phase.ENDED),
    ],
)
def test_the_last_phase(name: str, phase: Phase) -> None:
    assert _read(name).phase is phase


def test_facts_of_a_real_start() -> None:
    log = LaunchLog()
    seen: list[Phase] = []
    ready = []
    lines = capture("vllm/engine", "start_requests_sigterm.log").splitlines(keepends=True)
    for number, line in enumerate(lines):
        log.feed(line, float(number))
        if log.state.phase not in seen:
            seen.append(log.state.phase)
        ready.append(log.state.ready)
    assert seen == [
        Phase.START, Phase.CONFIG, Phase.ENGINE, Phase.DISTRIBUTED, Phase.LOAD, Phase.KV, Phase.ENGINE_READY, Phase.SERVING,
        Phase.STOPPING, Phase.ENDED,
    ]  # fmt: skip
    state = log.state
    assert (state.port, state.version, state.model) == (8100, "0.21.0", "tiny")
    assert b"Application startup complete" in lines[ready.index(True)]
    assert not ready[-1]


def test_a_headless_node_is_ready_by_its_own_line_and_has_no_port() -> None:
    data = capture("vllm/engine/dp", "hl_node1.log")
    before, line, _ = data.partition(b"INFO 11-23 21:16:42 [serve.py:226]")
    assert line
    state = _state(before)
    assert (state.headless, state.ready, state.phase, state.port) == (True, True, Phase.ENGINE_READY, None)
    cut = before[: before.find(b"init engine (profile")]
    assert not _state(cut).ready


def test_coloured_lines_say_the_same() -> None:
    data = capture("vllm/engine/dp", "hl_node1.log")
    head = re.compile(rb"(INFO|WARNING) (\d\d-\d\d [\d:]{8}) (\[[^\]]*\]) ")
    coloured = head.sub(lambda m: b"\x1b[32m%s\x1b[0m \x1b[90m%s\x1b[0m \x1b[90m%s\x1b[0m " % (m[1], m[2], m[3]), data)
    assert coloured != data
    offsets = {"up_offset": None, "ends_offset": None}
    assert replace(_state(coloured), **offsets) == replace(_state(data), **offsets)  # type: ignore[arg-type]


PART = b"""\
INFO 12-01 03:00:49 [arg_utils.py:1844] Inferred data_parallel_rank 0 from node_rank 1
INFO 12-01 03:00:49 [serve.py:186] Launching vLLM (v0.21.0) headless multiproc executor, with head node address 10.0.0.1:29501 for torch.distributed process group.
(Worker pid=22499) INFO 12-01 03:01:20 [parallel_state.py:1410] world_size=2 rank=1 local_rank=0 distributed_init_method=tcp://10.0.0.1:29501 backend=gloo
(Worker_TP1 pid=22499) INFO 12-01 03:01:33 [cpu_model_runner.py:104] Starting to load model /m/tiny...
(Worker_TP1 pid=22499) INFO 12-01 03:01:33 [default_loader.py:397] Loading weights took 0.01 seconds
"""  # noqa: E501
"""A further part of an engine over two nodes: a real vLLM 0.21 on the CPU, `--nnodes 2 --node-rank 1 --headless`."""


def test_a_part_of_an_engine_never_says_that_it_is_up_and_says_why_it_ended() -> None:
    log = LaunchLog()
    log.feed(PART[: PART.index(b"(Worker pid")], 0.0)
    assert log.state.phase is Phase.PEERS
    log.feed(PART[PART.index(b"(Worker pid") :], 0.0)
    assert (log.state.phase, log.state.ready, log.state.dead) == (Phase.LOAD, False, "")
    dead = b"ERROR 12-01 02:57:41 [x.py:283] Worker proc VllmWorker-1 died unexpectedly, shutting down executor.\n"
    alone = b"(Worker_TP1 pid=9) INFO 12-01 03:02:17 [x.py:775] Parent process exited, terminating worker queues\n"
    causes = {dead: "Worker proc VllmWorker-1 died unexpectedly", alone: "its main process ended without a message"}
    for last, cause in causes.items():
        ended = LaunchLog()
        ended.feed(PART + last, 0.0)
        assert ended.state.dead.startswith(cause)


def test_a_headless_node_with_two_engines_waits_for_both() -> None:
    head = b"INFO 11-23 21:16:03 [serve.py:201] Launching 2 data parallel engine(s) in headless mode, with head node address x.\n"
    one = (
        b"(EngineCore_DP2 pid=7) INFO 11-23 21:16:24 [core.py:306] init engine (profile, create kv cache) took 4.93 s\n"
    )
    assert not _state(head + one).ready
    assert _state(head + one + one.replace(b"DP2", b"DP3")).ready


ASCEND = """\
INFO 11-23 20:00:01 [__init__.py:36] Available plugins for group vllm.platform_plugins:
INFO 11-23 20:00:01 [__init__.py:38] - ascend -> vllm_ascend:register
INFO 11-23 20:00:01 [__init__.py:232] Platform plugin ascend is activated
(APIServer pid=10) INFO 11-23 20:00:20 [utils.py:306]  ▄▄ ▄█ █     █     █ ▀▄▀ █  version 0.21.0
(APIServer pid=10) INFO 11-23 20:00:20 [utils.py:240] non-default args: {'port': 7100, 'model': '/w/DeepSeek-V4-Pro-w4a8-mtp', 'served_model_name': ['dsv4']}
(APIServer pid=10) INFO 11-23 20:00:21 [model.py:568] Resolved architecture: DeepseekV4ForCausalLM
(APIServer pid=10) INFO 11-23 20:00:40 [utils.py:1044] Started DP Coordinator process (PID: 20)
(EngineCore_DP0 pid=21) INFO 11-23 20:01:00 [core.py:110] Initializing a V1 LLM engine (v0.21.0) with config: model='/w'
(Worker_DP0_TP0_EP0 pid=30) INFO 11-23 20:01:20 [parallel_state.py:1410] world_size=32 rank=0 local_rank=0 distributed_init_method=tcp://10.0.0.1:1 backend=hccl
(Worker_DP0_TP0_EP0 pid=30) INFO 11-23 20:01:30 [model_runner_v1.py:3001] [vllm-ascend] [worker] - Starting to load model /w...
(Worker_DP0_TP0_EP0 pid=30) \rLoading safetensors checkpoint shards:   0% Completed | 0/64 [00:00<?, ?it/s]
(Worker_DP0_TP0_EP0 pid=30) \rLoading safetensors checkpoint shards:  50% Completed | 32/64 [02:00<02:00,  3.75s/it]
(Worker_DP0_TP0_EP0 pid=30) \rLoading safetensors checkpoint shards: 100% Completed | 64/64 [04:00<00:00,  3.75s/it]
(Worker_DP0_TP0_EP0 pid=30) INFO 11-23 20:06:00 [default_loader.py:397] Loading weights took 270.00 seconds
(Worker_DP0_TP0_EP0 pid=30) INFO 11-23 20:06:30 [worker.py:300] [vllm-ascend] [worker] - Available KV cache memory: 15.10 GiB
(EngineCore_DP0 pid=21) INFO 11-23 20:06:31 [kv_cache_utils.py:1710] GPU KV cache size: 524,288 tokens
(Worker_DP0_TP0_EP0 pid=30) \rCapturing CUDA graphs (decode, FULL):  40%|████      | 2/5 [00:05<00:07,  2.50s/it]
(Worker_DP0_TP0_EP0 pid=30) INFO 11-23 20:07:00 [model_runner_v1.py:4001] Graph capturing finished in 29 secs, took 1.10 GiB
(EngineCore_DP0 pid=21) INFO 11-23 20:07:01 [core.py:306] init engine (profile, create kv cache, warmup model) took 60.10 s
(APIServer pid=10) INFO 11-23 20:07:05 [api_server.py:617] Starting vLLM server on http://0.0.0.0:7100
(APIServer pid=10) INFO:     Application startup complete.
""".encode()  # noqa: E501


def test_an_ascend_start_goes_through_all_phases_with_growing_progress() -> None:
    log = LaunchLog()
    phases, progress, texts = [], [], []
    for line in ASCEND.splitlines(keepends=True):
        log.feed(line, 1.0)
        phases.append(log.state.phase)
        progress.append(log.state.progress or 0.0)
        texts.append(log.state.progress_text)
    assert list(dict.fromkeys(phases)) == [
        phase for phase in Phase if phase not in (Phase.START, Phase.STOPPING, Phase.ENDED)
    ]
    assert progress == sorted(progress)
    assert progress[-1] == 1.0
    assert [each for each in dict.fromkeys(texts) if each] == ["shard 0/64", "shard 32/64", "shard 64/64", "graph 2/5"]
    assert (log.state.model, log.state.port, log.state.ready) == ("dsv4", 7100, True)


@pytest.mark.parametrize(
    ("bar", "text"),
    [
        ("Loading safetensors checkpoint shards:   3% Completed | 2/64 [00:00<?, ?it/s]", "shard 2/64"),
        ("Multi-thread loading shards:  50% Completed | 32/64 [00:00<?, ?it/s]", "shard 32/64"),
        ("INFO 11-23 20:39:21 [w.py:1] Prefetching checkpoint files: 25% (4/16)", "prefetch 4/16"),
        ("Capturing CUDA graphs (decode, FULL):  40%|████      | 2/5 [00:05<00:07,  2.50s/it]", "graph 2/5"),
    ],
)
def test_the_first_bar_of_a_phase_is_shown_like_the_next(bar: str, text: str) -> None:
    assert _state(f"(Worker pid=1) {bar}\n".encode()).progress_text == text


def test_a_bar_that_only_rewrites_its_line_is_seen_while_it_grows() -> None:
    log = LaunchLog()
    log.feed(ASCEND[: ASCEND.find(b"(Worker_DP0_TP0_EP0 pid=30) \rLoading")], 1.0)
    log.feed(b"(Worker_DP0_TP0_EP0 pid=30) ", 1.0)
    for done in range(65):
        bar = b"\rLoading safetensors checkpoint shards: %3d%% Completed | %d/64 [00:00<00:00, 3.75s/it]" % (
            done * 100 // 64,
            done,
        )
        log.feed(bar[:40], 1.0)
        log.feed(bar[40:], 1.0)
    assert log.state.progress_text in ("shard 63/64", "shard 64/64")
    assert [log.state.phase] == [Phase.LOAD]
    log.feed(b"\n(EngineCore pid=1) INFO 11-23 20:06:31 [k.py:1] GPU KV cache size: 5 tokens\n", 2.0)
    assert log.state.phase is Phase.KV


def test_the_cause_says_when_where_and_by_whom() -> None:
    data = capture("vllm/engine/fail", "kv_connector_unknown.log")
    state = _state(data)
    assert state.first_error_at == "11-23 20:59:05"
    assert state.first_error_process == "Worker"
    assert state.first_error_offset is not None
    assert b"ValueError: Unsupported connector type" in data[state.first_error_offset :].split(b"\n")[0]


WRAPPED = b"""(EngineCore_DP0 pid=1) ERROR 11-23 20:59:05 [core.py:1140] EngineCore failed to start.
(EngineCore_DP0 pid=1) ERROR 11-23 20:59:05 [core.py:1140] Traceback (most recent call last):
(EngineCore_DP0 pid=1) ERROR 11-23 20:59:05 [core.py:1140]   File "x.py", line 1, in x
(EngineCore_DP0 pid=1) INFO 11-23 20:59:05 [other.py:1] a thread goes on talking
(EngineCore_DP0 pid=1) ERROR 11-23 20:59:05 [core.py:1140] RuntimeError: NPU out of memory. Tried to allocate 2.00 GiB
(APIServer pid=2) Traceback (most recent call last):
(APIServer pid=2) RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}
"""


@pytest.mark.parametrize("prefix", ["", "(Worker_TP3 pid=7) "])
def test_a_traceback_that_torch_marks_with_its_rank_is_read(prefix: str) -> None:
    lines = ("Traceback (most recent call last):", '  File "a.py", line 1, in a', "RuntimeError: device lost")
    data = "".join(f"{prefix}[rank3]: {line}\n" for line in lines)
    assert _state(data.encode()).first_error == "RuntimeError: device lost"


def test_a_traceback_may_begin_behind_other_words() -> None:
    head = "ERROR 03-25 08:34:50 [core.py:340] "
    lines = (
        "EngineCore hit an exception: Traceback (most recent call last):",
        '  File "c.py", line 1, in c',
        "    c()",
    )
    log = "".join(f"{head}{line}\n" for line in (*lines, "ValueError: too many values to unpack (expected 2)"))
    assert _state(log.encode()).first_error == "ValueError: too many values to unpack (expected 2)"


def test_only_the_drivers_own_107030_is_harmless() -> None:
    head = "(Worker pid=7) ERROR 11-23 20:59:05 [m.py:1] "
    assert _state(f"{head}halGetDeviceInfo failed, drvRetCode=107030\n".encode()).first_error == ""
    graph = "RuntimeError: NPU function error: aclrtMemcpy, error code is 107030"
    assert _state(f"{head}{graph}\n".encode()).first_error == graph
    lost = "no KV for request cmpl-107030"
    assert _state(f"{head}{lost}\n".encode()).first_error == lost


def test_wrappers_are_shown_only_when_nothing_better_was_said() -> None:
    assert _state(WRAPPED).first_error == "RuntimeError: NPU out of memory. Tried to allocate 2.00 GiB"
    assert _state(WRAPPED).dead == "RuntimeError: NPU out of memory. Tried to allocate 2.00 GiB"
    only = WRAPPED[WRAPPED.find(b"(APIServer") :]
    assert _state(only).first_error.startswith("RuntimeError: Engine core initialization failed.")


def test_canns_own_words_below_the_error_belong_to_the_cause() -> None:
    head = b"(Worker pid=7) ERROR 11-23 20:59:05 [m.py:962] "
    lines = [
        b"Traceback (most recent call last):",
        b"RuntimeError: hcclCommInitRootInfoConfig failed, error code is 6",
        b"[ERROR] 2026-11-23-20:59:05 (PID:7, Device:0, RankID:1) ERR02200 DIST call hccl api failed.",
        b"EI0006: Getting socket times out. Reason: 1. The remote does not connect.",
    ]
    data = b"".join(head + line + b"\n" for line in lines)
    other = b"(Worker pid=7) INFO 11-23 20:59:06 [m.py:1] a thread talks\n"
    want = "RuntimeError: hcclCommInitRootInfoConfig failed, error code is 6: EI0006: Getting socket times out."
    assert _state(data).first_error.startswith(want)
    assert _state(data.replace(head + b"EI", other + head + b"EI")).first_error.startswith(want)
    late = data.replace(head + b"EI", other * 9 + head + b"EI")
    assert _state(late).first_error == "RuntimeError: hcclCommInitRootInfoConfig failed, error code is 6"


def test_an_inner_error_of_torch_npu_is_told_with_canns_words() -> None:
    head = b"(Worker pid=7) ERROR 11-23 20:59:05 [m.py:962] "
    inner = b"RuntimeError: The Inner error is reported as above. The current working operator name is MatMulV3."
    lines = [
        b"Traceback (most recent call last):",
        inner,
        b"Since the operator is called asynchronously, ...",
        b"EZ9999: Inner Error!",
        b"EZ9999[PID: 7] 2026-01-02-03:04:05.006.007 AclNN_Inner_Error(EZ9999):  MatMulV3 do tiling failed, ret is -1.",
    ]
    assert _state(b"".join(head + line + b"\n" for line in lines)).first_error.endswith(
        "MatMulV3.: AclNN_Inner_Error(EZ9999):  MatMulV3 do tiling failed, ret is -1."
    )


def test_what_a_compiler_says_belongs_to_an_exception_without_words() -> None:
    head = "(EngineCore pid=7) ERROR 11-23 20:59:05 [core.py:1100] "
    lines = [
        "Traceback (most recent call last):",
        "triton.compiler.errors.MLIRCompilationError: ",
        "///------------------[ERROR][Triton][BEG]------------------",
        "[ConvertLinalgRToBinary] encounters error:",
        'loc("/tmp/k.mlir":2:3): error: ub overflow, requires 2000 bits while 1000 bits available!',
    ]
    want = "triton.compiler.errors.MLIRCompilationError: ub overflow, requires 2000 bits while 1000 bits available!"
    assert _state("".join(f"{head}{line}\n" for line in lines).encode()).first_error == want


def test_an_assertion_without_words_is_told_with_its_line_of_code() -> None:
    head = "(EngineCore pid=7) ERROR 11-23 20:59:05 [core.py:1142] "
    lines = [
        "Traceback (most recent call last):",
        '  File "/v/scheduler.py", line 18, in _update_from_kv_xfer_finished',
        "    assert req_id in self.requests",
        "           ^^^^^^^^^^^^^^^^^^^^^^^",
        "AssertionError",
    ]
    data = "".join(f"{head}{line}\n" for line in lines).encode()
    assert _state(data).first_error == "AssertionError: assert req_id in self.requests"


@pytest.mark.parametrize(
    ("head", "process"),
    [
        ("(VllmWorker rank=3 pid=7) ERROR 11-23 20:59:05 [m.py:522] ", "VllmWorker rank=3"),
        ("(RayWorkerWrapper pid=7, ip=10.0.0.8) ERROR 11-23 20:59:05 [w.py:620] ", "RayWorkerWrapper"),
        ("(vLLMHttpServer pid=6) (Worker_TP3 pid=7) ERROR 11-23 20:59:05 [m.py:932] ", "Worker_TP3"),
        ("(EngineCore pid=7) ERROR 11-23 20:59:05 [v1/engine/core.py:114,run_engine_core] ", "EngineCore"),
        ("ERROR 11-23 20:59:05 engine.py:389] ", ""),
    ],
)
def test_the_heads_of_other_releases_are_read(head: str, process: str) -> None:
    state = _state(f"{head}the device is gone\n".encode())
    assert (state.first_error, state.first_error_at) == ("the device is gone", "11-23 20:59:05")
    assert state.first_error_process == process


@pytest.mark.parametrize(
    "head",
    [
        "2026-11-23 20:59:05 ERROR 200507 [worker_base.py:148] ",
        "[2026-11-23 20:59:05,820] [ERROR] [MainThread] [vllm.worker.worker_base] >>> ",
        "(Worker_TP2 pid=96634) [2026-11-23 20:59:05] ERROR modelslim_config.py:296: ",
        "2026-11-23 20:59:05 - ERROR - vllm_ascend.worker.model_runner - ",
    ],
)
def test_heads_of_a_logging_config_of_ones_own_are_read(head: str) -> None:
    trace = ("Traceback (most recent call last):", '  File "/vllm/worker.py", line 1, in run', "RuntimeError: it broke")
    state = _state("".join(f"{head}{line}\n" for line in trace).encode())
    assert (state.first_error, state.first_error_at[:19]) == ("RuntimeError: it broke", "2026-11-23 20:59:05")
    others = _state(b"2026-11-23 20:59:05,123 ERROR services.py:1329 -- Failed to start the dashboard\n")
    assert others.first_error == ""


@pytest.mark.parametrize(
    ("line", "phase"),
    [
        ("INFO 11-23 20:59:05 [llm_engine.py:240] Initializing a V0 LLM engine (v0.8.5) with config: x", Phase.ENGINE),
        ("INFO 11-23 20:59:05 [worker_v1.py:185] Available memory: 100, total memory: 200", Phase.MEMORY),
        ("INFO 11-23 20:59:05 [m.py:3] Starting to capture ACL graphs for cases: [2], mode: FULL", Phase.GRAPH),
        ("INFO 11-23 20:59:05 [core.py:1] [shutdown] EngineCore: trigger received signal=SIGTERM", Phase.STOPPING),
        ("INFO 11-23 20:59:05 [l.py:100] [shutdown] API server: shutdown triggered", Phase.STOPPING),
    ],
)
def test_marks_of_other_releases_are_read(line: str, phase: Phase) -> None:
    assert _state(f"(A pid=7) {line}\n".encode()).phase is phase


def test_what_follows_the_stop_of_a_newer_release_is_no_failure() -> None:
    data = (
        ASCEND
        + b"""(EngineCore pid=1) INFO 11-23 20:59:05 [core.py:1] [shutdown] EngineCore: trigger received signal=SIGTERM
(APIServer pid=2) ERROR 11-23 20:59:06 [async_llm.py:700] AsyncLLM output_handler failed.
(APIServer pid=2) ERROR 11-23 20:59:06 [async_llm.py:700] EngineDeadError: EngineCore encountered an issue.
"""
    )
    assert (_state(data).phase, _state(data).dead, _state(data).first_error) == (Phase.STOPPING, "", "")


@pytest.mark.parametrize(
    ("line", "waiting"),
    [
        ("Running: 2 reqs, Waiting: 5 reqs, GPU KV cache usage: 7.0%, Prefix cache hit rate: 0.0%", 5),
        ("Running: 2 reqs, Swapped: 1 reqs, Pending: 5 reqs, GPU KV cache usage: 7.0%, CPU KV cache usage: 3.0%.", 5),
        ("Running: 2 reqs, Waiting: 5he usage: 7.0%, Prefix cache hit rate: 0.0%", None),
    ],
)
def test_statistics_of_releases_that_name_no_engine_are_read(line: str, waiting: int | None) -> None:
    head = "INFO 11-23 20:59:05 [loggers.py:80] Avg prompt throughput: 12.0 tokens/s, "
    data = ASCEND + f"{head}Avg generation throughput: 3.4 tokens/s, {line}\n".encode()
    load = _state(data).throughput
    assert (load and (load.running, load.waiting, load.kv_percent)) == (waiting and (2, waiting, 7.0))


def test_what_a_cpp_exception_says_belongs_to_the_cause() -> None:
    lines = [
        "terminate called after throwing an instance of 'c10::Error'",
        "  what():  aclrtSetDevice, error code is 507033",
    ]
    data = "".join(f"(Worker_TP1 pid=7) {line}\n" for line in lines)
    assert _state(data.encode()).first_error == f"{lines[0]}: aclrtSetDevice, error code is 507033"
    other = data.replace("  what()", "Aborted what()").encode()
    assert _state(other).first_error == lines[0]


def test_interleaved_tracebacks_are_told_apart_and_the_first_to_end_wins() -> None:
    lines = [
        b"(Worker_TP0 pid=1) ERROR 11-23 20:59:05 [m.py:962] Traceback (most recent call last):",
        b"(Worker_TP1 pid=2) ERROR 11-23 20:59:05 [m.py:962] Traceback (most recent call last):",
        b'(Worker_TP0 pid=1) ERROR 11-23 20:59:05 [m.py:962]   File "a.py", line 1, in a',
        b"(Worker_TP1 pid=2) ERROR 11-23 20:59:05 [m.py:962] ValueError: from one",
        b"(Worker_TP0 pid=1) ERROR 11-23 20:59:05 [m.py:962] ValueError: from zero",
    ]
    assert _state(b"\n".join(lines) + b"\n").first_error == "ValueError: from one"


@pytest.mark.parametrize(
    "line",
    [
        "/r/cmd.sh: line 9: exec: vllm: not found",
        "/r/cmd.sh: 9: exec: vllm: not found",
        "sh: 1: vllm: not found",
        "/r/cmd.sh: line 9: vllm: command not found",
        "/r/cmd.sh: line 9: /usr/local/bin/vllm: No such file or directory",
        "/r/cmd.sh: line 9: /usr/local/bin/vllm: cannot execute: required file not found",
        "/r/cmd.sh: line 9: exec: /usr/local/bin/vllm: cannot execute: Permission denied",
        "env: \u2018python3\u2019: No such file or directory",
    ],
)
def test_a_shell_that_finds_no_vllm_says_why_it_ended(line: str) -> None:
    assert _state(f"{line}\n".encode()).first_error == line


def test_a_file_that_only_lacks_is_no_cause() -> None:
    lines = b"/r/cmd.sh: line 3: /opt/set_env.sh: No such file or directory\nsh: 1: bc: not found\n"
    assert _state(lines).first_error == ""


def test_lines_of_two_processes_that_ran_into_each_other_leave_no_scrap_of_a_trace_as_the_cause() -> None:
    place = b"ERROR 11-26 02:06:26 [async_llm.py:704] "
    log = (
        b"(EngineCore_DP1 pid=2) ERROR 11-26 02:06:26 [multiproc_executor.py:283] Worker proc VllmWorker-0 died unexpectedly\n"
        + place + b"AsyncLLM output_handler failed.\n" + place + b"Traceback (most recent call last):\n"
        + b"(APIServer pid=1) (EngineCore_DP1 pid=2) " + place + b'  File "async_llm.py", line 660, in output_handler\n'
        + b"(APIServer pid=1) " + place + b"              ^^^^^^^^^^^^^^^^^^\n"
        + b"(APIServer pid=1) (EngineCore_DP1 pid=2) " + place + b"vllm.v1.engine.exceptions.EngineDeadError: See above\n"
    )  # fmt: skip
    assert _state(log).first_error == "Worker proc VllmWorker-0 died unexpectedly"


def test_a_plain_error_line_gives_way_to_the_traceback_right_after_it() -> None:
    head = b"(Worker pid=1) ERROR 11-23 20:59:05 [w.py:1] Something failed\n"
    trace = b"Traceback (most recent call last):\n  File \"a.py\", line 1, in a\nKeyError: 'x'\n"
    same = b"".join(b"(Worker pid=1) " + line + b"\n" for line in trace.splitlines())
    assert _state(head).first_error == "Something failed"
    assert _state(head + same).first_error == "KeyError: 'x'"
    assert _state(head + b"chatter\n" * 2000 + same).first_error == "Something failed"


REQUEST = b"(APIServer pid=1) Traceback (most recent call last):\n(APIServer pid=1) ValueError: one request was odd\n"
SERVING = b"(APIServer pid=1) INFO:     Application startup complete.\n"
FATAL = b"(EngineCore pid=2) ERROR 11-23 20:59:05 [core.py:1142] EngineCore encountered a fatal error.\n"


def test_an_error_the_engine_went_on_after_explains_no_later_end() -> None:
    log = LaunchLog()
    log.feed(SERVING + REQUEST, 100.0)
    assert log.state.first_error == "ValueError: one request was odd"
    log.feed(b"(APIServer pid=1) INFO:     10.0.0.1:1 - ok\n", 150.0)
    assert log.state.first_error
    log.feed(b"(APIServer pid=1) INFO:     10.0.0.1:1 - ok\n", 161.0)
    assert log.state.first_error == ""
    log.feed(REQUEST, 162.0)
    log.feed(b"(APIServer pid=1) INFO:     10.0.0.1:1 - ok\n", 169.0)
    assert log.state.first_error == "ValueError: one request was odd", "the minute starts anew with each error"
    log.feed(b"(APIServer pid=1) INFO:     10.0.0.1:1 - ok\n", 230.0)
    log.feed(b"(Worker pid=3) ERROR 11-23 20:59:05 [w.py:1] device lost\n" + FATAL, 231.0)
    log.feed(b"(APIServer pid=1) INFO:     10.0.0.1:1 - ok\n", 900.0)
    assert (log.state.first_error, log.state.dead, log.state.ready) == ("device lost", "device lost", False)


@pytest.mark.parametrize("line", ["ld.lld: error: unable to find library -lx", "clang: error: linker command failed"])
def test_a_compilers_error_does_not_end_an_engine(line: str) -> None:
    state = _state(SERVING + f"(Worker pid=1) {line}\n".encode())
    assert (state.ready, state.dead) == (True, "")


def test_an_error_of_the_start_is_forgotten_once_it_serves() -> None:
    assert _state(b"(Worker pid=3) ERROR 11-23 20:59:05 [w.py:1] a probe failed\n" + SERVING).first_error == ""


def test_a_proxys_port_comes_after_its_start() -> None:
    state = _state(
        b"INFO:     Application startup complete.\nINFO:     Uvicorn running on http://0.0.0.0:8000 (Press CTRL+C to quit)\n"
    )
    assert (state.ready, state.port) == (True, 8000)


def test_errors_after_an_orderly_stop_are_echoes() -> None:
    stop = b"(APIServer pid=1) INFO:     Shutting down\n"
    state = _state(
        stop + b"(APIServer pid=1) ERROR 11-23 20:59:05 [u.py:1] Engine core proc EngineCore died unexpectedly\n"
    )
    assert (state.first_error, state.dead, state.phase) == ("", "", Phase.STOPPING)


@pytest.mark.parametrize(
    "line",
    [
        b"ERROR: ld.so: object '/usr/lib/libjemalloc.so.2' from LD_PRELOAD cannot be preloaded: ignored.",
        b"(APIServer pid=1) WARNING 11-23 20:39:21 [s.py:1] like `OSError: [Errno 24] Too many open files`. Consider increasing",
        b"(APIServer pid=1) ERROR 11-23 20:39:57 [serving.py:214] Error with model error=ErrorInfo(message='x', code=404)",
        b"(APIServer pid=1) KeyboardInterrupt: terminated",
        b'(APIServer pid=1) INFO:     10.0.0.1:1 - "GET /Traceback HTTP/1.1" 404 Not Found',
        b'Traceback (most recent call last):\n  File "/x.py", line 1, in f\n    os.kill(pid, 9)\n'
        b"ProcessLookupError: [Errno 3] No such process",
        b"(Worker pid=7) ERROR 11-23 20:59:05 [w.py:300] Can not get running npu info. in 3\n",
    ],
)
def test_harmless_lines_are_no_cause(line: bytes) -> None:
    assert _state(line + b"\n").first_error == ""


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        (b"cmd.sh: line 9: vllm: command not found", "cmd.sh: line 9: vllm: command not found"),
        (
            b"[ERROR] RUNTIME(12,python3):2026-11-23-20:59:05.1 device lost",
            "[ERROR] RUNTIME(12,python3):2026-11-23-20:59:05.1 device lost",
        ),
        (b"Bus error (core dumped)", "Bus error (core dumped)"),
        (
            b"[rank3]:[E1123] Watchdog caught collective operation timeout: WorkHCCL",
            "Watchdog caught collective operation timeout: WorkHCCL",
        ),
        (b"\x1b[31mERROR\x1b[0m 11-23 20:59:05 [a.py:1] boom \x1b]0;title\x07", "boom"),
    ],
)
def test_errors_outside_of_vllms_format(line: bytes, cause: str) -> None:
    assert cause in _state(line + b"\n").first_error


def test_a_hang_is_seen_in_the_statistics() -> None:
    line = (
        b"(APIServer pid=1) INFO 11-23 20:40:03 [loggers.py:271] Engine 000: Avg prompt throughput: %s tokens/s, "
        b"Avg generation throughput: %s tokens/s, Running: %d reqs, Waiting: %d reqs, "
        b"GPU KV cache usage: 3.5%%, Prefix cache hit rate: 0.0%%\n"
    )
    log = LaunchLog()
    log.feed(line % (b"5.9", b"33.5", 4, 2), 10.0)
    found = log.state.throughput
    assert found is not None
    assert (found.prompt_tokens_s, found.generation_tokens_s, found.running, found.waiting, found.kv_percent) == (
        5.9,
        33.5,
        4,
        2,
        3.5,
    )
    assert found.stalled_since is None
    for at in (20.0, 30.0, 40.0):
        log.feed(line % (b"0.0", b"0.0", 4, 2), at)
    found = log.state.throughput
    assert found is not None
    assert (found.at, found.stalled_since) == (40.0, 20.0)
    log.feed(line.replace(b"Engine 000", b"Engine 001") % (b"0.0", b"7.5", 1, 0), 41.0)
    found = log.state.throughput
    assert found is not None
    assert (found.running, found.generation_tokens_s, found.stalled_since) == (5, 7.5, None)


def test_an_engine_that_reads_long_prompts_does_not_hang() -> None:
    log = LaunchLog()
    for at in (10.0, 20.0, 30.0):
        log.feed(
            b"Engine 000: Avg prompt throughput: 5000.0 tokens/s, Avg generation throughput: 0.0 tokens/s, "
            b"Running: 2 reqs, Waiting: 0 reqs, GPU KV cache usage: 9.0%\n",
            at,
        )
    assert log.state.throughput is not None
    assert log.state.throughput.stalled_since is None


def test_an_endless_line_is_bounded_and_the_next_one_is_read() -> None:
    log = LaunchLog()
    for _ in range(160):
        log.feed(b"x" * 65536, 1.0)
        assert len(log._tail) <= 5 * LINE_BYTES
    log.feed(b"ERROR in the middle of it" * 10 + b"\n(Worker pid=1) ERROR 11-23 20:59:05 [w.py:1] after it\n", 2.0)
    assert log.state.first_error == "after it"
    assert log.state.first_error_offset == 160 * 65536 + 251


ECHOES = [
    "INFO 11-23 20:39:21 [logger.py:43] Received request cmpl-1: prompt: '{}', params: SamplingParams(n=1)",
    'INFO 11-23 20:39:21 [logger.py:70] Generated response cmpl-1: output: "{}", finish_reason: stop',
    "DEBUG 11-23 20:39:21 [logger.py:30] Request cmpl-1 details: prompt: '{}', prompt_token_ids: [1]",
    'INFO:     10.0.0.7:41130 - "GET /x?q={} HTTP/1.1" 404 Not Found',
    "INFO 11-23 20:39:21 [utils.py:240] non-default args: {{'response_role': '{}'}}",
]


@pytest.mark.parametrize("echo", ECHOES)
@pytest.mark.parametrize(
    "words",
    [
        "Application startup complete.",
        "Shutting down",
        "Finished server process [1]",
        "Uvicorn running on http://x:1",
        "Traceback (most recent call last):",
        "EngineDeadError: EngineCore died unexpectedly",
        "Engine 000: Avg prompt throughput: 9.0 tokens/s, Avg generation throughput: 9.0 tokens/s, Running: 9 reqs, "
        "Waiting: 9 reqs, GPU KV cache usage: 9.0%",
    ],
)
def test_words_of_a_user_that_the_log_repeats_are_not_the_engines(echo: str, words: str) -> None:
    line = f"(APIServer pid=1) {echo.format(words)}\n".encode()
    assert not _state(line).ready
    assert _state(SERVING + line).phase is Phase.SERVING
    assert _state(ASCEND + line) == _state(ASCEND)


@pytest.mark.parametrize("host", ["0.0.0.0", "node-3.lab", "[::]", "[2001:db8::1]", "[fe80::1%eth0]"])
@pytest.mark.parametrize("words", ["Starting vLLM server on", "Starting vLLM API server 0 on", "Uvicorn running on"])
def test_the_port_stands_behind_any_host(host: str, words: str) -> None:
    assert _state(f"(APIServer pid=1) INFO 11-23 20:00:01 [a.py:1] {words} http://{host}:7100\n".encode()).port == 7100


@pytest.mark.parametrize(
    "line",
    [
        "Loading safetensors checkpoint shards:  50% Completed | {}/64 [00:00<?, ?it/s]",
        "Loading safetensors checkpoint shards:  50% Completed | 3/{} [00:00<?, ?it/s]",
        "INFO 11-23 21:16:03 [s.py:1] Launching {} data parallel engine(s) in headless mode, with head node address x.",
        "Engine 000: Avg prompt throughput: 0.0 tokens/s, Avg generation throughput: 0.0 tokens/s, Running: {} reqs, "
        "Waiting: 0 reqs, GPU KV cache usage: 0.0%",
    ],
)
def test_a_number_without_end_is_not_read(line: str) -> None:
    state = _state(line.format("9" * 5000).encode() + b"\n")
    assert (state.progress_text, state.headless, state.throughput) == ("", False, None)


def test_only_vllms_own_version_is_its_version() -> None:
    other = b"INFO 11-23 20:00:01 [a.py:1] found CANN version 9.0.0\n"
    assert _state(other).version == ""
    assert _state(other + ASCEND).version == "0.21.0"


def test_nothing_heard_is_unknown_not_zero() -> None:
    assert LaunchLog().state == LogState()
    assert LaunchLog().state.progress is None


def test_a_shown_line_carries_no_control_codes() -> None:
    state = _state(b"(Worker pid=1) ERROR 11-23 20:59:05 [w.py:1] bad\x1b[2J \x07bell \xe2\x80\xaeevil\n")
    assert state.first_error == "bad \u2407bell <U+202E>evil"


WHOLE = [
    ASCEND + WRAPPED,
    WRAPPED.replace(b"\n", b"\r\n"),
    "(APIServer pid=1) ERROR 11-23 20:59:05 [a.py:1] 温度过高 error\n".encode() * 3,
]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r\r\n"])
def test_any_line_end_may_be_cut(end: bytes) -> None:
    data = (ASCEND + WRAPPED).replace(b"\n", end)
    log = LaunchLog()
    for at in range(len(data)):
        log.feed(data[at : at + 1], 100.0)
    assert log.state == _state(data)
    assert log.state.version == "0.21.0"


@settings(max_examples=120, deadline=None)
@given(st.sampled_from(WHOLE), st.lists(st.integers(0, 4000), max_size=12))
def test_chunks_may_be_cut_anywhere(data: bytes, cuts: list[int]) -> None:
    log = LaunchLog()
    places = [0, *sorted(each for each in cuts if each < len(data)), len(data)]
    for start, end in pairwise(places):
        log.feed(data[start:end], 100.0)
    assert log.state == _state(data)


def test_byte_by_byte_is_the_same() -> None:
    data = ASCEND + WRAPPED
    log = LaunchLog()
    for at in range(len(data)):
        log.feed(data[at : at + 1], 100.0)
    assert log.state == _state(data)


@settings(deadline=None)
@given(
    st.lists(
        st.one_of(
            st.binary(max_size=80),
            st.sampled_from(ASCEND.splitlines(keepends=True) + WRAPPED.splitlines(keepends=True)),
        )
    )
)
def test_any_bytes_give_a_state(chunks: list[bytes]) -> None:
    log = LaunchLog()
    for chunk in chunks:
        log.feed(chunk, 1.0)
        state = log.state
        assert state.progress is None or 0.0 <= state.progress <= 1.0


def _death(name: str) -> LogState:
    return _state(capture("vllm/engine/deaths", name))


@pytest.mark.parametrize(
    ("name", "died_at", "dead"),
    [
        ("core-kill-b.log", "11-30 20:12:07", "its engine cores ended without a message"),
        ("core-kill-a.log", "11-30 20:12:08", "Connection closed by peer"),
        ("core0-kill-a.log", "11-30 20:13:55", "the engine core ended without a message"),
        ("core0-kill-b.log", "11-30 20:13:56", "Connection closed by peer"),
        ("worker-kill-b.log", "11-30 20:17:35", "Worker proc VllmWorker-0 died unexpectedly"),
        ("worker-kill-a.log", "11-30 20:17:35", "Connection closed by peer"),
    ],
)
def test_a_log_dates_the_death_of_its_engine_not_of_its_process(name: str, died_at: str, dead: str) -> None:
    state = _death(name)
    assert state.died_at == died_at
    assert dead in state.dead
    assert not state.ready


def test_an_engine_whose_worker_lost_its_core_is_dead_before_its_server_says_so() -> None:
    before, line, after = capture("vllm/engine/deaths", "core0-kill-a.log").partition(b"Parent process exited")
    assert not _state(before).dead
    assert "ended without a message" in _state(before + line + after.split(b"\n")[0] + b"\n").dead


def test_a_headless_rank_that_was_told_to_end_is_not_called_dead() -> None:
    state = _read("dp/hl_node1.log")
    assert (state.phase, state.dead, state.first_error) == (Phase.ENDED, "", "")
    assert state.ends_since == 100.0
    assert _death("core-kill-b.log").dead, "the same last line, and nobody asked for it"
    assert _state(capture("vllm/engine/dp", "hl_node1.log").split(b"INFO 11-23 21:16:42 [serve")[0]).ends_since is None


CHAINED = """\
(EngineCore_DP0 pid=2) ERROR 11-23 20:59:05 [core.py:1138] Traceback (most recent call last):
(EngineCore_DP0 pid=2) ERROR 11-23 20:59:05 [core.py:1138]   File "a.py", line 1, in a
(EngineCore_DP0 pid=2) ERROR 11-23 20:59:05 [core.py:1138] {first}
(EngineCore_DP0 pid=2) ERROR 11-23 20:59:05 [core.py:1138]\x20
(APIServer pid=1) ERROR 11-23 20:59:05 [async_llm.py:546] AsyncLLM output_handler failed.
(EngineCore_DP0 pid=2) ERROR 11-23 20:59:05 [core.py:1138] {link}
(EngineCore_DP0 pid=2) ERROR 11-23 20:59:05 [core.py:1138]\x20
(EngineCore_DP0 pid=2) ERROR 11-23 20:59:05 [core.py:1138] Traceback (most recent call last):
(EngineCore_DP0 pid=2) ERROR 11-23 20:59:05 [core.py:1138]   File "b.py", line 1, in b
(EngineCore_DP0 pid=2) ERROR 11-23 20:59:05 [core.py:1138] {second}
"""
DIRECT = "The above exception was the direct cause of the following exception:"
WHILE = "During handling of the above exception, another exception occurred:"


@pytest.mark.parametrize(
    ("first", "link", "second", "want"),
    [
        ("TimeoutError", DIRECT, "TimeoutError: RPC call to sample_tokens timed out.", "RPC call to sample_tokens"),
        (
            "gaierror: [Errno -2] Name or service not known",
            DIRECT,
            "OSError: We couldn't connect to the hub",
            "OSError",
        ),
        ("KeyError: 'x'", DIRECT, "RuntimeError: Engine core initialization failed. See root cause above.", "KeyError"),
        ("KeyError: 'x'", WHILE, "OSError: could not clean up", "KeyError"),
        ("queue.Empty", WHILE, "OSError: the device is gone", "OSError: the device"),
        ("TimeoutError", WHILE, "asyncio.TimeoutError", "TimeoutError"),
        ("KeyError: 'x'", "And now for something else", "OSError: another matter", "KeyError"),
    ],
)
def test_of_exceptions_raised_for_another_the_one_that_says_more_is_the_cause(
    first: str, link: str, second: str, want: str
) -> None:
    found = _state(CHAINED.format(first=first, link=link, second=second).encode()).first_error
    assert found.startswith(want) or want in found, found


def test_an_exception_without_words_gives_way_to_the_next_with_words() -> None:
    head = "(EngineCore_DP0 pid=2) ERROR 11-23 20:59:05 [core.py:1138] "
    trace = f"{head}Traceback (most recent call last):\n{head}TimeoutError\n"
    assert _state(trace.encode()).first_error == "TimeoutError"
    other = "(Worker_TP0 pid=3) ERROR 11-23 20:59:06 [m.py:1] ValueError: the device is gone\n"
    assert _state((trace + other).encode()).first_error == "ValueError: the device is gone"


@pytest.mark.parametrize("stamp", ["2026-11-20 08:03:00.272", "2026-11-20 08:03:00,272", "11-20 08:03:00.272"])
def test_a_head_with_a_full_date_is_read(stamp: str) -> None:
    head = f"(Worker_DP0_TP8_EP8 pid=844) ERROR {stamp} [multiproc_executor.py:597] "
    lines = [
        "WorkerProc failed to start.",
        "Traceback (most recent call last):",
        '  File "m.py", line 1, in x',
        "KeyError: 'w'",
    ]
    state = _state("".join(f"{head}{line}\n" for line in lines).encode())
    assert (state.first_error, state.first_error_at) == ("KeyError: 'w'", stamp)
    assert state.first_error_process == "Worker_DP0_TP8_EP8"


@pytest.mark.parametrize(
    ("lines", "want"),
    [
        (["1 validation error for VllmConfig", "  Value error, ", "=" * 80, "ERROR: No Config"], "No Config"),
        (["ValueError: ", "=" * 80, "", "You have no config"], "You have no config"),
        (
            ["1 validation error for AttentionConfig", "indexer", "  Unexpected argument [type=x]"],
            "Unexpected argument",
        ),
    ],
)
def test_words_that_follow_lines_below_are_those_of_the_cause(lines: list[str], want: str) -> None:
    trace = ["Traceback (most recent call last):", '  File "a.py", line 1, in a', *lines, *[""] * 9]
    trace = [line.replace("1 validation", "pydantic.ValidationError: 1 validation") for line in trace]
    data = "".join(f"(APIServer pid=1) {line}\n" for line in trace)
    assert _state(data.encode()).first_error.endswith(want)


@pytest.mark.parametrize(
    "line",
    [
        "the socversion Ascend910B1 of bin package does not match the current device socverison Ascend310P3.",
        "OpenBLAS blas_thread_init: pthread_create failed for thread 63 of 64: Resource temporarily unavailable",
        "libgomp: Thread creation failed: Resource temporarily unavailable",
        "        there is an exception of fftsplus aivector error, core id is 34, error code = 0x800000",
    ],
)
def test_what_native_code_says_without_a_level_is_a_cause(line: str) -> None:
    end = "(APIServer pid=1) RuntimeError: Engine core initialization failed. See root cause above.\n"
    assert _state(f"(Worker pid=1) {line}\n{end}".encode()).first_error == line.strip()
