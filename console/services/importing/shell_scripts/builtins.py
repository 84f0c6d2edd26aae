"""Commands of the shell itself: what they change in it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from console.services.importing.shell_scripts.branches import condition
from console.services.importing.shell_scripts.program_output import printed
from console.services.importing.shell_scripts.script_state import Leave, Return, Script, Stop
from console.services.importing.shell_scripts.texts import split
from console.services.importing.shell_scripts.unknowns import is_open

if TYPE_CHECKING:
    from console.services.importing.shell_scripts.interpreter import Shell

_ENVIRONMENTS = re.compile(r"(.*/)?(set_?env\.(sh|bash)|\.?bashrc|\.?bash_profile|\.?profile|activate|conda\.sh)$")
"""Files that only make the vendor's or the shell's environment, which the console makes itself."""


def builtin(shell: Shell, words: list[str]) -> bool | None:
    """Do what a command of the shell does; None when the words are none."""
    run = _BUILTINS.get(words[0])
    return run(shell, words[1:]) if run is not None else None


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
        not_read(shell, path)
    return True


def not_read(shell: Shell, path: str) -> None:
    """Say that a file of variables was not given."""
    shown = shell.world.unknowns.shown(path)
    shell.note(f"{shown} is not read; what it sets is missing here. Give it too: import FILE {shown}")


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
    """The next piece of the input into variables, the last of which takes what is left."""
    names, end, array = list[str](), "\n", False
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if not word.startswith("-"):
            names.append(word)
            continue
        array = array or "a" in word
        if word[-1] in "ptndui" and rest:
            end = rest.pop(0) if word[-1] == "d" else (rest.pop(0), end)[1]
    values, expander = shell.variables.values, shell.expander
    if shell.stdin is None or (is_open(shell.stdin) and (array or len(names) > 1)):
        for name in names:
            text = expander.unknown(expander.line, f"${name}", name)
            values[name] = text.split() if array and not is_open(text) else text
        return True
    if not shell.stdin:
        return False
    piece, _, shell.stdin = shell.stdin.partition(end) if end else (shell.stdin, "", "")
    signs = shell.variables.separators
    if array and names:
        values[names[0]] = list(split(piece, signs))
        return True
    pieces = split(piece, signs, len(names))
    for at, name in enumerate(names or ["REPLY"]):
        values[name] = pieces[at] if at < len(pieces) else ""
    return True


def _mapfile(shell: Shell, words: list[str]) -> bool:
    """Every line of the input as an item of an array."""
    rest, end, names = list(words), "\n", list[str]()
    while rest:
        word = rest.pop(0)
        if not word.startswith("-"):
            names.append(word)
        elif word[-1] in "dnOsuCc" and rest:
            end = rest.pop(0) if word[-1] == "d" else (rest.pop(0), end)[1]
    name, text = names[0] if names else "MAPFILE", shell.stdin
    if text is None or is_open(text) or not end:
        text, end = shell.expander.unknown(shell.expander.line, f"${name}", name), " "
    shell.variables.values[name] = text if is_open(text) else text.removesuffix(end).split(end)
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


def _printf(shell: Shell, words: list[str]) -> bool | None:
    """`printf -v NAME …`; None for a printf that prints."""
    if words[:1] != ["-v"] or len(words) < 3:
        return None
    text = printed(["printf", *words[2:]], shell.stdin)
    if text is None:
        source = shell.world.unknowns.shown(" ".join(["printf", *words]))
        text = shell.expander.unknown(shell.expander.line, source, words[1])
    shell.variables.values[words[1]] = text
    return True


def _quiet(shell: Shell, words: list[str]) -> bool:
    return True


def _false(shell: Shell, words: list[str]) -> bool:
    return False


_BUILTINS: dict[str, Callable[[Shell, list[str]], bool | None]] = {
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
    "printf": _printf,
    "false": _false,
    **dict.fromkeys(
        (":", "true", "cd", "pushd", "popd", "trap", "wait", "shopt", "umask", "type", "hash", "ulimit"), _quiet
    ),
}
