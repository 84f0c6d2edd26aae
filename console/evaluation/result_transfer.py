"""How a run's result files come home: printed into its own log, each framed by its size and checksum.

The log is copied byte by byte and survives the link, the console and the container, so the results do too. A frame that was
cut, or whose bytes are not those that were written, is no result.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from console.evaluation.figures import ResultError

MARK = "dsv4-result"
"""Begins a frame: `dsv4-result TOKEN NAME BYTES SHA256`, the bytes, a line break; facts are `dsv4-fact TOKEN NAME VALUE`."""

_FRAME = rb"^" + MARK.encode() + rb" %s (?P<name>[A-Za-z0-9._-]{1,64}) (?P<size>\d{1,9}) (?P<sum>[0-9a-f]{64})\n"
_FACT = rb"^dsv4-fact %s (?P<name>[a-z0-9-]{1,32}) (?P<value>[^\r\n]{0,400})\n"


@dataclass(frozen=True, slots=True)
class TransferredFiles:
    """What a run's log carries."""

    files: Mapping[str, bytes] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)
    """Small things it found out: `exit`, `tool-version`, `empty-answers`."""

    def text(self, name: str) -> str:
        """A delivered file as text. Raises ResultError when it was not delivered."""
        if name not in self.files:
            code = self.facts.get("exit", "")
            hint = f"the tool ended with exit code {code}" if code else "the run did not finish"
            raise ResultError(f"the tool left no {name}", hint=f"{hint}; see its log")
        return self.files[name].decode("utf-8", "replace")


def unpack(log: bytes, token: str) -> TransferredFiles:
    """Everything delivered under this run's token; what others printed in the same shape has no valid token.

    Raises ResultError for a frame that is cut or altered.
    """
    word = re.escape(token.encode())
    files: dict[str, bytes] = {}
    for found in re.finditer(_FRAME % word, log, re.MULTILINE):
        name, size = found["name"].decode(), int(found["size"])
        data = log[found.end() : found.end() + size]
        if len(data) < size:
            raise ResultError(
                f"{name} is incomplete in the log: {len(data)} of {size} bytes", hint="is the log copied whole?"
            )
        if hashlib.sha256(data).hexdigest() != found["sum"].decode():
            raise ResultError(f"{name} in the log is not what the tool wrote", hint="something else wrote into the log")
        files[name] = data
    facts = {
        found["name"].decode(): found["value"].decode("utf-8", "replace").strip()
        for found in re.finditer(_FACT % word, log, re.MULTILINE)
    }
    return TransferredFiles(files, facts)
