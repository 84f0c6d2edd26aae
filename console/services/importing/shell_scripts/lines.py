"""The lines of a shell script: blanks, comments, here documents, redirections and assignments, below the grammar of commands."""

from __future__ import annotations

import re
from collections.abc import Callable

from console.services.importing.shell_scripts.syntax import Assignment, Body, Redirections, SyntaxFault, Text, Word
from console.services.importing.shell_scripts.word_reader import Reader

REDIRECTION = re.compile(r"[0-9]*[<>]|&>")
_ASSIGNED = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(\[|\+?=)")
_HERE = re.compile(r"<<(-?)[ \t]*")
_OPERATOR = re.compile(r"<<<|<>|<&|>>|>&|>\||&>>|&>|<|>")
_RESERVED = re.compile(r"[a-z]+(?=[\s;&|()<>]|$)|[{}!](?=[\s;&|)]|$)")


class Lines:
    """A text that is read once, from its beginning to its end."""

    def __init__(self, text: str, line: int, depth: int, commands: Callable[[str, int, int], Body]) -> None:
        self._reader = Reader(text, line, depth, commands)
        self._commands = commands
        self._pending: list[tuple[Redirections, str, bool, bool]] = []
        self._nested = 0

    def _rest(self) -> str:
        reader = self._reader
        return reader.text[reader.at :].split("\n", 1)[0][:20]

    def _space(self, *, lines: bool) -> None:
        """Move past blanks, continued lines and comments; past ends of lines with `lines`."""
        reader = self._reader
        while char := reader.peek():
            if char in " \t\r" or reader.peek(2) == "\\\n":
                reader.take(2 if char == "\\" else 1)
            elif char == "#":
                stop = reader.text.find("\n", reader.at)
                reader.take((stop if stop >= 0 else len(reader.text)) - reader.at)
            elif char == "\n" and lines:
                self._newline()
            else:
                return

    def _newline(self) -> None:
        """Move past the end of a line and the here documents that follow it."""
        reader = self._reader
        reader.take()
        for redirections, end, dedented, quoted in self._pending:
            body, begun = list[str](), reader.line
            while reader.at < len(reader.text):
                stop = reader.text.find("\n", reader.at)
                line = reader.take((stop if stop >= 0 else len(reader.text) - 1) + 1 - reader.at).removesuffix("\n")
                line = line.lstrip("\t") if dedented else line
                if line == end:
                    break
                body.append(line + "\n")
            text = "".join(body)
            inner = Reader(text, begun, reader.depth + 1, self._commands)
            redirections.stdin = (Text(text, True),) if quoted else tuple(inner.double(""))
        self._pending = []

    def _reserved(self) -> str:
        """The unquoted word that starts here, not taken."""
        found = _RESERVED.match(self._reader.text, self._reader.at)
        return found[0] if found else ""

    def _expect(self, text: str) -> None:
        self._space(lines=True)
        found = self._reader.peek(len(text)) if not text.isalpha() else self._reserved()
        if found != text:
            raise SyntaxFault(self._reader.line, f"`{text}` is missing before `{self._rest()}`")
        self._reader.take(len(text))

    def _arithmetic(self, text: str, line: int) -> Word:
        return tuple(Reader(text, line, self._reader.depth + 1, self._commands).double(""))

    def _redirection(self, found: Redirections) -> None:
        """Take one redirection in."""
        reader = self._reader
        digits = re.compile(r"[0-9]*").match(reader.text, reader.at)
        number = reader.take(len(digits[0]) if digits else 0)
        here = _HERE.match(reader.text, reader.at)
        if here is not None and reader.peek(3) != "<<<":
            reader.take(len(here[0]))
            word = reader.word()
            end = "".join(part.text for part in word if isinstance(part, Text))
            quoted = any(isinstance(part, Text) and part.quoted for part in word)
            self._pending.append((found, end, bool(here[1]), quoted))
            return
        operator = _OPERATOR.match(reader.text, reader.at)
        assert operator is not None
        reader.take(len(operator[0]))
        self._space(lines=False)
        word = reader.word()
        if not word and operator[0] not in ("<&", ">&"):
            raise SyntaxFault(reader.line, f"`{operator[0]}` names no file; is <…> a placeholder to be filled in?")
        if operator[0] == "<<<":
            found.stdin = (*word, Text("\n", True))
        elif operator[0] == "<":
            found.source = word
        elif operator[0] in (">", ">>", ">|") and number in ("", "1"):
            found.target = word

    def _assignment(self) -> Assignment | None:
        """`NAME=…` when that is what starts here."""
        reader, line = self._reader, self._reader.line
        found = _ASSIGNED.match(reader.text, reader.at)
        if found is None:
            return None
        at, index = reader.at, None
        reader.take(len(found[1]))
        if found[2] == "[":
            key = reader.balanced("[", "]")[1:-1]
            index = self._arithmetic(key.strip("\"'"), line)
        append = reader.peek(2) == "+="
        if not append and reader.peek() != "=":
            reader.at = at
            return None
        reader.take(2 if append else 1)
        if reader.peek() == "(":
            return Assignment(found[1], line, items=self._items(), index=index, append=append)
        return Assignment(found[1], line, reader.word(), index=index, append=append)

    def _items(self) -> tuple[tuple[Word | None, Word], ...]:
        """What stands between the parentheses of an array."""
        reader, items = self._reader, list[tuple[Word | None, Word]]()
        reader.take()
        while True:
            self._space(lines=True)
            if reader.peek() == ")":
                reader.take()
                return tuple(items)
            if not reader.peek() or reader.peek() in ";&|<>(":
                raise SyntaxFault(reader.line, "an array has no closing )")
            key: Word | None = None
            if reader.peek() == "[":
                at, line = reader.at, reader.line
                bracket = reader.balanced("[", "]")
                if reader.peek() == "=":
                    reader.take()
                    key = self._arithmetic(bracket[1:-1].strip("\"'"), line)
                else:
                    reader.at, reader.line = at, line
            items.append((key, reader.word()))
