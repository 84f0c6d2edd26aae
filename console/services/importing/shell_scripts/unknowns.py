"""What a script leaves open, as marks in its texts: where it stands, how it is written, and the name to give it by.

A mark keeps its place through every expansion, so that an open text can never pass for a value.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from console.services.importing.rank_marks import plainly

_BEGIN, _END = "\ue002", "\ue003"
_MARK = re.compile(f"{_BEGIN}([0-9]+){_END}")
_PRIVATE = re.compile("[\ue000-\ue00f]")


@dataclass(frozen=True, slots=True)
class Unknown:
    """One thing that only the node, or the person who starts the script, knows."""

    file: str
    line: int
    source: str
    """As the script writes it: `$PORT`, `hostname -I`."""
    name: str
    """What `--set NAME=VALUE` calls it: a variable, a number for an argument, or the substituted command itself."""

    @property
    def is_variable(self) -> bool:
        """Whether it is a variable or an argument as it is, nothing made of one."""
        return self.source in (f"${self.name}", f"${{{self.name}}}")

    @property
    def title(self) -> str:
        """In words for a message."""
        if self.name.isdecimal():
            return f"the script's argument ${self.name}"
        return f"{self.source} (set nowhere in the script)" if self.source.startswith("$") else f"`{self.source}`"


@dataclass(slots=True)
class Unknowns:
    """All of one import, and the values given for them."""

    settings: Mapping[str, str] = field(default_factory=dict)
    """Of `--set`."""
    used: set[str] = field(default_factory=set)
    """Names of settings that were asked for."""
    items: list[Unknown] = field(default_factory=list)
    assumed: dict[str, str] = field(default_factory=dict)
    """What the way through the script that is followed now takes a name to be."""

    def mark(self, unknown: Unknown) -> str:
        """The text that stands for it."""
        if unknown not in self.items:
            self.items.append(unknown)
        return f"{_BEGIN}{self.items.index(unknown)}{_END}"

    def within(self, *texts: str) -> list[Unknown]:
        """Every unknown in the texts, each once."""
        found = (self.items[int(each)] for text in texts for each in _MARK.findall(text))
        return list(dict.fromkeys(found))

    def given(self, name: str) -> str | None:
        """The value `--set` gives a name, which is then used."""
        if name in self.settings:
            self.used.add(name)
            return self.settings[name]
        return self.assumed.get(name)

    def alone(self, text: str) -> Unknown | None:
        """The variable or argument that is set nowhere and is all of the text."""
        found = _MARK.fullmatch(text)
        unknown = self.items[int(found[1])] if found else None
        return unknown if unknown is not None and unknown.is_variable else None

    def resolved(self, text: str) -> str:
        """The text with what is assumed in it."""

        def put(found: re.Match[str]) -> str:
            unknown = self.items[int(found[1])]
            return self.assumed.get(unknown.name, found[0]) if unknown.is_variable else found[0]

        return _MARK.sub(put, text) if self.assumed else text

    def shown(self, text: str) -> str:
        """The text as the script writes it."""
        return plainly(_MARK.sub(lambda found: self.items[int(found[1])].source, text))


def is_open(text: str) -> bool:
    """Whether anything in the text is unknown."""
    return _BEGIN in text


def without_private(text: str) -> str:
    """A script's text without the characters that marks are made of."""
    return _PRIVATE.sub("\ufffd", text)


def computable(text: str) -> bool:
    """Whether the text has no mark of any kind: only then can it be cut or counted."""
    return _PRIVATE.search(text) is None


def names(unknowns: Iterator[Unknown] | list[Unknown]) -> str:
    """How to give them all, as options of the command line."""
    each = dict.fromkeys(unknown.name for unknown in unknowns if unknown.name)
    return " ".join(f"--set {name}=…" if re.fullmatch(r"\w+", name) else f"--set '{name}=…'" for name in each)
