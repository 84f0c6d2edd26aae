"""Assignments of a shell script: texts, arrays, items of arrays. What `--set` gives stands before them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from console.services.importing.shell_scripts.syntax import Assignment

if TYPE_CHECKING:
    from console.services.importing.shell_scripts.interpreter import Shell

_MOST_ITEMS = 4096


def assign(shell: Shell, assignment: Assignment) -> str:
    """Take an assignment in; gives the name."""
    name, values, expander = assignment.name, shell.variables.values, shell.expander
    given = shell.world.unknowns.settings.get(name)
    if given is not None:
        shell.world.unknowns.given(name)
        values[name] = given if assignment.items is None else given.split()
    elif assignment.items is not None:
        _assign_items(shell, assignment)
    elif assignment.index is not None:
        _assign_item(shell, name, expander.text(assignment.index), expander.text(assignment.value))
    else:
        text = _named(shell, name, expander.text(assignment.value))
        old = values.get(name, "")
        if assignment.append and isinstance(old, list):
            values[name] = [(old or [""])[0] + text, *old[1:]]
        else:
            values[name] = (expander.lookup(name, assignment.line) or "") + text if assignment.append else text
    return name


def _named(shell: Shell, name: str, text: str) -> str:
    """A substitution that is all of a variable's value is asked for by the variable's name."""
    unknowns = shell.world.unknowns
    inner = unknowns.within(text)
    if len(inner) != 1 or text != unknowns.mark(inner[0]) or inner[0].is_variable or inner[0].name.isidentifier():
        return text
    return unknowns.mark(replace(inner[0], name=name))


def _assign_items(shell: Shell, assignment: Assignment) -> None:
    name, values, expander = assignment.name, shell.variables.values, shell.expander
    old = values.get(name) if assignment.append else None
    if isinstance(values.get(name), dict) or any(key is not None for key, _ in assignment.items or ()):
        found = dict(old) if isinstance(old, dict) else {}
        for key, word in assignment.items or ():
            found[expander.text(key) if key is not None else str(len(found))] = expander.text(word)
        values[name] = found
        return
    items = [each for _, word in assignment.items or () for each in expander.fields(word)]
    before = old if isinstance(old, list) else [old] if isinstance(old, str) and old else []
    values[name] = [*before, *items]


def _assign_item(shell: Shell, name: str, index: str, text: str) -> None:
    values = shell.variables.values
    old = values.get(name)
    if isinstance(old, dict) or not index.strip().isdecimal():
        found = dict(old) if isinstance(old, dict) else {}
        found[index] = text
        values[name] = found
        return
    items = list(old) if isinstance(old, list) else []
    at = min(int(index[:6]), _MOST_ITEMS)
    items += [""] * (at + 1 - len(items))
    items[at] = text
    values[name] = items
