"""Runs commands with a deadline: probes on a cadence, never one twice at once, and single commands on request.

Every command leads a process group of its own, which is killed when its time is over or the helper ends. What a command
prints is passed on as bytes and never looked into. A probe that prints the same again sends no bytes.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import threading
import time
import zlib
from typing import Any, Callable, Dict, List, Set, Tuple

from console.node.cadence import until_next
from console.node.threads import start

MAX_BYTES = 4 * 1024 * 1024
PROBE_BYTES = 1024 * 1024
PACK_BYTES = 512
"""Longer output of a probe is sent compressed: a table of npu-smi becomes a tenth."""
LEAVE_ALONE_S = 60.0
"""The longest pause after a probe that was cut off."""
CUT_OFF = (None, 124, 137)
"""Exit codes of a command whose time was over: ours, and those of `timeout`."""
AFTER_KILL_S = 2.0
"""How long a killed command's pipes are waited for: a process in state D keeps them open."""

Push = Callable[[Dict[str, object], bytes], None]


class Commands:
    """The commands that run now, so that they can be ended with the helper."""

    def __init__(self) -> None:
        self._groups: Set[int] = set()
        self._lock = threading.Lock()
        self._closed = False

    def run(
        self, argv: List[str], timeout_s: float, max_bytes: int, stdin: bytes = b""
    ) -> Tuple[Dict[str, Any], bytes]:
        """Run to the end or to the deadline; gives facts, and stdout followed by stderr."""
        began = time.monotonic()
        try:
            child = self._start(argv)
        except (OSError, ValueError) as error:
            text = "%s: %s" % (argv[0] if argv else "", getattr(error, "strerror", None) or error)
            return self._facts(began, 127, b"", text.encode("utf-8", "replace"), False)
        try:
            out, err, cut, late = _collect(child, began + timeout_s, max_bytes, stdin)
        finally:
            self._end(child)
        return self._facts(began, None if late else child.returncode, out, err, cut)

    def close(self) -> None:
        """Kill all of them."""
        with self._lock:
            self._closed = True
            groups = list(self._groups)
        for group in groups:
            _kill_group(group)

    def _start(self, argv: List[str]) -> "subprocess.Popen[bytes]":
        if not argv:
            raise ValueError("no command")
        with self._lock:
            if self._closed:
                raise OSError(4, "the helper is ending")
            child = subprocess.Popen(
                argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
            self._groups.add(child.pid)
        return child

    def _end(self, child: "subprocess.Popen[bytes]") -> None:
        """Nothing of a command outlives it: a probe's left-overs would pile up."""
        _kill_group(child.pid)
        try:
            child.wait(AFTER_KILL_S)
        except subprocess.TimeoutExpired:
            pass
        for stream in (child.stdin, child.stdout, child.stderr):
            if stream is not None:
                try:
                    stream.close()
                except OSError:
                    pass
        with self._lock:
            self._groups.discard(child.pid)

    def _facts(self, began: float, code: Any, out: bytes, err: bytes, cut: bool) -> Tuple[Dict[str, Any], bytes]:
        facts = {
            "at": time.time(),
            "took_s": time.monotonic() - began,
            "exit_code": code,
            "stdout_bytes": len(out),
            "truncated": cut,
        }
        return facts, out + err


def _collect(
    child: "subprocess.Popen[bytes]", deadline: float, max_bytes: int, stdin: bytes
) -> Tuple[bytes, bytes, bool, bool]:
    """stdout, stderr, whether they were cut by size, whether the time ended it."""
    assert child.stdout
    assert child.stderr
    assert child.stdin
    kept: Dict[int, bytearray] = {child.stdout.fileno(): bytearray(), child.stderr.fileno(): bytearray()}
    cut = late = False
    with selectors.DefaultSelector() as selector:
        for stream in (child.stdout, child.stderr):
            os.set_blocking(stream.fileno(), False)
            selector.register(stream, selectors.EVENT_READ)
        os.set_blocking(child.stdin.fileno(), False)
        selector.register(child.stdin, selectors.EVENT_WRITE)
        waiting = memoryview(stdin)
        while selector.get_map():
            left = deadline - time.monotonic()
            if left <= 0:
                late = True
                break
            if child.poll() is not None:
                left = min(left, 0.2)  # its own end is what counts: something it left behind may hold the pipes
            ready = selector.select(left if child.poll() is not None else min(left, 0.5))
            if not ready and child.poll() is not None:
                break
            for key, _ in ready:
                if key.fileobj is child.stdin:
                    waiting = _feed(selector, child, waiting)
                elif not _drain(key.fd, kept[key.fd], max_bytes):
                    selector.unregister(key.fileobj)
                cut = cut or any(len(each) > max_bytes for each in kept.values())
    if not late:
        late = not _ended(child, deadline)
    out, err = (bytes(each[:max_bytes]) for each in kept.values())
    return out, err, cut, late


def _ended(child: "subprocess.Popen[bytes]", deadline: float) -> bool:
    try:
        child.wait(max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        return False
    return True


def _feed(selector: selectors.BaseSelector, child: "subprocess.Popen[bytes]", waiting: memoryview) -> memoryview:
    assert child.stdin
    try:
        if waiting:
            waiting = waiting[os.write(child.stdin.fileno(), waiting[:65536]) :]
    except BlockingIOError:
        return waiting
    except OSError:
        waiting = memoryview(b"")
    if not waiting:
        selector.unregister(child.stdin)
        child.stdin.close()
    return waiting


def _drain(descriptor: int, kept: bytearray, max_bytes: int) -> bool:
    """Read on; False at the end. What is over the limit is read and dropped, so that the command does not stall."""
    try:
        data = os.read(descriptor, 65536)
    except BlockingIOError:
        return True
    except OSError:
        return False
    if len(kept) <= max_bytes:
        kept += data
    return bool(data)


def _kill_group(group: int) -> None:
    try:
        os.killpg(group, signal.SIGKILL)
    except OSError:
        pass


class Sampler:
    """The probes of one helper, a thread each."""

    def __init__(self, commands: Commands, push: Push) -> None:
        self._commands = commands
        self._push = push
        self._now: Dict[str, threading.Event] = {}

    def start(self, probes: List[Dict[str, Any]]) -> None:
        """Begin to run them. A probe is `{name, argv, every_s, timeout_s}`."""
        for place, probe in enumerate(probes):
            name = str(probe["name"])
            self._now[name] = threading.Event()
            first = place * 0.05
            start("probe " + name, self._run, name, probe, first)

    def now(self, name: str) -> bool:
        """Run one at once; False when there is none of that name."""
        event = self._now.get(name)
        if event is None:
            return False
        event.set()
        return True

    def _run(self, name: str, probe: Dict[str, Any], first_s: float) -> None:
        wake = self._now[name]
        argv = [str(word) for word in probe["argv"]]
        every, timeout = max(0.05, float(probe["every_s"])), float(probe["timeout_s"])
        wake.wait(first_s)
        late = 0
        before: object = None
        while True:
            wake.clear()
            began = time.monotonic()
            facts, output = self._commands.run(argv, timeout, PROBE_BYTES)
            shape = (output, facts["exit_code"], facts["stdout_bytes"], facts["truncated"])
            told, payload = packed(b"" if shape == before else output)
            self._push(dict(facts, push="sample", probe=name, same=shape == before, packed=told), payload)
            before = shape
            late = late + 1 if facts["exit_code"] in CUT_OFF else 0
            wake.wait(rest(every, time.monotonic() - began, late))


def packed(output: bytes) -> Tuple[bool, bytes]:
    """(whether the output was compressed, what is sent)."""
    return (True, zlib.compress(output, 6)) if len(output) > PACK_BYTES else (False, output)


def rest(every: float, took: float, late: int) -> float:
    """Seconds until the next time. A command that was cut off is left alone, longer each time: asking harms a sick driver."""
    if late:
        return max(every, min(LEAVE_ALONE_S, every * 2.0 ** min(late, 10)))
    return until_next(every) if took < every else 0.05
