"""Makes the scripts with which bash (and zsh) and fish complete the command line, from the parsers themselves."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial

from console.cli.completion import SCRIPTS
from console.cli.main import COMMANDS
from console.commands.quoting import quote
from console.files import shipped_layouts
from console.releases.facts import names

Words = Mapping[str, Sequence[str]]


def words_of_commands() -> dict[str, tuple[str, ...]]:
    """Command → the words that may follow it; the empty name is `dsv4-console` itself, which the commands may follow too."""
    found: dict[str, tuple[str, ...]] = {}
    for name, (module, _) in COMMANDS.items():
        loaded = importlib.import_module(module)
        subparsers = argparse.ArgumentParser().add_subparsers()
        (getattr(loaded, "add_parsers", None) or loaded.add_parser)(subparsers)
        found[name] = tuple(_words(subparsers.choices[name]))
    bare = argparse.ArgumentParser()
    importlib.import_module("console.cli.screen").add_options(bare)
    found[""] = (*COMMANDS, "--version", *_words(bare))
    return found


def _words(parser: argparse.ArgumentParser) -> Iterator[str]:
    """Options in their long form, and the choices of positional arguments."""
    for action in parser._actions:
        if action.option_strings:
            yield max(action.option_strings, key=len)
        elif action.choices is not None:
            yield from map(str, action.choices)


def releases() -> tuple[str, ...]:
    """The releases that `upgrade --to` accepts."""
    return tuple(f"v{name}" for name in names())


def _bash(words: Words) -> Iterator[str]:
    yield "_dsv4_console() {"
    yield '  local word="${COMP_WORDS[COMP_CWORD]}" before="${COMP_WORDS[COMP_CWORD-1]}" words= each'
    yield '  case "$before" in'
    yield f'    --layout) words={quote(" ".join(shipped_layouts()))}; COMPREPLY=($(compgen -f -W "$words" -- "$word")); return;;'
    yield f'    --to) COMPREPLY=($(compgen -W {quote(" ".join(releases()))} -- "$word")); return;;'
    yield '    -c|--cluster|--save|--record|--replay) COMPREPLY=($(compgen -f -- "$word")); return;;'
    yield "  esac"
    yield f"  words={quote(' '.join(words['']))}"
    yield '  for each in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do'
    yield '    case "$each" in'
    for name, following in words.items():
        if name:
            yield f"      {name}) words={quote(' '.join(following))}; break;;"
    yield "    esac"
    yield "  done"
    yield '  case "$word" in'
    yield '    -*) COMPREPLY=($(compgen -W "$words" -- "$word"));;'
    yield '    *) COMPREPLY=($(compgen -f -W "$words" -- "$word"));;'
    yield "  esac"
    yield "}"
    yield "complete -o filenames -F _dsv4_console dsv4-console"


def _fish(words: Words) -> Iterator[str]:
    names = " ".join(name for name in words if name)
    for name, following in words.items():
        when = f"__fish_seen_subcommand_from {name}" if name else f"not __fish_seen_subcommand_from {names}"
        for word in following:
            said = f"-l {word.removeprefix('--')}" if word.startswith("--") else f"-a {quote(word)}"
            yield f"complete -c dsv4-console -n {quote(when)} {said}"
    yield f"complete -c dsv4-console -l to -x -a {quote(' '.join(releases()))}"
    yield f"complete -c dsv4-console -l layout -x -a {quote(' '.join(shipped_layouts()))}"


_MAKERS: Mapping[str, Callable[[Words], Iterable[str]]] = {"bash": _bash, "fish": _fish}


def _script(shell: str) -> str:
    return "".join(f"{line}\n" for line in _MAKERS[shell](words_of_commands()))


def scripts() -> dict[str, Callable[[], str]]:
    """File, relative to docs/ -> what makes it."""
    return {f"../{SCRIPTS.format(shell=shell)}": partial(_script, shell) for shell in _MAKERS}
