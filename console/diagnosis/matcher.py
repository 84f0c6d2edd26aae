"""Log bytes as they stream in → which known failures they show, each at the line that shows it first.

One matcher follows one log. A log that is written calmly is looked at line by line; in a flood only lines with an error or a
warning are, so that the cost stays far below that of moving the bytes. Who failed first over all ranks is `timeline`'s job.
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
"""In one second of a log so many bytes are looked at line by line; a flood is what exceeds it."""
CALM_START = 1024 * 1024
"""The first bytes of a log are always looked at line by line; a whole start fits in."""
FLOOD_LINES = 5000
"""Of a flood at most so many suspicious lines are looked at in one second."""
DULL_LINES = 2048
"""So many messages that show nothing are remembered, because tracebacks and floods repeat themselves."""
LINE_BYTES = 8 * 1024

_SUSPECT = (
    (b"R", re.compile(rb"R(?:ROR|N)")),
    (
        b"E",
        re.compile(rb"E(?=[rRILZJE013n])(?:rror|RR|I0|L0|Z9|J0|E1|3000|[01]\d[0-3]\d \d\d:|ngine \d+: A|ngines Agg)"),
    ),
)
"""What a flood is searched for. Each starts with one letter that is rare in chatter: such a search runs at memory speed."""
_ENGINE = re.compile(r"\bEngine (\d{1,6}): ")
_LEVEL = re.compile(rb"(?:^|[ \[m])(DEBUG|INFO|WARNING|ERROR|CRITICAL)\b")
_WARNING = re.compile(r"(?:^|[ \[m(])WARN(?:ING)?\b")
"""A warning tells of no start that failed: what is fatal is said as an error as well."""
_RAISE = re.compile(r"(?:^|\]|\)) {2,}raise \w")
"""A line of a traceback that quotes the program; what it raised stands further down."""
_EXCEPTION = re.compile(r"(?:^|[ ])[A-Za-z_][\w.]*(?:Error|Exception): ")
"""An exception is what failed, whatever was said before it."""
_OTHER_LEVELS = (b"DEBUG", b"WARNING", b"ERROR", b"CRITICAL")
_CHATTY = (b"DEBUG", b"INFO")
"""Levels at which vLLM repeats prompts, answers, URLs and arguments word by word."""
_QUOTED = re.compile(rb"['\"`{]")
"""Where such a repetition starts."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A signature seen in one log."""

    signature: Signature
    text: str
    """The line that showed it first; untrusted, clean it before drawing."""
    offset: int
    """Where that line starts in the log, bytes."""
    time: str
    """Its stamp as written, or that of a line before it that is near enough; empty without, container clock."""
    at: float
    """When it arrived, the caller's clock."""
    process: str = ""
    count: int = 1
    last: tuple[str, float] = ("", 0.0)
    """Of the last such line: its stamp as written, and when it arrived."""


@dataclass(slots=True)
class _Progress:
    """How far one signature is on its way to a hit."""

    first: Hit | None = None
    """Of the row that was long enough first."""
    rows: dict[str, tuple[Hit, int]] = field(default_factory=dict)
    """Engine, where the line names one of several → first line and length of its row."""
    count: int = 0
    last: tuple[str, float] = ("", 0.0)
    also: set[str] = field(default_factory=set)
    void: bool = False
    """Whether something was seen that brings it about."""


class Matcher:
    """Feed it the bytes of one log in order; read `hits` at any time."""

    def __init__(self, signatures: Iterable[Signature], *, calm_bytes: float = CALM_BYTES) -> None:
        """`calm_bytes` is what one second of the log may have to be looked at line by line; `math.inf` for a file at rest."""
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
        """The last `CARRY_BYTES` as they came, each piece with its arrival: stamps are looked for only when one is wanted."""
        self._last = b""
        self._last_at = 0.0
        self._last_offset = 0
        self._dull: set[bytes] = set()

    @property
    def hits(self) -> tuple[Hit, ...]:
        """What was seen, in the order in which it was shown first."""
        found = [hit for each in self._signatures if (hit := self._hit(each)) is not None]
        return tuple(sorted(found, key=lambda hit: hit.offset))

    def silent(self, now: float) -> tuple[Hit, ...]:
        """Signatures of a log that went silent: their line is the last one and has been for long enough."""
        last = _told(self._last, self._info_words).decode("utf-8", "replace")
        return tuple(
            Hit(each, last, self._last_offset, self._earlier(self._last_at), self._last_at)
            for each in self._signatures
            if each.silence_s is not None and now - self._last_at >= each.silence_s and each.matches(last)
        )

    def feed(self, data: bytes, at: float) -> None:
        """Take the next bytes of the log; `at` is when they came, on the caller's clock."""
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
            self._leave_behind(whole, at)
            self._keep_last(whole, at)
        self._offset += end
        self._tail = block[end:]

    def _suspects(self, block: bytes, second: int) -> Iterator[tuple[int, bytes]]:
        """(start in the block, line) of what must be looked at."""
        then, size, lines = self._second if self._second[0] == second else (second, 0, 0)
        calm = self._offset < CALM_START or size + len(block) <= self._calm_bytes
        starts = [] if calm else _starts(block, FLOOD_LINES - lines)
        self._second = (then, size + len(block), lines + len(starts))
        if calm:
            yield from self._calm(block)
        for start in starts:
            if told := _told(block[start : start + LINE_BYTES].split(b"\n", 1)[0], self._info_words):
                yield start, told

    def _calm(self, block: bytes) -> Iterator[tuple[int, bytes]]:
        start, words = 0, [word for word in self._info_words if word in block]
        for line in block.split(b"\n"):
            if told := _told(line, words):
                yield start, told[:LINE_BYTES]
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
                begun, length = state.rows.get(engine, (now, 0))
                state.rows[engine] = begun, length + 1
                state.first = begun if length + 1 >= signature.repeat else None

    def _shown(self, text: str, candidates: Iterable[Signature]) -> list[Signature]:
        """Which of them the line shows; a line that shows the contrary breaks a row."""
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
        """The last line that says more than that the engine waits."""
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

    def _leave_behind(self, block: bytes, at: float) -> None:
        self._behind.append((block[-CARRY_BYTES:], at))
        while len(self._behind) > 1 and sum(len(each) for each, _ in self._behind) > CARRY_BYTES:
            self._behind.popleft()

    def _earlier(self, at: float) -> str:
        """The stamp of the last line before this block that has one, when it came right before."""
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
    """Of a row of lines the engine it is about, where one log has several."""
    return named[1] if signature.repeat > 1 and (named := _ENGINE.search(text)) else ""


def _told(line: bytes, info_words: Sequence[bytes]) -> bytes:
    """What of a line may show a failure: all, or of a chatty level vLLM's own words where they hold one looked for there."""
    if not _plain_info(line[:80]):
        level = _LEVEL.search(line, 0, 80)
        if level is None or level[1] not in _CHATTY:
            return line
    own = _QUOTED.split(line, maxsplit=1)[0] if info_words else b""
    return own if any(word in own for word in info_words) else b""


def _plain_info(head: bytes) -> bool:
    """Whether a line is surely of level INFO; most are, and telling so costs a tenth of the pattern."""
    at = head.find(b" INFO")
    return at >= 0 and head[at + 5 : at + 6] in (b" ", b":") and not any(each in head[:at] for each in _OTHER_LEVELS)


def _starts(block: bytes, limit: int) -> list[int]:
    """Starts of the first lines of a flood that hold an error, a warning or a code of the driver."""
    starts: set[int] = set()
    for letter, pattern in _SUSPECT:
        at = block.find(letter)
        while at >= 0 and len(starts) < limit and (found := pattern.search(block, at)) is not None:
            starts.add(block.rfind(b"\n", 0, found.start()) + 1)
            at = block.find(b"\n", found.end())
            at = block.find(letter, at) if at >= 0 else -1
    return sorted(starts)
