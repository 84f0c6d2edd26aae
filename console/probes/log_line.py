"""One line of an engine's log, taken apart: which process wrote it, at which level, when, and what it says.

Reads the heads of vLLM 0.6 to 0.29, of Ray's workers and of torch. Which lines matter is not decided here.
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
"""Where in the code a line was written, behind its stamp."""
_BARE_LEVEL = re.compile(r":\s+")
"""How uvicorn goes on after a level."""
_OTHERWISE = re.compile(
    r"\[?(?P<stamp>\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(?:[.,]\d{1,6})?)\]?(?: -)? "
    r"\[?(?P<level>DEBUG|INFO|WARNING|ERROR|CRITICAL)\]?(?: (?:-|\d+|\[\w+\]))* "
    r"\[?(?:[\w./]+\.py:\d+\b|(?:[\w.]*\.)?vllm[\w.]*)\]?:?(?! --)(?: (?:-|>>>))? ?"
)
"""The head where VLLM_LOGGING_CONFIG_PATH asks for one of Python's: the stamp first, a thread or a process id between."""


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of an engine's log, taken apart."""

    text: str
    """Without prefix, level and place; escapes and carriage returns gone."""
    process: str = ""
    """`EngineCore_DP0`, `Worker_TP3` …; empty when the line has no prefix."""
    level: str = ""
    time: str = ""
    """Its stamp as written, on the container's clock; empty when the line has none."""
    offset: int = 0
    """Where the line starts in the log, bytes."""


def parse(raw: bytes, offset: int = 0) -> LogLine:
    """Take a line apart; `offset` is where it starts in its log."""
    return taken_apart(text_of(raw), offset)


def taken_apart(text: str, offset: int = 0) -> LogLine:
    """The same for a line that is text already."""
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
    """Which process wrote a line, of its text; empty without a prefix."""
    head = _PROCESS.match(text)
    return (head["process"] or "") if head else ""


def text_of(raw: bytes) -> str:
    """A line as text: escapes gone; of what carriage returns rewrote, the prefix and the last state."""
    text = strip_escapes(raw.decode("utf-8", "replace")).rstrip("\r\n")
    if "\r" not in text:
        return text
    first, *_, last = text.split("\r")
    head = _PROCESS.match(first)
    return (first[: head.start("level")] if head and head["level"] else head[0] if head else "") + last
