"""Words, sizes and templates of the container tool's command line. No records, no processes."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(slots=True)
class Words:
    """A command line taken apart: flags (the last value wins, lists kept) and the words behind them."""

    flags: dict[str, list[str]] = field(default_factory=dict)
    rest: list[str] = field(default_factory=list)

    def one(self, name: str, default: str = "") -> str:
        """The last value of a flag."""
        return self.flags.get(name, [default])[-1]

    def has(self, name: str) -> bool:
        """Whether a flag was given."""
        return name in self.flags


_ALIASES = {
    "-d": "--detach",
    "-e": "--env",
    "-w": "--workdir",
    "-u": "--user",
    "-i": "--interactive",
    "-t": "--tty",
    "-f": "--format",
    "-a": "--all",
    "-q": "--quiet",
    "-v": "--volume",
}
_BARE = frozenset(
    {
        "--detach",
        "--interactive",
        "--tty",
        "--all",
        "--quiet",
        "--rm",
        "--privileged",
        "--force",
        "--no-trunc",
        "--init",
        "--size",
    }
)


def take_apart(words: Sequence[str], *, inside: bool, force: bool = False) -> Words:
    """`inside`: everything from the first word that is no flag belongs to the command inside; else flags may stand
    anywhere.
    `force`: whether `-f` means `--force` here.
    """
    aliases = {**_ALIASES, "-f": "--force"} if force else _ALIASES
    found = Words()
    queue = list(words)
    while queue:
        word = queue.pop(0)
        if not word.startswith("-") or word == "-":
            found.rest.append(word)
            if inside:
                break
            continue
        if word == "--":
            break
        name, equals, value = word.partition("=")
        letters = [f"-{letter}" for letter in name[1:]] if re.fullmatch(r"-[ditaq]{2,}", name) else [name]
        for letter in letters:
            flag = aliases.get(letter, letter)
            if flag in _BARE:
                found.flags.setdefault(flag, []).append(value or "true")
            else:
                found.flags.setdefault(flag, []).append(value if equals else (queue.pop(0) if queue else ""))
    found.rest += queue
    return found


def mount(volume: str) -> tuple[str, str, str]:
    """Source, target and mode of a `-v` value."""
    source, _, rest = volume.partition(":")
    target, _, mode = rest.partition(":")
    return source, target or source, mode


def size_bytes(text: str) -> int:
    """`512g` in bytes."""
    units = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
    return int(float(text[:-1]) * units[text[-1].lower()]) if text[-1:].lower() in units else int(text or 0)


def template(text: str, record: Mapping[str, object]) -> str:
    """The part of Go templates people use: `{{.A.B}}`, `{{json .A}}`, and literal text."""

    def value(match: re.Match[str]) -> str:
        found: object = record
        for key in [key for key in match[2].split(".") if key]:
            found = found.get(key, "") if isinstance(found, dict) else ""
        if match[1]:
            return json.dumps(found)
        return str(found).lower() if isinstance(found, bool) else str(found)

    return re.sub(r"\{\{\s*(json )?\s*\.([\w.]*)\s*\}\}", value, text)
