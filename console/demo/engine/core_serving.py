"""The serving half of an engine core: requests in, tokens out, counters, and how it ends. Begins when the whole
group is up."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import socket
import time
from pathlib import Path
from typing import NoReturn

from console.demo.engine.core_base import PEER_GONE, Child, CoreFailed, Seat
from console.demo.engine.failures import LIVE, Faults, faults_of
from console.demo.engine.failures import selectors as names_of
from console.demo.engine.json_lines import Line, Message
from console.demo.engine.log_lines import Frame, traceback
from console.demo.engine.scheduler import KV_TOKENS, STEP_S, Output, Request, Scheduler


class Running:
    """One rank while it serves."""

    def __init__(self, seat: Seat, listener: socket.socket) -> None:
        self._seat = seat
        self._listener = listener
        self._selector = selectors.DefaultSelector()
        self._clients: list[Line] = []
        self._owners: dict[str, Line] = {}
        self._scheduler = Scheduler(seat.launch.max_seqs, seat.launch.draft_tokens)
        self._stats = self._scheduler.stats()
        self._busy_until = 0.0
        self._shown_busy = False
        self._next_look = 0.0
        self._complaint_at: float | None = None
        """When it says next that its workers do not answer; None while they do."""

    def run(self) -> int:
        """Serve until TERM (0) or a fatal error (1)."""
        try:
            return self._serve()
        except CoreFailed as failure:
            self._die(failure)
            return 1

    def _serve(self) -> int:
        wakeup, waker = socket.socketpair()
        waker.setblocking(False)
        signal.set_wakeup_fd(waker.fileno())
        signal.signal(signal.SIGTERM, lambda *_: None)
        selector = self._selector
        selector.register(self._listener, selectors.EVENT_READ, "listener")
        selector.register(wakeup, selectors.EVENT_READ, "term")
        if self._seat.hub is not None:
            selector.register(self._seat.hub, selectors.EVENT_READ, "hub")
        for child in self._seat.workers:
            selector.register(child.line, selectors.EVENT_READ, child)
        next_step = 0.0
        while True:
            pause = max(0.0, next_step - time.monotonic()) if self._scheduler.busy else self._idle_pause()
            for key, _ in selector.select(pause):
                if key.data == "term":
                    return self._shut_down()
                if key.data == "listener":
                    self._take()
                elif isinstance(key.data, Child):
                    index = self._seat.workers.index(key.data)
                    text = f"Worker proc VllmWorker-{index} died unexpectedly, shutting down executor."
                    self._seat.log.error("multiproc_executor.py:284", text)
                    raise CoreFailed("RuntimeError: cancelled")
                elif self._seat.hub is not None and key.fileobj is self._seat.hub:
                    self._hear_group(self._seat.hub)
                elif isinstance(key.fileobj, Line):
                    self._hear(key.fileobj)
            now = time.monotonic()
            self._look(now)
            if self._scheduler.busy and now >= next_step:
                next_step = now + STEP_S
                self._step(now)
            self._show_busy(now)

    def _hear_group(self, hub: Line) -> None:
        if self._seat.listen_hub():
            self._selector.unregister(hub)
        if self._seat.stepping:
            self._lose_peer()

    def _idle_pause(self) -> float:
        return 0.2 if self._shown_busy or self._seat.faults.has("flood") else 1.0

    def _take(self) -> None:
        link, _ = self._listener.accept()
        line = Line(link)
        self._clients.append(line)
        self._selector.register(line, selectors.EVENT_READ, "client")

    def _hear(self, line: Line) -> None:
        for message in line.receive():
            self._obey(line, message)
        if not line.open:
            self._selector.unregister(line)
            self._clients.remove(line)
            line.close()

    def _obey(self, line: Line, message: Message) -> None:
        if message.get("op") == "stats":
            line.send({"stats": self._stats, "n": message.get("n")})
        elif message.get("op") == "abort":
            self._send(self._scheduler.abort({str(message["id"])}, time.monotonic()))
            if not self._seat.faults.has("hang") and not self._frozen():
                self._stats = self._scheduler.stats()
        elif message.get("op") == "add":
            now = time.monotonic()
            request = Request(str(message["id"]), int(str(message["prompt"])), int(str(message["max"])), now)
            kv = message.get("kv")
            request.misread = (
                isinstance(kv, dict) and bool(kv.get("do_remote_prefill")) and self._seat.faults.has("block-size")
            )
            self._owners[request.id] = line
            self._scheduler.add(request)
            if not self._cache_there(message.get("kv")):
                text = f"Mooncake transfer failed for request. ret: -1, request_id: {request.id}"
                self._seat.log.error("mooncake_hybrid_connector.py:618", text)
                self._send(self._scheduler.abort({request.id}, now, "error"))

    @staticmethod
    def _cache_there(kv: object) -> bool:
        """Whether the prefill engine that computed a request's cache can be reached (true where there is none to
        fetch)."""
        if not isinstance(kv, dict) or not kv.get("do_remote_prefill"):
            return True
        try:
            socket.create_connection((str(kv["remote_host"]), int(kv["remote_port"])), timeout=1.0).close()
        except (OSError, KeyError, ValueError):
            return False
        return True

    def _look(self, now: float) -> None:
        """Once a second: failures asked for while serving."""
        if now < self._next_look:
            return
        self._next_look = now + 1.0
        names = names_of(self._seat.launch.role, self._seat.rank, self._seat.launch.port + self._seat.local)
        wanted = faults_of(self._seat.node.directory, self._seat.launch.environment, names).found
        kept = {kind: amount for kind, amount in self._seat.faults.found.items() if kind not in LIVE}
        self._seat.faults = Faults({**kept, **{kind: amount for kind, amount in wanted.items() if kind in LIVE}})
        if self._seat.faults.has("worker"):
            os.kill(self._seat.workers[-1].pid, signal.SIGKILL)
        if self._seat.faults.has("oom-kill"):
            with contextlib.suppress(ProcessLookupError):  # it was killed a second ago
                os.kill(self._seat.process, signal.SIGKILL)
        if self._seat.faults.has("crash"):
            raise CoreFailed("RuntimeError: ACL stream synchronize failed, error code:507015", _STEP_FRAMES)
        small = self._seat.faults.has("small-kv")
        self._scheduler.kv_tokens = int(self._seat.faults.amount("small-kv", 40.0)) if small else KV_TOKENS
        if self._seat.faults.has("preempt") and self._scheduler.running:
            self._scheduler.count("num_preemptions", self._seat.faults.amount("preempt", 5.0))
        for number in range(int(self._seat.faults.amount("flood", 0.0))):
            text = (
                f"Slow token processing detected, request queue {number} is draining; details follow in the next line"
            )
            self._seat.log.warning("core.py:512", text)

    def _step(self, now: float) -> None:
        if self._seat.faults.has("hang"):
            self._stats = {
                **self._scheduler.stats(),
                "running": len(self._scheduler.running) + len(self._scheduler.waiting),
            }
            return
        if self._frozen():
            self._complain(now)
            return  # the step never comes back, and no statistics with it
        self._complaint_at = None
        if self._seat.lost is not None:
            self._lose_peer()
        outputs = self._scheduler.step(now)
        self._stats = self._scheduler.stats()
        self._send(outputs)
        self._busy_until = now + 1.0

    def _complain(self, now: float) -> None:
        """Once a minute, as vLLM 0.21 does while it waits for its workers."""
        minute = self._seat.node.seconds(60.0)
        if self._complaint_at is not None and now >= self._complaint_at:
            text = (
                "No available shared memory broadcast block found in 60 seconds. This typically happens when some processes are "
                "hanging or doing some time-consuming work (e.g. compilation, weight/kv cache quantization)."
            )
            self._seat.log.info("shm_broadcast.py:681", text)
        if self._complaint_at is None or now >= self._complaint_at:
            self._complaint_at = now + minute

    def _lose_peer(self) -> NoReturn:
        """A step fails because a rank of the group is gone."""
        for child in self._seat.workers:
            child.report_lost_peer()
        text = f"RuntimeError: Worker failed with error '{PEER_GONE}', please check the stack trace above for the root cause"
        raise CoreFailed(text, _STEP_FRAMES)

    def _frozen(self) -> bool:
        """Whether a worker is stopped (SIGSTOP, debugger)."""
        for child in self._seat.workers:
            try:
                stat = Path(f"/proc/{child.pid}/stat").read_bytes()
            except OSError:
                continue
            if stat.rpartition(b")")[2].split()[0] in (b"T", b"t"):
                return True
        return False

    def _send(self, outputs: list[Output]) -> None:
        by_client: dict[int, tuple[Line, list[list[object]]]] = {}
        for output in outputs:
            line = self._owners.get(output.id)
            if line is not None:
                text, tokens = self._spoilt(output)
                by_client.setdefault(id(line), (line, []))[1].append([output.id, text, tokens, output.finish])
            if output.finish:
                self._owners.pop(output.id, None)
        for line, news in by_client.values():
            line.send({"out": news})

    def _spoilt(self, output: Output) -> tuple[str, int]:
        """Text and tokens as this rank gives them, whatever it made."""
        faults = self._seat.faults
        text = "" if faults.has("bad-answer") else "\ufffd" * output.tokens if faults.has("garbage") else output.text
        return text, output.tokens + (output.tokens > 0 and faults.has("miscount"))

    def _show_busy(self, now: float) -> None:
        busy = now < self._busy_until
        if busy == self._shown_busy:
            return
        self._shown_busy = busy
        for child in self._seat.workers:
            child.tell("busy" if busy else "idle")
        if self._seat.hub is not None and self._seat.hub.open:
            self._seat.hub.send({"busy": busy, "rank": self._seat.rank})

    def _shut_down(self) -> int:
        self._seat.log.info("core.py:1242", "Shutdown initiated (timeout=0)")
        outputs = self._scheduler.abort(now=time.monotonic())
        if outputs:
            self._seat.log.info("core.py:1247", f"Aborting {len(outputs)} requests")
        self._send(outputs)
        self._seat.log.info("core.py:1265", "Shutdown complete")
        self._seat.end_workers(told=True)
        return 0

    def _die(self, failure: CoreFailed) -> None:
        """A fatal error while serving: the log a crash leaves."""
        waiting = len(self._scheduler.waiting)
        text = (
            f"SchedulerStats(num_running_reqs={len(self._scheduler.running)}, num_waiting_reqs={waiting},"
            " step_counter=0,"
        )
        text += f" kv_cache_usage={self._scheduler.kv_usage})"
        self._seat.log.error("dump_input.py:81", f"Dumping scheduler stats: {text}")
        self._seat.log.error("core.py:1142", "EngineCore encountered a fatal error.")
        trace = traceback(failure.frames or _STEP_FRAMES, str(failure))
        self._seat.log.error("core.py:1142", trace)
        for line in self._clients:
            line.close()  # the servers learn it now, and end this core with TERM while it waits for its workers
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        self._seat.end_workers()
        self._seat.log.raw(f"Process {self._seat.log.name}:\n{trace}")


_STEP_FRAMES: tuple[Frame, ...] = (
    ("v1/engine/core.py", 1133, "run_engine_core", "engine_core.run_busy_loop()"),
    ("v1/engine/core.py", 1213, "_process_engine_step", "outputs, model_executed = self.step_fn()"),
    ("v1/engine/core.py", 424, "step", "model_output = future.result()"),
)
