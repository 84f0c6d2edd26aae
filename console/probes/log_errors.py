"""Which line of an engine's log says why it failed: the first real error in time, not the wrappers that echo it.

Fed with lines that may matter, one by one. Cutting bytes into lines is `engine_log`'s job; naming a remedy is the advice room's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace

TRACE_BYTES = 256 * 1024
"""A traceback without a last line in so many bytes of log is given up: its process was killed while it wrote."""

_ANY = (
    b"ERROR", b"CRITICAL", b"FATAL", b"Traceback", b" error: ", b"Fatal Python error", b"terminate called", b"died unexpectedly",
    b"egfault encountered", b"Watchdog caught", b"Killed ", b"Bus error", b"ation fault", b"Aborted ", b"not found",
    b"annot execute", b"No such file or directory",
)  # fmt: skip
_DEADLY_WORDS = (
    b"Engine core init", b"EngineDeadError", b"encountered a fatal", b"Core failed to start",
    b"died unexpectedly", b"died with exit",
)  # fmt: skip
_NEAR = 4096
"""Bytes between an error line and the traceback that explains it."""

_WRAPPERS = re.compile(
    r"Engine core initialization failed|Worker failed with error|EngineDeadError|EngineCore encountered a fatal error"
    r"|EngineCore failed to start|WorkerProc hit an exception|WorkerProc failed to start|WorkerProc initialization failed"
    r"|AsyncLLM output_handler failed|Exception occurred while running API servers|died with exit code|RuntimeError: cancelled"
    r"|RuntimeError: Executor failed\."
    r"|Engine core proc \S+ died unexpectedly|Worker proc \S+ died unexpectedly|Parent process exited"
)
"""They say that something failed elsewhere (vLLM 0.21 v1/engine/core.py, v1/executor/multiproc_executor.py)."""

_UNSAID = (
    "the engine core ended without a word (EngineDeadError): it was killed, or the node had no memory left; see dmesg"
)
"""vLLM's own words send the reader to a stack trace above, which is not there."""

_DEADLY = re.compile(
    r"Engine core initialization failed|EngineDeadError|EngineCore encountered a fatal error|EngineCore failed to start"
    r"|Worker proc \S+ died unexpectedly|Engine core proc \S+ died unexpectedly|died with exit code"
)
"""After one of these the engine does not serve any more, even where its process and its port stay for a while."""

_HARMLESS = re.compile(
    r"^(?:ERROR: )?ld\.so: object|Dumping input data|Dumping scheduler|Error with model error="
    r"|Can not get running npu info|KeyboardInterrupt|CancelledError|^SystemExit"
    r"|resource_tracker|(?<![\w.-])107030(?![\w])|ProcessLookupError"
)
"""A missing preload, dumps of what was being done, CPUs that were not bound, a client's own mistake, the echo of a stop, a query
a driver refuses, a signal for a process that had gone."""

_REQUEST = "Exception in ASGI application"
"""The traceback after this belongs to one request; the engine goes on."""

_PLAIN = re.compile(
    r"^(?:\[?(?:ERROR|FATAL|CRITICAL)\]?\b|Segmentation fault|Bus error|terminate called|Fatal Python error)"
)
_USAGE = re.compile(r"^(?:vllm(?: [\w-]+)*|[\w-]+\.py): error: ")
"""What argparse says of words it refuses; compilers, which an engine may run while it serves, speak in the same form."""
_SHELL = re.compile(
    r"line \d+:.*(?:Killed|Aborted|Bus error|Segmentation fault|command not found|cannot execute)"
    r"|: exec: \S+: not found$|\b(?:vllm|python[\d.]*)\W?: (?:not found|No such file or directory)$"
)
_MARKED = re.compile(r"Segfault encountered|Watchdog caught collective operation timeout")
_BARE = (_PLAIN, _USAGE, _SHELL, _MARKED)
"""Lines without a level that are errors all the same."""
_LAST = re.compile(r"^[A-Za-z_][\w.]*(?::\s|:?$)")
_SOURCE = re.compile(r"^ {4}\s*(?![\^~\s])\S")
_DETAILED = re.compile(r"validation errors? for")
_CANN = re.compile(r"ERR\d{5}|(?i:ErrCode|error code|inner error|hccl|acl)")
_CODE = re.compile(r"(?:\b[A-Z]\w+(?:/\w+)?)?\(?\bE[A-Z0-9]\d{4}\)?: *(?!Inner Error)\S.*")
"""A code of CANN with its words, before 8.3 bare, later with its name before it; `Inner Error!` only announces the next one."""
_WHAT = re.compile(r"^\s+what\(\):\s+(\S.*)")
"""What a C++ exception that nobody caught says of itself, right below the line that says so."""
_CANN_LINES = 8
"""CANN's own words, which begin with a code such as EI0006, follow within so many lines."""
_UNNAMED = re.compile(r"Error:\s*$")
_COMPILER = re.compile(r"\berror: (\S.*)|^(bishengir-compile: .*)")
"""What the compiler below an exception without words says, as Triton's."""


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of an engine's log, taken apart."""

    text: str
    """Without prefix, level and place; escapes and carriage returns gone."""
    process: str = ""
    """`EngineCore_DP0`, `Worker_TP3` …; empty when the line has no prefix."""
    level: str = ""
    time: str = ""
    """`MM-DD HH:MM:SS` on the container's clock; empty when the line has none."""
    offset: int = 0
    """Where the line starts in the log, bytes."""


@dataclass(slots=True)
class _Trace:
    start: LogLine
    request: bool = False
    """It belongs to one request."""
    explains: bool = False
    """It belongs to the plain error line that is the cause so far."""
    source: str = ""
    """The line of code shown last: all that an assertion without words says."""


@dataclass(slots=True)
class ErrorFinder:
    """Keeps the first cause, the first wrapper and whether the engine said that it is dead."""

    cause: LogLine | None = None
    wrapper: LogLine | None = None
    deadly: LogLine | None = None
    _traces: dict[str, _Trace] = field(default_factory=dict)
    _headline: LogLine | None = None
    """The plain error line that is the cause so far; a traceback right after it explains it better."""
    _detail: str | None = None
    """Process whose next lines explain the cause: pydantic and CANN put the reason below."""
    _left: int = 0
    """How many of them may still do so."""
    _request: set[str] = field(default_factory=set)

    @property
    def hungry(self) -> bool:
        """Whether every line is wanted, not only those with a needle."""
        return bool(self._traces) or self._detail is not None

    @property
    def needles(self) -> tuple[bytes, ...]:
        """What a line must hold one of to be worth handing in, unless hungry."""
        if self.cause is None:
            return _ANY
        headline = (b"Traceback",) if self._headline is not None else ()
        return headline if self.deadly is not None else headline + _DEADLY_WORDS

    @property
    def best(self) -> LogLine | None:
        """The line to show: the cause, or a wrapper when nothing better was said."""
        found = self.cause or self.deadly or self.wrapper
        if self.cause is None and found is not None and "EngineDeadError" in found.text:
            return replace(found, text=_UNSAID)
        return found

    def survived(self) -> None:
        """Forget what was said so far: the engine went on, so it explains nothing."""
        if self.deadly is None:
            self.cause = self.wrapper = self._headline = self._detail = None

    def line(self, line: LogLine) -> None:
        """Take the next line that has a needle, or any next line while hungry."""
        if self._traces:
            self._traces = {
                each: trace for each, trace in self._traces.items() if line.offset - trace.start.offset < TRACE_BYTES
            }
        if self._detail is not None and (self._detail == line.process or self._far(line)) and self._below(line):
            return
        if line.text.startswith("Traceback (most recent call last)"):
            self._open(line)
        elif line.process in self._traces and line.level in ("", "ERROR", "CRITICAL"):
            self._inside(line)
        else:
            self._outside(line)

    def _far(self, line: LogLine) -> bool:
        return self.cause is None or line.offset - self.cause.offset > TRACE_BYTES

    def _below(self, line: LogLine) -> bool:
        if self.cause is None or line.process != self._detail:
            self._detail = None
            return False
        self._left -= 1
        pydantic = _DETAILED.search(self.cause.text) is not None
        pattern = _COMPILER if _UNNAMED.search(self.cause.text) else _CODE
        words = None if pydantic else pattern.search(line.text) or _WHAT.match(line.text)
        if self._left <= 0 or pydantic or words:
            self._detail = None
        text = (
            line.text.strip().partition(" [type=")[0]
            if pydantic and line.text.startswith("  ")
            else next(filter(None, words.groups()), words[0])
            if words
            else ""
        )
        if text:
            self.cause = replace(self.cause, text=f"{self.cause.text.removesuffix(':')}: {text.strip()}")
        return bool(text)

    def _open(self, line: LogLine) -> None:
        request = line.process in self._request
        self._request.discard(line.process)
        above = self._headline
        explains = above is not None and above.process == line.process and line.offset - above.offset < _NEAR
        self._headline = None
        if self.cause is None or explains:
            self._traces[line.process] = _Trace(line, request, explains)

    def _inside(self, line: LogLine) -> None:
        if not line.text or line.text[0] in " \t" or not _LAST.match(line.text):
            if _SOURCE.match(line.text):
                self._traces[line.process].source = line.text.strip()
            return
        trace = self._traces.pop(line.process)
        if trace.request:
            return
        if trace.source and line.text.strip() == "AssertionError":
            line = replace(line, text=f"AssertionError: {trace.source}")
        self._note(replace(line, time=line.time or trace.start.time), trace.explains)
        if self.cause is not None and self.cause.offset == line.offset:
            pydantic = _DETAILED.search(line.text) is not None
            below = _UNNAMED if _UNNAMED.search(line.text) else _CANN
            if pydantic or (below.search(line.text) and not _CODE.search(line.text)):
                self._detail, self._left = line.process, 1 if pydantic else _CANN_LINES

    def _outside(self, line: LogLine) -> None:
        text = line.text
        if _REQUEST in text:
            self._request.add(line.process)
        elif line.level in ("ERROR", "CRITICAL") and text[:1] not in (" ", "\t"):
            before = self.cause
            self._note(line)
            self._headline = self.cause if self.cause is not before else None
        elif not line.level and any(pattern.search(text) for pattern in _BARE):
            self._note(line)
            if self.cause is not None and self.cause.offset == line.offset and text.startswith("terminate called"):
                self._detail, self._left = line.process, 1

    def _note(self, line: LogLine, explains: bool = False) -> None:
        if _HARMLESS.search(line.text) or not line.text.strip():
            return
        line = replace(line, text=line.text.strip())
        if self.deadly is None and (_DEADLY.search(line.text) or _USAGE.match(line.text)):
            self.deadly = line
        if _WRAPPERS.search(line.text):
            self.wrapper = self.wrapper or line
        elif self.cause is None or explains:
            self.cause = line
