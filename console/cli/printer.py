"""The one place where the command line writes to its streams: results to stdout, messages to stderr, all of it made safe.

Text from a node may hold terminal control sequences, bidi marks or invisible characters. Every line is cleaned here, so no
command has to remember to do it. Data that a program reads is escaped as JSON or, where it is a file of the operator's own,
written as it is.
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
"""What JSON allows unescaped, and what a terminal would act on or hide."""


def print_line(text: str = "", *, flush: bool = False) -> None:
    """Print one line of a result to stdout. A line end inside the text is shown, so that no value can forge a row."""
    print(clean(text), flush=flush)


def print_lines(lines: Iterable[str]) -> None:
    """Print the lines of a result to stdout, each as `print_line` does."""
    for line in lines:
        print_line(line)


def print_message(text: str = "", *, end: str = "\n") -> None:
    """Print one line of message to stderr and flush; a prompt gives `end=""`."""
    print(clean(text), end=end, file=sys.stderr, flush=True)


def print_progress(text: str, *, last: bool = False) -> None:
    """Draw `text` over the current line of stderr; `last` ends the line. Does nothing where stderr is no terminal."""
    if sys.stderr.isatty():
        print(f"\r{clean(text):<60}", end="\n" if last else "", file=sys.stderr, flush=True)


def print_json(value: object, *, indent: int | None = None, flush: bool = False) -> None:
    """Print one JSON document to stdout; characters that act on a terminal are escaped, so the value stays exact."""
    print(json_text(value, indent=indent), flush=flush)


def json_text(value: object, *, indent: int | None = None) -> str:
    """The document that `print_json` prints. A dataclass in it is the mapping of its fields."""
    text = json.dumps(value, ensure_ascii=False, indent=indent, default=_plain)
    return _UNSAFE_IN_JSON.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _plain(value: object) -> object:
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else str(value)


def print_file(text: str) -> None:
    """Write text that is meant for a file or a pipe, made by the console or by its operator, exactly as it is to stdout."""
    sys.stdout.write(text)


def print_coloured(head: str, colour: int, text: str) -> None:
    """Print a line to stdout whose `head` has one of the sixteen colours (an SGR code such as 36); both parts are cleaned."""
    print(f"\x1b[{colour}m{clean(head)}\x1b[0m{clean(text)}")
