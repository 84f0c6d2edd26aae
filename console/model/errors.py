"""All errors that an operator can get, each with its exit code and a hint.

`console` raises no other errors on purpose: an error that is not a `ConsoleError` is a bug and must be visible.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class ExitCode(IntEnum):
    """The exit codes of the command line; programs rely on the numbers."""

    OK = 0
    FAILED = 1
    USAGE = 2
    UNREACHABLE = 3
    REFUSED = 4
    INTERRUPTED = 130


class ConsoleError(Exception):
    """An error that an operator can handle. `str(error)` says what happened, `hint` what to do next."""

    exit_code = ExitCode.FAILED

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class UsageError(ConsoleError):
    """A command or one of its arguments is invalid."""

    exit_code = ExitCode.USAGE


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem in a file of an operator."""

    path: str
    line: int
    """From 1; 0 when the problem concerns the whole file."""
    column: int
    """From 1; 0 when unknown."""
    key: str
    """Dotted path of the key, for example `groups.prefill.tensor_parallel`; empty for the whole file."""
    message: str
    expected: str = ""
    nearest: str = ""
    """The known key that is most similar to a misspelt key."""

    def __str__(self) -> str:
        where = self.path + (f":{self.line}" if self.line else "") + (f":{self.column}" if self.column else "")
        parts = [f"{where}: "]
        parts.append(f"{self.key}: {self.message}" if self.key else self.message)
        if self.expected:
            parts.append(f" (expected {self.expected})")
        if self.nearest:
            parts.append(f"; did you mean {self.nearest}?")
        return "".join(parts)


class FileError(ConsoleError):
    """The content of a file is wrong; the error has all problems, not only the first."""

    exit_code = ExitCode.USAGE

    def __init__(self, problems: tuple[Problem, ...], *, hint: str = "") -> None:
        super().__init__("\n".join(str(problem) for problem in problems), hint=hint)
        self.problems = problems


class Refused(ConsoleError):
    """The console refuses an operation: read-only, not confirmed, or another operator holds the lease."""

    exit_code = ExitCode.REFUSED


class Busy(Refused):
    """Another operator works on the deployment; the operation is possible after they finish, or with a takeover."""

    def __init__(self, message: str, *, hint: str = "", holder: str = "") -> None:
        super().__init__(message, hint=hint)
        self.holder = holder
        """The other operator as `user@host`; empty when unknown."""


class UnderWay(Busy):
    """The plan of another operator has started without a visible effect yet, so a plan made now would be wrong."""


class NothingToDo(Refused):
    """The requested state exists already: there is no plan, and nothing is wrong."""

    exit_code = ExitCode.OK


class Unreachable(ConsoleError):
    """A node does not answer. The state of its engines is unknown."""

    exit_code = ExitCode.UNREACHABLE


class LinkLost(Unreachable):
    """The link was lost during a request: its outcome is unknown and must be checked."""


class NodeError(ConsoleError):
    """The helper on a node could not do what was requested.

    `kind` is one of `busy`, `changed`, `not-found`, `refused`, `os`, `bad-request`, `timeout`.
    """

    def __init__(self, message: str, *, kind: str, node: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.kind = kind
        self.node = node
