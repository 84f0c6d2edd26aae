"""The only module of the command line that writes to stdout (results) and stderr (messages). It makes all text safe.

Text from a node may hold terminal control sequences, bidi marks or invisible characters. Every line is cleaned here, so that
no command can forget it. Data for a program is escaped as JSON. A file of the operator is written unchanged.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable
from dataclasses import asdict, is_dataclass

from console.probes.sanitize import clean

_UNSAFE_IN_JSON = re.compile(
    "[\x7f-\x9f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff\ufff9-\uffff]"
)
"""Characters that JSON allows unescaped, but that a terminal executes or hides."""


def print_line(text: str = "", *, flush: bool = False) -> None:
    """Print one line of a result to stdout. A line end inside the text is shown as a symbol, so that no value can forge a row."""
    print(clean(text), flush=flush)


def print_lines(lines: Iterable[str]) -> None:
    """Print each line with `print_line`."""
    for line in lines:
        print_line(line)


def print_message(text: str = "", *, end: str = "\n") -> None:
    """Print one line to stderr and flush it; `end` is empty for a prompt."""
    print(clean(text), end=end, file=sys.stderr, flush=True)


def print_progress(text: str, *, last: bool = False) -> None:
    """Write `text` over the current line of stderr; `last` ends the line. Does nothing when stderr is not a terminal."""
    if sys.stderr.isatty():
        print(f"\r{clean(text):<60}", end="\n" if last else "", file=sys.stderr, flush=True)


def print_json(value: object, *, indent: int | None = None, flush: bool = False) -> None:
    """Print one JSON document to stdout; control characters are escaped, so that the value stays exact."""
    print(json_text(value, indent=indent), flush=flush)


def json_text(value: object, *, indent: int | None = None) -> str:
    """The document that `print_json` prints. A dataclass in it is the mapping of its fields."""
    text = json.dumps(value, ensure_ascii=False, indent=indent, default=_plain)
    return _UNSAFE_IN_JSON.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _plain(value: object) -> object:
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else str(value)


def print_file(text: str) -> None:
    """Write a file made by the console or by its operator to stdout, unchanged."""
    sys.stdout.write(text)


def print_coloured(head: str, colour: int, text: str) -> None:
    """Print one cleaned line to stdout, with its `head` in a colour (an SGR code such as 36)."""
    print(f"\x1b[{colour}m{clean(head)}\x1b[0m{clean(text)}")
