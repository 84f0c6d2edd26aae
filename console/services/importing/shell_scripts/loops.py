"""Loops of a shell script, round by round; a list or condition that only the node knows cannot start servers."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from console.services.importing.shell_scripts.branches import tested
from console.services.importing.shell_scripts.script_state import Leave, Return, Stop, fault
from console.services.importing.shell_scripts.syntax import Body, Compute, CountingFor, For, Simple, While, bare
from console.services.importing.shell_scripts.unknowns import is_open

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
            _refuse_servers(shell, command.body, command.line, word)
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


def _refuse_servers(shell: Shell, body: Body, line: int, text: str) -> None:
    """Pass over a body whose rounds are not known. Raises FileError when it starts servers."""
    world = shell.world
    before, notes, proxies = len(world.started), dict(world.notes), len(world.proxies)
    trial = shell.child(shell.variables.copy())
    with suppress(Stop, Return, Leave):
        trial.run(body)
    if len(world.started) == before and len(world.proxies) == proxies:
        world.notes = notes
        return
    inner = world.unknowns.within(text)
    name = inner[0].name if inner else ""
    message = f"a loop over `{world.unknowns.shown(text)}` starts servers; only the node or the caller knows that list"
    hint = f"give it: --set {name}='…'" if name.isidentifier() or name.isdecimal() else "write the list out"
    raise fault(shell.file, line, message, hint=hint)


def _while(shell: Shell, command: While) -> bool:
    """`while` and `until`. A server that is started again when it ends is one server."""
    world = shell.world
    reads = isinstance(first := command.condition[0], Simple) and any(bare(word) == "read" for word in first.words)
    if reads and shell.stdin is None:
        _refuse_servers(shell, command.body, command.line, "what `read` is given")
        return True
    while True:
        world.step(shell.file, command.line)
        asked, before = len(world.ways.questions), len(world.started)
        taken, widths = list(world.ways.taken), list(world.ways.widths)
        assumed, values = dict(world.unknowns.assumed), shell.variables.copy().values
        holds = shell.decided(command.condition) != command.negated
        if len(world.ways.questions) > asked:
            del world.ways.questions[asked:]
            world.ways.taken[:], world.ways.widths[:] = taken, widths
            world.unknowns.assumed.clear()
            world.unknowns.assumed.update(assumed)
            _refuse_servers(shell, command.body, command.line, "its condition")
            return True
        if not holds or not _round(shell, command.body):
            return True
        if shell.variables.values == values and not reads:
            if len(world.started) > before:
                message = "a loop starts the server again when it ends; the console does that by `auto-restart`"
                world.note(shell.file, command.line, message)
            return True
