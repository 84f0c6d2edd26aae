"""Commands of the shell itself: what they change in it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from console.services.importing.shell_scripts.branches import condition
from console.services.importing.shell_scripts.script_state import Leave, Return, Script, Stop
from console.services.importing.shell_scripts.unknowns import is_open

if TYPE_CHECKING:
    from console.services.importing.shell_scripts.interpreter import Shell

DECLARING = ("export", "declare", "typeset", "local", "readonly")
_ENVIRONMENTS = re.compile(r"(.*/)?(set_?env\.(sh|bash)|\.?bashrc|\.?bash_profile|\.?profile|activate|conda\.sh)$")
"""Files that only make the vendor's or the shell's environment, which the console makes itself."""


def builtin(shell: Shell, words: list[str]) -> bool | None:
    """Do what a command of the shell does; None when the words are none."""
    run = _BUILTINS.get(words[0])
    return run(shell, words[1:]) if run is not None else None


def declared(shell: Shell, name: str, options: Sequence[str], names: Sequence[str], assigned: Sequence[str]) -> None:
    """Take in `export`, `declare`, `local` …; `assigned` were given values just now, `names` stand alone."""
    variables = shell.variables
    letters = "".join(option[1:] for option in options if option.startswith("-"))
    exports = (name == "export" and "n" not in letters) or "x" in letters or shell.exports_all
    for each in names:
        if "A" in letters:
            variables.values[each] = {}
        elif name == "local" and each not in variables.values:
            variables.values[each] = ""
    if exports:
        variables.exported |= {*names, *assigned}
    elif name == "export":
        variables.exported -= {*names, *assigned}


def _unset(shell: Shell, words: list[str]) -> bool:
    for word in words:
        shell.variables.values.pop(word, None)
        shell.variables.exported.discard(word)
    return True


def _set(shell: Shell, words: list[str]) -> bool:
    if "-a" in words or "allexport" in words:
        shell.exports_all = "+o" not in words
    elif "+a" in words:
        shell.exports_all = False
    elif "--" in words:
        shell.variables.arguments = tuple(words[words.index("--") + 1 :])
    return True


def _shift(shell: Shell, words: list[str]) -> bool:
    count = int(words[0]) if words and words[0].isdecimal() and len(words[0]) < 5 else 1
    there = count <= len(shell.variables.arguments)
    shell.variables.arguments = shell.variables.arguments[count:] if there else shell.variables.arguments
    return there


def _source(shell: Shell, words: list[str]) -> bool:
    path = words[0] if words else ""
    script = shell.world.files.get(path.rpartition("/")[2])
    if script is not None:
        shell.world.ran.add(script.path)
        before = shell.variables.arguments
        if words[1:]:
            shell.variables.arguments = tuple(words[1:])
        try:
            return shell.run_text(script)
        except Return:
            return True
        finally:
            shell.variables.arguments = before
    if not _ENVIRONMENTS.match(path):
        shown = shell.world.unknowns.shown(path)
        shell.note(f"{shown} is not read; what it sets is missing here. Give it too: import FILE {shown}")
    return True


def _eval(shell: Shell, words: list[str]) -> bool:
    return shell.run_text(Script(shell.file, " ".join(words), shell.expander.line))


def _exit(shell: Shell, words: list[str]) -> bool:
    raise Stop


def _return(shell: Shell, words: list[str]) -> bool:
    raise Return


def _break(shell: Shell, words: list[str]) -> bool:
    raise Leave(_count(words), False)


def _continue(shell: Shell, words: list[str]) -> bool:
    raise Leave(_count(words), True)


def _count(words: list[str]) -> int:
    return max(1, int(words[0])) if words and re.fullmatch(r"[0-9]{1,4}", words[0]) else 1


def _test(shell: Shell, words: list[str]) -> bool:
    return condition(shell, shell.expander.line, words[:-1] if words[-1:] == ["]"] else words)


def _read(shell: Shell, words: list[str]) -> bool:
    """The next line of the input into variables, the last of which takes what is left."""
    names, skip = list[str](), False
    for word in words:
        if skip or word.startswith("-"):
            skip = not skip and word in ("-p", "-t", "-n", "-d", "-u", "-i")
        else:
            names.append(word)
    array = "-a" in words or "-ra" in words
    if shell.stdin is None or is_open(shell.stdin):
        for name in names:
            shell.variables.values[name] = shell.expander.unknown(shell.expander.line, f"${name}", name)
        return True
    if not shell.stdin:
        return False
    line, _, shell.stdin = shell.stdin.partition("\n")
    if array and names:
        shell.variables.values[names[0]] = line.split()
        return True
    pieces = line.split(None, len(names) - 1) if names else []
    for at, name in enumerate(names):
        shell.variables.values[name] = pieces[at].rstrip() if at < len(pieces) else ""
    return True


def _mapfile(shell: Shell, words: list[str]) -> bool:
    name = next((word for word in reversed(words) if not word.startswith("-")), "MAPFILE")
    text = shell.stdin
    open_ = shell.expander.unknown(shell.expander.line, f"${name}", name)
    shell.variables.values[name] = open_ if text is None or is_open(text) else text.splitlines()
    return True


def _getopts(shell: Shell, words: list[str]) -> bool:
    values = shell.variables.values
    known, name = words[0], words[1]
    arguments = list(shell.variables.arguments)
    index = values.get("OPTIND", "1")
    at = int(index) if isinstance(index, str) and index.isdecimal() else 1
    if at > len(arguments) or not re.fullmatch(r"-[A-Za-z0-9].*", arguments[at - 1]):
        values[name] = "?"
        return False
    letter, rest = arguments[at - 1][1], arguments[at - 1][2:]
    values[name] = letter if letter in known else "?"
    if f"{letter}:" in known:
        values["OPTARG"] = rest or (arguments[at] if at < len(arguments) else "")
        at += 0 if rest else 1
    values["OPTIND"] = str(at + 1)
    return True


def _let(shell: Shell, words: list[str]) -> bool:
    results = [shell.expander.sum(word, shell.expander.line, word) for word in words]
    return bool(results) and results[-1] != "0"


def _quiet(shell: Shell, words: list[str]) -> bool:
    return True


def _false(shell: Shell, words: list[str]) -> bool:
    return False


_BUILTINS: dict[str, Callable[[Shell, list[str]], bool]] = {
    "unset": _unset,
    "set": _set,
    "shift": _shift,
    "source": _source,
    ".": _source,
    "eval": _eval,
    "exit": _exit,
    "return": _return,
    "break": _break,
    "continue": _continue,
    "test": _test,
    "[": _test,
    "read": _read,
    "mapfile": _mapfile,
    "readarray": _mapfile,
    "getopts": _getopts,
    "let": _let,
    "false": _false,
    **dict.fromkeys(
        (":", "true", "cd", "pushd", "popd", "trap", "wait", "shopt", "umask", "type", "hash", "ulimit"), _quiet
    ),
}
