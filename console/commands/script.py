"""A command as the bash script that runs it on a node: the environment it needs, its exports, then `exec`.

The script is what a person would run by hand. It sources vendors' files, so it sets no shell option those would break under.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from console.commands.quoting import quote
from console.commands.serve import INTERFACE_NAMES
from console.model.cluster import Node
from console.model.deployment import Command
from console.model.errors import UsageError

_TOOLKIT = (
    "/usr/local/Ascend/ascend-toolkit/set_env.sh",
    "/usr/local/Ascend/cann/set_env.sh",
)
"""CANN's environment; the second is where CANN 8.5 and later keep it."""
_NNAL = "/usr/local/Ascend/nnal/atb/set_env.sh"

# fmt: off
SHELL_OWNED = frozenset((
    "BASH", "BASHOPTS", "BASHPID", "BASH_ALIASES", "BASH_ARGC", "BASH_ARGV", "BASH_ARGV0", "BASH_CMDS",
    "BASH_COMMAND", "BASH_LINENO", "BASH_REMATCH", "BASH_SOURCE", "BASH_SUBSHELL", "BASH_VERSINFO", "BASH_VERSION",
    "COMP_WORDBREAKS", "DIRSTACK", "EPOCHREALTIME", "EPOCHSECONDS", "EUID", "FUNCNAME", "GROUPS", "HISTCMD", "LINENO",
    "OPTIND", "PPID", "RANDOM", "SECONDS", "SHELLOPTS", "SRANDOM", "UID", "_",
))
# fmt: on
"""Variables bash sets itself: what is exported under such a name does not arrive."""


SEARCH_PATHS = ("PATH", "LD_LIBRARY_PATH", "PYTHONPATH")
"""Variables that may end in `:$THEIR_OWN_NAME`, which keeps what the environment has."""


def extended(name: str, value: str) -> str | None:
    """What a search path puts before the one that is there: `/x:$PATH` for PATH → `/x`; None for anything else."""
    if name in SEARCH_PATHS:
        for ending in (f":${name}", f":${{{name}}}"):
            if value.endswith(ending):
                return value.removesuffix(ending)
    return None


def cmd_sh(command: Command, node: Node) -> str:
    """The script for one engine or proxy on a node; every value reaches the process byte for byte.

    Two exceptions: the libraries of `LD_PRELOAD` are put before what is preloaded already and left out where they do not
    exist, and a search path may keep what is there (`SEARCH_PATHS`).
    Raises UsageError for text no process can be given.
    """
    return "\n".join(_lines(command, node)) + "\n"


def _lines(command: Command, node: Node) -> Iterator[str]:
    yield "#!/usr/bin/env bash"
    yield ""
    yield from sourcing_lines(node)
    yield ""
    yield from _interface(command)
    yield from environment_lines(command.env)
    yield ""
    yield from _exec(command.argv)


def environment_lines(env: Mapping[str, str]) -> Iterator[str]:
    """The exports of a command's variables. Raises UsageError for a name that belongs to the shell."""
    for name, value in env.items():
        if name in SHELL_OWNED:
            raise UsageError(f"the variable {name} belongs to the shell", hint="take it out of the layout's env")
        if name == "LD_PRELOAD":
            yield from _preload(value)
        elif (own := extended(name, value)) is not None:
            yield f'export {name}={quote(own)}"${{{name}:+:${name}}}"'
        else:
            yield f"export {name}={quote(value)}"


def sourcing_lines(node: Node) -> Iterator[str]:
    """What makes the vendor's environment: the node's own file, else CANN's where it exists."""
    if node.env_file is not None:
        path = quote(node.env_file)
        yield f"if ! [ -r {path} ]; then"
        yield f"  printf '%s\\n' {quote(f'env_file {node.env_file} cannot be read on this node')} >&2"
        yield "  exit 78"
        yield "fi"
        yield f". {path}" if "/" in node.env_file else f". ./{path}"
    else:
        first, second = _TOOLKIT
        yield f"if [ -r {first} ]; then . {first}"
        yield f"elif [ -r {second} ]; then . {second}; fi"
        yield f"if [ -r {_NNAL} ]; then . {_NNAL}; fi"


def _interface(command: Command) -> Iterator[str]:
    """The interface that holds the service address, asked of the node when no file names it."""
    address = command.env.get("HCCL_IF_IP")
    unknown = [name for name in INTERFACE_NAMES if name not in command.env]
    if address is None or not unknown:
        return
    family = "-6" if ":" in address else "-4"
    yield f'read -r _ dsv4_nic _ <<<"$(ip -o {family} addr show to {quote(address)} 2>/dev/null)"'
    yield 'dsv4_nic="${dsv4_nic%%@*}"'
    yield 'if [ -n "$dsv4_nic" ]; then'
    yield "  export " + " ".join(f'{name}="$dsv4_nic"' for name in unknown)
    yield "else"
    yield f"  printf '%s\\n' {quote(f'no interface of this node holds {address}; HCCL picks one itself')} >&2"
    yield "fi"
    yield "unset dsv4_nic"


def _preload(value: str) -> Iterator[str]:
    libraries = [each for each in value.split(":") if each and not each.startswith("$")]
    for library in reversed(libraries):
        path = quote(library)
        yield f'if [ -e {path} ]; then export LD_PRELOAD={path}"${{LD_PRELOAD:+:$LD_PRELOAD}}"; fi'


def _exec(argv: tuple[str, ...]) -> Iterator[str]:
    """`exec` with one flag and its words per line."""
    lines: list[list[str]] = [["exec"]]
    for index, word in enumerate(argv):
        if word.startswith("--") and index > 0:
            lines.append([quote(word)])
        else:
            lines[-1].append(quote(word))
    yield " \\\n  ".join(" ".join(line) for line in lines)
