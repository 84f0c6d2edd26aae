"""Follows a shell script command by command: loops, branches, functions, files it reads. Nothing is run.

Where a condition is open, one way is followed at a time (`World.ways`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

from console.services.importing.shell_scripts.arithmetic import NotComputed
from console.services.importing.shell_scripts.branches import branched, tested
from console.services.importing.shell_scripts.expansion import Expander
from console.services.importing.shell_scripts.loops import looped
from console.services.importing.shell_scripts.parser import parse
from console.services.importing.shell_scripts.programs import run_simple
from console.services.importing.shell_scripts.script_state import Leave, Return, Script, Stop, World, fault
from console.services.importing.shell_scripts.syntax import (
    AndOr,
    Block,
    Body,
    Case,
    Command,
    Compute,
    CountingFor,
    For,
    Function,
    If,
    Pipeline,
    Redirections,
    Simple,
    Substitution,
    SyntaxFault,
    Test,
    While,
)
from console.services.importing.shell_scripts.unknowns import Unknown
from console.services.importing.shell_scripts.variables import Variables

_MOST_NESTED = 30


class Shell:
    """One shell: its variables, where it runs, what it prints."""

    def __init__(
        self, world: World, file: str, variables: Variables, *, node: str = "", image: str = "", depth: int = 0
    ) -> None:
        self.world = world
        self.file = file
        self.variables = variables
        self.node = node
        self.image = image
        self.depth = depth
        self.exports_all = False
        """After `set -a`."""
        self.deciding = False
        """The command's success decides what follows."""
        self.printed: list[str] = []
        self.stdin: str | None = None
        """What the command now run reads; None where that is not known."""
        self.capturing = ""
        """The command whose output is wanted."""
        self.substituting = False
        """Inside `$(…)`: what is started there is no server of the script."""
        self._expander = Expander(variables, world.unknowns, file, self._output)
        if depth > _MOST_NESTED:
            raise fault(file, 0, "shells and functions are nested too deeply")

    @property
    def expander(self) -> Expander:
        """Expands words as this shell does, at the file that is read now."""
        self._expander.file = self.file
        return self._expander

    def note(self, message: str) -> None:
        """Keep what the operator must know of the command that is followed now."""
        self.world.note(self.file, self.expander.line, message)

    def run_text(self, script: Script) -> bool:
        """Follow a script's text; whether it ended well. Raises FileError where it is none."""
        before, self.file = self.file, script.path
        try:
            return self.run(parse(script.text, script.line, self.depth))
        except SyntaxFault as found:
            raise fault(script.path, found.line, f"cannot be read as a shell script: {found.message}") from None
        except NotComputed:
            raise fault(script.path, self.expander.line, "a list or a number in it is beyond all bounds") from None
        finally:
            self.file = before

    def top(self, script: Script) -> None:
        """Follow a script to its end or its `exit`."""
        try:
            self.run_text(script)
        except (Stop, Return, Leave):
            return

    def child(self, variables: Variables, **changes: str) -> Shell:
        """A shell inside this one, with variables of its own."""
        node, image = changes.get("node", self.node), changes.get("image", self.image)
        shell = Shell(self.world, self.file, variables, node=node, image=image, depth=self.depth + 1)
        shell.expander.line = self.expander.line
        shell.printed, shell.stdin, shell.capturing = self.printed, self.stdin, self.capturing
        shell.deciding, shell.exports_all, shell.substituting = self.deciding, self.exports_all, self.substituting
        return shell

    def _output(self, substitution: Substitution) -> str:
        """What a substitution prints; its unknown where that is not known."""
        shell = self.child(self.variables.copy())
        shell.printed, shell.capturing, shell.stdin = [], substitution.source, None
        shell.substituting, shell.deciding = True, False
        started = len(self.world.started)
        with suppress(Stop, Return, Leave):
            shell.run(substitution.body)
        del self.world.started[started:]
        return "".join(shell.printed).rstrip("\n")

    def unknown_output(self, *inputs: str) -> str:
        """The mark of what a command prints that only its node knows; it is asked for by what is open in its inputs."""
        source, unknowns = self.capturing, self.world.unknowns
        inner = unknowns.within(*inputs)
        name = inner[0].name if inner else source
        return (
            self.expander.unknown(self.expander.line, source, name)
            if not inner
            else unknowns.mark(Unknown(self.file, self.expander.line, source, name))
        )

    @contextmanager
    def giving(self, given: Mapping[str, str]) -> Iterator[None]:
        """While a command of the shell has what is assigned before its name."""
        variables = self.variables
        before = {name: (variables.values.get(name), name in variables.exported) for name in given}
        variables.values.update(given)
        variables.exported |= set(given)
        try:
            yield
        finally:
            variables.restore(before)

    def run(self, body: Body) -> bool:
        """Follow commands one after the other; how the last one ended."""
        result = True
        for command in body:
            result = self.command(command)
        return result

    def command(self, command: Command) -> bool:
        self.world.step(self.file, command.line)
        if isinstance(command, Simple):
            self.expander.line = command.line
            with self.reading(command.redirections):
                return run_simple(self, command)
        if isinstance(command, Block):
            return self._block(command)
        if isinstance(command, Function):
            self.variables.functions[command.name] = command.body
            return True
        if isinstance(command, AndOr):
            return self._and_or(command)
        if isinstance(command, Pipeline):
            return self._pipeline(command)
        return self._compound(command)

    def _compound(self, command: Command) -> bool:
        if isinstance(command, If):
            return self._if(command)
        if isinstance(command, Case):
            return branched(self, command)
        if isinstance(command, Test | Compute):
            return tested(self, command)
        assert isinstance(command, For | CountingFor | While)
        return looped(self, command)

    def _block(self, command: Block) -> bool:
        with self.reading(command.redirections):
            if not command.own_shell:
                return self.run(command.body)
            try:
                return self.child(self.variables.copy()).run(command.body)
            except (Stop, Return):
                return True

    @contextmanager
    def reading(self, redirections: Redirections) -> Iterator[None]:
        """While a command reads what its redirection gives it."""
        before = self.stdin
        if redirections.stdin is not None:
            self.stdin = self.expander.text(redirections.stdin)
        elif redirections.source is not None and isinstance(redirections.source[0], Substitution):
            self.stdin = f"{self._output(redirections.source[0])}\n"
        elif redirections.source is not None:
            found = self.world.files.get(self.expander.text(redirections.source).rpartition("/")[2])
            self.stdin = found.text if found else None
        try:
            yield
        finally:
            self.stdin = before

    def _pipeline(self, command: Pipeline) -> bool:
        if len(command.commands) == 1:
            return self.command(command.commands[0]) != command.negated
        before, printed, result = self.stdin, self.printed, True
        for at, each in enumerate(command.commands):
            last = at == len(command.commands) - 1
            shell = self.child(self.variables.copy())
            shell.printed = printed if last else []
            if not last:
                shell.capturing = self.capturing or (each.text if isinstance(each, Simple) else "a part of a pipe")
                shell.deciding = False
            try:
                result = shell.command(each)
            except (Stop, Return):
                result = True
            self.stdin = "".join(shell.printed)
        self.stdin = before
        return result != command.negated

    def _and_or(self, command: AndOr) -> bool:
        result = self.decided((command.first,))
        for at, (operator, each) in enumerate(command.rest, 1):
            if result == (operator == "&&"):
                result = self.command(each) if at == len(command.rest) else self.decided((each,))
        return result

    def decided(self, body: Body) -> bool:
        """Follow commands whose success decides what follows."""
        before, self.deciding = self.deciding, True
        try:
            return self.run(body)
        finally:
            self.deciding = before

    def _if(self, command: If) -> bool:
        for condition, body in command.branches:
            if self.decided(condition):
                return self.run(body)
        return self.run(command.otherwise)

    def call(self, body: Command, arguments: list[str], *, passed_on: bool) -> bool:
        """Run a function. `passed_on`: it is given the shell's own arguments, which may be open."""
        variables = self.variables
        before = variables.arguments, variables.in_function, self.depth
        known = bool(arguments) or variables.in_function or not passed_on
        variables.arguments, variables.in_function, self.depth = tuple(arguments), known, self.depth + 1
        variables.hidden.append({})
        if self.depth > _MOST_NESTED:
            raise fault(self.file, body.line, "functions are nested too deeply")
        try:
            return self.command(body)
        except Return:
            return True
        finally:
            variables.restore(variables.hidden.pop())
            variables.arguments, variables.in_function, self.depth = before


def new_shell(world: World, script: Script, arguments: tuple[str, ...], env: Mapping[str, str]) -> Shell:
    """A shell that starts a script with arguments and an environment."""
    variables = Variables(dict(env), set(env), arguments=arguments, name=script.path)
    return Shell(world, script.path, variables)
