# ruff: noqa: E501  (log lines are as long as they are)
"""Each of the signatures is found in a log built around it, none in a clean log; an operator's own file is checked."""

from __future__ import annotations

from pathlib import Path

import pytest

from console.diagnosis.matcher import Matcher
from console.diagnosis.signatures import Signature, explain, joined, load_signatures, of_fact
from console.model.errors import FileError
from tests.probes.captures import capture

SIGNATURES = load_signatures()
BY_ID = {each.id: each for each in SIGNATURES}

INFO = "(APIServer pid=10) INFO 11-23 20:39:21 [a.py:1] "
W = "(APIServer pid=10) WARNING 11-23 20:39:21 [a.py:1] "
E = "(EngineCore_DP0 pid=11) ERROR 11-23 20:39:21 [core.py:1140] "
P = "(Worker_DP0_TP3_EP3 pid=12) ERROR 11-23 20:39:21 [multiproc_executor.py:962] "
STATS = (
    INFO
    + "Engine 000: Avg prompt throughput: 0.0 tokens/s, Avg generation throughput: {} tokens/s, Running: {} reqs, Waiting: {} reqs, "
    "{}GPU KV cache usage: 97.0%, Prefix cache hit rate: 0.0%"
)

SAMPLES: dict[str, str | list[str]] = {
    "A1": E + "RuntimeError: Unexpected HELLO message for remote engine 1 in CoreEngineState.CONNECTED",
    "A2": "(APIServer pid=1) RuntimeError: Remote engine 1 must use --headless unless in external or hybrid dp lb mode",
    "A3": "(APIServer pid=1) RuntimeError: Remote engine 1 must not use --headless in external or hybrid dp lb mode",
    "A4": E + "RuntimeError: Did not receive response from front-end process within 5 minutes",
    "A6": E + "zmq.error.ZMQError: Cannot assign requested address (addr='tcp://10.0.0.9:12321')",
    "A7": E + "RuntimeError: Message from engine with unexpected data parallel rank: 16",
    "A8": E + "RuntimeError: Configuration mismatch detected for engine 1.",
    "A9": "ValueError: Cannot use both external and hybrid data parallel load balancing modes. External LB is enabled via",
    "A10": "(APIServer pid=1) ValueError: Non-MoE models do not support external data parallel mode. For external",
    "A11": "(APIServer pid=1) OSError: [Errno 98] Address already in use",
    "A13": "TypeError: expected str, bytes or os.PathLike object, not int",
    "A14": P + "ValueError: prefill_tp_size: 2 must be greater than or equal to the decode_tp_size: 4",
    "A15": P + "ValueError: DSA CP requires SP to be enabled. Please enable SP(set VLLM_ASCEND_ENABLE_FLASHCOMM1=1) to use DSA CP.",
    "A16": "(APIServer pid=1) ValueError: recompute_scheduler_enable can only be enabled in PD-disaggregated mode",
    "A17": W + "FlashComm is deprecated; remove VLLM_ASCEND_ENABLE_FLASHCOMM",
    "A18": W + "For deepseek_v4 model, block size should be 32, 64 or 128. Setting block size to 32",
    "A19": "(APIServer pid=1) KeyError: 'invalid tool call parser: deepseek_v4 (chose from { hermes,mistral })'",
    "A20": "vllm: error: unrecognized arguments: --enable-flash",
    "A21": "(APIServer pid=1) pydantic_core._pydantic_core.ValidationError: 1 validation error for AttentionConfig",
    "A22": "packaging.version.InvalidVersion: Invalid version: 'dev'",
    "A23": "(APIServer pid=1) RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}",
    "A24": "(APIServer pid=1) TimeoutError: Timed out waiting for engine core processes to start. This is often caused by slow weight loading",
    "A25": E + "ValueError: Current node has no NPU available. current_node_resource={'CPU': 192.0}. vLLM engine cannot start without NPU.",
    "A26": "(APIServer pid=1) RuntimeError: DP Coordinator process failed to report ZMQ addresses during startup.",
    "A27": E + "ConnectionError: Could not find any running Ray instance. Please specify the one to connect to",
    "A28": "  Value error, User-specified max_model_len (135000) is greater than the derived max_model_len",
    "A29": P + "TypeError: NPUModelRunner.__init__() got an unexpected keyword argument 'x'",
    "A30": E + "socket.gaierror: [Errno -2] Name or service not known",
    "A31": P + "ValueError: No common block size for 5. ",
    "A32": P + "RuntimeError: Cannot re-initialize NPU in forked subprocess. To use NPU with multiprocessing, you must use",
    "A33": [P + "WorkerProc failed to start.", P + "IndexError: list index out of range"],
    "A34": [P + "WorkerProc failed to start.", P + "ValueError: profiling_chunk_config requires pipeline parallelism (pp > 1)."],
    "A35": P + "zmq.error.ZMQError: Invalid argument (addr='tcp://10.0.0.2:65536')",
    "A36": E + "ValueError: VLLM_PORT 'tcp://10.0.0.1:6785' appears to be a URI. This may be caused by a Kubernetes service",
    "A37": "(APIServer pid=1) ValueError: The repository `/w/m` contains custom code which must be executed to correctly load the model.",
    "B1": P + "RuntimeError: EI0006: Getting socket times out. Reason: remote rank 5",
    "B2": P + "RuntimeError: EI0002: The notify wait timeout, the tag is allreduce",
    "B3": "[rank3]:[E1123 20:39:21 ProcessGroupHCCL.cpp:1] Watchdog caught collective operation timeout: WorkHCCL(SeqNum=9)",
    "B4": P + "RuntimeError: EI0009: Transport init error. Reason: link",
    "B5": P + "RuntimeError: hcclCommInitRootInfoConfig(x) failed, error code is 7",
    "B6": P + "RuntimeError: EJ0001: Failed to initialize the HCCP process. Maybe the last training process is running. Wait for 10s",
    "B7": P + "HCCL_BUFFSIZE is too SMALL, maxBs = 64, NEEDED_HCCL_BUFFSIZE((x)) = 609MB, HCCL_BUFFSIZE = 200MB",
    "B8": P + "EZ1008: HCCL_BUFFSIZE_EP is too SMALL, needed 512",
    "B9": P + "RuntimeError: The DDR address of the MTE instruction is out of range",
    "B10": P + "RuntimeError: Gloo connectFullMesh failed with [/gloo/transport/tcp/pair.cc:144] no error",
    "B11": P + "RuntimeError: [/gloo/transport/tcp/device.cc:84] Unable to find address for: enp67s0f5",
    "B12": P + "torch.distributed.DistStoreError: timed out after 1800000ms waiting for clients. 1/2 clients joined.",
    "B13": "link status: DOWN",
    "B14": ["dev_id:0, tls switch[0](0:disable, 1:enable)", "dev_id:1, tls switch[1](0:disable, 1:enable)"],
    "B15": "bash: line 1: hccn_tool: command not found",
    "B16": "httpx.ProxyError: 502 Bad Gateway",
    "B17": P + "EJ0003: [PID: 7] 2026-01-02-03:04:05.006.007 Failed to bind the IP port. Reason: bound already.",
    "B18": P + "RuntimeError: EI0007: [PID: 7] Failed to allocate resource[qp]. Reason: Memory resources are exhausted.",
    "B19": P + "EI0001: Environment variable [HCCL_RDMA_SL] is invalid. Reason: Value range[0, 7]",
    "B20": P + "[PID: 7] Config_Error_Ranktable(EI0014): The rank table is refused",
    "B21": P + "[PID: 7] Package_Error_Incorrect_HCCL_Version(EI0008): versions differ",
    "B22": P + "RuntimeError: SUSPECT REMOTE ERROR",
    "B23": P + "RuntimeError: HCCL function error: HcclAllReduce(x), error code is 4",
    "B24": P + "torch.distributed.DistBackendError: retrieving hcclUniqueId from [0] via c10d key-value store by key '0', but store->get('0') got error: Broken pipe",
    "C1": P + "RuntimeError: NPU out of memory. Tried to allocate 2.00 GiB (NPU 3; 61.28 GiB total capacity)",
    "C2": P + "ValueError: Free memory on device (12.1/61.3 GiB) on startup is less than desired GPU memory utilization (0.9, 55.2 GiB).",
    "C3": "(Worker pid=12) INFO 11-23 20:39:21 [worker.py:300] Available KV cache memory: -0.87 GiB",
    "C4": E + "ValueError: To serve at least one request with the models's max seq len (135000), (12.5 GiB KV cache is needed",
    "C5": [
        W + "Turning off hybrid kv cache manager because --kv-transfer-config is set.",
        E + "ValueError: No available memory for the cache blocks. Try increasing gpu_memory_utilization",
    ],
    "C7": P + "RuntimeError: EL0009: stream resources, error code is 207008",
    "C8": P + "RuntimeError: npuSynchronizeDevice:build error, error code is 507015",
    "C9": P + "RuntimeError: ACL stream synchronize failed, error code:507034",
    "C10": P + "RuntimeError: EL0001: heartbeat lost, error code 507010",
    "C11": P + "RuntimeError: SetDevice, error code is 507033",
    "C12": P + "EE1001: The argument is invalid. Reason: set ASCEND_RT_VISIBLE_DEVICES:4 error, input data rang[0-2)",
    "C13": E + "Exception: Error setting ASCEND_RT_VISIBLE_DEVICES: local range: [8, 12) base value: \"0,1\"",
    "C14": "dcmi model initialized failed, because the device is used. ret is -8020",
    "C15": "docker: Error response from daemon: operation not permitted",
    "C16": P + "OSError: [Errno 28] No space left on device: '/psm_1a2b'",
    "C17": W + "Found ulimit of 1024 and failed to automatically increase with error current limit exceeds maximum limit.",
    "C18": "[99.1] Out of memory: Killed process 4711 (python3) total-vm:1kB",
    "C19": P + "halMemCreate failed, size=20971520(bytes), ErrCode=507899, desc=[driver error:internal error]",
    "C20": P + "RuntimeError: HBM MULTI BIT ECC ERROR",
    "C21": P + "RuntimeError: register ptr failed",
    "C22": P + "RuntimeError: can't start new thread",
    "C23": P + "OSError: [Errno 12] Cannot allocate memory",
    "C24": P + "RuntimeError: operator(): NPU function error: aclrtSomething, error code is 107002",
    "C25": P + "RuntimeError: capture_end: NPU function error: AclmdlRICaptureEnd(stream, &model), error code is 107025",
    "C26": P + "OSError: [Errno 24] Too many open files: '/w/m/config.json'",
    "C27": 'error gathering device information while adding custom device "/dev/davinci0": no such file or directory.',
    "D1": "ERROR: ld.so: object '/usr/lib/aarch64-linux-gnu/libjemalloc.so.2' from LD_PRELOAD cannot be preloaded: ignored.",
    "D2": "ImportError: libatb.so: cannot open shared object file: No such file or directory",
    "D3": "ImportError: libascend_hal.so: cannot open shared object file: No such file or directory",
    "D4": "ImportError: libhccl.so: cannot open shared object file: No such file or directory",
    "D5": P + "ImportError: Please install mooncake by following the instructions at https://x to run with MooncakeConnector.",
    "D6": P + "ImportError: ascend_transport.so: cannot open shared object file: No such file or directory",
    "D7": P + "safetensors_rust.SafetensorError: Error while deserializing header: MetadataIncompleteBuffer",
    "D8": "huggingface_hub.errors.HFValidationError: Repo id must be in the form 'repo_name' or 'namespace/repo_name': '/w'.",
    "D9": "  Value error, Unknown quantization method: ascend. Must be one of ['awq']",
    "D10": P + "RuntimeError: call aclnnHcPreInvRms failed, detail:EZ9999",
    "D11": "UserWarning: torch_npu and torch version mismatch",
    "D12": "ImportError: /opt/torch_npu/lib/libtorch_npu.so: undefined symbol: _ZN3atb9OperationE",
    "D13": "ModuleNotFoundError: No module named 'torch_npu'",
    "D14": P + "KeyError: 'model.embed_tokens.weight'",
    "D15": P + "triton.compiler.errors.MLIRCompilationError: ",
    "D16": P + "RuntimeError: call aclnnQuantMatmul failed, detail:EZ9999: Inner Error!",
    "E1": P + "KV Cache sending/receiving thread failed to start.",
    "E2": P + "RuntimeError: TransferEngine initialization failed with ret_value: -1",
    "E3": P + "Mooncake transfer failed for request. cmpl-1",
    "E4": P + "Sync batch data transfer timeout after 30000 ms",
    "E5": P + "Connect timeout to: 10.0.0.3:20033, check ASCEND_CONNECT_TIMEOUT",
    "E6": P + "Conflict engine id 1 with local engine id 1",
    "E7": W + "Force freed expired request: cmpl-9",
    "E8": W + "Failed to receive ACK from prefill for cmpl-9",
    "E10": [STATS.format("0.0", 0, 7, "Deferred: 7 reqs, ")] * 3,
    "E14": "INFO: Instance 10.0.0.3:7100 was not added to the proxy.",
    "E15": '404 {"error":{"message":"The model `dsv4` does not exist.","code":404}}',
    "E16": P + "Initialize mooncake failed.",
    "D17": "  Value error, Model architectures ['DeepseekV4ForCausalLM'] failed to be inspected. Please check the logs",
    "D18": E + "RuntimeError: NPU function error: at_npu::native::AclSetCompileopt(x), error code is 500001",
    "D19": P + "the socversion Ascend910B1 of bin package does not match the current device socverison Ascend910_9391.",
    "D20": "huggingface_hub.errors.LocalEntryNotFoundError: An error happened while trying to locate the file on the Hub",
    "D21": P + "NotImplementedError: There is no available ascend quantizer.",
    "D22": "ImportError: cannot import name 'LLM' from 'vllm' (unknown location)",
    "D23": P + "FileNotFoundError: No such file or directory: \"/models/m/model-00001-of-00002.safetensors\"",
    "D24": "pkg_resources.ContextualVersionConflict: (numpy 2.2.6, Requirement.parse('numpy<2.0.0'), {'vllm-ascend'})",
    "D25": P + "RuntimeError: shape '[6, -1]' is invalid for input of size 512",
    "D26": P + "KeyError: 'getpwuid(): uid not found: 1001'",
    "D27": "/run/cmd.sh: line 31: vllm: command not found",
    "D28": P + "OSError: [Errno 116] Stale file handle: '/w/m/model-00003-of-00163.safetensors'",
    "D29": P + "PermissionError: [Errno 13] Permission denied: '//kernel_meta'",
    "D30": "exec /usr/bin/bash: exec format error",
    "D31": "ImportError: libGL.so.1: cannot open shared object file: No such file or directory",
    "D32": E + "torch._dynamo.exc.Unsupported: Observed exception",
    "E18": E + "    assert req_id in self.requests",
    "E17": P + "Failed to get key ['m@0']. res:[-800]",
    "F1": E + "vllm.v1.engine.exceptions.EngineDeadError: EngineCore encountered an issue. See stack trace (above) for the root cause.",
    "F2": E + "Worker proc VllmWorker-3 died unexpectedly, shutting down executor.",
    "F3": E + "TimeoutError: RPC call to execute_model timed out.",
    "F4": INFO + "No available shared memory broadcast block found in 60 seconds. This typically happens when some processes are hanging",
    "F5": [STATS.format("0.0", 4, 0, "")] * 4,
    "F6": W + "Triton kernel fused_moe will be re-compiled for shape (17, 4096)",
    "F7": STATS.format("9.0", 4, 9, "Preemptions: 3, "),
    "F8": "[ERROR] RUNTIME(12): halGetDeviceInfo failed, drvRetCode=107030",
    "F9": "(APIServer pid=1) ERROR 11-23 20:39:21 [core_client.py:1] Engine core proc EngineCore died unexpectedly, shutting down client.",
    "F12": P + "Can not get running npu info. in 3",
    "F13": [
        E + "EngineCore encountered a fatal error.",
        E + 'RuntimeError: [12:33:19] /project/cpp/grammar_parser.cc:1066: EBNF parser error at line 2, column 1: Rule "root" is defined',
    ],
    "F11": "!!!!!!! Segfault encountered !!!!!!!",
    "F10": P + "RuntimeError: [/gloo/transport/tcp/pair.cc:553] Connection closed by peer [10.0.0.2]:26805.",
}  # fmt: skip
FACTS = {"A12", "C6", "E9", "E11", "E12", "E13"}
"""Seen by the console itself: nothing in any log shows them."""

CHATTER = [
    '(APIServer pid=507015) INFO:     10.0.0.7:41130 - "POST /v1/completions HTTP/1.1" 200 OK',
    "(EngineCore_DP0 pid=507034) INFO 11-23 20:39:20 [kv_cache_utils.py:1710] GPU KV cache size: 507,015 tokens",
    STATS.format("0.0", 0, 0, ""),
    STATS.format("33.5", 4, 2, ""),
    "(Worker pid=1) WARNING 11-23 20:39:20 [s.py:1] Found ulimit of 20000 and failed to increase like `OSError: [Errno 24] Too many open files`",
    "(Worker pid=1) \rLoading safetensors checkpoint shards:  50% Completed | 32/64 [02:00<02:00,  3.75s/it]",
]


def _found(lines: list[str]) -> set[str]:
    matcher = Matcher(SIGNATURES)
    matcher.feed(("\n".join([*CHATTER, *lines, *CHATTER]) + "\n").encode(), 100.0)
    return {hit.signature.id for hit in matcher.hits}


def test_each_has_a_sample_or_a_fact() -> None:
    assert set(BY_ID) == set(SAMPLES) | FACTS | {"A5"}
    assert {each.id for each in SIGNATURES if not each.find} == FACTS
    assert all(BY_ID[each].fact for each in FACTS)


@pytest.mark.parametrize("id", sorted(SAMPLES))
def test_each_is_found_in_a_log_built_around_it(id: str) -> None:
    sample = SAMPLES[id]
    lines = [sample] if isinstance(sample, str) else sample
    assert id in _found(lines)
    assert _found([]) == set()


@pytest.mark.parametrize("id", sorted(set(SAMPLES) - {"B7", "B12", "C3", "C5", "D10"}))
def test_no_other_is_found_there(id: str) -> None:
    sample = SAMPLES[id]
    assert _found([sample] if isinstance(sample, str) else sample) == {id}


GREY = "\x1b[0m \x1b[90m11-23 20:39:21\x1b[0m \x1b[90m[logger.py:43]\x1b[0m "
ECHOES = [
    INFO + "Received request cmpl-1: prompt: '{}', params: SamplingParams(n=1)",
    "INFO 11-23 20:39:21 [logger.py:43] Received request cmpl-1: prompt: '{}', params: SamplingParams(n=1)",
    "\x1b[0;36m(APIServer pid=1)\x1b[0;0m \x1b[32mINFO" + GREY + 'Generated response cmpl-1: output: "{}"',
    "(APIServer pid=1) DEBUG 11-23 20:39:21 [logger.py:30] Request cmpl-1 details: prompt: '{}', prompt_token_ids: [1]",
    INFO + "non-default args: {{'response_role': '{}'}}",
    '(APIServer pid=1) INFO:     10.0.0.7:41130 - "GET /{} HTTP/1.1" 404 Not Found',
]
ACCESS = b'(APIServer pid=1) INFO:     10.0.0.7:41130 - "POST /v1/completions HTTP/1.1" 200 OK\n' * 3000


@pytest.mark.parametrize("flood", [False, True], ids=["calm", "flood"])
@pytest.mark.parametrize("echo", ECHOES)
def test_a_failure_in_the_words_of_a_user_is_none(echo: str, flood: bool) -> None:
    matcher = Matcher(SIGNATURES)
    for _ in range(7 if flood else 0):
        matcher.feed(ACCESS, 100.0)
    for sample in SAMPLES.values():
        lines = [sample] if isinstance(sample, str) else sample
        text = "".join(echo.format(line) + "\n" for line in lines) * 4
        matcher.feed(text.encode(), 100.0)
    assert matcher.hits == ()


@pytest.mark.parametrize(
    "line",
    [
        "vllm serve: error: argument --kv-transfer-config: 1 validation error for KVTransferConfig",
        "vllm serve: error: argument --attention-config/-ac: 1 validation error for AttentionConfig",
        "(APIServer pid=1) pydantic_core._pydantic_core.ValidationError: 1 validation error for CacheConfig",
        "(APIServer pid=1) pydantic_core._pydantic_core.ValidationError: 2 validation errors for SpeculativeConfig",
        "(APIServer pid=1) pydantic_core._pydantic_core.ValidationError: 1 validation error for ChatCompletionRequest",
    ],
)
def test_a_wrong_value_of_the_operator_is_no_mismatch_of_packages(line: str) -> None:
    assert _found([line]) <= {"A20"}


CODES = (
    *("207001", "207008", "507010", "507011", "507013", "507014", "507015", "507018", "507033", "507034", "507035"),
    *("507048", "507054", "507057", "507899", "107030"),
)


@pytest.mark.parametrize("code", CODES)
def test_a_number_that_is_no_code_of_the_driver_shows_nothing(code: str) -> None:
    others = ("(PID: {})", "pid {}", "request cmpl-{}", "took 0.{} s", "took {}.25 s", "{} tokens", "chatcmpl-1a{}")
    assert _found([E + f"Engine core proc ended: {other.format(code)}, code 1" for other in others]) == set()


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize(
    "form", ["error code is {}", "ret: {}.", "ret={},", "[{}]", "drvRetCode={}", "ErrCode:{}(timeout)"]
)
def test_a_code_of_the_driver_is_found_in_any_of_its_forms(code: str, form: str) -> None:
    assert len(_found([P + f"aclrtSynchronizeStream failed, {form.format(code)}"])) == 1


@pytest.mark.parametrize(
    ("line", "id"),
    [
        ("RuntimeError: query: NPU function error, error code is 507035", "C8"),
        ("RuntimeError: query: NPU function error, error code is 507014", "C9"),
        ("[PID: 7] 2026-01-02-03:04:05.006.007 Insufficient_Stream_Resources(EL0009): no streams left", "C7"),
        ("RuntimeError: capture_begin: NPU function error: AclmdlRICaptureBegin, error code is 207005", "C7"),
        ("EE1001: The argument is invalid.Reason: Memory async failed, src loc type=1, kind=1 is invalid!", None),
        ("RuntimeError: SetDevice(device_id_), error code is 107001", "C12"),
        (
            "RuntimeError: call aclnnMoeDistributeDispatchV4 failed, detail: Communication_Error_Get_Socket(EI0006)",
            "B1",
        ),
        (
            "AssertionError: local_world_size (8) must be less than or equal to the number of visible devices (0).",
            "C13",
        ),
        ("AttributeError: '_OpNamespace' '_C_ascend' object has no attribute 'npu_swap'", "D10"),
        ("TimeoutError: RPC call to sample_tokens timed out.", "F3"),
        ("KeyError: 'deepseek_v4'", None),
        ("  Value error, Cannot find the config file for ascend [type=value_error]", "D21"),
        ("OSError: /w/V4 does not appear to have a file named config.json.", "D8"),
        ("net health status: Init", None),
        ("DistStoreError: Timed out after 1801 seconds waiting for clients. 1/2 clients joined.", "B12"),
        ("RuntimeError: [/g/gloo/transport/tcp/pair.cc:5] Read error [10.0.0.2]:9: Connection reset by peer", "F10"),
        ("ConnectionResetError: [Errno 104] Connection reset by peer", None),
        ("net health status: Receive timeout", "B13"),
        ("KeyError: 'layers.3.mlp.experts.w2_weight'", "D14"),
    ],
)
def test_what_engines_of_users_said_is_told_apart(line: str, id: str | None) -> None:
    assert _found([P + line]) == ({id} if id else set())


def test_a_warning_that_a_module_is_not_there_is_no_failure() -> None:
    quoted = "ModuleNotFoundError(\"No module named 'vllm._C'\")"
    assert _found([f"WARNING 11-23 20:39:21 [p.py:1] Failed to import from vllm._C with {quoted}"]) == set()


def test_a_silent_rank_0_is_found_by_its_last_line() -> None:
    matcher = Matcher(SIGNATURES)
    matcher.feed(f"{INFO}Using max model len 512\n{INFO}Started DP Coordinator process (PID: 20)\n".encode(), 100.0)
    assert matcher.silent(200.0) == ()
    assert [hit.signature.id for hit in matcher.silent(300.0)] == ["A5"]
    assert matcher.hits == ()
    matcher.feed(f"{INFO}Initializing a V1 LLM engine\n".encode(), 310.0)
    assert matcher.silent(9999.0) == ()


@pytest.mark.parametrize(
    "name",
    [
        "start_requests_sigterm.log",
        "sigterm_inflight.log",
        "sigint_inflight.log",
        "port_shared_with_other_vllm_SO_REUSEPORT.log",
        "dp/hl_node1.log",
        "dp/internal_dp2.log",
        "fail/tokenizer_mode_deepseek_v4_wrong_model.log",
    ],
)
def test_clean_captures_show_nothing(name: str) -> None:
    folder, _, file = name.rpartition("/")
    matcher = Matcher(SIGNATURES)
    matcher.feed(capture(f"vllm/engine/{folder}".rstrip("/"), file), 100.0)
    assert [hit.signature.id for hit in matcher.hits] == []


def test_the_line_that_tells_is_the_exception_not_the_program_that_raised_it() -> None:
    matcher = Matcher(SIGNATURES)
    matcher.feed(capture("vllm/engine/fail", "block_size_none.log"), 100.0)
    assert matcher.hits[0].text.endswith("] ValueError: No common block size for 5.")


def test_a_worker_that_its_failing_core_ends_is_no_worker_that_died() -> None:
    log = capture("vllm/engine/fail", "block_size_none.log").replace(b"No common block size", b"Nothing known")
    matcher = Matcher(SIGNATURES)
    matcher.feed(log, 100.0)
    assert [hit.signature.id for hit in matcher.hits] == ["A23"]
    alone = Matcher(SIGNATURES)
    alone.feed(b"".join(line for line in log.splitlines(True) if b"failed to start" not in line), 100.0)
    assert [hit.signature.id for hit in alone.hits] == ["F2", "A23"]


@pytest.mark.parametrize(
    ("name", "ids"),
    [
        ("dp/a3_node0.log", ["A2"]),
        ("dp/a3_node1.log", ["A2", "C18"]),
        ("dp/ext_rank0.log", ["F10", "F1"]),
        ("dp/ext_rank1.log", ["C18"]),
        ("fail/bad_flag.log", ["A20"]),
        ("fail/block_size_none.log", ["A31", "A23"]),
        ("fail/external_lb_nonmoe.log", ["A10"]),
        ("fail/kv_connector_unknown.log", ["A28", "A23"]),
        ("fail/missing_model_path.log", ["D8"]),
        ("fail/model_dir_without_config.log", ["D8"]),
        ("fail/port_in_use_by_other.log", ["A11"]),
        ("fail/quantization_ascend_without_plugin.log", ["D9"]),
        ("fail/rank_and_start_rank.log", ["A9"]),
        ("fail/reasoning_parser_unknown.log", ["A19"]),
        ("fail/tool_parser_unknown.log", ["A19"]),
        ("kill9_enginecore.log", ["F1"]),
    ],
)
def test_real_failures_are_named(name: str, ids: list[str]) -> None:
    folder, _, file = name.rpartition("/")
    matcher = Matcher(SIGNATURES)
    matcher.feed(capture(f"vllm/engine/{folder}".rstrip("/"), file), 100.0)
    assert [hit.signature.id for hit in matcher.hits] == ids


OWN = """\
signatures:
- id: X1
  severity: fatal
  title: our storage is down
  find: [stale file handle]
  cause: The share went away.
  remedy: Call storage.
- id: D7
  severity: fatal
  title: ours instead
  find: [our words]
  cause: c
  remedy: r
"""


def test_an_operators_file_adds_and_replaces(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(OWN)
    both = {each.id: each for each in joined(SIGNATURES, load_signatures(path))}
    assert len(both) == len(SIGNATURES) + 1
    assert both["D7"].title == "ours instead"
    assert both["X1"].matches("OSError: stale file handle")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            OWN.replace("find: [stale", "fnid: [stale"),
            ["own.yaml:2", "signatures.0.fnid", "unknown key", "did you mean find?"],
        ),
        (
            OWN.replace("severity: fatal\n  title: our", "severity: grave\n  title: our"),
            ["own.yaml:2", "signatures.0.severity", "fatal"],
        ),
        (OWN.replace("id: D7", "id: X1"), ["own.yaml:8", "X1 exists twice"]),
        (OWN.replace("[our words]", "[our]"), ["own.yaml:8", "at least four characters"]),
        (OWN + "  pattern: '('\n", ["own.yaml:8", "not a regular expression"]),
        (OWN.replace("  find: [our words]\n", ""), ["own.yaml:8", "texts of the log, or a fact"]),
        ("signatures: {]\n", ["own.yaml:1:14"]),
        ("- a\n", ["own.yaml:1", "a list of signatures"]),
        ("", ["a list of signatures"]),
    ],
)
def test_a_wrong_file_says_where_and_what(tmp_path: Path, text: str, words: list[str]) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(text)
    with pytest.raises(FileError) as caught:
        load_signatures(path)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"none\.yaml"):
        load_signatures(tmp_path / "none.yaml")


def test_what_explains_another_names_one_that_is_there() -> None:
    assert {id for each in SIGNATURES for id in each.explains} <= set(BY_ID)


def test_a_warning_shows_no_failure_of_a_start() -> None:
    head = "(EngineCore pid=1) WARNING 11-23 20:39:21 [ray_utils.py:320] "
    line = "The number of required NPUs exceeds the total number of available NPUs in the placement group."
    assert _found([head + line]) == set()
    assert _found([head.replace("WARNING", "ERROR") + line]) == {"A25"}


def test_of_one_line_what_is_vague_gives_way_to_what_is_exact() -> None:
    line = "ValueError: fp8 quantization is currently not supported in npu."
    assert BY_ID["A28"].matches(line)
    assert _found([P + line]) == {"D21"}


def test_every_entry_says_cause_and_remedy_in_sentences() -> None:
    assert [
        each.id for each in SIGNATURES if not (each.cause.endswith(".") and each.remedy.endswith(".") and each.source)
    ] == []


def test_a_signature_matches_a_line_by_words_and_pattern() -> None:
    assert BY_ID["C9"].matches("error code is 507034")
    assert not BY_ID["C9"].matches("(Worker pid=507034) all is well")
    assert isinstance(BY_ID["C9"], Signature)


@pytest.mark.parametrize(
    ("text", "id"),
    [
        ("RuntimeError: NPU out of memory. Tried to allocate 2.00 GiB", "C1"),
        ("RuntimeError: Engine core initialization failed. EI0006", "B1"),
        ("RuntimeError: EI0006: Getting socket times out. NPU out of memory. Tried to allocate", "C1"),
        ("RuntimeError: Engine core initialization failed. See root cause above.", "A23"),
        ("all is well", None),
    ],
)
def test_one_line_is_explained_by_its_cause_before_an_echo(text: str, id: str | None) -> None:
    found = explain(SIGNATURES, text)
    assert (found.id if found else None) == id


def test_what_the_console_sees_itself_has_a_remedy_too() -> None:
    found = of_fact(SIGNATURES, "proxy-lists-dead")
    assert found is not None
    assert found.id == "E13"
    assert of_fact(SIGNATURES, "") is None
