"""What shells and containers do with plain texts: patterns, cutting at patterns, fields, files of variables."""

from __future__ import annotations

import re


def glob(text: str) -> str:
    """A shell's pattern as a regular expression."""
    out, at = "", 0
    while at < len(text):
        char, at = text[at], at + 1
        close = text.find("]", at + 1)
        if char == "*":
            out += ".*"
        elif char == "?":
            out += "."
        elif char == "[" and close > 0:
            inner, at = text[at:close], close + 1
            out += "[" + ("^" if inner[:1] in "!^" else "") + inner.lstrip("!^").replace("\\", r"\\") + "]"
        else:
            out += re.escape(char)
    return out


def cut(value: str, pattern: re.Pattern[str], operator: str, put: str) -> str:
    if operator[0] == "/" and not pattern.pattern:
        return value
    if operator[0] == "/":
        return re.sub(pattern.pattern, lambda _: put, value, count=0 if operator == "//" else 1, flags=re.DOTALL)
    ends = range(len(value) + 1)
    places = ends if (operator in ("#", "%%")) else reversed(ends)
    for at in places:
        piece, rest = (value[:at], value[at:]) if operator[0] == "#" else (value[at:], value[:at])
        if pattern.fullmatch(piece):
            return rest
    return value


def split(text: str, signs: str | None, most: int = 0) -> list[str]:
    """The fields of a text, cut where `IFS` says; `signs` is None for the shell's own. At most `most` fields when it is given.

    Blanks among the signs count once and not at the ends, as in a shell; each other sign ends a field.
    """
    blanks = "".join(each for each in " \t\n" if signs is None or each in signs)
    others = "".join(each for each in signs or "" if each not in blanks)
    text = text.strip(blanks) if blanks else text
    if not text or not (blanks or others):
        return [text] if text else []
    some = f"[{re.escape(blanks)}]" if blanks else ""
    ends = ([f"{some}*[{re.escape(others)}]{some}*" if some else f"[{re.escape(others)}]"] if others else []) + (
        [f"{some}+"] if some else []
    )
    fields = re.split("|".join(ends), text, maxsplit=max(0, most - 1)) if most != 1 else [text]
    return fields[:-1] if not fields[-1] else fields


def settings_file(text: str, *, quoting: bool = True) -> dict[str, str]:
    """The variables of an environment file: a `NAME=VALUE` on each line, with `quoting` without the quotes around the value."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        name, equals, value = line.strip().removeprefix("export ").partition("=")
        if equals and re.fullmatch(r"[A-Za-z_]\w*", name.strip()):
            value = value.strip()
            if not quoting:
                found[name.strip()] = value
                continue
            quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "'\""
            found[name.strip()] = value[1:-1] if quoted else re.sub(r"\s+#.*", "", value)
    return found
