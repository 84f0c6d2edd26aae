"""Loops of a shell script, round by round; a list or condition that only the node knows cannot start servers."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from console.services.importing.shell_scripts.branches import tested
from console.services.importing.shell_scripts.script_state import Leave, Return, Stop, Ways, World, fault
from console.services.importing.shell_scripts.syntax import Body, Compute, CountingFor, For, Simple, While, bare
from console.services.importing.shell_scripts.unknowns import Unknown, is_open

if TYPE_CHECKING:
    from console.services.importing.shell_scripts.interpreter import Shell


def looped(shell: Shell, command: For | CountingFor | While) -> bool:
    """Follow every round."""
    if isinstance(command, While):
        with shell.reading(command.redirections):
            return _while(shell, command)
    if isinstance(command, For):
        return _for(shell, command)
    expander = shell.expander
    expander.line = command.line
    expander.sum(expander.text(command.begin), command.line, "for")
    while tested(shell, Compute(command.line, command.until)):
        shell.world.step(shell.file, command.line)
        if not _round(shell, command.body):
            break
        expander.sum(expander.text(command.step), command.line, "for")
    return True


def _for(shell: Shell, command: For) -> bool:
    expander = shell.expander
    expander.line = command.line
    words = list(shell.variables.arguments)
    if command.words is not None:
        words = [each for word in command.words for each in expander.fields(word)]
    for word in words:
        shell.variables.values[command.name] = word
        if is_open(word):
            unknowns = shell.world.unknowns
            _pass_over(shell, command.body, command.line, unknowns.shown(word), unknowns.within(word))
        elif not _round(shell, command.body):
            break
    return True


def _round(shell: Shell, body: Body) -> bool:
    """One round; whether another may follow."""
    try:
        shell.run(body)
    except Leave as left:
        if left.loops > 1:
            raise Leave(left.loops - 1, left.goes_on) from None
        return left.goes_on
    return True


def _pass_over(shell: Shell, body: Body, line: int, what: str, unknowns: Sequence[Unknown]) -> None:
    """Leave out a body whose rounds are not known; what it would change is not known either.

    Raises FileError when it starts servers.
    """
    world = shell.world
    before, notes, proxies = len(world.started), dict(world.notes), len(world.proxies)
    trial = shell.child(shell.variables.copy())
    ways, assumed = world.ways, dict(world.unknowns.assumed)
    world.ways = Ways()
    with suppress(Stop, Return, Leave):
        trial.run(body)
    world.ways = ways
    _restore(world, assumed)
    name = next((unknown.name for unknown in unknowns if unknown.name), "")
    if len(world.started) > before or len(world.proxies) > proxies:
        message = f"a loop over `{what}` starts servers; only the node or the caller knows that list"
        hint = f"give it: --set {name}='…'" if name.isidentifier() or name.isdecimal() else "write the list out"
        raise fault(shell.file, line, message, hint=hint)
    world.notes = notes
    values = shell.variables.values
    for changed, value in trial.variables.values.items():
        if values.get(changed) != value:
            mark = world.unknowns.mark(Unknown(shell.file, line, f"${changed} after the loop", name or changed))
            values[changed] = mark if isinstance(value, str) else [mark]


def _restore(world: World, assumed: dict[str, str]) -> None:
    world.unknowns.assumed.clear()
    world.unknowns.assumed.update(assumed)


def _while(shell: Shell, command: While) -> bool:
    """`while` and `until`. A server that is started again when it ends is one server."""
    world = shell.world
    reads = isinstance(first := command.condition[0], Simple) and any(bare(word) == "read" for word in first.words)
    if reads and shell.stdin is None:
        _pass_over(shell, command.body, command.line, "what `read` is given", ())
        return True
    while True:
        world.step(shell.file, command.line)
        asked, before = len(world.ways.questions), len(world.started)
        taken, widths = list(world.ways.taken), list(world.ways.widths)
        assumed, values = dict(world.unknowns.assumed), shell.variables.copy().values
        holds = shell.decided(command.condition) != command.negated
        if len(world.ways.questions) > asked:
            unknowns = [unknown for question in world.ways.questions[asked:] for unknown in question.unknowns]
            del world.ways.questions[asked:]
            world.ways.taken[:], world.ways.widths[:] = taken, widths
            _restore(world, assumed)
            if not unknowns or any(unknown.source != "$#" for unknown in unknowns):  # without arguments it ends at once
                _pass_over(shell, command.body, command.line, "its condition", unknowns)
            return True
        if not holds or not _round(shell, command.body):
            return True
        if shell.variables.values == values and not reads:
            if len(world.started) > before:
                message = "a loop starts the server again when it ends; the console does that by `auto-restart`"
                world.note(shell.file, command.line, message)
            return True
