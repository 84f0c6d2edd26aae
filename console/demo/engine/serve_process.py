"""The process of a `vllm serve` command: it parses, logs, starts coordinator and cores, waits for them, then
serves or, on a headless node, waits.

`flags.py` holds the flags, `serve_config.py` their meaning.
"""

from __future__ import annotations

import asyncio
import os
import selectors
import signal
import socket
import sys
import time
from collections.abc import Sequence

from setproctitle import setproctitle

from console.demo.engine import name_checks
from console.demo.engine.coordinator import Coordinator
from console.demo.engine.core import EngineCore
from console.demo.engine.core_base import gone, leave
from console.demo.engine.failures import faults_of
from console.demo.engine.failures import selectors as names_of
from console.demo.engine.flags import FlagError, parse, parser
from console.demo.engine.headless_part import HeadlessPart
from console.demo.engine.json_lines import Line
from console.demo.engine.log_lines import Frame, Log, traceback
from console.demo.engine.serve_config import READY_TIMEOUT_S, Launch, resolve
from console.demo.engine.serving import ApiServer
from console.demo.engine.shutdown import LEAST_PARENT_S, PARENT_S, leave_behind, linger
from console.demo.release import VLLM
from console.demo.tools.demo_node import DemoNode, this_node

_LEAST_READY_S = 60.0
_MAIN: tuple[Frame, ...] = (
    ("/usr/local/python3.11.14/bin/vllm", 8, "<module>", "sys.exit(main())"),
    ("entrypoints/cli/main.py", 92, "main", "args.dispatch_function(args)"),
    ("entrypoints/cli/serve.py", 122, "cmd", "uvloop.run(run_server(args))"),
)
_ENGINE: tuple[Frame, ...] = (
    ("v1/engine/core_client.py", 535, "__init__", "with launch_core_engines("),
    ("v1/engine/utils.py", 1128, "launch_core_engines", "wait_for_engine_startup("),
    ("v1/engine/utils.py", 1187, "wait_for_engine_startup", "raise RuntimeError("),
)
_BANNER = (
    "",
    "       █     █     █▄   ▄█",
    " ▄▄ ▄█ █     █     █ ▀▄▀ █  version {version}",
    "  █▄█▀ █     █     █     █  model   {model}",
    "   ▀▀  ▀▀▀▀▀ ▀▀▀▀▀ ▀     ▀",
    "",
)


class LaunchFailed(Exception):
    """The command ends with a traceback and exit code 1."""

    def __init__(self, error: str, frames: tuple[Frame, ...] = ()) -> None:
        super().__init__(error)
        self.frames = frames


class Serve:
    """One `vllm serve` command, while it starts and while it serves."""

    def __init__(self, launch: Launch, node: DemoNode) -> None:
        self._launch = launch
        self._node = node
        known = names_of(launch.role, launch.first_rank, launch.port, launch.part)
        self._faults = faults_of(node.directory, launch.environment, known)
        self._log = Log("APIServer" if launch.api_servers == 1 else "")
        self._socket: socket.socket | None = None
        self._coordinator: Line | None = None
        self._cores: dict[int, tuple[int, Line]] = {}
        self._ends: list[int] = []
        """Pids to end with us that are no cores."""
        self._terminated = False

    def run(self) -> int:
        """Run the command from start to end; gives its exit code."""
        try:
            self._prepare()
            if self._launch.part:
                return HeadlessPart(self._launch, self._node, self._faults).run()
            addresses = self._await_cores()
        except LaunchFailed as failure:
            self._log.raw(traceback((*_MAIN, *failure.frames), str(failure)))
            self._end(signal.SIGTERM)
            return 1
        except KeyboardInterrupt:
            self._log.raw(traceback(_MAIN, "KeyboardInterrupt: terminated"))
            self._end(signal.SIGTERM)
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGINT)
            return 130
        if self._faults.has("daemon"):
            leave_behind(self._node.directory, self._launch.devices[0])
        if self._launch.headless:
            return self._stand_by()
        code = self._serve_alone(addresses) if self._launch.api_servers == 1 else self._serve_many(addresses)
        self._end(signal.SIGTERM)
        return code

    def _prepare(self) -> None:
        launch, log = self._launch, self._log
        time.sleep(self._node.seconds(10))
        if launch.api_servers > 1 and not launch.args.api_server_count:
            log.info("serve.py:101", f"Defaulting api_server_count to data_parallel_size ({launch.api_servers}).")
        if not launch.headless:
            self._tell_arguments()
            self._bind()
        if wrong := name_checks.refused(launch, plugin=not self._faults.has("quantization")):
            raise LaunchFailed(wrong[1], wrong[0])
        if self._faults.has("path"):
            raise LaunchFailed(
                "huggingface_hub.errors.HFValidationError: Repo id must be in the form 'repo_name' or"
                " 'namespace/repo_name':"
                f" '{launch.model}'. Use `repo_type` argument if needed."
            )
        self._tell_config()
        if launch.part:
            return
        if launch.headless:
            text = (
                f"Launching {launch.local_ranks} data parallel engine(s) in headless mode, with head node"
                f" address tcp://{launch.dp_address}:{launch.rpc_port}."
            )
            log.info("serve.py:201", text)
        elif launch.members > 1 and launch.leads:
            self._start_coordinator()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._note)
        for local, rank in enumerate(launch.ranks):
            self._start_core(rank, local)

    def _note(self, *_: object) -> None:
        self._terminated = True

    def _tell_arguments(self) -> None:
        launch, log = self._launch, self._log
        for line in _BANNER:
            log.info("utils.py:306", line.format(model=launch.model, version=VLLM) + "\r")
        given = {
            name: value
            for name, value in vars(launch.args).items()
            if value not in (None, False) or name == "model_tag"
        }
        log.info("utils.py:240", f"non-default args: {given | {'model': launch.model}}")

    def _bind(self) -> None:
        """Taken at the start, listening only when ready; shared with any other vLLM, refused by anything else."""
        launch = self._launch
        frames: tuple[Frame, ...] = (
            ("entrypoints/openai/api_server.py", 519, "create_server_socket", "sock.bind(addr)"),
        )
        if self._faults.has("port"):
            raise LaunchFailed("OSError: [Errno 98] Address already in use", frames)
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        try:
            sock.bind((launch.host, launch.port))
        except OverflowError as error:
            raise LaunchFailed("OverflowError: bind(): port must be 0-65535.", frames) from error
        except OSError as error:
            raise LaunchFailed(f"OSError: [Errno {error.errno}] {error.strerror}", frames) from error
        self._socket = sock

    def _tell_config(self) -> None:
        launch, log = self._launch, self._log
        log.info("__init__.py:38", "Available plugins for group vllm.platform_plugins:")
        log.info("__init__.py:40", "- ascend -> vllm_ascend:register")
        log.info("__init__.py:217", "Platform plugin ascend is activated")
        log.info("model.py:568", "Resolved architecture: DeepseekV4ForCausalLM")
        log.info("model.py:1697", f"Using max model len {launch.max_len}")
        if batched := launch.args.max_num_batched_tokens:
            log.info("scheduler.py:239", f"Chunked prefill is enabled with max_num_batched_tokens={batched}.")
        if launch.switched_to_external:
            text = (
                "data_parallel_hybrid_lb is not eligible when data_parallel_size_local = 1, autoswitch to"
                " data_parallel_external_lb."
            )
            log.warning("arg_utils.py:1828", text)
        log.info("vllm.py:886", "Asynchronous scheduling is enabled.")
        if launch.eager:
            text = (
                "Enforce eager set, disabling torch.compile and CUDAGraphs. This is equivalent to setting -cc.mode=none"
            )
            log.warning("vllm.py:942", f"{text} -cc.cudagraph_mode=none")
        if launch.args.block_size is None:
            text = "[vllm-ascend] [utils] - For deepseek_v4 model, block size should be 32, 64 or 128."
            log.warning("utils.py:1266", f"{text} Setting block size to 32 for better performance.")
        time.sleep(self._node.seconds(6))

    def _start_coordinator(self) -> None:
        launch = self._launch
        host, port = launch.meeting
        path = f"tcp://{host}:{port}"
        own = host in (self._node.address, "127.0.0.1", "localhost")
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        frames: tuple[Frame, ...] = (("v1/engine/utils.py", 1062, "launch_core_engines", "with zmq_socket_ctx("),)
        if self._faults.has("address") or not own:
            raise LaunchFailed(f"zmq.error.ZMQError: Cannot assign requested address (addr='{path}')", frames)
        try:
            listener.bind((host, port))
            listener.listen(256)
        except OSError as error:
            raise LaunchFailed(f"zmq.error.ZMQError: {error.strerror} (addr='{path}')", frames) from error
        time.sleep(self._node.seconds(3))
        ours, theirs = socket.socketpair()
        pid = os.fork()
        if pid == 0:
            self._close_inherited()
            ours.close()
            leave(Coordinator(launch, listener, theirs).run())
        theirs.close()
        listener.close()
        self._coordinator = Line(ours)
        self._ends.append(pid)
        self._log.info("utils.py:1044", f"Started DP Coordinator process (PID: {pid})")

    def _start_core(self, rank: int, local: int) -> None:
        ours, theirs = socket.socketpair()
        pid = os.fork()
        if pid == 0:
            self._close_inherited()
            ours.close()
            known = names_of(self._launch.role, rank, self._launch.port + local)
            faults = faults_of(self._node.directory, self._launch.environment, known)
            leave(EngineCore(self._launch, self._node, rank, local, theirs, faults).run())
        theirs.close()
        self._cores[rank] = (pid, Line(ours))

    def _close_inherited(self) -> None:
        """In a child process: close what only the parent may hold."""
        if self._socket is not None:
            self._socket.close()
        if self._coordinator is not None:
            self._coordinator.socket.close()
        for _, line in self._cores.values():
            line.socket.close()

    def _await_cores(self) -> dict[int, tuple[str, int]]:
        """Wait until every local core, and with it the whole group, is ready; gives the addresses of the cores."""
        launch = self._launch
        selector = selectors.DefaultSelector()
        lines = {rank: line for rank, (_, line) in self._cores.items()}
        for rank, line in lines.items():
            selector.register(line, selectors.EVENT_READ, rank)
        if self._coordinator is not None:
            selector.register(self._coordinator, selectors.EVENT_READ, None)
        limit = self._node.seconds(launch.seconds("VLLM_ENGINE_READY_TIMEOUT_S", READY_TIMEOUT_S))
        deadline = time.monotonic() + (0.0 if self._faults.has("ready-timeout") else max(limit, _LEAST_READY_S))
        met, addresses = launch.members == 1, dict[int, tuple[str, int]]()
        waiting = set(lines)
        while waiting:
            if self._terminated and met:
                raise KeyboardInterrupt
            if met and time.monotonic() > deadline and not launch.headless:
                raise LaunchFailed(
                    "TimeoutError: Timed out waiting for engine core processes to start. This is often caused by"
                    " slow weight loading"
                    " for large models. Waited"
                    f" {launch.seconds('VLLM_ENGINE_READY_TIMEOUT_S', READY_TIMEOUT_S):.0f}s.",
                    _ENGINE,
                )
            for key, _ in selector.select(0.5):
                talker = key.fileobj
                if not isinstance(talker, Line):
                    continue
                for message in talker.receive():
                    met = met or "met" in message
                    if "error" in message:
                        raise LaunchFailed(f"RuntimeError: {message['error']}", _ENGINE)
                    cores = message.get("cores")
                    if isinstance(cores, dict):
                        addresses = {int(rank): (host, int(port)) for rank, (host, port) in cores.items()}
                        waiting.discard(key.data)
                if not talker.open:
                    self._core_failed()
                    return {}
        return addresses

    def _core_failed(self) -> None:
        if not self._launch.headless:
            raise LaunchFailed(
                "RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}",
                _ENGINE,
            )

    def _own_cores(self, addresses: dict[int, tuple[str, int]]) -> dict[int, tuple[str, int]]:
        """Internal load balancing uses all ranks; the other modes use their own ranks."""
        if self._launch.balance == "internal":
            return addresses
        return {rank: address for rank, address in addresses.items() if rank in self._cores}

    def _api(self, log: Log, pids: Sequence[int]) -> ApiServer:
        if self._socket is None:
            raise LaunchFailed("RuntimeError: no socket to serve on")
        known = names_of(self._launch.role, self._launch.first_rank, self._launch.port)

        def wanted(kind: str) -> bool:
            return faults_of(self._node.directory, self._launch.environment, known).has(kind)

        return ApiServer(self._launch, self._socket, log, wanted, frozenset(self._cores), pids)

    def _serve_alone(self, addresses: dict[int, tuple[str, int]]) -> int:
        async def serve() -> int:
            return await self._api(self._log, [pid for pid, _ in self._cores.values()]).run(self._own_cores(addresses))

        return asyncio.run(serve())

    def _serve_many(self, addresses: dict[int, tuple[str, int]]) -> int:
        """Several API server processes share one socket; this process only watches them."""
        pids = []
        for index in range(self._launch.api_servers):
            pid = os.fork()
            if pid == 0:
                setproctitle(f"VLLM::APIServer_{index}")

                async def serve(index: int = index) -> int:
                    return await self._api(Log(f"ApiServer_{index}"), ()).run(self._own_cores(addresses))

                leave(asyncio.run(serve()))
            pids.append(pid)
        self._log.info("utils.py:224", f"Started {len(pids)} API server processes")
        self._log.info("utils.py:274", "Waiting for API servers to complete ...")
        while not self._terminated:
            ended = next((pid for pid in pids if os.waitpid(pid, os.WNOHANG)[0]), None)
            if ended is not None:
                index = pids.index(ended)
                said = f"RuntimeError: Process ApiServer_{index} (PID: {ended}) died with exit code None"
                self._log.raw(traceback(_MAIN[:2], said))
                self._ends += [pid for pid in pids if pid != ended]
                return 1
            time.sleep(0.2)
        self._ends += pids
        return 0

    def _stand_by(self) -> int:
        """A headless node after its start: wait for a signal or for the cores; 0 either way, as the real one.

        Only a signal makes it say that it waits; after its cores it lingers (see `endings`).
        """
        while not self._terminated and not any(gone(pid) for pid, _ in self._cores.values()):
            time.sleep(0.2)
        told = self._terminated
        if told:
            self._log.info("serve.py:226", "Waiting up to 0 seconds for processes to exit")
        self._end(signal.SIGTERM)
        self._log.info("serve.py:228", "Shutting down.")
        if not told:
            linger(self._node, PARENT_S, LEAST_PARENT_S)
        return 0

    def _end(self, number: signal.Signals) -> None:
        """Send TERM to the started processes, wait 5 s, then send KILL."""
        left = {pid for pid, _ in self._cores.values()} | set(self._ends)
        for pid in left:
            _kill(pid, number)
        deadline = time.monotonic() + 5.0
        while left and time.monotonic() < deadline:
            left = {pid for pid in left if not gone(pid)}
            time.sleep(0.02)
        for pid in left:
            _kill(pid, signal.SIGKILL)


def _kill(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def serve(words: Sequence[str]) -> int:
    """Run `vllm serve WORDS`; the exit code."""
    node = this_node()
    if any(word in ("-h", "--help") or word.startswith("--help=") for word in words):
        return _help(words)
    try:
        args = parse(words)
    except FlagError as refusal:
        time.sleep(node.seconds(10))
        sys.stderr.write(refusal.text)
        return refusal.code
    return Serve(resolve(args, node, os.environ), node).run()


def _help(words: Sequence[str]) -> int:
    """`--help=FLAG` lists the flags whose name contains it, `--help=all` every one; exit 1 when none does."""
    wanted = next((word.partition("=")[2] for word in words if word.startswith("--help=")), "")
    wanted = "" if wanted == "all" else wanted
    flags = [flag for action in parser()._actions for flag in action.option_strings if flag.startswith("--")]
    found = [flag for flag in flags if wanted.replace("_", "-").lstrip("-") in flag]
    sys.stdout.write("usage: vllm serve [model_tag] [options]\n\n" + "".join(f"  {flag}\n" for flag in found))
    return 0 if found else 1
