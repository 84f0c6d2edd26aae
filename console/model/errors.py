"""One tree of the errors an operator can meet, each with its exit code and a hint.

Nothing else may be raised on purpose out of `console`: whatever is not a `ConsoleError` is a bug and must surface.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class ExitCode(IntEnum):
    """What the command line returns; the numbers are a contract."""

    OK = 0
    FAILED = 1
    USAGE = 2
    UNREACHABLE = 3
    REFUSED = 4
    INTERRUPTED = 130


class ConsoleError(Exception):
    """Something an operator can act on. `str(error)` is one plain sentence, `hint` the next thing to do."""

    exit_code = ExitCode.FAILED

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class UsageError(ConsoleError):
    """The command or one of its arguments cannot be understood."""

    exit_code = ExitCode.USAGE


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in a file an operator wrote."""

    path: str
    line: int
    """1-based; 0 when the file as a whole is meant."""
    column: int
    """1-based; 0 when unknown."""
    key: str
    """Dotted path of the key, for example `groups.prefill.tensor_parallel`; empty for the whole file."""
    message: str
    expected: str = ""
    nearest: str = ""
    """The known key closest to a misspelt one."""

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
    """A file does not hold what it should; every problem found is listed, not only the first."""

    exit_code = ExitCode.USAGE

    def __init__(self, problems: tuple[Problem, ...], *, hint: str = "") -> None:
        super().__init__("\n".join(str(problem) for problem in problems), hint=hint)
        self.problems = problems


class Refused(ConsoleError):
    """The console will not do this now: read-only, not confirmed, or another operator holds the lock."""

    exit_code = ExitCode.REFUSED


class Busy(Refused):
    """Somebody else is at work on it; once they are done, or by a takeover, the same may be done."""

    def __init__(self, message: str, *, hint: str = "", holder: str = "") -> None:
        super().__init__(message, hint=hint)
        self.holder = holder
        """Who, `user@host`; empty when that is not known."""


class UnderWay(Busy):
    """Somebody else's plan has started and shows no effect yet, so there is nothing to plan now; a moment later there is."""


class NothingToDo(Refused):
    """What was asked for is so already: no plan is made, and nothing is wrong."""

    exit_code = ExitCode.OK


class Unreachable(ConsoleError):
    """A node gives no answer. It says nothing about the engines on it."""

    exit_code = ExitCode.UNREACHABLE


class LinkLost(Unreachable):
    """The link went down while a request was out: its outcome is unknown and must be probed, never assumed."""


class NodeError(ConsoleError):
    """The helper on a node answered that it could not do what was asked.

    `kind` is one of the short words the helper uses: `busy`, `changed`, `not-found`, `refused`, `os`, `bad-request`, `timeout`.
    """

    def __init__(self, message: str, *, kind: str, node: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.kind = kind
        self.node = node
