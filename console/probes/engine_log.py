"""Reads the log of an engine as it arrives: the phase of its start, whether it serves, its errors and its load.

Bytes arrive in any pieces; lines without a known mark cost almost nothing. The patterns are those of vLLM since 0.8 with
their vllm-ascend; matching never depends on file names or line numbers, which move between versions. It does not
match known failures (`console.diagnosis`) and does not store the log (`console.services.logs`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from console.probes.log_activity import Activity
from console.probes.log_errors import ErrorFinder
from console.probes.log_line import LogLine, parse, text_of
from console.probes.log_search import found
from console.probes.log_shutdown import CORE_GONE, EndFinder
from console.probes.log_throughput import Throughput, ThroughputLines
from console.probes.sanitize import clean

LINE_BYTES = 16 * 1024
"""Most bytes of a line that are read."""
SURVIVED_S = 60.0
"""When an engine still serves this long after an error, the error concerned one request and explains no later exit."""
TEXT_CHARS = 600
"""Most characters of an error line that are shown."""


class Phase(StrEnum):
    """The phases of a start, in order. A start never goes back to an earlier phase."""

    START = "start"
    PLUGIN = "plugin"
    CONFIG = "config"
    PEERS = "peers"
    """Waiting for the other engines of the data-parallel group; vLLM writes no INFO lines in this phase."""
    ENGINE = "engine"
    DISTRIBUTED = "distributed"
    LOAD = "load"
    MEMORY = "memory"
    KV = "kv"
    GRAPH = "graph"
    ENGINE_READY = "engine-ready"
    """The last phase that a headless engine reports."""
    SERVING = "serving"
    STOPPING = "stopping"
    ENDED = "ended"

    @property
    def order(self) -> int:
        """The position of the phase, for comparisons."""
        return _ORDER[self]


_ORDER = {phase: at for at, phase in enumerate(Phase)}

SHARE = {
    Phase.START: 0.0, Phase.PLUGIN: 0.01, Phase.CONFIG: 0.02, Phase.PEERS: 0.04, Phase.ENGINE: 0.05, Phase.DISTRIBUTED: 0.08,
    Phase.LOAD: 0.12, Phase.MEMORY: 0.70, Phase.KV: 0.75, Phase.GRAPH: 0.78, Phase.ENGINE_READY: 0.96, Phase.SERVING: 1.0,
}  # fmt: skip
"""Phase → share of the whole start before it. Loading takes most of the time: 361 s of 8 to 20 minutes were published."""

_PART = "headless multiproc executor"
"""A text in the log of the second and later parts of an engine that spans nodes (vLLM 0.21 entrypoints/cli/serve.py)."""
_MARKS: tuple[tuple[bytes, Phase], ...] = (
    (b"Available plugins for group vllm.platform_plugins", Phase.PLUGIN),
    (b"Platform plugin", Phase.PLUGIN),
    (b"non-default args:", Phase.CONFIG),
    (b"Resolved architecture:", Phase.CONFIG),
    (b"Started DP Coordinator process", Phase.PEERS),
    (b"data parallel engine(s) in headless mode", Phase.PEERS),
    (_PART.encode(), Phase.PEERS),
    (b" LLM engine (v", Phase.ENGINE),
    (b"distributed_init_method=", Phase.DISTRIBUTED),
    (b"Starting to load model", Phase.LOAD),
    (b"Prefetching checkpoint files", Phase.LOAD),
    (b"checkpoint shards:", Phase.LOAD),
    (b"loading shards:", Phase.LOAD),
    (b"Loading weights took", Phase.LOAD),
    (b"Available KV cache memory", Phase.MEMORY),
    (b"Available memory: ", Phase.MEMORY),
    (b"KV cache size:", Phase.KV),
    (b"Starting to capture ", Phase.GRAPH),
    (b"Capturing ", Phase.GRAPH),
    (b"Graph capturing finished", Phase.GRAPH),
    (b"init engine (profile", Phase.ENGINE_READY),
    (b"Application startup complete", Phase.SERVING),
    (b"Shutdown initiated", Phase.STOPPING),
    (b"[shutdown] EngineCore: trigger received", Phase.STOPPING),
    (b"[shutdown] API server: shutdown triggered", Phase.STOPPING),
    (b"Shutting down", Phase.STOPPING),
    (b"processes to exit", Phase.STOPPING),
    (b"Shutting down.", Phase.ENDED),  # a headless node's last line; the servers' own have no full stop and come first
    (b"Application shutdown complete", Phase.ENDED),
    (b"Finished server process", Phase.ENDED),
)
_OWN_MARKS = tuple((mark.decode(), phase) for mark, phase in _MARKS)
_QUOTED = re.compile(r"['\"`{]")
"""The end of vLLM's own text: what follows can quote a prompt, an answer, a URL or an argument."""
_FACTS = (b"version ", b"Starting vLLM ", b"Uvicorn running on", b"throughput: ")
_NEEDLES = {
    now: tuple(
        mark
        for mark, phase in _MARKS
        if (phase.order > now.order or phase is Phase.ENGINE_READY)
        and not any(mark != each and each in mark and then.order > now.order for each, then in _MARKS)
    )
    + ((b"throughput: ",) if now.order >= Phase.SERVING.order else _FACTS)
    + ((CORE_GONE.encode(),) if now.order < Phase.STOPPING.order else ())
    + ((b"shards:",) if now is Phase.LOAD else ())
    for now in Phase
}
"""The texts to search for in each phase, without those of earlier phases."""

_BAR = re.compile(
    r"(?P<what>Prefetching checkpoint files|shards|Capturing [^:]*):"
    r".*?(?P<percent>\d{1,3})%.*?\b(?P<done>\d{1,9})/(?P<all>\d{1,9})\b"
)
_VERSION = re.compile(r"(?:[▀▄█] +version |API server version |LLM engine \(v)(\d+\.\d+[\w.+-]*)")
_ADDRESS = re.compile(
    r"(?:Starting vLLM (?:API )?server(?: \d+)?|Uvicorn running) on https?://(?:\[[^\]]*\]|[^\s:/]*):(\d{1,5})\b"
)
_ARG_PORT = re.compile(r"'port': (\d{1,5})\b")
_ARG_NAME = re.compile(r"'served_model_name': \['([^']*)'")
_ARG_MODEL = re.compile(r"'model': '([^']*)'")
_HEADLESS = re.compile(r"Launching (\d{1,5}) data parallel engine\(s\) in headless mode")


@dataclass(frozen=True, slots=True)
class LogState:
    """The state of an engine according to its log."""

    phase: Phase = Phase.START
    progress: float | None = None
    """Progress of the whole start, 0–1; None before the first line."""
    progress_text: str = ""
    """For example `shard 12/64`."""
    ready: bool = False
    """Whether an API server serves, or all engines of a headless node are up. False after it stops or dies."""
    up_offset: int | None = None
    """Offset of the line that shows it ready for the first time, in bytes; None before."""
    headless: bool = False
    dead: str = ""
    """The line that shows that the engine does not serve any more; for a headless engine also why its parent ended by itself."""
    died_at: str = ""
    """`MM-DD HH:MM:SS` (clock of the container) of the first line about its death or its end; a requested stop counts too."""
    ends_offset: int | None = None
    """Offset of the first line about its end, in bytes."""
    ends_since: float | None = None
    """Arrival of the first line about its end, on the caller's clock; None before."""
    first_error: str = ""
    """The line that explains a failure: the first cause, else a wrapper."""
    first_error_at: str = ""
    """Its time stamp as text, clock of the container; empty without one."""
    first_error_offset: int | None = None
    """Its offset in the log, in bytes."""
    first_error_process: str = ""
    port: int | None = None
    version: str = ""
    model: str = ""
    """Served name, else the path."""
    throughput: Throughput | None = None
    spoke_at: float | None = None
    """When it last wrote a line that is not only a sign of waiting, on the caller's clock."""
    waited_s: float | None = None
    """How long it has written only such lines, by its own time stamps; None when its last line is another one."""


@dataclass(slots=True)
class LaunchLog:
    """Takes the bytes of the log of one run in order with `feed`; `state` can be read at any time."""

    activity: Activity = field(default_factory=Activity)
    _tail: bytes = b""
    _skipping: bool = False
    _offset: int = 0
    """Offset of the first byte of the tail."""
    _phase: Phase = Phase.START
    _progress: float | None = None
    _text: str = ""
    _serving: bool = False
    _up_offset: int | None = None
    _engines: int = 0
    _wanted: int | None = None
    """Number of engines that a headless node announced."""
    _facts: dict[str, str] = field(default_factory=dict)
    _stats: ThroughputLines = field(default_factory=ThroughputLines)
    _ends: EndFinder = field(default_factory=EndFinder)
    _errors: ErrorFinder = field(default_factory=ErrorFinder)
    _at: float | None = None
    _cause_at: float | None = None

    def feed(self, data: bytes, at: float) -> None:
        """Read the next bytes of the log; `at` is their arrival on the caller's clock."""
        if not data:
            return
        self._at = at
        if self._progress is None:
            self._progress = 0.0
        if self._cause_at is not None and self._phase is Phase.SERVING and at - self._cause_at > SURVIVED_S:
            self._errors.survived()
            self._cause_at = None
        block, known = self._tail + data, len(self._tail)
        if self._skipping:
            end = block.find(b"\n")
            self._offset += len(block) if end < 0 else end + 1
            self._tail, block = b"", b"" if end < 0 else block[end + 1 :]
            self._skipping = end < 0
        end = block.rfind(b"\n") + 1
        self.activity.feed(block[:end], block[end:], at, known)
        self._scan(block[:end], self._offset)
        self._offset += end
        self._keep(block[end:])
        if self._errors.best is None:
            self._cause_at = None
        elif self._cause_at is None:
            self._cause_at = at

    @property
    def state(self) -> LogState:
        """The state that is known now."""
        error, deadly = self._errors.best, self._errors.deadly
        stopped = self._phase.order >= Phase.STOPPING.order
        headless = self._wanted is not None
        facts = self._facts
        return LogState(
            phase=self._phase,
            progress=self._progress,
            progress_text=self._text,
            ready=self._up and not stopped and deadly is None,
            up_offset=self._up_offset,
            headless=headless,
            dead=_shown(error.text if deadly and error else self._ends.death(headless, error, part="part" in facts)),
            died_at=self._ends.earliest(error if deadly else None),
            ends_offset=self._ends.first.offset if self._ends.first else None,
            ends_since=self._ends.seen_at if self._ends.first else None,
            first_error=_shown(error.text) if error else "",
            first_error_at=error.time if error else "",
            first_error_offset=error.offset if error else None,
            first_error_process=_shown(error.process) if error else "",
            port=int(facts["port"]) if "port" in facts else None,
            version=facts.get("version", ""),
            model=_shown(facts.get("model", "")),
            throughput=self._stats.total(),
            spoke_at=self.activity.spoke_at,
            waited_s=self.activity.waited_s,
        )

    @property
    def _up(self) -> bool:
        return self._engines >= self._wanted if self._wanted is not None else self._serving

    def _keep(self, tail: bytes) -> None:
        """Keep an unfinished line; of a progress bar only its newest state, of a very long line only its start."""
        at = tail.rstrip(b"\r").rfind(b"\r")
        if at > 0:
            head = tail[: tail.find(b")") + 1] if tail.startswith(b"(") else b""
            self._offset += at - len(head)
            tail = head + tail[at:]
            if b"%" in tail:
                self._bar(text_of(tail))
        if len(tail) > 4 * LINE_BYTES:
            self._scan(tail, self._offset)
            self._offset += len(tail)
            self._skipping, tail = True, b""
        self._tail = tail

    def _scan(self, block: bytes, offset: int) -> None:
        position, hits = 0, self._hits(block)
        while position < len(block):
            start = position if self._errors.hungry else next((each for each in hits if each >= position), -1)
            if start < 0:
                return
            end = block.find(b"\n", start)
            end = len(block) if end < 0 else end
            self._line(block[start : min(end, start + LINE_BYTES)], offset + start)
            position = end + 1

    def _hits(self, block: bytes) -> Iterator[int]:
        """The starts of lines that can matter, in order."""
        marks = _NEEDLES[self._phase]
        if self._phase is Phase.SERVING and "port" not in self._facts:
            marks += (b"Uvicorn running on",)
        alive = self._phase.order < Phase.STOPPING.order
        return iter(found(block, marks, self._errors.needles if alive else (), LINE_BYTES))

    def _line(self, raw: bytes, offset: int) -> None:
        line = parse(raw, offset)
        if self._phase.order < Phase.STOPPING.order:
            self._errors.line(line)
        if line.level in ("ERROR", "WARNING", "CRITICAL"):
            return
        own = _QUOTED.split(line.text, maxsplit=1)[0]
        for mark, phase in _OWN_MARKS:
            if mark in own:
                self._reach(phase, own, line)
        if self._up_offset is None and self._up:
            self._up_offset = offset
        if CORE_GONE in own and self._phase.order < Phase.STOPPING.order:
            self._ends.note(line, self._at or 0.0)
        if "throughput: " in own:
            self._stats.line(own, self._at or 0.0)
        elif self._phase.order <= Phase.SERVING.order:
            self._learn(own, line.text)

    def _learn(self, text: str, whole: str) -> None:
        if found := _VERSION.search(text):
            self._facts.setdefault("version", found[1])
        if found := _ADDRESS.search(text):
            self._facts["port"] = found[1]
        if found := _HEADLESS.search(text):
            self._wanted = int(found[1])
        if _PART in text:
            self._facts["part"] = "1"
        if "non-default args:" in text:
            if found := _ARG_PORT.search(whole):
                self._facts["port"] = found[1]
            if found := _ARG_NAME.search(whole) or _ARG_MODEL.search(whole):
                self._facts["model"] = found[1]
        if "%" in text:
            self._bar(text)

    def _reach(self, phase: Phase, text: str, line: LogLine) -> None:
        if phase.order >= Phase.STOPPING.order:
            self._ends.note(line, self._at or 0.0, over=phase is Phase.ENDED)
        if phase is Phase.GRAPH and not any(word in text for word in ("%", "finished", "Starting to")):
            return
        if phase is Phase.ENGINE_READY:
            self._engines += 1
        self._serving |= phase is Phase.SERVING
        if phase.order <= self._phase.order:
            return
        if phase is Phase.SERVING:
            self._errors.survived()
        self._phase, self._text = phase, ""
        self._advance(SHARE.get(phase, 0.0))

    def _bar(self, text: str) -> None:
        found = _BAR.search(text)
        if found is None or self._phase.order > Phase.GRAPH.order:
            return
        graph = found["what"].startswith("Capturing")
        if graph and self._phase.order < Phase.GRAPH.order:
            self._phase = Phase.GRAPH
        elif not graph and self._phase.order > Phase.LOAD.order:
            return
        done, whole = int(found["done"]), max(1, int(found["all"]))
        word = "graph" if graph else "shard" if found["what"] == "shards" else "prefetch"
        self._text = f"{word} {done}/{whole}"
        begin, end = (
            (SHARE[Phase.GRAPH], SHARE[Phase.ENGINE_READY]) if graph else (SHARE[Phase.LOAD], SHARE[Phase.MEMORY])
        )
        if word != "prefetch":
            self._advance(begin + (end - begin) * min(1.0, done / whole))

    def _advance(self, progress: float) -> None:
        self._progress = max(self._progress or 0.0, round(progress, 4))


def _shown(text: str) -> str:
    return clean(text[:TEXT_CHARS])
