"""Finds known failures in the bytes of a log as they arrive; each failure is reported at its first line.

One matcher reads one log. At a normal rate it checks every line. At a high rate it checks only lines with an error or a
warning, so that matching costs far less than copying the bytes. It does not compare ranks: see `root_cause`.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from console.diagnosis.signatures import Signature, waiting_words
from console.probes.log_line import process_of, text_of
from console.probes.log_time import CARRY_BYTES, CARRY_S, before, written

CALM_BYTES = 256 * 1024
"""Most bytes per second of a log that are checked line by line; more than that is a flood."""
CALM_START = 1024 * 1024
"""The first bytes of a log are always checked line by line; the log of a whole start is shorter."""
FLOOD_LINES = 5000
"""Most lines of a flood that are checked in one second."""
DULL_LINES = 2048
"""Most messages without a match that are remembered, because tracebacks and floods repeat them."""
LINE_BYTES = 8 * 1024

_SUSPECT = (
    (b"R", re.compile(rb"R(?:ROR|N)")),
    (
        b"E",
        re.compile(rb"E(?=[rRILZJE013n])(?:rror|RR|I0|L0|Z9|J0|E1|3000|[01]\d[0-3]\d \d\d:|ngine \d+: A|ngines Agg)"),
    ),
)
"""Patterns that find suspicious lines in a flood. Each starts with a letter that is rare in logs, so that the search is fast."""
_ENGINE = re.compile(r"\bEngine (\d{1,6}): ")
_LEVEL = re.compile(rb"(?:^|[ \[m])(DEBUG|INFO|WARNING|ERROR|CRITICAL)\b")
_WARNING = re.compile(r"(?:^|[ \[m(])WARN(?:ING)?\b")
"""A warning does not show a failed start: fatal failures are also logged as errors."""
_RAISE = re.compile(r"(?:^|\]|\)) {2,}raise \w")
"""A line of a traceback that quotes the program; the exception itself follows below."""
_EXCEPTION = re.compile(r"(?:^|[ ])[A-Za-z_][\w.]*(?:Error|Exception): ")
"""An exception shows the failure, whatever the lines before it show."""
_OTHER_LEVELS = (b"DEBUG", b"WARNING", b"ERROR", b"CRITICAL")
_CHATTY = (b"DEBUG", b"INFO")
"""Levels at which vLLM quotes prompts, answers, URLs and arguments."""
_QUOTED = re.compile(rb"['\"`{]")
"""The characters at which a quotation starts."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A signature that was found in one log."""

    signature: Signature
    text: str
    """The first line that shows it; untrusted: clean it before you draw it."""
    offset: int
    """The offset of that line in the log, in bytes."""
    time: str
    """The time stamp of the line as text (clock of the container), or of a line shortly before it; empty without one."""
    at: float
    """When the line arrived, on the caller's clock."""
    process: str = ""
    count: int = 1
    last: tuple[str, float] = ("", 0.0)
    """(time stamp as text, arrival) of the last line that shows it."""


@dataclass(slots=True)
class _Progress:
    """The matching state of one signature."""

    first: Hit | None = None
    """The first line of the first row with `repeat` lines."""
    rows: dict[str, tuple[Hit, int]] = field(default_factory=dict)
    """Engine (when the lines name one) → first line and length of its current row."""
    count: int = 0
    last: tuple[str, float] = ("", 0.0)
    also: set[str] = field(default_factory=set)
    void: bool = False
    """Whether a text of `unless` was seen, which explains later lines."""


class Matcher:
    """Takes the bytes of one log in order with `feed`; `hits` can be read at any time."""

    def __init__(self, signatures: Iterable[Signature], *, calm_bytes: float = CALM_BYTES) -> None:
        """`calm_bytes` is the limit per second for checking every line; `math.inf` for a file that does not grow."""
        self._calm_bytes = calm_bytes
        self._signatures = tuple(each for each in signatures if each.find)
        self._states = {each.id: _Progress() for each in self._signatures}
        by_word: dict[str, list[Signature]] = {}
        for each in self._signatures:
            for word in dict.fromkeys((*each.find, *each.also, *each.unless)):
                by_word.setdefault(word, []).append(each)
        self._words = tuple(by_word)
        self._by_word = {word: tuple(found) for word, found in by_word.items()}
        info = {word for each in self._signatures if each.info for word in each.find}
        self._info_words = tuple(word.encode() for word in info)
        self._waiting = waiting_words(self._signatures)
        self._tail = b""
        self._offset = 0
        self._second = (0, 0, 0)
        self._behind: deque[tuple[bytes, float]] = deque()
        """The last `CARRY_BYTES` as (piece, arrival); they are searched for a time stamp only when one is needed."""
        self._last = b""
        self._last_at = 0.0
        self._last_offset = 0
        self._dull: set[bytes] = set()

    @property
    def hits(self) -> tuple[Hit, ...]:
        """All hits in the order of their first lines."""
        found = [hit for each in self._signatures if (hit := self._hit(each)) is not None]
        return tuple(sorted(found, key=lambda hit: hit.offset))

    def silent(self, now: float) -> tuple[Hit, ...]:
        """Hits of signatures with `silence_s`: their line has been the last line of the log for that long at `now`."""
        last = _relevant(self._last, self._info_words).decode("utf-8", "replace")
        return tuple(
            Hit(each, last, self._last_offset, self._earlier(self._last_at), self._last_at)
            for each in self._signatures
            if each.silence_s is not None and now - self._last_at >= each.silence_s and each.matches(last)
        )

    def feed(self, data: bytes, at: float) -> None:
        """Read the next bytes of the log; `at` is their arrival on the caller's clock."""
        if not data:
            return
        block = self._tail + data
        end = block.rfind(b"\n") + 1
        if end == 0 and len(block) > 8 * LINE_BYTES:
            end = len(block)
        whole = block[:end]
        if whole:
            for start, line in self._suspects(whole, int(at)):
                self._line(whole, line, start, at)
            self._keep_end(whole, at)
            self._keep_last(whole, at)
        self._offset += end
        self._tail = block[end:]

    def _suspects(self, block: bytes, second: int) -> Iterator[tuple[int, bytes]]:
        """(start in the block, line) of every line that must be checked."""
        then, size, lines = self._second if self._second[0] == second else (second, 0, 0)
        calm = self._offset < CALM_START or size + len(block) <= self._calm_bytes
        starts = [] if calm else _starts(block, FLOOD_LINES - lines)
        self._second = (then, size + len(block), lines + len(starts))
        if calm:
            yield from self._calm(block)
        for start in starts:
            if text := _relevant(block[start : start + LINE_BYTES].split(b"\n", 1)[0], self._info_words):
                yield start, text

    def _calm(self, block: bytes) -> Iterator[tuple[int, bytes]]:
        start, words = 0, [word for word in self._info_words if word in block]
        for line in block.split(b"\n"):
            if text := _relevant(line, words):
                yield start, text[:LINE_BYTES]
            start += len(line) + 1

    def _line(self, block: bytes, raw: bytes, start: int, at: float) -> None:
        message = raw[raw.find(b"] ", 0, 160) + 1 :]
        if message in self._dull:
            return
        text = text_of(raw)
        words = [word for word in self._words if word in text]
        if not words or _RAISE.search(text, 0, 200):
            if len(self._dull) >= DULL_LINES:
                self._dull.clear()
            self._dull.add(message)
            return
        candidates = dict.fromkeys(signature for word in words for signature in self._by_word[word])
        shown = self._shown(text, candidates)
        known = [each for each in shown if not each.wrapper and each.severity != "advice"]
        exact = any(not each.vague for each in known)
        explained = {id for each in shown for id in each.explains}
        for signature in shown:
            if (exact and signature.vague) or (known and signature.wrapper) or signature.id in explained:
                continue
            state = self._states[signature.id]
            state.count += 1
            if signature.lasts_s is not None:
                state.last = written(raw), at
            if state.first is None:
                engine = _engine(signature, text)
                time = written(raw) or before(block, start) or self._earlier(at)
                now = Hit(signature, text.strip()[:2000], self._offset + start, time, at, process_of(text))
                start_of_row, length = state.rows.get(engine, (now, 0))
                state.rows[engine] = start_of_row, length + 1
                state.first = start_of_row if length + 1 >= signature.repeat else None

    def _shown(self, text: str, candidates: Iterable[Signature]) -> list[Signature]:
        """The signatures that the line shows; a line with `find` but without `pattern` resets the row of its signature."""
        shown = []
        warning = _WARNING.search(text, 0, 120) is not None
        for signature in candidates:
            state = self._states[signature.id]
            state.also.update(word for word in signature.also if word in text)
            state.void = state.void or any(word in text for word in signature.unless)
            if state.void and state.first is None and not _EXCEPTION.search(text):
                continue
            if (warning and signature.severity == "fatal" and not signature.info) or not any(
                word in text for word in signature.find
            ):
                continue
            if signature.pattern is not None and not signature.pattern.search(text):
                state.rows.pop(_engine(signature, text), None)
            else:
                shown.append(signature)
        return shown

    def _keep_last(self, whole: bytes, at: float) -> None:
        """Keep the last line that is not only a sign of waiting."""
        block = whole[-LINE_BYTES:]
        text = block.rstrip()
        while text:
            start = text.rfind(b"\n") + 1
            line = text[start:]
            if not any(word in line for word in self._waiting):
                offset = self._offset + len(whole) - len(block) + start
                self._last, self._last_at, self._last_offset = line, at, offset
                return
            text = text[:start].rstrip()

    def _keep_end(self, block: bytes, at: float) -> None:
        self._behind.append((block[-CARRY_BYTES:], at))
        while len(self._behind) > 1 and sum(len(each) for each, _ in self._behind) > CARRY_BYTES:
            self._behind.popleft()

    def _earlier(self, at: float) -> str:
        """The last time stamp before this block, when it arrived shortly before; else an empty text."""
        for block, came in reversed(self._behind):
            if at - came > CARRY_S:
                return ""
            if time := before(block, len(block)):
                return time
        return ""

    def _hit(self, signature: Signature) -> Hit | None:
        state = self._states[signature.id]
        if state.first is None or (signature.also and not state.also):
            return None
        if signature.silence_s is not None:
            return None
        first = state.first
        return replace(first, count=state.count, last=state.last)


def _engine(signature: Signature, text: str) -> str:
    """The engine that a line of a row names, when one log has several engines; else an empty text."""
    return named[1] if signature.repeat > 1 and (named := _ENGINE.search(text)) else ""


def _relevant(line: bytes, info_words: Sequence[bytes]) -> bytes:
    """The part of a line that can show a failure: all of it, but of a DEBUG or INFO line only text of vLLM itself."""
    if not _plain_info(line[:80]):
        level = _LEVEL.search(line, 0, 80)
        if level is None or level[1] not in _CHATTY:
            return line
    own = _QUOTED.split(line, maxsplit=1)[0] if info_words else b""
    return own if any(word in own for word in info_words) else b""


def _plain_info(head: bytes) -> bool:
    """Whether a line certainly has the level INFO. Most lines have it, and this test is ten times faster than the pattern."""
    at = head.find(b" INFO")
    return at >= 0 and head[at + 5 : at + 6] in (b" ", b":") and not any(each in head[:at] for each in _OTHER_LEVELS)


def _starts(block: bytes, limit: int) -> list[int]:
    """The starts of the first `limit` lines of a flood with an error, a warning or a code of the driver."""
    starts: set[int] = set()
    for letter, pattern in _SUSPECT:
        at = block.find(letter)
        while at >= 0 and len(starts) < limit and (found := pattern.search(block, at)) is not None:
            starts.add(block.rfind(b"\n", 0, found.start()) + 1)
            at = block.find(b"\n", found.end())
            at = block.find(letter, at) if at >= 0 else -1
    return sorted(starts)
