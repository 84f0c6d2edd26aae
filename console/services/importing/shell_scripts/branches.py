"""Which way a script goes: its tests and branches, and what is assumed where only the node or the caller knows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from console.services.importing.shell_scripts.conditions import Condition
from console.services.importing.shell_scripts.script_state import Question
from console.services.importing.shell_scripts.syntax import Case, Compute, Test, Word
from console.services.importing.shell_scripts.unknowns import Unknown, computable, is_open

if TYPE_CHECKING:
    from console.services.importing.shell_scripts.interpreter import Shell


def tested(shell: Shell, command: Test | Compute) -> bool:
    """Whether `[[ … ]]` or `((…))` holds."""
    shell.expander.line = command.line
    if isinstance(command, Test):
        return condition(shell, command.line, command.words)
    text = shell.expander.text(command.inner)
    result = shell.expander.sum(text, command.line, f"(({shell.world.unknowns.shown(text)}))")
    return ask(shell, command.line, [result], of_files=False) if is_open(result) else result != "0"


def condition(shell: Shell, line: int, words: tuple[Word, ...] | list[str]) -> bool:
    """Whether a test holds; where that is open, the way decides."""

    def equal(unknown: Unknown, text: str) -> bool:
        if _choose(shell, line, f"{unknown.source} is {text!r}", [unknown], 2) == 1:
            return False
        shell.world.unknowns.assumed[unknown.name] = text
        return True

    return Condition(
        words, shell.expander, lambda texts, of_files: ask(shell, line, texts, of_files=of_files), equal
    ).value()


def ask(shell: Shell, line: int, texts: list[str], *, of_files: bool) -> bool:
    """What this way takes an open condition to be."""
    unknowns = shell.world.unknowns
    shown = " ".join(unknowns.shown(text) for text in texts)
    text = f"{shown} is there" if of_files else shown
    return _choose(shell, line, text, unknowns.within(*texts), 2, of_files=of_files) == 0


def _choose(shell: Shell, line: int, text: str, unknowns: list[Unknown], width: int, *, of_files: bool = False) -> int:
    return shell.world.ways.choose(Question(shell.file, line, text, tuple(unknowns), of_files), width)


def branched(shell: Shell, command: Case) -> bool:
    """Follow the branch of a `case` that fits."""
    shell.expander.line = command.line
    subject = shell.expander.text(command.subject)
    at = _fitting(shell, command, subject) if computable(subject) else _open_case(shell, command, subject)
    result = True
    while at < len(command.branches):
        result = shell.run(command.branches[at][1])
        if not command.branches[at][2]:
            break
        at += 1
    return result


def dispatched(shell: Shell, text: str) -> str:
    """The function that a command is whose name is open: of those there are, the one that this way takes; empty when none."""
    unknowns = shell.world.unknowns
    alone = unknowns.alone(text)
    names = list(shell.variables.functions)
    if alone is None or not names:
        return ""
    at = _choose(shell, shell.expander.line, f"the function that {alone.source} names", [alone], len(names))
    unknowns.assumed[alone.name] = names[at]
    return names[at]


def _fitting(shell: Shell, command: Case, subject: str) -> int:
    for at, (patterns, _, _) in enumerate(command.branches):
        if any(found and found.fullmatch(subject) for found in map(shell.expander.pattern, patterns)):
            return at
    return len(command.branches)


def _open_case(shell: Shell, command: Case, subject: str) -> int:
    """The branch that this way takes; the unknown is then what the branch's first pattern says."""
    unknowns = shell.world.unknowns
    whole = any(shell.expander.text(each) == "*" for patterns, _, _ in command.branches for each in patterns)
    width = len(command.branches) + (not whole)
    text = f"the branch of `case {unknowns.shown(subject)}`"
    at = _choose(shell, command.line, text, unknowns.within(subject), width)
    alone = unknowns.alone(subject)
    if alone is not None and at < len(command.branches):
        texts = [shell.expander.text(each) for each in command.branches[at][0]]
        plain = next((each for each in texts if not set(each) & set("*?[") and not is_open(each)), None)
        if plain is not None:
            unknowns.assumed[alone.name] = plain
    return at
