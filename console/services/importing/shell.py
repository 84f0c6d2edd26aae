"""What a shell script runs: its commands with the environment each is given, through `bash -c`, wrappers and containers.

Nothing is run. Loops, conditions and files it reads are reported.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from console.services.importing.words import Line, Variables, Words

_BEFORE = ("then", "else", "do", "{", "!", "time", "elif", "if", "while", "until")
"""Words of the shell that may stand before a command."""
_CONTROL = {"if", "else", "elif", "for", "while", "until", "case", "function", "select"}
_LOOPS = ("for", "while", "until", "select")
_WRAPPERS = (
    "exec",
    "command",
    "nohup",
    "env",
    "sudo",
    "setsid",
    "nice",
    "ionice",
    "numactl",
    "taskset",
    "timeout",
    "stdbuf",
    "chrt",
    "time",
    "eval",
)
"""Programs that run the command behind them."""
_SHELLS = ("bash", "sh", "dash", "zsh", "ash")
_CONTAINERS = ("docker", "podman", "nerdctl")
_API_SERVER = "vllm.entrypoints.openai.api_server"
_ASSIGNED = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\+?=")
_MOST_NESTED = 5


@dataclass(frozen=True, slots=True)
class Started:
    """One `vllm serve` of a script."""

    number: int
    words: tuple[str, ...]
    """Those behind `vllm serve`; with the API server's module, its options."""
    env: Mapping[str, str]
    image: str = ""
    looped: bool = False
    """It stands in a loop."""


class Shell:
    """A script being read; what it exports grows from command to command."""

    def __init__(
        self, text: str, variables: Variables, exported: Mapping[str, str] | None = None, depth: int = 0
    ) -> None:
        self._lines = Words(text, variables).lines()
        self._variables = variables
        self._given = dict(exported or {})
        self._exported: set[str] = set()
        self._all = False
        self._loops = 0
        self._depth = depth

    def started(self) -> Iterator[Started]:
        """Every `vllm serve`, in order."""
        for line in self._lines:
            words = self._bare(line)
            if words and not self._builtin(line.number, words):
                yield from self._run(line, words, self._environment())

    def _environment(self) -> dict[str, str]:
        texts = self._variables.texts
        return {**self._given, **{name: texts[name] for name in self._exported if name in texts}}

    def _bare(self, line: Line) -> Sequence[str]:
        """The command without the shell's own words before it, which are counted and reported."""
        words = list(line.words)
        while words:
            if words[0] in _CONTROL:
                self._doubt(line.number, f"`{words[0]}` is not followed; check what depends on it")
            self._loops += words[0] in _LOOPS
            self._loops -= words[0] == "done"
            if words[0] not in _BEFORE:
                break
            words.pop(0)
        return () if words and words[0] in ("for", "case", "select", "function", "fi", "done", "esac", "}") else words

    def _builtin(self, number: int, words: Sequence[str]) -> bool:
        """Take in what only changes the shell; whether that was all."""
        name, rest = words[0], [word for word in words[1:] if not word.startswith(("-", "+"))]
        if all(_ASSIGNED.match(word) for word in words):
            for word in words:
                self._assigned(word, exported=self._all)
        elif name in ("export", "declare", "typeset", "local", "readonly"):
            kept = "-n" not in words[1:]
            exported = (name == "export" and kept) or "-x" in words[1:] or self._all
            for word in rest:
                self._assigned(word, exported=exported)
                self._exported -= set() if kept else {word.partition("=")[0]}
        elif name == "unset":
            for word in rest:
                self._variables.texts.pop(word, None)
                self._variables.lists.pop(word, None)
                self._given.pop(word, None)
                self._exported.discard(word)
        elif name == "set":
            self._all = "-a" in words or (self._all and "+a" not in words)
        elif name in ("source", "."):
            if rest and not rest[0].endswith("set_env.sh"):
                self._doubt(number, f"{rest[0]} is not read; what it sets is missing here")
        elif name.startswith("--"):
            self._doubt(number, f"{name} begins a command: what should continue the line before it was cut off")
        else:
            return False
        return True

    def _assigned(self, word: str, *, exported: bool) -> None:
        name = self._variables.assign(word) or word
        if exported:
            self._exported.add(name)

    def _run(self, line: Line, words: Sequence[str], env: dict[str, str]) -> Iterator[Started]:
        words, env, image = self._unwrapped(words, env)
        if not words:
            return
        program = words[0].rpartition("/")[2]
        if program == "vllm" and words[1:2] == ["serve"]:
            yield Started(line.number, tuple(words[2:]), env, image, self._loops > 0)
        elif re.fullmatch(r"python[0-9.]*", program) and _API_SERVER in words:
            behind = words[words.index(_API_SERVER) + 1 :]
            yield Started(line.number, tuple(behind), env, image, self._loops > 0)
        elif program in _SHELLS and self._depth < _MOST_NESTED:
            text = _script_of(words) or line.stdin
            if text:
                for found in Shell(text, self._variables, env, self._depth + 1).started():
                    looped = found.looped or self._loops > 0
                    yield Started(line.number, found.words, found.env, found.image or image, looped)

    def _unwrapped(self, words: Sequence[str], env: dict[str, str]) -> tuple[list[str], dict[str, str], str]:
        """The command inside its wrappers, with the variables and the image they name."""
        rest, image = list(words), ""
        while rest:
            name = rest[0].rpartition("/")[2]
            if _ASSIGNED.match(rest[0]):
                key, _, value = rest.pop(0).partition("=")
                env = {**env, key: value}
            elif name in _CONTAINERS:
                rest, env, image = self._contained(rest, env)
            elif name in _WRAPPERS:
                rest = rest[_inside(rest) :] if name != "eval" else [*["sh", "-c"], " ".join(rest[1:])]
            else:
                break
        return rest, env, image

    def _contained(self, words: list[str], env: Mapping[str, str]) -> tuple[list[str], dict[str, str], str]:
        """What a container is told to run, the variables it is given and its image."""
        given: dict[str, str] = {}
        inner = _program_at(words, 2)
        for at, word in enumerate(words[:inner]):
            flag, equals, value = word.partition("=") if word.startswith("--") else (word[:2], word[2:], word[2:])
            if flag not in ("-e", "--env"):
                continue
            name, has_value, text = (value if equals else words[at + 1]).partition("=")
            given[name] = text if has_value else env.get(name, "")
        image = words[inner - 1] if "run" in words[1:inner] and inner < len(words) else ""
        return words[inner:], given, image

    def _doubt(self, number: int, what: str) -> None:
        self._variables.doubts.append(f"line {number}: {what}")


def _inside(words: Sequence[str]) -> int:
    """Where the command behind a wrapper begins: at the first assignment or known program after its options."""
    return next(
        (at for at, word in enumerate(words) if at and (_ASSIGNED.match(word) or _known(word))),
        len(words),
    )


def _program_at(words: Sequence[str], begin: int) -> int:
    return next((at for at, word in enumerate(words) if at >= begin and _known(word)), len(words))


def _known(word: str) -> bool:
    name = word.rpartition("/")[2]
    known = (*_SHELLS, *_WRAPPERS, *_CONTAINERS, "vllm")
    return not word.endswith("/") and (name in known or re.fullmatch(r"python[0-9.]*", name) is not None)


def _script_of(words: Sequence[str]) -> str:
    """What `bash -c TEXT` runs."""
    at = next((at for at, word in enumerate(words) if re.fullmatch(r"-[a-z]*c", word)), len(words))
    return words[at + 1] if at + 1 < len(words) else ""
