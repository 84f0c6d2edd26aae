"""A shell script's commands as words, without running it: quotes, escapes, comments, continuation lines and plain variables.

What only a shell can tell (substitutions, loops, conditions) is reported, not guessed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_CONTROL = {
    "if",
    "then",
    "else",
    "elif",
    "fi",
    "for",
    "while",
    "until",
    "do",
    "done",
    "case",
    "esac",
    "function",
    "{",
    "}",
}


@dataclass(frozen=True, slots=True)
class Line:
    """One simple command of a script."""

    number: int
    words: tuple[str, ...]


@dataclass(slots=True)
class Script:
    """A script being read: its commands in order, its variables so far, and what could not be understood."""

    text: str
    arguments: Sequence[str] = ()
    """Values of `$1`, `$2` …"""
    variables: dict[str, str] = field(default_factory=dict)
    exported: set[str] = field(default_factory=set)
    doubts: list[str] = field(default_factory=list)
    unknown: Callable[[str], str] = lambda name: f"${name}"
    """What an unset variable becomes."""
    _at: int = 0
    _line: int = 1

    def commands(self) -> Iterator[Line]:
        """Every simple command that is no assignment; assignments and exports are taken in on the way."""
        while self._at < len(self.text):
            number = self._line
            words = self._words()
            if words and not self._assigned(words) and words[0] not in _CONTROL:
                yield Line(number, tuple(words))
            elif words and words[0] in _CONTROL:
                self._doubt(number, f"`{words[0]}` is not followed; check what depends on it")

    def _assigned(self, words: list[str]) -> bool:
        exporting = words[0] in ("export", "declare", "local", "readonly", "typeset")
        items = [word for word in words[1:] if not word.startswith("-")] if exporting else words
        if not exporting and not all(re.match(r"[A-Za-z_][A-Za-z0-9_]*=", word) for word in items):
            return False
        for item in items:
            name, equals, value = item.partition("=")
            if equals:
                self.variables[name] = value
            if words[0] == "export":
                self.exported.add(name)
        return True

    def _words(self) -> list[str]:
        """The words of the next command without its redirections; moves past its end."""
        words: list[str] = []
        word: list[str] | None = None
        target = False

        def finish() -> None:
            nonlocal word, target
            if word is not None and not target:
                words.append("".join(word))
            target = target and word is None
            word = None

        while self._at < len(self.text):
            char = self._next()
            if char in "\n;&|":
                break
            if char in " \t\r":
                finish()
            elif char in "<>":
                word = None if word is not None and "".join(word).isdecimal() else word
                finish()
                target = True
                while self._peek() in "<>&":
                    self._next()
            elif char == "#" and word is None:
                self._skip_line()
            elif char == "\\" and self._peek() == "\n":
                self._next()
            else:
                word = [] if word is None else word
                word.append(self._piece(char))
        finish()
        return words

    def _piece(self, char: str) -> str:
        if char == "'":
            return self._until("'")
        if char == '"':
            return self._double()
        if char == "\\":
            return self._next()
        if char == "$":
            return self._variable()
        if char == "`":
            self._doubt(self._line, "a command substitution is kept as text")
        return char

    def _double(self) -> str:
        parts: list[str] = []
        while self._at < len(self.text) and (char := self._next()) != '"':
            if char == "\\" and self._peek() in '"\\$`\n':
                after = self._next()
                parts.append("" if after == "\n" else after)
            elif char == "$":
                parts.append(self._variable())
            else:
                parts.append(char)
        return "".join(parts)

    def _variable(self) -> str:
        if self._peek() == "(":
            self._doubt(self._line, "a command substitution is kept as text")
            return "$"
        if self._peek() == "{":
            self._next()
            return self._value(self._until("}"))
        if self._peek() in "0123456789@*#?!$-":
            return self._value(self._next())
        found = _NAME.match(self.text, self._at)
        if found is None:
            return "$"
        self._at = found.end()
        return self._value(found[0])

    def _value(self, name: str) -> str:
        if re.fullmatch("[0-9]{1,9}", name) and 0 < int(name) <= len(self.arguments):
            return self.arguments[int(name) - 1]
        if name in self.variables:
            return self.variables[name]
        if not re.fullmatch(r"[A-Za-z_0-9]+", name):
            self._doubt(self._line, f"${{{name}}} is kept as text")
            return f"${{{name}}}"
        return self.unknown(name)

    def _until(self, end: str) -> str:
        stop = self.text.find(end, self._at)
        if stop < 0:
            self._doubt(self._line, f"no closing {end}")
            stop = len(self.text)
        piece = self.text[self._at : stop]
        self._line += piece.count("\n")
        self._at = stop + 1
        return piece

    def _skip_line(self) -> None:
        stop = self.text.find("\n", self._at)
        self._at = stop if stop >= 0 else len(self.text)

    def _next(self) -> str:
        if self._at >= len(self.text):
            return ""
        char = self.text[self._at]
        self._at += 1
        self._line += char == "\n"
        return char

    def _peek(self) -> str:
        return self.text[self._at] if self._at < len(self.text) else "\0"

    def _doubt(self, number: int, what: str) -> None:
        self.doubts.append(f"line {number}: {what}")
