"""One simple command of a script: the shell's own, a program that prints something, or one that starts a server."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING

from console.services.importing.shell_scripts import launchers, program_output
from console.services.importing.shell_scripts.assignments import assign
from console.services.importing.shell_scripts.branches import ask, dispatched
from console.services.importing.shell_scripts.builtins import builtin, not_read
from console.services.importing.shell_scripts.config_file import with_config
from console.services.importing.shell_scripts.declarations import DECLARING, declare
from console.services.importing.shell_scripts.script_state import Script, Started, Stop
from console.services.importing.shell_scripts.syntax import Assignment, Param, Simple, bare
from console.services.importing.shell_scripts.texts import settings_file
from console.services.importing.shell_scripts.unknowns import is_open
from console.services.importing.shell_scripts.variables import Variables
from console.services.importing.shell_scripts.wrappers import (
    ASSIGNED,
    CONTAINERS,
    PYTHON,
    SHELLS,
    WRAPPERS,
    contained,
    inside,
    program,
    remote,
    script_text,
    terminal,
)

if TYPE_CHECKING:
    from console.services.importing.shell_scripts.interpreter import Shell

_API_SERVER = "vllm.entrypoints.openai.api_server"
_CLI = ("vllm", "vllm.entrypoints.cli.main")
_ASKING = ("grep", "egrep", "fgrep", "curl", "wget", "nc", "pgrep", "pidof", "lsof", "ss", "netstat", "ping", "npu-smi")
"""Programs whose success only the node knows, where a script asks for it."""
_QUIET = {
    *(
        "echo",
        "printf",
        "mkdir",
        "rm",
        "rmdir",
        "touch",
        "cat",
        "tee",
        "sleep",
        "kill",
        "pkill",
        "killall",
        "ps",
        "pgrep",
    ),
    *(
        "grep",
        "egrep",
        "awk",
        "sed",
        "date",
        "tail",
        "head",
        "ls",
        "pwd",
        "which",
        "curl",
        "wget",
        "chmod",
        "chown",
        "cp",
    ),
    *(
        "mv",
        "ln",
        "scp",
        "rsync",
        "hostname",
        "uname",
        "whoami",
        "id",
        "nproc",
        "free",
        "df",
        "du",
        "nvidia-smi",
        "npu-smi",
    ),
    *(
        "ip",
        "ifconfig",
        "getent",
        "sort",
        "uniq",
        "wc",
        "cut",
        "tr",
        "basename",
        "dirname",
        "seq",
        "expr",
        "bc",
        "find",
    ),
    *(
        "clear",
        "disown",
        "jobs",
        "stty",
        "tput",
        "logger",
        "sync",
        "ping",
        "nc",
        "lsof",
        "ss",
        "netstat",
        "xargs",
        "git",
    ),
    *(
        "realpath",
        "readlink",
        "alias",
        "history",
        "top",
        "watch",
        "vi",
        "vim",
        "less",
        "more",
        "env",
        "printenv",
        "exit",
    ),
}
"""Programs that change nothing of how a server runs."""


def run_simple(shell: Shell, command: Simple) -> bool:
    """Follow one simple command; whether it ends well, as far as that is known."""
    expander, variables = shell.expander, shell.variables
    name = bare(command.words[0]) if command.words else ""
    if name in DECLARING:
        return declare(shell, name, command)
    if not command.words:
        for each in command.assignments:
            assigned = assign(shell, each)
            if shell.exports_all:
                variables.exported.add(assigned)
        return True
    plain = [word for word in command.words if not isinstance(word, Assignment)]
    words = [each for word in plain for each in ([expander.text(word)] if name == "let" else expander.fields(word))]
    if not words and _passes_on(command) and not variables.arguments and not variables.in_function:
        words = [expander.unknown(command.line, "$1", "1")]
    if not words:
        return True
    words[0] = dispatched(shell, words[0]) or words[0]
    given = {each.name: expander.text(each.value) for each in command.assignments}
    given = {each: shell.world.unknowns.given(each) or text for each, text in given.items()}
    with shell.giving(given):
        if words[0] in variables.functions:
            return shell.call(variables.functions[words[0]], words[1:], passed_on=_passes_on(command))
        result = builtin(shell, words)
    if result is not None:
        return result
    printed = shell.printed
    if command.redirections.target is not None:
        shell.printed = []
    result = execute(shell, words, {**variables.environment(), **given})
    if command.redirections.target is not None:
        _written(shell, command, expander.text(command.redirections.target))
        shell.printed = printed
    return result


def _passes_on(command: Simple) -> bool:
    """Whether all arguments of the shell are among the words."""
    words = (word for word in command.words if not isinstance(word, Assignment))
    return any(isinstance(part, Param) and part.name in "@*" for word in words for part in word)


def _written(shell: Shell, command: Simple, target: str) -> None:
    """Keep what a script writes into a file: a later command may run it."""
    text = "".join(shell.printed)
    if text and not is_open(target):
        first = command.line + 1 if "<<" in command.text else command.line
        shell.world.files[program(target)] = Script(shell.file, text, first)


def execute(shell: Shell, words: list[str], env: dict[str, str]) -> bool:
    """Follow a command with its environment, through whatever runs it; whether it ends well."""
    while words and ASSIGNED.match(words[0]):
        key, _, value = words.pop(0).partition("=")
        env = {**env, key: value}
    if not words:
        return True
    name = program(words[0])
    if name in ("tmux", "screen") and (typed := terminal(words))[1]:
        return _typed(shell, *typed, env)
    if name in WRAPPERS and not (name == "xargs" and shell.substituting):
        rest, changed = inside(words, env)
        if rest:
            result = execute(shell, rest, changed)
            if name == "exec":
                raise Stop
            return result
        return True
    if name in CONTAINERS:
        return _container(shell, words, env)
    if name == "ssh":
        return _remote(shell, words)
    if name in SHELLS:
        return _shell(shell, words, env)
    script = shell.world.files.get(name)
    if script is not None and not PYTHON.fullmatch(name):
        shell.world.ran.add(script.path)
        return _inner(shell, script, tuple(words[1:]), env)
    return _program(shell, name, words, env)


def _program(shell: Shell, name: str, words: list[str], env: dict[str, str]) -> bool:
    if name == "vllm":
        if words[1:2] == ["serve"]:
            _start(shell, words[2:], env)
        elif len(words) > 1 and not words[1].startswith("-"):
            launchers.left_out(shell, name, words)
        return True
    if PYTHON.fullmatch(name):
        for module in (_API_SERVER, *_CLI):
            if "-m" in words and module in words:
                behind = words[words.index(module) + 1 :]
                if module == _API_SERVER or behind[:1] == ["serve"]:
                    _start(shell, behind[module != _API_SERVER :], env)
                    return True
        if launchers.launched(shell, words, env):
            return True
    if name == "ray" and words[1:2] == ["start"]:
        raise launchers.ray(shell.file, shell.expander.line)
    return _other(shell, name, words)


def _start(shell: Shell, words: list[str], env: dict[str, str]) -> None:
    world, line = shell.world, shell.expander.line
    given = tuple(with_config(shell, words))
    world.started.append(Started(shell.file, line, given, env, shell.image, shell.node, way=world.way))


def _other(shell: Shell, name: str, words: list[str]) -> bool:
    """A program that starts no server: what it prints where that can be told, and whether it is left out."""
    text = program_output.printed(words, shell.stdin)
    if text is not None:
        shell.printed.append(text)
        return bool(text) if name in ("grep", "egrep", "fgrep") else True
    if name in _ASKING and shell.deciding:
        return ask(shell, shell.expander.line, [" ".join(words), shell.stdin or ""], of_files=False)
    given = shell.world.files.get(program(words[-1])) if name == "cat" else None
    if given is not None:
        shell.world.ran.add(given.path)
        shell.printed.append(given.text)
        return True
    if shell.capturing:
        shell.printed.append(shell.unknown_output(" ".join(words), shell.stdin or ""))
    if name.startswith("-"):
        launchers.cut_off(shell, words)
    elif name not in _QUIET and not shell.substituting:
        launchers.left_out(shell, name, words)
    return True


def _inner(shell: Shell, script: Script, arguments: tuple[str, ...], env: dict[str, str], **changes: str) -> bool:
    """A script in a shell of its own, with what is exported to it."""
    variables = Variables(dict(env), set(env), arguments=arguments, name=script.path)
    variables.in_function = bool(arguments)
    inner = shell.child(variables, **changes)
    try:
        return inner.run_text(script)
    except Stop:
        return True


def _typed(shell: Shell, target: str, text: str, env: dict[str, str]) -> bool:
    """A line that is typed into a terminal, whose shell keeps what earlier lines set."""
    script = Script(shell.file, text, shell.expander.line)
    if not target:
        return _inner(shell, script, (), env)
    variables = shell.world.terminals.setdefault(target, Variables(dict(env), set(env), name=script.path))
    with suppress(Stop):
        shell.child(variables).run_text(script)
    return True


def _shell(shell: Shell, words: list[str], env: dict[str, str]) -> bool:
    """`bash -c TEXT`, `bash FILE ARG…`, `bash -s` with its input."""
    text, behind = script_text(words)
    line = shell.expander.line
    if text is not None:
        return _inner(shell, Script(shell.file, text, line), tuple(behind[1:]), env)
    rest = [word for word in words[1:] if not re.fullmatch(r"[-+][A-Za-z]+|--\w+|--", word)]
    if "-s" in words or not rest:
        if shell.stdin is not None:
            return _inner(shell, Script(shell.file, shell.stdin, line + 1), tuple(rest), env)
        return True
    script = shell.world.files.get(program(rest[0]))
    if script is not None:
        shell.world.ran.add(script.path)
        return _inner(shell, script, tuple(rest[1:]), env)
    launchers.refuse_ray(shell, rest)
    shown = shell.world.unknowns.shown(rest[0])
    shell.note(f"{shown} is run, and was not given. Give it too: import FILE {shown}")
    return True


def _container(shell: Shell, words: list[str], env: dict[str, str]) -> bool:
    found = contained(words, env)
    if found is None:
        if "compose" in words:
            shell.note("`compose` starts what its own file says; import that file")
        return True
    world = shell.world
    if found.runs and found.image:
        world.images[found.name] = found.image
        world.last_image = found.image
    image = found.image or world.images.get(found.name, "")
    env = {**_of_files(shell, found.env_files), **found.env}
    inner = list(found.words)
    if inner and (inner[0].startswith("-") or (inner[0] == "serve" and "vllm" in found.image)):
        inner = ["vllm", "serve", *inner[inner[0] == "serve" :]]
    if not inner:
        return True
    changed = shell.child(Variables(dict(env), set(env)), image=image)
    return execute(changed, inner, env)


def _of_files(shell: Shell, paths: list[str]) -> dict[str, str]:
    """The variables of the files that `--env-file` names."""
    env: dict[str, str] = {}
    for path in paths:
        script = shell.world.files.get(program(path))
        if script is None:
            not_read(shell, path)
            continue
        shell.world.ran.add(script.path)
        env |= settings_file(script.text, quoting=False)
    return env


def _remote(shell: Shell, words: list[str]) -> bool:
    host, text = remote(words)
    if shell.stdin is not None and (not text or re.fullmatch(r"\S*(ba)?sh( -\S+)*", text.strip())):
        text = shell.stdin
    if not text:
        return True
    return _inner(shell, Script(shell.file, text, shell.expander.line), (), {}, node=host)
