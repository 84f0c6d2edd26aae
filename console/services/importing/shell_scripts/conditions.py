"""`[ … ]`, `test` and `[[ … ]]`: true, false, or open because only the node or the caller knows."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from console.services.importing.shell_scripts.expansion import Expander
from console.services.importing.shell_scripts.syntax import Text, Word
from console.services.importing.shell_scripts.unknowns import Unknown, computable, is_open

_FILE_TESTS = ("-e", "-f", "-d", "-r", "-w", "-x", "-s", "-L", "-h", "-S", "-c", "-b", "-p")
_NUMBERS: dict[str, Callable[[int, int], bool]] = {
    "-eq": lambda one, other: one == other,
    "-ne": lambda one, other: one != other,
    "-lt": lambda one, other: one < other,
    "-le": lambda one, other: one <= other,
    "-gt": lambda one, other: one > other,
    "-ge": lambda one, other: one >= other,
}
_AT_ZERO = {("-gt", "0"): False, ("-ge", "1"): False, ("-lt", "1"): True, ("-le", "0"): True}
"""Comparisons that ask whether a count or a rank, which is never negative, is 0."""
_BINARY = (*_NUMBERS, "=", "==", "!=", "=~", "<", ">", "-nt", "-ot", "-ef")


class Condition:
    """Reads one condition. `ask` decides what is open: it is given the texts it depends on, and whether only files are asked.

    `equal` is told when an unknown is compared with a text, and decides that.
    """

    def __init__(
        self,
        words: Sequence[Word] | Sequence[str],
        expander: Expander,
        ask: Callable[[list[str], bool], bool],
        equal: Callable[[Unknown, str], bool],
    ) -> None:
        self._words = words
        self._at = 0
        self._expander = expander
        self._ask = ask
        self._equal = equal

    def value(self) -> bool:
        """The condition's truth."""
        return self._or() if self._words else False

    def _text(self, word: Word | str) -> str:
        return word if isinstance(word, str) else self._expander.text(word)

    def _operator(self, offset: int = 0) -> str:
        """The word at a place where an operator may stand; empty for one that is quoted or expanded."""
        at = self._at + offset
        if at >= len(self._words):
            return ""
        word = self._words[at]
        if isinstance(word, str):
            return word
        return word[0].text if len(word) == 1 and isinstance(word[0], Text) and not word[0].quoted else ""

    def _take(self) -> Word | str:
        word = self._words[self._at] if self._at < len(self._words) else ""
        self._at += 1
        return word

    def _or(self) -> bool:
        result = self._and()
        while self._operator() in ("-o", "||"):
            self._take()
            result = self._and() or result
        return result

    def _and(self) -> bool:
        result = self._not()
        while self._operator() in ("-a", "&&"):
            self._take()
            result = self._not() and result
        return result

    def _not(self) -> bool:
        if self._operator() == "!" and self._at + 1 < len(self._words):
            self._take()
            return not self._not()
        if self._operator() == "(":
            self._take()
            result = self._or()
            self._take()
            return result
        return self._primary()

    def _primary(self) -> bool:
        operator = self._operator()
        if self._operator(1) in _BINARY and self._at + 2 < len(self._words):
            left = self._text(self._take())
            kind = self._operator()
            self._take()
            return self._compared(left, kind, self._take())
        if operator in ("-z", "-n") and self._at + 1 < len(self._words):
            self._take()
            text = self._text(self._take())
            return self._empty(text) == (operator == "-z")
        if operator in _FILE_TESTS and self._at + 1 < len(self._words):
            self._take()
            return self._ask([self._text(self._take())], True)
        if operator in ("-v", "-t") and self._at + 1 < len(self._words):
            self._take()
            name = self._text(self._take())
            return operator == "-v" and self._expander.lookup(name, self._expander.line) is not None
        return not self._empty(self._text(self._take()))

    def _empty(self, text: str) -> bool:
        """Whether the text is empty; a variable that nothing sets is."""
        if not is_open(text):
            return text == ""
        if self._expander.unknowns.alone(text) is not None:
            return True
        return self._ask([text], False)

    def _compared(self, left: str, kind: str, word: Word | str) -> bool:
        if kind in ("-nt", "-ot", "-ef"):
            return self._ask([left], True)
        right = self._text(word)
        if kind in _NUMBERS:
            return self._numbers(left, kind, right)
        negated = kind == "!="
        if not (computable(left) and computable(right)):
            return self._open(left, kind, right) != negated
        if kind == "=~":
            try:
                return re.search(right, left) is not None
            except re.error:
                return self._ask([left], False)
        if kind in ("<", ">"):
            return left < right if kind == "<" else left > right
        pattern = None if isinstance(word, str) else self._expander.pattern(word)
        same = pattern.fullmatch(left) is not None if pattern is not None else left == right
        return same != negated

    def _open(self, left: str, kind: str, right: str) -> bool:
        unknowns = self._expander.unknowns
        for one, other in ((left, right), (right, left)):
            alone = unknowns.alone(one)
            if alone is not None and not is_open(other) and kind in ("=", "==", "!="):
                return other == "" or self._equal(alone, other)
        return self._ask([left, right], False)

    def _numbers(self, left: str, kind: str, right: str) -> bool:
        values = [int(text) for text in (left, right) if re.fullmatch(r"\s*-?[0-9]{1,18}\s*", text)]
        if len(values) == 2:
            return _NUMBERS[kind](*values)
        unknowns = self._expander.unknowns
        for one, other in ((left, right), (right, left)):
            alone = unknowns.alone(one)
            if alone is not None and re.fullmatch(r"[0-9]+", other) and kind in ("-eq", "-ne"):
                return self._equal(alone, other) == (kind == "-eq")
        alone = unknowns.alone(left)
        if alone is not None and (kind, right) in _AT_ZERO:
            return self._equal(alone, "0") == _AT_ZERO[kind, right]
        return self._ask([left, right], False)
