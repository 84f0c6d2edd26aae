"""The bash script that runs a command on a node: it sources the environment, exports the variables, and calls `exec`.

A person could run the script by hand. It sources files of the vendor, so it sets no shell options that would break them.
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
"""The CANN environment; the second path is that of CANN 8.5 and later."""
_NNAL = "/usr/local/Ascend/nnal/atb/set_env.sh"

# fmt: off
SHELL_OWNED = frozenset((
    "BASH", "BASHOPTS", "BASHPID", "BASH_ALIASES", "BASH_ARGC", "BASH_ARGV", "BASH_ARGV0", "BASH_CMDS",
    "BASH_COMMAND", "BASH_LINENO", "BASH_REMATCH", "BASH_SOURCE", "BASH_SUBSHELL", "BASH_VERSINFO", "BASH_VERSION",
    "COMP_WORDBREAKS", "DIRSTACK", "EPOCHREALTIME", "EPOCHSECONDS", "EUID", "FUNCNAME", "GROUPS", "HISTCMD", "LINENO",
    "OPTIND", "PPID", "RANDOM", "SECONDS", "SHELLOPTS", "SRANDOM", "UID", "_",
))
# fmt: on
"""Variables that bash sets itself: an exported value of such a name does not reach the process."""


SEARCH_PATHS = ("PATH", "LD_LIBRARY_PATH", "PYTHONPATH")
"""Variables that may end in `:$THEIR_OWN_NAME`, which keeps the paths of the environment."""


def extended(name: str, value: str) -> str | None:
    """The part that a search path adds before the existing path: `/x:$PATH` for PATH → `/x`; None for other values."""
    if name in SEARCH_PATHS:
        for ending in (f":${name}", f":${{{name}}}"):
            if value.endswith(ending):
                return value.removesuffix(ending)
    return None


def cmd_sh(command: Command, node: Node) -> str:
    """The script for one engine, service or proxy on a node; every value reaches the process unchanged.

    There are two exceptions: libraries of `LD_PRELOAD` are added before those that are already preloaded, and only when they
    exist; a search path may keep the existing paths (`SEARCH_PATHS`). Raises UsageError for text that a process cannot get.
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
    """The exports of the variables of a command. Raises UsageError for a variable that bash sets itself."""
    for name, value in env.items():
        if name in SHELL_OWNED:
            raise UsageError(f"bash sets the variable {name} itself", hint="remove it from env of the layout")
        if name == "LD_PRELOAD":
            yield from _preload(value)
        elif (own := extended(name, value)) is not None:
            yield f'export {name}={quote(own)}"${{{name}:+:${name}}}"'
        else:
            yield f"export {name}={quote(value)}"


def sourcing_lines(node: Node) -> Iterator[str]:
    """The lines that source the environment: `env_file` of the node, else the files of CANN that exist."""
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
    """The lines that find the interface of the service address on the node, when the cluster file does not name it."""
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
    yield f"  printf '%s\\n' {quote(f'no interface of this node has the address {address}; HCCL chooses one itself')} >&2"
    yield "fi"
    yield "unset dsv4_nic"


def _preload(value: str) -> Iterator[str]:
    libraries = [each for each in value.split(":") if each and not each.startswith("$")]
    for library in reversed(libraries):
        path = quote(library)
        yield f'if [ -e {path} ]; then export LD_PRELOAD={path}"${{LD_PRELOAD:+:$LD_PRELOAD}}"; fi'


def _exec(argv: tuple[str, ...]) -> Iterator[str]:
    """`exec` with one flag and its values per line."""
    lines: list[list[str]] = [["exec"]]
    for index, word in enumerate(argv):
        if word.startswith("--") and index > 0:
            lines.append([quote(word)])
        else:
            lines[-1].append(quote(word))
    yield " \\\n  ".join(" ".join(line) for line in lines)
