"""A shell script's commands as words, without running it: quotes, escapes, comments, here documents, variables and arrays.

What only a shell can tell (substitutions, odd expansions) is kept as text and reported, not guessed.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ASSIGNED = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(\+?)=")
_BRACED = re.compile(r"([A-Za-z_][A-Za-z0-9_]*|[0-9]+|[@*])(\[[@*]\])?(?:(:?[-+=])(.*))?", re.DOTALL)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", "'": "'", '"': '"', "a": "\a", "e": "\x1b", "0": "\0"}
_MOST_NESTED = 20


@dataclass(frozen=True, slots=True)
class Line:
    """One simple command of a script."""

    number: int
    words: tuple[str, ...]
    stdin: str = ""
    """The here document it reads."""


@dataclass(slots=True)
class Variables:
    """Variables so far, and what could not be understood."""

    texts: dict[str, str] = field(default_factory=dict)
    lists: dict[str, list[str]] = field(default_factory=dict)
    arguments: Sequence[str] = ()
    """Values of `$1`, `$2` …"""
    unknown: Callable[[str], str] = lambda name: f"${name}"
    """What an unset variable becomes."""
    doubts: list[str] = field(default_factory=list)

    def assign(self, word: str) -> str:
        """Take in `NAME=VALUE` or `NAME+=VALUE`; gives the name, empty when the word is none."""
        found = _ASSIGNED.match(word)
        if found is None:
            return ""
        value = word[found.end() :]
        self.texts[found[1]] = self.texts.get(found[1], "") + value if found[2] else value
        self.lists.pop(found[1], None)
        return found[1]


class _Cursor:
    """A place in a text, and how it is moved."""

    def __init__(self, text: str, variables: Variables, first_line: int) -> None:
        self._text = text.replace("\r\n", "\n")
        self._variables = variables
        self._at = 0
        self._line = first_line

    def _balanced(self, begin: str, end: str) -> str:
        """From `begin`, where we are, to the `end` that belongs to it, quotes minded."""
        start, depth, quote = self._at, 0, ""
        while self._at < len(self._text):
            char = self._next()
            if quote:
                quote = "" if char == quote else quote
            elif char in "'\"":
                quote = char
            elif char == "\\":
                self._next()
            else:
                depth += (char == begin) - (char == end)
            if depth == 0:
                break
        else:
            self._doubt(f"no closing {end}")
        return self._text[start : self._at]

    def _until(self, end: str) -> str:
        stop = self._text.find(end, self._at)
        if stop < 0:
            self._doubt(f"no closing {end}")
            stop = len(self._text)
        piece = self._text[self._at : stop]
        self._line += piece.count("\n")
        self._at = stop + 1
        return piece

    def _skip_line(self) -> None:
        stop = self._text.find("\n", self._at)
        self._at = stop if stop >= 0 else len(self._text)

    def _next(self) -> str:
        if self._at >= len(self._text):
            return ""
        char = self._text[self._at]
        self._at += 1
        self._line += char == "\n"
        return char

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _doubt(self, what: str) -> None:
        self._variables.doubts.append(f"line {self._line}: {what}")


class Words(_Cursor):
    """Reads a text once, from its beginning to its end."""

    def __init__(self, text: str, variables: Variables, first_line: int = 1, depth: int = 0) -> None:
        super().__init__(text, variables, first_line)
        self._depth = depth
        self._fields: list[str] = []
        self._open = False
        self._ends: list[tuple[str, bool]] = []
        self._stdin = ""

    def lines(self) -> Iterator[Line]:
        """Every simple command, also those that only assign; a here document belongs to the last command of its line."""
        while self._at < len(self._text):
            number = self._line
            self._stdin = ""
            words = self._command(";&|()\n")
            if words:
                yield Line(number, tuple(words), self._stdin)

    def _command(self, ends: str) -> list[str]:
        """The words up to one of `ends` without redirections; moves past it."""
        words: list[str] = []
        target = False
        self._fields, self._open = [], False

        def finish() -> None:
            nonlocal target
            if self._open or any(self._fields):
                words.extend([] if target else self._fields)
                target = False
            self._fields, self._open = [], False

        while self._at < len(self._text):
            char = self._next()
            if char == "(" and self._fields and self._array(self._fields[-1]):
                self._fields, self._open = [], False
            elif char in ends:
                break
            elif char in " \t\n\r":
                finish()
            elif char in "<>":
                if "".join(self._fields).isdecimal():
                    self._fields, self._open = [], False
                finish()
                target = self._redirected(char)
            elif char == "#" and not self._open:
                self._skip_line()
            else:
                self._piece(char)
        finish()
        if self._text[self._at - 1 : self._at] == "\n":
            self._here_documents()
        return words

    def _redirected(self, char: str) -> bool:
        """Move past an operator; whether the next word is its target."""
        if char == "<" and self._text.startswith("<", self._at) and not self._text.startswith("<<", self._at):
            found = re.compile(r"<(-?)[ \t]*(['\"]?)([^\s'\";&|<>]+)\2").match(self._text, self._at)
            if found is not None:
                self._ends.append((found[3], bool(found[1])))
                self._at = found.end()
                return False
        while self._peek() in "<>&" and self._peek():
            self._next()
        return True

    def _here_documents(self) -> None:
        for end, dedented in self._ends:
            body = []
            while self._at < len(self._text):
                stop = self._text.find("\n", self._at)
                stop = len(self._text) if stop < 0 else stop
                line = self._text[self._at : stop]
                self._at = stop + 1
                self._line += 1
                line = line.lstrip("\t") if dedented else line
                if line == end:
                    break
                body.append(line)
            self._stdin = "\n".join(body)
        self._ends = []

    def _array(self, begun: str) -> bool:
        """Take in `NAME=(…)` when that is what was begun."""
        found = _ASSIGNED.fullmatch(begun)
        if found is None:
            return False
        items = self._command(")")
        old = self._variables.lists.get(found[1], []) if found[2] else []
        self._variables.lists[found[1]] = [*old, *items]
        return True

    def _put(self, text: str) -> None:
        self._open = True
        self._fields = self._fields or [""]
        self._fields[-1] += text

    def _assigning(self) -> bool:
        return bool(self._fields) and _ASSIGNED.match(self._fields[-1]) is not None

    def _put_fields(self, fields: Sequence[str]) -> None:
        if self._assigning():
            self._put(" ".join(fields))
            return
        for index, each in enumerate(fields):
            if index:
                self._fields.append("")
            self._put(each)

    def _piece(self, char: str) -> None:
        if char == "'":
            self._put(self._until("'"))
        elif char == '"':
            self._double()
        elif char == "\\":
            after = self._next()
            if after != "\n":
                self._put(after)
        elif char == "$":
            self._dollar()
        elif char == "`":
            self._doubt("a command substitution is kept as text")
            self._put(f"`{self._until('`')}`")
        else:
            self._put(char)

    def _dollar(self) -> None:
        """An unquoted expansion: split at blanks, but not in an assignment."""
        if self._peek() == "'":
            self._next()
            self._put(self._ansi())
            return
        value = self._value()
        if isinstance(value, list):
            self._put_fields(value)
        elif self._assigning() or value.startswith("$"):
            self._put(value)
        else:
            if value[:1].isspace() and self._open:
                self._fields.append("")
            if value.split():
                self._put_fields(value.split())

    def _double(self) -> None:
        self._put("")
        while self._at < len(self._text) and (char := self._next()) != '"':
            if char == "\\" and self._peek() in '"\\$`\n':
                after = self._next()
                self._put("" if after == "\n" else after)
            elif char == "$":
                value = self._value()
                self._put_fields(value) if isinstance(value, list) else self._put(value)
            else:
                self._put(char)

    def _ansi(self) -> str:
        parts: list[str] = []
        while self._at < len(self._text) and (char := self._next()) != "'":
            after = self._next() if char == "\\" else ""
            parts.append(_ESCAPES.get(after, char + after) if after else char)
        return "".join(parts)

    def _value(self) -> str | list[str]:
        """What the `$` just read stands for; a list for an array or `$@`."""
        if self._text.startswith("((", self._at):
            return self._arithmetic()
        if self._peek() == "(":
            self._doubt("a command substitution is kept as text")
            return "$" + self._balanced("(", ")")
        if self._peek() == "{":
            return self._braced(self._balanced("{", "}")[1:-1])
        if self._peek() in "0123456789@*#?!$-" and self._peek():
            return self._named(self._next(), as_list=True)
        found = _NAME.match(self._text, self._at)
        if found is None:
            return "$"
        self._at = found.end()
        return self._named(found[0])

    def _named(self, name: str, *, as_list: bool = False) -> str | list[str]:
        variables = self._variables
        if name in ("@", "*"):
            return list(variables.arguments) if name == "@" and as_list else " ".join(variables.arguments)
        if name.isdecimal() and len(name) < 9 and 0 < int(name) <= len(variables.arguments):
            return variables.arguments[int(name) - 1]
        if name in variables.lists:
            items = variables.lists[name]
            return list(items) if as_list else (items[0] if items else "")
        return variables.texts[name] if name in variables.texts else variables.unknown(name)

    def _braced(self, inner: str) -> str | list[str]:
        found = _BRACED.fullmatch(inner)
        if found is None:
            self._doubt(f"${{{inner}}} is kept as text")
            return f"${{{inner}}}"
        name, index, how, other = found[1], found[2], found[3] or "", found[4] or ""
        variables = self._variables
        number = int(name) if name.isdecimal() and len(name) < 9 else 0
        known = name in variables.texts or name in variables.lists or 0 < number <= len(variables.arguments)
        if how:
            text = self._named(name) if known else ""
            there = known and (text != "" or ":" not in how)
            if how[-1] == "+":
                return self._inner(other) if there else ""
            if not there:
                value = self._inner(other)
                if how[-1] == "=":
                    variables.texts[name] = value
                return value
            return text
        return self._named(name, as_list=index == "[@]" or name == "@")

    def _inner(self, text: str) -> str:
        """The text as if it stood in double quotes here."""
        if self._depth > _MOST_NESTED:
            return text
        words = Words(text.replace('"', "") + '"', self._variables, self._line, self._depth + 1)
        words._double()
        return "".join(words._fields)

    def _arithmetic(self) -> str:
        whole = self._balanced("(", ")")
        text = re.sub(r"\$?\{?([A-Za-z_]\w*)\}?", lambda found: self._variables.texts.get(found[1], "?"), whole[2:-2])
        text = re.sub(r"\$([0-9])", lambda found: str(self._named(found[1])), text)
        result = _computed(text)
        if result is None:
            self._doubt(f"${whole} is kept as text")
            return f"${whole}"
        return str(result)


_OPERATORS: dict[type[ast.operator], Callable[[int, int], int]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.floordiv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}


def _computed(text: str) -> int | None:
    """A sum of whole numbers; None for anything else."""
    try:
        return _reckoned(ast.parse(text.strip(), mode="eval").body) if len(text) < 200 else None
    except (SyntaxError, ValueError, ZeroDivisionError, RecursionError):
        return None


def _reckoned(node: ast.expr) -> int:
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        return _OPERATORS[type(node.op)](_reckoned(node.left), _reckoned(node.right))
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_reckoned(node.operand)
    if isinstance(node, ast.Constant) and type(node.value) is int and abs(node.value) < 10**12:
        return node.value
    raise ValueError("no whole numbers")
