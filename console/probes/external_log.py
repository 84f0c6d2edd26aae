"""Reads a log file from another source (an issue, docker, Kubernetes, CI) as the original lines, one stream per engine.

It removes what other tools add to a line: encodings, line ends, quotes and fences of Markdown, rests of colours, time stamps and
names of docker, Kubernetes, systemd and CI. The engine of a line is such a name, or the data-parallel rank of its process when
a file has several. It does not interpret the lines.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from console.probes.log_time import find
from console.probes.sanitize import strip_escapes

_HEAD = (
    r"(?:\([^()\s]+(?: rank=\d+)? pid=\d+[^()]*\)|(?:DEBUG|INFO|WARNING|ERROR|CRITICAL)(?::| \d)|Traceback \(most recent"
    r"|\[rank\d+\]:|\[(?:ERROR|INFO|WARNING)\]|[A-Za-z_][\w.]*(?:Error|Exception): )"
)
_HEADED = re.compile(_HEAD)
_COLOUR = re.compile(r"\[\d{1,3}(?:;\d{1,3})*m|(?:^|(?<=\)))(?:\d{1,2};?)*m(?=\(| |$)")
"""The rest of a colour code after a copy that lost the escape character, or all characters except the digits."""
_QUOTE = re.compile(r"^(?:\s{0,4}>\s?)+")
_FENCE = re.compile(r"^\s*(?:```|~~~)[\w -]*$")
_STAMP = r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?:Z|[+-]\d\d:?\d\d)"
_OUTER = tuple(
    re.compile(each)
    for each in (
        rf"(?P<stamp>{_STAMP}) [\w.-]+ [\w./@-]+(?:\[\d+\])?: ",  # journalctl -o short-iso
        rf"(?P<stamp>{_STAMP}) (?:(?:stdout|stderr) [FP] )?(?!- )",  # docker logs -t, kubectl --timestamps, CRI, GitHub
        rf"\[(?P<stamp>{_STAMP})\] ",  # Jenkins
        r"[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d(?:\.\d{1,6})? [\w.-]+ [\w./@-]+(?:\[\d+\])?: ",  # syslog, journalctl
        rf"[^\t]{{1,120}}\t[^\t]{{1,120}}\t\ufeff?(?P<stamp>{_STAMP}) ",  # gh run view --log
        r"\[pod/(?P<name>[\w.-]+)(?:/[\w.-]+)?\] ",  # kubectl --prefix
        r"##\[\w+\]",  # GitHub, Azure
    )
)
_NAMED = tuple(
    re.compile(each)
    for each in (
        r"(?P<name>[A-Za-z][\w.-]{0,63}) *\| ?",  # docker compose
        r"\[(?!rank\d|ERROR\b|INFO\b|WARNING\b|DEBUG\b|PID\b|Gloo\b)(?P<name>[A-Za-z][\w.-]{0,63})\]:? ",
        r"<(?P<name>[A-Za-z][\w.-]{0,63})> ",
        r"(?P<name>[A-Za-z][\w.-]{0,63}): ",  # pdsh, ansible
        r"(?P<name>[a-z][\w.-]{0,62}\d[\w.-]{0,62}) [a-z][\w.-]{0,63} ",  # stern
        r"\[[A-Za-z][\w -]{0,31}\] ",  # a tag that names no one: [RAW SERVER]
        r" {0,6}(?P<number>\d{1,7})(?:\t|: | \| | {2,})",  # line numbers of a viewer; tasks of srun -l
        r"(?:[\w./-]{1,200}:)?(?P<number>\d{1,7})[:-]",  # grep -n
    )
)
"""Prefixes of lines before a line head of vLLM; a name that was found once is removed from all lines."""
_NO_NAMES = frozenset({"DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL", "FATAL", "Exception", "Traceback", "TraceBack"})
_RANK = re.compile(
    r"^\((?:[A-Za-z]+(?:_[A-Z]+\d+)*?_?)?(?P<rank>DP\d+)(?:_\w+)? pid=(?P<pid>\d+)|^\((?P<other>[^()\s]+)[^()]* pid="
)
_OTHERS_PID = re.compile(r"^\[\w+\] ?\w*\((\d+),|^\[PID: ?(\d+)\]|\(PID: ?(\d+),")
_MOST_OUTER = 6
_CONTROLS = bytes(each for each in range(32) if each not in b"\b\t\n\f\r\x1b")
"""Bytes that are rare in logs and frequent in binary data."""


@dataclass(slots=True)
class Stream:
    """The original lines of one engine."""

    data: bytearray = field(default_factory=bytearray)
    _starts: list[int] = field(default_factory=list)
    _numbers: list[int] = field(default_factory=list)
    _stamps: dict[int, str] = field(default_factory=dict)

    def add(self, text: str, number: int, stamp: str) -> None:
        """Append a line from line `number` of the file; `stamp` is the time stamp that another tool added."""
        self._starts.append(len(self.data))
        self._numbers.append(number)
        if stamp:
            self._stamps[number] = stamp
        self.data += text.encode("utf-8", "replace") + b"\n"

    def number(self, offset: int) -> int:
        """The line number in the file, from 1, of an offset."""
        return self._numbers[bisect_right(self._starts, offset) - 1] if self._starts else 0

    def offset(self, number: int | None) -> int | None:
        """The offset of the first line at or after a line of the file; None for None."""
        if number is None:
            return None
        at = bisect_left(self._numbers, number)
        return self._starts[at] if at < len(self._starts) else len(self.data)

    def stamp(self, number: int) -> str:
        """The added time stamp of a line of the file; empty without one."""
        return self._stamps.get(number, "")

    def both(self) -> tuple[bytes, str] | None:
        """The first line with its own and an added time stamp, and the added one."""
        for start, number in zip(self._starts, self._numbers, strict=True):
            if (stamp := self._stamps.get(number)) is not None:
                line = bytes(self.data[start : self.data.find(b"\n", start)])
                if find(line) is not None:
                    return line, stamp
        return None

    def lines(self) -> Iterator[bytes]:
        """All lines, in order."""
        return iter(bytes(self.data).split(b"\n"))


def decoded(data: bytes) -> str | None:
    """The text of a file in any encoding; None for binary data."""
    for mark, encoding in ((b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"), (b"\xef\xbb\xbf", "utf-8")):
        if data.startswith(mark):
            return data[len(mark) :].decode(encoding, "replace")
    if data.startswith(b"\0\0\0\0"):
        data = data.lstrip(b"\0")  # zeros of a log that was truncated while it was written
    head = data[:4096]
    zeros = head.count(0)
    if zeros * 3 > len(head) > 1:
        even = head[::2].count(0)
        return data.decode("utf-16-be" if even * 2 > zeros else "utf-16-le", "replace")
    controls = len(head) - len(head.translate(None, _CONTROLS))
    return None if controls > len(head) // 20 else data.decode("utf-8", "replace")


def streams(text: str, name: str) -> dict[str, Stream]:
    """Engine → its lines in a file. `name` is the engine of lines without a name, and of a file with one engine."""
    ended = text.replace("\r\n", "\n").replace("^M\n", "\n")  # ^M is how an editor shows the carriage return
    lines = ended.split("\n")
    known = _names(lines)
    found: dict[str, Stream] = {name: Stream()}
    taken = [(number, *_inner(line, known)) for number, line in enumerate(lines, 1) if not _FENCE.match(line)]
    several = len({whose for _, whose, _, _ in taken if whose}) > 1
    for number, whose, stamp, inner in taken:
        found.setdefault((several and whose) or name, Stream()).add(inner, number, stamp)
    return {each: stream for each, stream in found.items() if stream.data.strip()}


def by_rank(stream: Stream, name: str) -> dict[str, Stream]:
    """Rank → its lines in the log of one engine; one stream when there is only one rank.

    Lines without a rank, such as those of the API server, keep the name. A line without a head belongs to the process whose id it
    names, else to the process of the line before.
    """
    ranks: dict[str, str] = {}
    lines = [line.decode("utf-8", "replace") for line in stream.lines()][:-1]
    for line in lines:
        if (found := _RANK.match(line)) and found["rank"]:
            ranks[found["pid"]] = found["rank"]
    if len(set(ranks.values())) < 2:
        return {name: stream}
    split: dict[str, Stream] = {name: Stream()}
    last = name
    for start, line in zip(stream._starts, lines, strict=True):
        number = stream.number(start)
        last = _owner(line, name, last, ranks)
        split.setdefault(last, Stream()).add(line, number, stream.stamp(number))
    return {each: one for each, one in split.items() if one.data.strip()}


def _owner(line: str, name: str, last: str, ranks: Mapping[str, str]) -> str:
    found = _RANK.match(line)
    if found is not None:
        return f"{name}/{found['rank']}" if found["rank"] else name
    pid = _OTHERS_PID.search(line)
    rank = ranks.get(next(filter(None, pid.groups()))) if pid else None
    if rank is not None:
        return f"{name}/{rank}"
    return name if find(line.encode()) is not None else last


def _is_bare(line: str) -> bool:
    """Whether a line certainly is an unchanged line of an engine; the test is fast, and most lines pass it."""
    return _HEADED.match(line) is not None and "\x1b" not in line and ")[0" not in line and ")0m" not in line


def _names(lines: list[str]) -> frozenset[str]:
    """The names before line heads of vLLM anywhere in the file; a number counts only when it repeats often."""
    found = Counter(name for line in lines if not _is_bare(line) for name in _named(_stripped(line)[1]))
    numbers = [name for name in found if name.isdigit()]
    if sum(found[name] for name in numbers) < 2 * len(numbers):
        return frozenset(name for name in found if not name.isdigit())
    return frozenset(found)


def _named(line: str) -> Iterator[str]:
    for pattern in _NAMED:
        found = pattern.match(line)
        if found is not None and _HEADED.match(_stripped(line[found.end() :])[1]):
            name = found.groupdict().get("name") or found.groupdict().get("number")
            if name is not None and name not in _NO_NAMES and not name.endswith(("Error", "Exception")):
                yield name
                return


def _inner(line: str, known: frozenset[str]) -> tuple[str, str, str]:
    """(engine, added time stamp, original line)."""
    if _is_bare(line):
        return "", "", line
    whose, stamp = "", ""
    for _ in range(_MOST_OUTER):
        before = line
        found, line = _stripped(line)
        whose, stamp = found.get("name") or whose, found.get("stamp") or stamp
        if (cut := _known(line, known)) is not None:
            whose, line = cut[0] or whose, line[cut[1] :]
        if line == before:
            break
    bare = line.lstrip()
    return whose, stamp, bare if bare is not line and _HEADED.match(bare) else line


def _known(line: str, known: frozenset[str]) -> tuple[str, int] | None:
    """The name or number before a line, and where it ends."""
    for pattern in _NAMED:
        found = pattern.match(line)
        if found is None:
            continue
        name = found.groupdict().get("name") or found.groupdict().get("number")
        if name in known:
            return name or "", found.end()
        if "name" not in found.groupdict() and _HEADED.match(line, found.end()):
            return "", found.end()
    return None


def _stripped(line: str) -> tuple[dict[str, str], str]:
    """(added values by name, the line without quotes, colours and these values)."""
    if line.startswith('{"'):
        line, outer = _of_docker(line)
    else:
        outer = {}
    line = strip_escapes(line)
    if "m(" in line or "[0" in line or ")0m" in line:
        line = _COLOUR.sub("", line)
    line = _QUOTE.sub("", line)
    for pattern in _OUTER:
        found = pattern.match(line)
        if found is not None:
            outer |= {key: value for key, value in found.groupdict().items() if value}
            line = line[found.end() :]
    return outer, line


def _of_docker(line: str) -> tuple[str, dict[str, str]]:
    """A line of docker's log files, or of a log collector that writes JSON."""
    try:
        record = json.loads(line)
    except ValueError:
        return line, {}
    text = next((record[key] for key in ("log", "message", "msg") if isinstance(record.get(key), str)), None)
    stamp = next((record[key] for key in ("time", "timestamp", "@timestamp", "ts") if key in record), None)
    if text is None or (stamp is None and "log" not in record):
        return line, {}
    return text.rstrip("\r\n"), {"stamp": stamp} if isinstance(stamp, str) else {}
