"""What a shell script is made of: words with their expansions, commands and the compounds around them. Data only."""

from __future__ import annotations

from dataclasses import dataclass, field


class SyntaxFault(Exception):
    """The text is no shell script; `line` is where that shows."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line
        self.message = message


@dataclass(frozen=True, slots=True)
class Text:
    """Literal characters; quoted ones are never split and mean nothing to a pattern."""

    text: str
    quoted: bool


@dataclass(frozen=True, slots=True)
class Param:
    """`$NAME` and every `${…}`."""

    name: str
    quoted: bool
    source: str
    """As it is written, for messages."""
    line: int
    index: Word | None = None
    """Of an array; one Text with `@` or `*` means all items."""
    operator: str = ""
    """`:-`, `##`, `/` …; `length` for `${#X}`, `keys` for `${!X[@]}`, `indirect` for `${!X}`."""
    operand: Word | None = None
    second: Word | None = None
    """What `/` puts in, the length after `:`."""


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """`$((…))`."""

    inner: Word
    quoted: bool
    source: str
    line: int


@dataclass(frozen=True, slots=True)
class Substitution:
    """`$(…)` and backquotes."""

    body: Body
    quoted: bool
    source: str
    """The command without what surrounds it."""
    line: int


Part = Text | Param | Arithmetic | Substitution
Word = tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Assignment:
    """`NAME=VALUE`, `NAME+=VALUE`, `NAME[KEY]=VALUE` or `NAME=(…)`."""

    name: str
    line: int
    value: Word = ()
    items: tuple[tuple[Word | None, Word], ...] | None = None
    """Items of an array with their keys, when it is one."""
    index: Word | None = None
    append: bool = False


@dataclass(slots=True)
class Redirections:
    """What matters of a command's redirections: its input, and a file it writes."""

    stdin: Word | None = None
    """The text of a here document or here string."""
    source: Word | None = None
    """The file behind `<`."""
    target: Word | None = None
    """The file behind `>` or `>>`."""


@dataclass(slots=True)
class Simple:
    """Assignments and words."""

    line: int
    assignments: tuple[Assignment, ...]
    words: tuple[Word | Assignment, ...]
    """An Assignment among them is an argument of `export`, `declare`, `local` …"""
    redirections: Redirections
    text: str = ""


@dataclass(slots=True)
class Pipeline:
    """Commands joined by `|`, or one behind `!`."""

    line: int
    commands: tuple[Command, ...]
    negated: bool = False


@dataclass(slots=True)
class AndOr:
    """Commands joined by `&&` and `||`."""

    line: int
    first: Command
    rest: tuple[tuple[str, Command], ...]


@dataclass(slots=True)
class If:
    """`if … elif … else … fi`."""

    line: int
    branches: tuple[tuple[Body, Body], ...]
    otherwise: Body


@dataclass(slots=True)
class For:
    """`for NAME in …`; without words it takes the arguments."""

    line: int
    name: str
    words: tuple[Word, ...] | None
    body: Body


@dataclass(slots=True)
class CountingFor:
    """`for ((…; …; …))`."""

    line: int
    begin: Word
    until: Word
    step: Word
    body: Body


@dataclass(slots=True)
class While:
    """`while` and, negated, `until`."""

    line: int
    condition: Body
    body: Body
    negated: bool
    redirections: Redirections = field(default_factory=Redirections)


@dataclass(slots=True)
class Case:
    """`case … in … esac`."""

    line: int
    subject: Word
    branches: tuple[tuple[tuple[Word, ...], Body, bool], ...]
    """Patterns, body, and whether it falls through to the next (`;&`)."""


@dataclass(slots=True)
class Function:
    """`NAME() { … }`."""

    line: int
    name: str
    body: Command


@dataclass(slots=True)
class Block:
    """`{ … }` or, in a shell of its own, `( … )`."""

    line: int
    body: Body
    own_shell: bool
    redirections: Redirections = field(default_factory=Redirections)


@dataclass(slots=True)
class Test:
    """`[[ … ]]`, its operators as plain words."""

    line: int
    words: tuple[Word, ...]


@dataclass(slots=True)
class Compute:
    """`((…))`."""

    line: int
    inner: Word


Command = Simple | Pipeline | AndOr | If | For | CountingFor | While | Case | Function | Block | Test | Compute
Body = tuple[Command, ...]


def literal(word: Word) -> str | None:
    """The word's text when nothing in it is expanded, else None."""
    texts = [part.text for part in word if isinstance(part, Text)]
    return "".join(texts) if len(texts) == len(word) else None


def bare(word: Word | Assignment) -> str:
    """The word's text when it is one unquoted piece, as a word of the shell must be; else empty."""
    if isinstance(word, tuple) and len(word) == 1 and isinstance(word[0], Text) and not word[0].quoted:
        return word[0].text
    return ""
