"""The words of a shell script: quotes, escapes and everything behind a `$`. What the words mean is not decided here."""

from __future__ import annotations

import re
from collections.abc import Callable

from console.services.importing.shell_scripts.syntax import (
    Arithmetic,
    Body,
    Param,
    Part,
    Substitution,
    SyntaxFault,
    Text,
    Word,
)

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
MOST_NESTED = 40
_ENDS_WORD = " \t\n;&|<>()"
_SPECIAL = "0123456789@*#?!$-"
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", "'": "'", '"': '"', "a": "\a", "e": "\x1b", "0": "\0"}
_PLAIN_END = re.compile(r"[\\'\"$` \t\n;&|<>()/:]|$")
_QUOTED_END = re.compile(r"[\\\"$`]|$")
_OPERATORS = re.compile(r":[-+=?]|[-+=?]|##?|%%?|//?|\^\^?|,,?|:|@[A-Za-z]")


class Reader:
    """A place in a text; reads one word after another. `commands` parses the text of a substitution."""

    def __init__(self, text: str, line: int, depth: int, commands: Callable[[str, int, int], Body]) -> None:
        self.text = text
        self.at = 0
        self.line = line
        self.depth = depth
        self._commands = commands
        if depth > MOST_NESTED:
            raise SyntaxFault(line, "is nested too deeply")

    def peek(self, length: int = 1) -> str:
        """The next characters without taking them."""
        return self.text[self.at : self.at + length]

    def take(self, length: int = 1) -> str:
        """The next characters."""
        piece = self.text[self.at : self.at + length]
        self.at += len(piece)
        self.line += piece.count("\n")
        return piece

    def word(self, ends: str = _ENDS_WORD, *, pattern: bool = False) -> Word:
        """The word that starts here, up to an unquoted character of `ends`; `pattern` keeps escapes as quoted text."""
        parts: list[Part] = []
        while self.at < len(self.text):
            char = self.peek()
            if char in "<>" and self.peek(2) in ("<(", ">(") and ends == _ENDS_WORD:
                parts.append(self._process())
            elif char in ends:
                break
            elif char == "\\":
                self.take()
                after = self.take()
                if after != "\n":
                    parts.append(Text(after or "\\", True))
            elif char == "'":
                self.take()
                parts.append(Text(self._until("'"), True))
            elif char == '"':
                self.take()
                parts += self.double('"')
            elif char in "$`":
                parts.append(self.expansion(quoted=False))
            else:
                self._plain(parts)
        return _joined(parts)

    def _process(self) -> Substitution:
        """`<(…)` and `>(…)`: the file that a command writes or reads."""
        line, sign = self.line, self.take()
        inner = self.balanced("(", ")")[1:-1]
        return Substitution(self._commands(inner, line, self.depth + 1), True, f"{sign}({inner.strip()})", line)

    def _plain(self, parts: list[Part]) -> None:
        stop = _PLAIN_END.search(self.text, self.at + 1)
        end = stop.start() if stop else len(self.text)
        parts.append(Text(self.take(end - self.at), False))

    def double(self, end: str) -> list[Part]:
        """What double quotes hold, up to `end`, which is taken; an empty `end` means all there is."""
        parts: list[Part] = [Text("", True)]
        begun = self.line
        while True:
            if self.at >= len(self.text):
                if end:
                    raise SyntaxFault(begun, f"has no closing {end}")
                return parts
            char = self.peek()
            if end and char == end:
                self.take()
                return parts[1:] if len(parts) > 1 else parts
            if char == "\\" and self.peek(2)[1:] in tuple('"\\$`\n'):
                self.take()
                after = self.take()
                if after != "\n":
                    parts.append(Text(after, True))
            elif char in "$`":
                parts.append(self.expansion(quoted=True))
            else:
                stop = _QUOTED_END.search(self.text, self.at + 1)
                parts.append(Text(self.take((stop.start() if stop else len(self.text)) - self.at), True))

    def expansion(self, *, quoted: bool) -> Part:
        """What the `$` or backquote here starts."""
        line = self.line
        if self.take() == "`":
            raw = self._backquoted()
            return Substitution(self._commands(raw, line, self.depth + 1), quoted, raw.strip(), line)
        if self.peek() == "'" and not quoted:
            self.take()
            return Text(self._ansi(), True)
        if self.peek(2) == "((":
            whole = self.balanced("(", ")")
            if whole.endswith("))"):
                return Arithmetic(self._quoted_text(whole[2:-2], line), quoted, f"${whole}", line)
            inner = whole[1:-1]
            return Substitution(self._commands(inner, line, self.depth + 1), quoted, inner.strip(), line)
        if self.peek() == "(":
            inner = self.balanced("(", ")")[1:-1]
            return Substitution(self._commands(inner, line, self.depth + 1), quoted, inner.strip(), line)
        if self.peek() == "{":
            return self._braced(self.balanced("{", "}")[1:-1], quoted, line)
        if self.peek() and self.peek() in _SPECIAL:
            name = self.take()
            return Param(name, quoted, f"${name}", line)
        found = NAME.match(self.text, self.at)
        if found is None:
            return Text("$", True)
        self.take(len(found[0]))
        return Param(found[0], quoted, f"${found[0]}", line)

    def _backquoted(self) -> str:
        line, parts = self.line, list[str]()
        while (char := self.take()) != "`":
            if not char:
                raise SyntaxFault(line, "has no closing `")
            parts.append(self.take() if char == "\\" and self.peek() in ("`", "\\", "$") else char)
        return "".join(parts)

    def _braced(self, inner: str, quoted: bool, line: int) -> Part:
        source = f"${{{inner}}}"
        length = inner.startswith("#") and len(inner) > 1
        indirect = inner.startswith("!") and len(inner) > 1
        found = re.match(r"[A-Za-z_][A-Za-z0-9_]*|[0-9]+|[@*#?$!-]", rest := inner[1:] if length or indirect else inner)
        if found is None:
            raise SyntaxFault(line, f"{source} is not understood")
        name, rest = found[0], rest[found.end() :]
        index: Word | None = None
        if rest.startswith("["):
            within = self._sub(rest, line)
            bracket = within.balanced("[", "]")
            index, rest = self._quoted_text(bracket[1:-1].strip("\"'"), line), rest[len(bracket) :]
        if length or (indirect and not rest):
            kind = "length" if length else "keys" if index is not None else "indirect"
            return Param(name, quoted, source, line, index, kind)
        operator = _OPERATORS.match(rest)
        if operator is None:
            if rest:
                raise SyntaxFault(line, f"{source} is not understood")
            return Param(name, quoted, source, line, index)
        kind, rest = operator[0], rest[operator.end() :]
        if kind in ("/", "//") or kind == ":":
            ends = "/" if kind != ":" else ":"
            within = self._sub(rest, line)
            lead: Word = (Text(within.take(), True),) if ends == rest[:1] == "/" else ()
            first = (*lead, *within.word(ends, pattern=True))
            within.take()
            second = within.word("") if within.at <= len(rest) else ()
            return Param(name, quoted, source, line, index, kind, first, second)
        operand = self._sub(rest, line)
        word = _joined(operand.double("")) if quoted and kind[-1] in "-+=?" and '"' not in rest else operand.word("")
        return Param(name, quoted, source, line, index, kind, word)

    def _sub(self, text: str, line: int) -> Reader:
        return Reader(text, line, self.depth + 1, self._commands)

    def _quoted_text(self, text: str, line: int) -> Word:
        return _joined(self._sub(text, line).double(""))

    def balanced(self, begin: str, end: str) -> str:
        """From `begin`, where we are, to the `end` that belongs to it, quotes and comments minded."""
        start, begun, depth = self.at, self.line, 0
        while self.at < len(self.text):
            char = self.take()
            if char == "\\":
                self.take()
            elif char == "'":
                self._skip_quote("'", begin)
            elif char == '"':
                self._skip_quote('"', begin)
            elif char == "#" and begin == "(" and self.text[self.at - 2] in " \t\n;":
                while self.peek() not in ("\n", ""):
                    self.take()
            else:
                depth += (char == begin) - (char == end)
                if depth == 0:
                    return self.text[start : self.at]
        raise SyntaxFault(begun, f"has no closing {end}")

    def _skip_quote(self, quote: str, begin: str) -> None:
        """Move past a quoted piece; in `${…}` a lone apostrophe is a plain character."""
        if quote == "'":
            stop = self.text.find("'", self.at)
            if stop < 0 and begin == "{":
                return
            self._until("'")
            return
        self.double('"')

    def _until(self, end: str) -> str:
        stop = self.text.find(end, self.at)
        if stop < 0:
            raise SyntaxFault(self.line, f"has no closing {end}")
        piece = self.take(stop - self.at)
        self.take()
        return piece

    def _ansi(self) -> str:
        line, parts = self.line, list[str]()
        while (char := self.take()) != "'":
            if not char:
                raise SyntaxFault(line, "has no closing '")
            after = self.take() if char == "\\" else ""
            parts.append(_ESCAPES.get(after, char + after) if after else char)
        return "".join(parts)


def _joined(parts: list[Part]) -> Word:
    """Neighbouring texts of one kind as one."""
    joined: list[Part] = []
    for part in parts:
        last = joined[-1] if joined else None
        if isinstance(part, Text) and isinstance(last, Text) and part.quoted == last.quoted:
            joined[-1] = Text(last.text + part.text, part.quoted)
        else:
            joined.append(part)
    return tuple(joined)
