"""Finds the line of an engine's log that explains its failure: the first real error, not the wrappers that repeat it.

It takes single lines that can matter; `engine_log` splits the bytes into lines, `console.diagnosis` knows remedies.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace

from console.probes.log_line import LogLine

TRACE_BYTES = 256 * 1024
"""A traceback without a last line within this many bytes is dropped: its process was killed while it wrote."""

_ANY = (
    b"ERROR", b"CRITICAL", b"FATAL", b"Traceback", b" error: ", b"Fatal Python error", b"terminate called", b"died unexpectedly",
    b"egfault encountered", b"Watchdog caught", b"Killed ", b"Bus error", b"ation fault", b"Aborted ", b"not found",
    b"annot execute", b"No such file or directory", b"socversion", b"pthread_create", b"creation failed", b"fork: ",
    b"exception of ", b"failed on SocketImpl",
)  # fmt: skip
_DEADLY_WORDS = (
    b"Engine core init", b"EngineDeadError", b"encountered a fatal", b"Core failed to start",
    b"died unexpectedly", b"died with exit",
)  # fmt: skip
_NEAR = 4096
"""Most bytes between an error line and the traceback that explains it."""

_WRAPPERS = re.compile(
    r"Engine core initialization failed|Worker failed with error|EngineDeadError|EngineCore encountered a fatal error"
    r"|EngineCore failed to start|WorkerProc hit an exception|WorkerProc failed to start|WorkerProc initialization failed"
    r"|AsyncLLM output_handler failed|Exception occurred while running API servers|died with exit code|RuntimeError: cancelled"
    r"|RuntimeError: Executor failed\.|(?:Task|Future) exception was never retrieved"
    r"|[Gg]ot fatal signal from worker|Exception in worker \w+ while processing method|^Error executing method"
    r"|Engine core proc \S+ died unexpectedly|Worker proc \S+ died unexpectedly|Parent process exited"
)
"""Wrappers: they report that another part failed (vLLM 0.21 v1/engine/core.py, v1/executor/multiproc_executor.py)."""

_UNSAID = "the engine core ended without a message (EngineDeadError): it was killed, or the node had no free memory; see dmesg"
"""Replaces vLLM's message, which refers to a stack trace that does not exist."""

_DEADLY = re.compile(
    r"Engine core initialization failed|EngineDeadError|EngineCore encountered a fatal error|EngineCore failed to start"
    r"|Worker proc \S+ died unexpectedly|Engine core proc \S+ died unexpectedly|died with exit code"
)
"""After one of these lines the engine does not serve any more, even if its process and its port stay for a while."""

_HARMLESS = re.compile(
    r"^(?:ERROR: )?ld\.so: object|Dumping input data|Dumping scheduler|Error with model error="
    r"|TBE Subprocess\[\w+\] raise error|Can not get running npu info|KeyboardInterrupt|CancelledError|^SystemExit"
    r"|resource_tracker|^(?!.*(?i:captur|memcpy|stream|Error: )).*(?<![\w.-])107030(?![\w])|ProcessLookupError"
)
"""A missing preload, dumps of what was being done, CPUs that were not bound, a client's own mistake, the echo of a stop, a query
a driver refuses, a signal for a process that had gone."""

_REQUEST = re.compile(
    r"Exception in ASGI application|^Error in (?:preprocessing prompt|.*\b(?:stream|generator|parser creation)\b)"
)
"""The traceback after this line belongs to one request; the engine continues, unless the traceback says that it is dead."""

_PLAIN = re.compile(
    r"^(?:\[?(?:ERROR|FATAL|CRITICAL)\]?\b|Segmentation fault|Bus error|terminate called|Fatal Python error)"
)
_USAGE = re.compile(r"^(?:vllm(?: [\w-]+)*|[\w-]+\.py): error: ")
"""An error of argparse; compilers, which a serving engine can run, use the same format."""
_SHELL = re.compile(
    r"line \d+:.*(?:Killed|Aborted|Bus error|Segmentation fault|command not found|cannot execute)"
    r"|: exec: \S+: not found$|\b(?:vllm|python[\d.]*)\W?: (?:not found|No such file or directory)$"
)
_MARKED = re.compile(
    r"Segfault encountered|Watchdog caught collective operation timeout|socversion \S+ of bin package"
    r"|blas_thread_init: pthread_create|Thread creation failed|fork: .*(?:temporarily unavailable|child processes)"
    r"|exception of (?:fftsplus )?ai\w+ error"
    r"|failed on SocketImpl|(?:core|kernel) execute failed|(?:core|cpu) timeout\]"
)
_BARE = (_PLAIN, _USAGE, _SHELL, _MARKED)
"""Lines without a level that are errors."""
_TRACEBACK = "Traceback (most recent call last)"
_TRACEBACK_AFTER = f": {_TRACEBACK}:"
"""The start of a traceback in older releases, after other text: `EngineCore hit an exception: Traceback …`."""
_LAST = re.compile(r"^[A-Za-z_][\w.]*(?::\s|:?$)")
_SOURCE = re.compile(r"^ {4}\s*(?![\^~\s])\S")
_DETAILED = re.compile(r"validation errors? for")
_CANN = re.compile(r"ERR\d{5}|(?i:ErrCode|error code|inner error|hccl|acl)")
_CODE = re.compile(r"(?:\b[A-Z]\w+(?:/\w+)?)?\(?\bE[A-Z0-9]\d{4}\)?: *(?!Inner Error)\S.*")
"""A code of CANN with its words, before 8.3 bare, later with its name before it; `Inner Error!` only announces the next one."""
_TOLD = re.compile(r"(?:^|\] |\[)[EF]\d{4,8} [\d:.]+ +\d+ [\w.]+:\d+\] (\S.*)|((?:\S+ )*runtime result = [1-9]\d{5}.*)")
"""An error of a native library within a traceback: glog's own line (Mooncake), or the result of a call of CANN's runtime."""
_WHAT = re.compile(r"^\s+what\(\):\s+(\S.*)")
"""The text of an uncaught C++ exception, in the line below its report."""
_CANN_LINES = 8
"""The message of CANN with a code such as EI0006 follows within this many lines."""
_UNNAMED = re.compile(r"(?:Error|Exception):\s*$")
_RULE = re.compile(r"^\W*$")
"""A line of symbols only; its text follows."""
_FRAME = re.compile(
    r"^(?:Traceback \(most recent call last\)|The above exception was|During handling of the above|\s*File \"[^\"]*\", line \d)"
)
"""Lines of a traceback that are not its message."""
_NAME_ONLY = re.compile(
    r"^(?:(?:[A-Za-z_]\w*\.)*\w*(?:Error|Exception|Timeout)|(?:[A-Za-z_]\w*\.)+[A-Z]\w*)(?:: *None)?:?$"
)
"""An exception without a message: any other line is better."""
_LINK = re.compile(r"(?P<direct>The above exception was the direct cause)|During handling of the above exception")
"""The line between two exceptions, of which the second was raised because of the first."""
_CHAIN_LINES = 64
"""Most lines, of any process, between an exception and the one that follows from it."""
_COMPILER = re.compile(r"\berror: (\S.*)|^(bishengir-compile: .*)")
"""The message of a compiler below an exception without a message, for example of Triton."""


@dataclass(slots=True)
class _Trace:
    start: LogLine
    request: bool = False
    """Whether it belongs to one request."""
    explains: bool = False
    """Whether it explains the current cause better: it belongs to that error line, or was raised because of that exception."""
    source: str = ""
    """The last line of code in the traceback, for an assertion without a message."""


@dataclass(slots=True)
class _Below:
    """The lines below a cause that contain its reason: of pydantic, CANN or a compiler."""

    process: str
    left: int = _CANN_LINES
    """How many more lines are read."""
    spare: str = ""
    """The first of them with text, for a cause without a message."""


@dataclass(slots=True)
class _Chain:
    """The lines between the exception that is the current cause and the next exception of the same chain."""

    process: str
    left: int = _CHAIN_LINES
    """How many more lines can come before the next traceback."""
    link: re.Match[str] | None = None
    """The line that announces the next exception."""

    def take(self, line: LogLine) -> bool:
        """Whether the chain continues after a line."""
        self.left -= 1
        if line.process == self.process and line.text.strip():
            self.link = self.link or _LINK.match(line.text)
            return self.left > 0 and self.link is not None
        return self.left > 0


@dataclass(slots=True)
class ErrorFinder:
    """Keeps the first cause, the first wrapper, and the line that shows that the engine is dead."""

    cause: LogLine | None = None
    wrapper: LogLine | None = None
    deadly: LogLine | None = None
    _told: LogLine | None = None
    """The first error of a native library within a traceback: better than a wrapper when the traceback has no message."""
    _traces: dict[str, _Trace] = field(default_factory=dict)
    _headline: LogLine | None = None
    """The error line that is the current cause; a traceback directly after it explains it better."""
    _below: _Below | None = None
    _chain: _Chain | None = None
    _request: set[str] = field(default_factory=set)

    @property
    def hungry(self) -> bool:
        """Whether every line is needed, not only lines with a needle."""
        return bool(self._traces) or self._below is not None or self._chain is not None

    @property
    def needles(self) -> tuple[bytes, ...]:
        """Texts of which a line must contain one, unless `hungry`."""
        if self.cause is None or self._bare:
            return _ANY
        headline = (b"Traceback",) if self._headline is not None else ()
        return headline if self.deadly is not None else headline + _DEADLY_WORDS

    @property
    def best(self) -> LogLine | None:
        """The line to show: the cause, or a wrapper without a cause."""
        found = self.cause or self._told or self.deadly or self.wrapper
        if self.cause is None and found is not None and "EngineDeadError" in found.text:
            return replace(found, text=_UNSAID)
        return found

    def survived(self) -> None:
        """Forget all errors: the engine continued to serve, so they explain nothing."""
        if self.deadly is None:
            self.cause = self.wrapper = self._told = self._headline = self._below = self._chain = None

    def line(self, line: LogLine) -> None:
        """Read the next line with a needle, or any next line while `hungry`."""
        if self._traces:
            self._traces = {
                each: trace for each, trace in self._traces.items() if line.offset - trace.start.offset < TRACE_BYTES
            }
        below = self._below
        if below is not None and (below.process == line.process or self._far(line)) and self._explain(line, below):
            return
        chain = self._chain
        opens = line.text.startswith(_TRACEBACK) or line.text.endswith(_TRACEBACK_AFTER)
        if chain is not None and (opens or not chain.take(line)):
            self._chain = None
        if line.text[:1] in (" ", "\t") and line.level in ("ERROR", "CRITICAL") and _MARKED.search(line.text):
            self._note(line)
        elif opens:
            self._open(line, chain)
        elif line.process in self._traces and line.level in ("", "ERROR", "CRITICAL"):
            self._inside(line)
        else:
            self._outside(line)

    @property
    def _bare(self) -> bool:
        """Whether the current cause is an exception without a message."""
        return self.cause is not None and _NAME_ONLY.match(self.cause.text) is not None

    def _far(self, line: LogLine) -> bool:
        return self.cause is None or line.offset - self.cause.offset > TRACE_BYTES

    def _explain(self, line: LogLine, below: _Below) -> bool:
        """Read a line below the cause; returns whether it added to the cause."""
        if self.cause is None or line.process != below.process:
            self._below = None
            return False
        below.left -= 1
        text = _added(self.cause.text, line.text, below)
        if not text and below.left <= 0:
            text = below.spare
        if text:
            self.cause = replace(self.cause, text=f"{self.cause.text.removesuffix(':')}: {text.strip()}")
        if text or below.left <= 0:
            self._below = None
        return bool(text)

    def _open(self, line: LogLine, chain: _Chain | None) -> None:
        request = line.process in self._request
        self._request.discard(line.process)
        above = self._headline
        explains = above is not None and above.process == line.process and line.offset - above.offset < _NEAR
        if chain is not None and chain.link is not None and chain.process == line.process and self.cause is not None:
            explains = chain.link["direct"] is not None or self._bare
        self._headline = None
        if self.cause is None or explains or self._bare:
            self._traces[line.process] = _Trace(line, request, explains)

    def _inside(self, line: LogLine) -> None:
        if not line.text or line.text[0] in " \t" or not _LAST.match(line.text):
            if _SOURCE.match(line.text):
                self._traces[line.process].source = line.text.strip()
            if self._told is None and (told := _TOLD.search(line.text) or _CODE.search(line.text)):
                self._told = replace(line, text=next(filter(None, told.groups()), told[0]).strip())
            return
        trace = self._traces.pop(line.process)
        if trace.request and not _DEADLY.search(line.text):
            return
        if trace.source and line.text.strip() == "AssertionError":
            line = replace(line, text=f"AssertionError: {trace.source}")
        self._note(replace(line, time=line.time or trace.start.time), trace.explains)
        if self.cause is not None and self.cause.offset == line.offset:
            self._chain = _Chain(line.process)
            unsaid = _DETAILED.search(line.text) or _UNNAMED.search(line.text)
            if unsaid or (_CANN.search(line.text) and not _CODE.search(line.text)):
                self._below = _Below(line.process)

    def _outside(self, line: LogLine) -> None:
        text = line.text
        if _REQUEST.search(text):
            self._request.add(line.process)
        elif line.level in ("ERROR", "CRITICAL") and text[:1] not in (" ", "\t"):
            before = self.cause
            self._note(line)
            self._headline = self.cause if self.cause is not before else None
        elif not line.level and any(pattern.search(text) for pattern in _BARE):
            self._note(line)
            if self.cause is not None and self.cause.offset == line.offset and text.startswith("terminate called"):
                self._below = _Below(line.process, 1)

    def _note(self, line: LogLine, explains: bool = False) -> None:
        if _HARMLESS.search(line.text) or not line.text.strip() or _FRAME.match(line.text):
            return
        line = replace(line, text=line.text.strip())
        if self.deadly is None and (_DEADLY.search(line.text) or _USAGE.match(line.text)):
            self.deadly = line
        if _WRAPPERS.search(line.text):
            self.wrapper = self.wrapper or line
        elif self.cause is None or explains or (self._bare and self._below is None and not self._far(line)):
            self.cause = line


def _added(cause: str, line: str, below: _Below) -> str:
    """The text that a line below the cause adds to it; empty when it adds nothing."""
    if _DETAILED.search(cause):
        if not line.startswith("  ") and not below.spare:
            below.left = min(below.left, 2)
            return ""
        text = line.strip().partition(" [type=")[0]
        if text == "Value error,":
            below.spare = text
            return ""
        return "" if _RULE.match(text) else text
    unnamed = _UNNAMED.search(cause) is not None
    found = (_COMPILER if unnamed else _CODE).search(line) or _WHAT.match(line)
    if found:
        return next(filter(None, found.groups()), found[0])
    if unnamed and not below.spare and not _RULE.match(line) and not _FRAME.match(line):
        below.spare = line
    return ""
