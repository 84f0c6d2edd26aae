"""What the words of a shell script become: variables, arrays, defaults, parts of texts, sums, braces and fields."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

from console.services.importing.shell_scripts.arithmetic import Arithmetic, NotComputed
from console.services.importing.shell_scripts.syntax import Arithmetic as Sum
from console.services.importing.shell_scripts.syntax import Param, Part, Substitution, Text, Word
from console.services.importing.shell_scripts.texts import cut, glob, split
from console.services.importing.shell_scripts.unknowns import Unknown, Unknowns, computable, is_open
from console.services.importing.shell_scripts.variables import Value, Variables

OWN_PATHS = ("LD_PRELOAD", "LD_LIBRARY_PATH", "PATH", "PYTHONPATH")
"""Variables whose own name in them keeps what the node has."""
_BRACES = re.compile(r"\{(-?[0-9]+)\.\.(-?[0-9]+)(?:\.\.(-?[0-9]+))?\}|\{([^{}\s]*,[^{}\s]*)\}")
_MOST_FIELDS = 4096


class Expander:
    """Expands words with the variables of one shell; `output` runs a substitution and gives what it prints."""

    def __init__(
        self, variables: Variables, unknowns: Unknowns, file: str, output: Callable[[Substitution], str]
    ) -> None:
        self.variables = variables
        self.unknowns = unknowns
        self.file = file
        self._output = output
        self.line = 0
        """Of the command whose words are expanded."""

    def unknown(self, line: int, source: str, name: str) -> str:
        """The mark of something that is not known; the value given for its name where there is one."""
        given = self.unknowns.given(name)
        return given if given is not None else self.unknowns.mark(Unknown(self.file, line, source, name))

    def fields(self, word: Word) -> list[str]:
        """The words it becomes."""
        found: list[str] = []
        for each in _braced(word):
            found += self._fields(each)
            if len(found) > _MOST_FIELDS:
                raise NotComputed
        return found

    def _fields(self, word: Word) -> list[str]:
        fields: list[str] = []
        current: str | None = None
        for at, part in enumerate(word):
            if isinstance(part, Text):
                text = self._home(part.text) if at == 0 and not part.quoted else part.text
                if not part.quoted and "*" in text:
                    text = self.unknown(self.line, text, "")
                current = (current or "") + text
                continue
            items = self._items(part)
            if items is None:
                value = self.value(part)
                if part.quoted:
                    current = (current or "") + value
                    continue
                items = split(value, self.variables.separators)
                if value[:1].isspace() and current is not None:
                    fields.append(current)
                    current = None
                closed = value[-1:].isspace()
            else:
                closed = False
            for index, item in enumerate(items):
                if index:
                    fields.append(current or "")
                    current = None
                current = (current or "") + item
            if closed and current is not None:
                fields.append(current)
                current = None
        return fields if current is None else [*fields, current]

    def _items(self, part: Part) -> list[str] | None:
        """The items of `$@` and `${A[@]}`; None for anything that is one text."""
        if not isinstance(part, Param):
            return None
        everything = _index(part) in ("@", "*") if part.index is not None else part.name in ("@", "*")
        if not everything or part.operator == "length":
            return None
        joined = part.quoted and "*" in (part.name, _index(part))
        if joined:
            return None
        items = self._all(part)
        return items if part.quoted else [piece for item in items for piece in split(item, self.variables.separators)]

    def _all(self, part: Param) -> list[str]:
        """Every item of what the parameter names, its operator applied."""
        value: Value | None = (
            list(self.variables.arguments) if part.name in ("@", "*") else self.variables.values.get(part.name)
        )
        if part.operator == "keys":
            return list(value) if isinstance(value, dict) else [str(at) for at in range(len(_listed(value)))]
        if value is None and part.name not in ("@", "*"):
            if part.operator in (":-", "-", ":=", "="):
                return self.fields(part.operand or ())
            if part.operator in (":+", "+"):
                return []
            return [self.unknown(part.line, part.source, part.name)]
        items = list(value.values()) if isinstance(value, dict) else _listed(value)
        if part.operator in (":-", "-") and not items:
            return self.fields(part.operand or ())
        if part.operator in (":+", "+"):
            return self.fields(part.operand or ()) if items else []
        if part.operator == ":":
            begin, length = self._slice(part)
            begin = max(0, begin - (1 if part.name in ("@", "*") else 0))
            return items[begin : None if length is None else begin + length]
        return [self._changed(item, part) for item in items] if part.operator else items

    def text(self, word: Word) -> str:
        """What it becomes where nothing is split: an assignment, a subject of `case`."""
        pieces = []
        for at, part in enumerate(word):
            if isinstance(part, Text):
                pieces.append(self._home(part.text) if at == 0 and not part.quoted else part.text)
            else:
                items = self._items(part)
                pieces.append(self.value(part) if items is None else " ".join(items))
        return "".join(pieces)

    def pattern(self, word: Word) -> re.Pattern[str] | None:
        """The word as a pattern that a whole text must match; None when part of it is not known."""
        pieces = []
        for part in word:
            text = part.text if isinstance(part, Text) else self.value(part)
            if is_open(text):
                return None
            pieces.append(re.escape(text) if part.quoted else glob(text))
        try:
            return re.compile("".join(pieces), re.DOTALL)
        except re.error:
            return None

    def _home(self, text: str) -> str:
        if text == "~" or text.startswith("~/"):
            return self._plain_text("HOME", self.line, "~") + text[1:]
        return text

    def value(self, part: Part) -> str:
        """One part as one text."""
        if isinstance(part, Text):
            return part.text
        if isinstance(part, Sum):
            return self.sum(self.text(part.inner), part.line, part.source)
        if isinstance(part, Substitution):
            return self._output(part)
        return self._parameter(part)

    def _parameter(self, part: Param) -> str:
        operator = part.operator
        if operator == "length":
            return self._length(part)
        if operator == "keys" or part.name in ("@", "*") or _index(part) in ("@", "*"):
            signs = self.variables.separators if "*" in (part.name, _index(part)) else None
            return (" " if signs is None else signs[:1]).join(self._all(part))
        if operator == "indirect":
            name = self._plain_text(part.name, part.line, part.source)
            return name if is_open(name) else self._plain_text(name, part.line, part.source)
        value = self._found(part)
        if operator in (":-", "-", ":=", "=", ":+", "+", ":?", "?"):
            return self._or_else(part, value)
        if value is None:
            value = self.unknown(part.line, part.source, part.name)
        return self._changed(value, part) if operator else value

    def _or_else(self, part: Param, value: str | None) -> str:
        """`${X:-…}` and its kin."""
        operator, operand = part.operator, part.operand or ()
        there = value is not None and (value != "" or ":" not in operator)
        if operator[-1] == "+":
            return self.text(operand) if there else ""
        if value is not None and there:
            return value
        if operator[-1] == "?":
            return self.unknown(part.line, f"${part.name}", part.name)
        text = self.text(operand)
        if operator[-1] == "=":
            self.variables.values[part.name] = text
        return text

    def _found(self, part: Param) -> str | None:
        """The variable's text, or that of one item; None when it is set nowhere."""
        if part.index is None:
            return self.lookup(part.name, part.line)
        value = self.variables.values.get(part.name)
        index = self.text(part.index)
        if is_open(index):
            return self.unknown(part.line, part.source, self.unknowns.within(index)[0].name)
        if isinstance(value, dict):
            return value.get(index, "")
        if value is None:
            return None
        items = _listed(value)
        at = self.sum(index, part.line, part.source)
        if at != "0" and _may_have_more(items, self.unknowns):
            return self._derived(part, *items)
        number = int(at) if re.fullmatch(r"-?[0-9]{1,6}", at) else len(items)
        return items[number] if -len(items) <= number < len(items) else ""

    def lookup(self, name: str, line: int) -> str | None:
        """The text of a variable, an argument or a special parameter; None when it is set nowhere."""
        variables = self.variables
        if name in ("@", "*"):
            return " ".join(variables.arguments)
        if name == "0":
            return variables.name
        if name.isdecimal():
            at = int(name[:6])
            if at <= len(variables.arguments):
                return self.unknowns.resolved(variables.arguments[at - 1])
            return "" if variables.in_function else self.unknowns.given(name)
        if name == "#":
            known = bool(variables.arguments) or variables.in_function
            return str(len(variables.arguments)) if known else self.unknown(line, "$#", "")
        if not name.isidentifier():
            return "" if name == "-" else self.unknown(line, f"${name}", "")
        value = variables.values.get(name)
        if value is None:
            own = f"${name}" if name in OWN_PATHS else None
            return self.unknowns.given(name) or own
        text = value if isinstance(value, str) else next(iter(_listed(value)), "")
        return self.unknowns.resolved(text)

    def _plain_text(self, name: str, line: int, source: str) -> str:
        value = self.lookup(name, line)
        return self.unknown(line, source, name) if value is None else value

    def _length(self, part: Param) -> str:
        if _index(part) in ("@", "*") or part.name in ("@", "*"):
            items = self._all(Param(part.name, True, part.source, part.line, part.index))
            return self._derived(part, *items) if _may_have_more(items, self.unknowns) else str(len(items))
        value = self._found(part)
        text = self.unknown(part.line, part.source, part.name) if value is None else value
        return str(len(text)) if computable(text) else self._derived(part, text)

    def _derived(self, part: Param, *texts: str) -> str:
        """Something made of what is not known: not known either, and asked for by the same name."""
        name = next((each.name for each in self.unknowns.within(*texts) if each.name), part.name)
        return self.unknowns.mark(Unknown(self.file, part.line, part.source, name))

    def _slice(self, part: Param) -> tuple[int, int | None]:
        begin = self.sum(self.text(part.operand or ()), part.line, part.source)
        length = self.sum(self.text(part.second), part.line, part.source) if part.second else ""
        whole = re.compile(r"\s*-?[0-9]{1,9}\s*")
        if not whole.fullmatch(begin) or (length and not whole.fullmatch(length)):
            raise NotComputed
        return int(begin), int(length) if length else None

    def _changed(self, value: str, part: Param) -> str:
        """The text without a beginning or an end, with something put in, in capitals …"""
        operator = part.operator
        if operator == ":":
            if not computable(value):
                return self._derived(part, value)
            begin, length = self._slice(part)
            piece = value[begin:]
            return piece if length is None else piece[:length]
        if operator in ("^^", ",,", "^", ","):
            upper = value.upper() if operator[0] == "^" else value.lower()
            changed = upper if len(operator) == 2 else upper[:1] + value[1:]
            return changed if computable(value) else self._derived(part, value)
        pattern = self.pattern(part.operand or ())
        if pattern is None or operator[0] not in "#%/":
            return self._derived(part, value)
        put = self.text(part.second) if part.second else ""
        if not computable(value) and not set(re.sub(r"\\(.)|\.\*|\.", r"\1", pattern.pattern)) <= set("@/ "):
            return self._derived(part, value)
        changed = cut(value, pattern, operator, put)
        return changed if changed == value or computable(value) else self._derived(part, value)

    def sum(self, text: str, line: int, source: str) -> str:
        """A sum as text; unknown where a part of it is."""
        opened: list[str] = [text]

        def get(name: str) -> str:
            value = self.lookup(name, line)
            if value is None:
                value = self.unknown(line, f"${name}", name)
            if not computable(value):
                opened.append(value)
                raise NotComputed
            return value

        try:
            if not computable(text):
                raise NotComputed
            return str(Arithmetic(text, get, self.variables.values.__setitem__).value())
        except NotComputed:
            inner = self.unknowns.within(*opened)
            name = inner[0].name if inner else ""
            return self.unknowns.mark(Unknown(self.file, line, source, name))


def _may_have_more(items: Sequence[str], unknowns: Unknowns) -> bool:
    """Whether a list may have more items than it shows: one of them is what a command prints, or is all there is."""
    opened = [item for item in items if is_open(item)]
    return bool(opened) and (len(items) == 1 or any(unknowns.alone(item) is None for item in opened))


def _index(part: Part) -> str:
    if isinstance(part, Param) and part.index:
        return "".join(each.text for each in part.index if isinstance(each, Text))
    return ""


def _listed(value: Value | None) -> list[str]:
    if value is None:
        return []
    return [value] if isinstance(value, str) else list(value.values() if isinstance(value, dict) else value)


def _braced(word: Word) -> Iterator[Word]:
    """The words that `{0..3}` and `{a,b}` make of one."""
    for at, part in enumerate(word):
        if not isinstance(part, Text) or part.quoted or (found := _BRACES.search(part.text)) is None:
            continue
        before, after = part.text[: found.start()], part.text[found.end() :]
        for choice in _choices(found):
            rest: Word = (*word[:at], Text(before + choice + after, False), *word[at + 1 :])
            yield from _braced(rest)
        return
    yield word


def _choices(found: re.Match[str]) -> list[str]:
    if found[4] is not None:
        return found[4].split(",")
    first, last = int(found[1]), int(found[2])
    step = abs(int(found[3])) if found[3] else 1
    if max(abs(first), abs(last)) > _MOST_FIELDS or not step:
        raise NotComputed
    width = max(len(found[1]), len(found[2])) if found[1].startswith("0") and len(found[1]) > 1 else 0
    numbers = range(first, last + 1, step) if last >= first else range(first, last - 1, -step)
    return [str(number).zfill(width) for number in numbers]
