"""`$((…))` and `((…))` of a shell: whole numbers, variables by name, comparisons and assignments."""

from __future__ import annotations

import re
from collections.abc import Callable

_TOKEN = re.compile(
    r"\s*(0[xX][0-9a-fA-F]+|[0-9]+|[A-Za-z_]\w*|\+\+|--|\*\*|<<=?|>>=?|[-+*/%&|^]=|[<>=!]=|&&|\|\||[-+*/%<>=!~&|^?:(),])"
)
_LEVELS = (
    ("||",),
    ("&&",),
    ("|",),
    ("^",),
    ("&",),
    ("==", "!="),
    ("<=", ">=", "<", ">"),
    ("<<", ">>"),
    ("+", "-"),
    ("*", "/", "%"),
)
_ASSIGNING = ("=", "+=", "-=", "*=", "/=", "%=", "<<=", ">>=", "&=", "|=", "^=")
_MOST_DIGITS = 18


class NotComputed(Exception):
    """The expression is none, or holds a value that is not known."""


class Arithmetic:
    """Computes one expression. `get` gives a variable's text, `put` takes an assignment."""

    def __init__(self, text: str, get: Callable[[str], str], put: Callable[[str, str], None], depth: int = 0) -> None:
        self._tokens = _tokens(text)
        self._at = 0
        self._get = get
        self._put = put
        self._depth = 0
        self._nested = depth

    def value(self) -> int:
        """The result; of several expressions with commas the last one's. Raises NotComputed."""
        if not self._tokens:
            return 0
        result = self._assignment()
        while self._taken(","):
            result = self._assignment()
        if self._at < len(self._tokens):
            raise NotComputed
        return result

    def _peek(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def _taken(self, token: str) -> bool:
        if self._peek() != token:
            return False
        self._at += 1
        return True

    def _assignment(self) -> int:
        self._depth += 1
        if self._depth > 50:
            raise NotComputed
        name = self._peek()
        after = self._tokens[self._at + 1] if self._at + 1 < len(self._tokens) else ""
        if re.match(r"[A-Za-z_]", name) and after in _ASSIGNING:
            self._at += 2
            result = self._assignment()
            if after != "=":
                result = _applied(after[:-1], self._number(self._get(name)), result)
            self._put(name, str(result))
        else:
            result = self._choice()
        self._depth -= 1
        return result

    def _choice(self) -> int:
        condition = self._level(0)
        if not self._taken("?"):
            return condition
        one = self._assignment()
        if not self._taken(":"):
            raise NotComputed
        other = self._assignment()
        return one if condition else other

    def _level(self, level: int) -> int:
        if level == len(_LEVELS):
            return self._power()
        left = self._level(level + 1)
        while self._peek() in _LEVELS[level]:
            operator = self._tokens[self._at]
            self._at += 1
            left = _applied(operator, left, self._level(level + 1))
        return left

    def _power(self) -> int:
        base = self._unary()
        if not self._taken("**"):
            return base
        exponent = self._power()
        if not 0 <= exponent <= 62 or abs(base) > 10**6:
            raise NotComputed
        return _bounded(base**exponent)

    def _unary(self) -> int:
        for sign in ("++", "--"):
            if self._taken(sign):
                name = self._peek()
                self._at += 1
                return self._stepped(name, 1 if sign == "++" else -1)
        signs: dict[str, Callable[[int], int]] = {
            "-": lambda value: -value,
            "+": lambda value: value,
            "!": lambda value: int(not value),
            "~": lambda value: ~value,
        }
        if self._peek() in signs:
            self._depth += 1
            if self._depth > 50:
                raise NotComputed
            result = signs[self._tokens[self._at]](self._after())
            self._depth -= 1
            return result
        if self._taken("("):
            result = self._assignment()
            if not self._taken(")"):
                raise NotComputed
            return result
        token = self._peek()
        self._at += 1
        if not re.match(r"[A-Za-z_]", token):
            return self._number(token)
        value = self._number(self._get(token))
        for sign in ("++", "--"):
            if self._taken(sign):
                self._stepped(token, 1 if sign == "++" else -1)
        return value

    def _after(self) -> int:
        self._at += 1
        return self._unary()

    def _stepped(self, name: str, step: int) -> int:
        if not re.match(r"[A-Za-z_]\w*$", name):
            raise NotComputed
        value = self._number(self._get(name)) + step
        self._put(name, str(value))
        return value

    def _number(self, text: str) -> int:
        stripped = text.strip()
        if not stripped:
            return 0
        if re.fullmatch(r"0[xX][0-9a-fA-F]{1,15}", stripped):
            return int(stripped, 16)
        if re.fullmatch(r"-?[0-9]{1,18}", stripped):
            digits = stripped.lstrip("-")
            octal = len(digits) > 1 and digits.startswith("0")
            if octal and not re.fullmatch(r"[0-7]+", digits):
                raise NotComputed
            return int(stripped, 8 if octal else 10)
        if self._nested > 20 or not re.search(r"\w", stripped):
            raise NotComputed
        return Arithmetic(stripped, self._get, self._put, self._nested + 1).value()


def _tokens(text: str) -> list[str]:
    found, at = list[str](), 0
    text = text.strip()
    if len(text) > 500:
        raise NotComputed
    while at < len(text):
        token = _TOKEN.match(text, at)
        if token is None:
            raise NotComputed
        found.append(token[1])
        at = token.end()
    return found


def _bounded(value: int) -> int:
    if abs(value) >= 10**_MOST_DIGITS:
        raise NotComputed
    return value


def _applied(operator: str, left: int, right: int) -> int:
    if operator in ("/", "%"):
        if right == 0:
            raise NotComputed
        whole = abs(left) // abs(right) * (1 if (left < 0) == (right < 0) else -1)
        return whole if operator == "/" else left - whole * right
    if operator in ("<<", ">>") and not 0 <= right < 60:
        raise NotComputed
    results: dict[str, Callable[[], int]] = {
        "+": lambda: left + right,
        "-": lambda: left - right,
        "*": lambda: left * right,
        "<<": lambda: left << right,
        ">>": lambda: left >> right,
        "&": lambda: left & right,
        "|": lambda: left | right,
        "^": lambda: left ^ right,
        "&&": lambda: int(bool(left and right)),
        "||": lambda: int(bool(left or right)),
        "==": lambda: int(left == right),
        "!=": lambda: int(left != right),
        "<": lambda: int(left < right),
        ">": lambda: int(left > right),
        "<=": lambda: int(left <= right),
        ">=": lambda: int(left >= right),
    }
    return _bounded(results[operator]())
