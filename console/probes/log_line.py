"""Parses one line of an engine's log: its process, level, time and text.

It knows the line heads of vLLM 0.6 to 0.29, of the workers of Ray and of torch.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from console.probes.log_time import span
from console.probes.sanitize import strip_escapes

_PROCESS = re.compile(
    r"(?:\((?P<process>[^ ()]+(?: rank=\d+)?) pid=\d+(?:, ip=[^ ()]*)?\) ?)*(?:\[rank\d+\]: )?"
    r"(?P<level>DEBUG|INFO|WARNING|ERROR|CRITICAL)?"
)
_PLACE = re.compile(r" (?:\[[^\]]*\]|[\w./]+:\d+\]) ?")
"""The place in the code after the time stamp."""
_BARE_LEVEL = re.compile(r":\s+")
"""The separator of uvicorn after a level."""
_OTHERWISE = re.compile(
    r"\[?(?P<stamp>\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(?:[.,]\d{1,6})?)\]?(?: -)? "
    r"\[?(?P<level>DEBUG|INFO|WARNING|ERROR|CRITICAL)\]?(?: (?:-|\d+|\[\w+\]))* "
    r"\[?(?:[\w./]+\.py:\d+\b|(?:[\w.]*\.)?vllm[\w.]*)\]?:?(?! --)(?: (?:-|>>>))? ?"
)
"""The head where VLLM_LOGGING_CONFIG_PATH asks for one of Python's: the stamp first, a thread or a process id between."""


@dataclass(frozen=True, slots=True)
class LogLine:
    """A parsed line of an engine's log."""

    text: str
    """The text without prefix, level, place, escape sequences and carriage returns."""
    process: str = ""
    """`EngineCore_DP0`, `Worker_TP3` …; empty when the line has no prefix."""
    level: str = ""
    time: str = ""
    """Its time stamp as text, on the clock of the container; empty without one."""
    offset: int = 0
    """Offset of the line in the log, in bytes."""


def parse(raw: bytes, offset: int = 0) -> LogLine:
    """Parse a line; `offset` is its start in the log."""
    return parse_text(text_of(raw), offset)


def parse_text(text: str, offset: int = 0) -> LogLine:
    """The same for a line that is already text."""
    head = _PROCESS.match(text)
    if head is None:
        return LogLine(text, offset=offset)
    process, level, end = head["process"] or "", head["level"] or "", head.end()
    if not level:
        other = _OTHERWISE.match(text, end) if text[end : end + 1] in ("[", "2") else None
        if other is not None:
            return LogLine(text[other.end() :], process, other["level"], other["stamp"], offset)
        return LogLine(text[end:], process, offset=offset)
    stamp = span(text)
    if stamp is not None and stamp[0] == end + 1 and (place := _PLACE.match(text, stamp[1])) is not None:
        return LogLine(text[place.end() :], process, level, text[slice(*stamp)], offset)
    if (bare := _BARE_LEVEL.match(text, end)) is not None:
        return LogLine(text[bare.end() :], process, level, "", offset)
    return LogLine(text[head.start("level") :], process, offset=offset)


def process_of(text: str) -> str:
    """The process in the prefix of a line; empty without a prefix."""
    head = _PROCESS.match(text)
    return (head["process"] or "") if head else ""


def text_of(raw: bytes) -> str:
    """A line as text without escape sequences; of parts that carriage returns rewrote, the prefix and the last state."""
    text = strip_escapes(raw.decode("utf-8", "replace")).rstrip("\r\n")
    if "\r" not in text:
        return text
    first, *_, last = text.split("\r")
    head = _PROCESS.match(first)
    return (first[: head.start("level")] if head and head["level"] else head[0] if head else "") + last
