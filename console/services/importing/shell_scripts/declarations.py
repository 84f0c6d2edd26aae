"""Follows `export`, `declare`, `local` and the like: attributes and values of variables, and which of them a function owns."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from console.services.importing.shell_scripts.assignments import assign
from console.services.importing.shell_scripts.syntax import Assignment, Simple

if TYPE_CHECKING:
    from console.services.importing.shell_scripts.interpreter import Shell

DECLARING = ("export", "declare", "typeset", "local", "readonly")


def declare(shell: Shell, name: str, command: Simple) -> bool:
    """Follow one declaration."""
    words = [
        each for word in command.words[1:] if not isinstance(word, Assignment) for each in shell.expander.fields(word)
    ]
    options = [word for word in words if word.startswith(("-", "+"))]
    names = [word for word in words if re.fullmatch(r"[A-Za-z_]\w*", word)]
    if name in ("local", "declare", "typeset") and not any("g" in option for option in options):
        _make_local(shell, command, words)
    if any("A" in option for option in options):
        for each in command.words:
            if isinstance(each, Assignment):
                shell.variables.values[each.name] = {}
    assigned = [assign(shell, each) for each in command.words if isinstance(each, Assignment)]
    for word in words:
        if "=" in word and not word.startswith("-"):
            key, _, text = word.partition("=")
            shell.variables.values[key] = text
            assigned.append(key)
    if any(option.startswith("-") and "n" in option for option in options) and name != "export":
        _refer(shell, assigned)
    _declared(shell, name, options, names, assigned)
    return True


def _make_local(shell: Shell, command: Simple, words: list[str]) -> None:
    """Hide what a function declares as its own; a name without a value is empty in it."""
    variables = shell.variables
    for each in command.words:
        if isinstance(each, Assignment):
            variables.hide(each.name)
    for word in words:
        key, equals, _ = word.partition("=")
        if key.isidentifier() and variables.hide(key) and not equals:
            variables.values[key] = ""


def _refer(shell: Shell, names: list[str]) -> None:
    """`local -n X=Y`: the variable is the one that its value names."""
    values = shell.variables.values
    for name in names:
        named = values.get(name)
        found = values.get(named) if isinstance(named, str) else None
        if found is not None:
            values[name] = found if isinstance(found, str) else found.copy()


def _declared(shell: Shell, name: str, options: Sequence[str], names: Sequence[str], assigned: Sequence[str]) -> None:
    """Take in `export`, `declare`, `local` …; `assigned` were given values just now, `names` stand alone."""
    variables = shell.variables
    letters = "".join(option[1:] for option in options if option.startswith("-"))
    exports = (name == "export" and "n" not in letters) or "x" in letters or shell.exports_all
    for each in names:
        if "A" in letters:
            variables.values[each] = {}
        elif name == "local":
            variables.values.setdefault(each, "")
    if exports:
        variables.exported |= {*names, *assigned}
    elif name == "export":
        variables.exported -= {*names, *assigned}
