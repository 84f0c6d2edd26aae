"""A shell script's text as commands (bash's grammar as far as people use it to start servers). Nothing is run."""

from __future__ import annotations

import re
from collections.abc import Callable

from console.services.importing.shell_scripts.lines import REDIRECTION, Lines
from console.services.importing.shell_scripts.syntax import (
    AndOr,
    Assignment,
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
    SyntaxFault,
    Test,
    While,
    Word,
    bare,
)
from console.services.importing.shell_scripts.word_reader import NAME

_RESERVED_ENDS = ("then", "else", "elif", "fi", "do", "done", "esac", "}")
_PARENTHESES = re.compile(r"\(\s*\)")
_DECLARING = ("export", "declare", "typeset", "local", "readonly")


def parse(text: str, line: int = 1, depth: int = 0) -> Body:
    """All commands of a script. Raises SyntaxFault with the line where it is none."""
    return _Parser(text.replace("\r\n", "\n"), line, depth, parse).all()


class _Parser(Lines):
    """Reads the commands of one text."""

    def all(self) -> Body:
        body = self._body(())
        if self._reader.at < len(self._reader.text):
            raise SyntaxFault(self._reader.line, f"`{self._rest()}` has no beginning")
        return body

    def _body(self, ends: tuple[str, ...]) -> Body:
        """Commands up to a reserved word of `ends` (not taken), a `)`, or `;;`."""
        reader, commands = self._reader, list[Command]()
        self._nested += 1
        if self._nested > 60:
            raise SyntaxFault(reader.line, "is nested too deeply")
        while True:
            self._space(lines=True)
            if not reader.peek() or reader.peek() == ")" or reader.peek(2) in (";;", ";&"):
                break
            if self._reserved() in ends and ends:
                break
            commands.append(self._and_or())
            self._space(lines=False)
            if (reader.peek() == ";" and reader.peek(2) not in (";;", ";&")) or reader.peek() == "&":
                reader.take()
        self._nested -= 1
        return tuple(commands)

    def _and_or(self) -> Command:
        line = self._reader.line
        first, rest = self._pipeline(), list[tuple[str, Command]]()
        while True:
            self._space(lines=False)
            operator = self._reader.peek(2)
            if operator not in ("&&", "||"):
                return AndOr(line, first, tuple(rest)) if rest else first
            self._reader.take(2)
            self._space(lines=True)
            rest.append((operator, self._pipeline()))

    def _pipeline(self) -> Command:
        reader, line, negated = self._reader, self._reader.line, False
        while self._reserved() == "!":
            reader.take()
            negated = not negated
            self._space(lines=False)
        commands = [self._command()]
        while True:
            self._space(lines=False)
            if reader.peek() != "|" or reader.peek(2) == "||":
                break
            reader.take(2 if reader.peek(2) == "|&" else 1)
            self._space(lines=True)
            commands.append(self._command())
        return Pipeline(line, tuple(commands), negated) if negated or len(commands) > 1 else commands[0]

    def _command(self) -> Command:
        reader, line = self._reader, self._reader.line
        compounds: dict[str, Callable[[int], Command]] = {
            "if": self._if,
            "for": self._for,
            "while": self._while,
            "until": self._while,
            "case": self._case,
            "select": self._select,
            "function": self._function,
            "{": self._braces,
        }
        word = self._reserved()
        if reader.peek(2) == "((":
            whole = reader.balanced("(", ")")
            return self._redirected(Compute(line, self._arithmetic(whole[2:-2], line)))
        if reader.peek() == "(":
            reader.take()
            body = self._body(())
            self._expect(")")
            return self._redirected(Block(line, body, True))
        if reader.peek(2) == "[[" and reader.peek(3)[2:] in (" ", "\t", "\n"):
            return self._redirected(self._test(line))
        if word in compounds:
            reader.take(len(word))
            return self._redirected(compounds[word](line))
        if word in _RESERVED_ENDS:
            raise SyntaxFault(line, f"`{word}` has no beginning")
        return self._simple(line)

    def _redirected(self, command: Command) -> Command:
        """The command with what stands behind its end; only an input is kept."""
        found = Redirections()
        self._space(lines=False)
        while REDIRECTION.match(self._reader.text, self._reader.at):
            self._redirection(found)
            self._space(lines=False)
        if isinstance(command, While | Block):
            command.redirections = found
        return command

    def _simple(self, line: int) -> Command:
        reader, begun = self._reader, self._reader.at
        assignments, words = list[Assignment](), list[Word | Assignment]()
        found = Redirections()
        while True:
            self._space(lines=False)
            char = reader.peek()
            if not char or char in "\n;)" or (char == "&" and reader.peek(2) != "&>") or char == "|":
                break
            if REDIRECTION.match(reader.text, reader.at) and reader.peek(2) not in ("<(", ">("):
                self._redirection(found)
                continue
            if char == "(":
                return self._named_function(line, words)
            declaring = bool(words) and bare(words[0]) in _DECLARING
            assigned = self._assignment() if not words or declaring else None
            if assigned is None:
                at = reader.at
                words.append(reader.word())
                if reader.at == at:
                    raise SyntaxFault(reader.line, f"`{self._rest()}` is not understood")
            elif words:
                words.append(assigned)
            else:
                assignments.append(assigned)
        text = reader.text[begun : reader.at].strip()
        if not text:
            raise SyntaxFault(line, f"`{self._rest()}` has no command before it")
        return Simple(line, tuple(assignments), tuple(words), found, text)

    def _named_function(self, line: int, words: list[Word | Assignment]) -> Command:
        name = bare(words[0]) if len(words) == 1 else ""
        if not name or not _PARENTHESES.match(self._reader.text, self._reader.at):
            raise SyntaxFault(self._reader.line, "`(` stands where none can")
        self._expect("(")
        self._expect(")")
        self._space(lines=True)
        return Function(line, name, self._command())

    def _if(self, line: int) -> Command:
        branches = list[tuple[Body, Body]]()
        otherwise: Body = ()
        while True:
            condition = self._body(("then",))
            self._expect("then")
            branches.append((condition, self._body(("elif", "else", "fi"))))
            word = self._reserved()
            if word == "elif":
                self._expect("elif")
                continue
            if word == "else":
                self._expect("else")
                otherwise = self._body(("fi",))
            self._expect("fi")
            return If(line, tuple(branches), otherwise)

    def _do(self) -> Body:
        self._space(lines=True)
        if self._reader.peek() == ";":
            self._reader.take()
        self._space(lines=True)
        end = "}" if self._reserved() == "{" else "done"
        self._expect("{" if end == "}" else "do")
        body = self._body((end,))
        self._expect(end)
        return body

    def _for(self, line: int) -> Command:
        reader = self._reader
        self._space(lines=False)
        if reader.peek(2) == "((":
            whole = reader.balanced("(", ")")
            parts = whole[2:-2].split(";")
            if len(parts) != 3:
                raise SyntaxFault(line, f"for {whole} is not understood")
            begin, until, step = (self._arithmetic(part, line) for part in parts)
            return CountingFor(line, begin, until, step, self._do())
        found = NAME.match(reader.text, reader.at)
        if found is None:
            raise SyntaxFault(line, "`for` names no variable")
        reader.take(len(found[0]))
        self._space(lines=True)
        words: list[Word] | None = None
        if self._reserved() == "in":
            reader.take(2)
            words = []
            self._space(lines=False)
            while reader.peek() and reader.peek() not in "\n;":
                before = reader.at
                words.append(reader.word())
                self._space(lines=False)
                if reader.at == before:
                    raise SyntaxFault(reader.line, f"`{self._rest()}` stands in the list of a `for`")
        return For(line, found[0], None if words is None else tuple(words), self._do())

    def _while(self, line: int) -> Command:
        negated = self._reader.text[self._reader.at - 5 : self._reader.at] == "until"
        condition = self._body(("do",))
        return While(line, condition, self._do(), negated)

    def _select(self, line: int) -> Command:
        raise SyntaxFault(line, "`select` asks a person; write out the command that it leads to")

    def _case(self, line: int) -> Command:
        reader = self._reader
        self._space(lines=False)
        subject, branches = reader.word(), list[tuple[tuple[Word, ...], Body, bool]]()
        self._expect("in")
        while True:
            self._space(lines=True)
            if self._reserved() == "esac":
                self._expect("esac")
                return Case(line, subject, tuple(branches))
            if reader.peek() == "(":
                reader.take()
            patterns = list[Word]()
            while reader.peek() != ")":
                self._space(lines=False)
                before = reader.at
                patterns.append(reader.word(" \t\n|)", pattern=True))
                self._space(lines=False)
                if reader.peek() == "|":
                    reader.take()
                elif reader.peek() != ")" or reader.at == before:
                    raise SyntaxFault(reader.line, f"`{self._rest()}` stands in a pattern of `case`")
            reader.take()
            body = self._body(("esac",))
            ending = reader.peek(2)
            if ending in (";;", ";&"):
                reader.take(3 if reader.peek(3) == ";;&" else 2)
            branches.append((tuple(patterns), body, ending == ";&"))

    def _function(self, line: int) -> Command:
        self._space(lines=False)
        name = bare(self._reader.word())
        self._space(lines=False)
        if self._reader.peek() == "(":
            self._expect("(")
            self._expect(")")
        self._space(lines=True)
        if not name:
            raise SyntaxFault(line, "`function` names none")
        return Function(line, name, self._command())

    def _braces(self, line: int) -> Command:
        body = self._body(("}",))
        self._expect("}")
        return Block(line, body, False)

    def _test(self, line: int) -> Command:
        reader, words = self._reader, list[Word]()
        reader.take(2)
        while True:
            self._space(lines=True)
            if reader.peek(2) == "]]":
                reader.take(2)
                return Test(line, tuple(words))
            before = reader.at
            words.append(reader.word(" \t\n;", pattern=True))
            if reader.at == before:
                raise SyntaxFault(line, "`[[` has no closing `]]`")
