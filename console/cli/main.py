"""Entry point of `dsv4-console`: parses the arguments, runs one sub-command, and turns an error into a message and an exit code.

Only the sub-command that is named is imported, so that `--help` and `plan` stay fast and load neither Textual nor asyncssh.
"""

from __future__ import annotations

import argparse
import errno
import importlib
import io
import os
import signal
import sys
from collections.abc import Sequence

from console import __version__
from console.cli.printer import print_message
from console.cli.rest_parser import RestParser
from console.model.errors import ConsoleError, ExitCode, UsageError

COMMANDS: dict[str, tuple[str, str]] = {
    "demo": ("console.cli.demo", "open the screen on a simulated cluster; --serve runs the cluster only"),
    "layouts": ("console.cli.layouts", "list the shipped layouts"),
    "validate": ("console.cli.validate", "check cluster files and layouts"),
    "plan": ("console.cli.plan", "show where every rank runs; with -o sh or json also its environment and command"),
    "assign": ("console.cli.assign", "show or change which nodes run which group"),
    "import": (
        "console.cli.import_command",
        "convert scripts, CI configurations, compose files or manifests into a layout",
    ),
    "upgrade": ("console.cli.upgrade", "show what changes in a layout under another release, write the new layout"),
    "export": ("console.cli.export_command", "write scripts, systemd units, Kubernetes manifests, nginx configuration"),
    "diagnose": ("console.cli.diagnose", "find known failures in log files, and the engine that failed first"),
    "preflight": ("console.cli.preflight", "check that every node is ready for a start"),
    "containers": ("console.cli.containers", "show, create, start or adopt the containers that engines run in"),
    "tune": ("console.cli.tune", "show kernel settings and limits that differ from the wanted ones, set them"),
    "weights": ("console.cli.weights", "show the weights on the nodes, copy them from one node to the others"),
    "start": ("console.cli.lifecycle", "start engines"),
    "stop": ("console.cli.lifecycle", "stop engines"),
    "restart": ("console.cli.lifecycle", "stop engines, then start them"),
    "kill": ("console.cli.lifecycle", "kill engines at once"),
    "scale": ("console.cli.scaling", "add or remove copies of a group while the deployment serves"),
    "sync-proxy": ("console.cli.scaling", "update the engine list of the proxy: remove dead engines, add ready ones"),
    "auto-restart": (
        "console.cli.auto_restart",
        "restart failed groups under the policy of the layout, until interrupted",
    ),
    "watch": ("console.cli.watch", "print events and alerts when they occur, send alerts"),
    "keys": ("console.cli.keys", "list every key of the screen and what it does"),
    "status": ("console.cli.status", "show the state of nodes and engines"),
    "verify": ("console.cli.verify", "send test chats to prove that the deployment answers"),
    "logs": ("console.cli.logs", "print the logs of engines, merged by time"),
    "journal": ("console.cli.journal", "show who did what on a cluster from this machine"),
    "shell": ("console.cli.shell", "open a shell on a node, or in the container of an engine"),
    "support-bundle": (
        "console.cli.support_bundle",
        "collect what another person needs to help, in one file without secrets",
    ),
    "bench": ("console.cli.bench_eval", "measure throughput and latency"),
    "eval": ("console.cli.bench_eval", "measure accuracy with AISBench"),
    "results": ("console.cli.results", "show, compare and export the results of bench and eval"),
    "completion": (
        "console.cli.completion",
        "print the script with which bash, zsh or fish completes this command line",
    ),
}
"""Name → (module, one line of help). A module has `add_parser(subparsers)`, or `add_parsers` when it has several commands."""

_GROUPS: dict[str, tuple[str, ...]] = {
    "look": ("status", "logs", "diagnose", "verify", "watch", "journal", "shell"),
    "plan": ("demo", "layouts", "validate", "plan", "assign", "import", "export", "upgrade"),
    "operate": ("start", "stop", "restart", "kill", "scale", "sync-proxy", "auto-restart"),
    "maintain": ("preflight", "containers", "weights", "tune", "support-bundle", "keys", "completion"),
    "measure": ("bench", "eval", "results"),
}
"""The commands in the groups and in the order in which `--help` lists them."""

CHANGING = {
    *("assign", "containers", "tune", "weights", "scale", "sync-proxy", "auto-restart"),
    *("start", "stop", "restart", "kill", "shell", "bench", "eval"),
}
"""Commands that can change something: never the first suggestion for a misspelled command."""

_BEFORE = {"-c": 1, "--cluster": 1, "--layout": 1, "--assign": 1, "--readonly": 0, "--write": 0}
"""Options that may also stand before a sub-command → how many arguments each takes."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    words = _command_first(list(sys.argv[1:] if argv is None else argv))
    _open_streams()
    try:
        args = _parser(words).parse_args(words)
        code = int(args.run(args))
        sys.stdout.flush()
        return code
    except ConsoleError as error:
        for line in f"dsv4-console: {error}".split("\n"):
            print_message(line)
        if error.hint:
            print_message(f"  {error.hint}")
        return error.exit_code
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115  (the reader closed the pipe; Python must not write to it at exit)
        return 128 + signal.SIGPIPE
    except OSError as error:
        if error.filename is None and error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        print_message(f"dsv4-console: {error.filename or 'the output'}: {error.strerror}")
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115  (Python must not try again at exit)
        return ExitCode.FAILED


def _open_streams() -> None:
    """Make every text printable in every locale: files and pipes get UTF-8, a closed stream discards its text."""
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding=None if stream.isatty() else "utf-8", errors="backslashreplace")


def _command_first(words: list[str]) -> list[str]:
    """Moves shared options that stand before the sub-command behind it, because only the sub-command's parser knows them."""
    at = 0
    while at < len(words) and words[at].startswith("-"):
        if words[at] not in _BEFORE and words[at].partition("=")[0] not in _BEFORE:
            return words
        at += 1 if "=" in words[at] else 1 + _BEFORE[words[at]]
    command = words[at : at + 1]
    return [*command, *words[:at], *words[at + 1 :]] if command and command[0] != "--" else words


def _commands() -> str:
    """Every command with its line of help, by group."""
    lines = []
    for group, names in _GROUPS.items():
        lines += [f"{group}:", *(f"  {name:14} {COMMANDS[name][1]}" for name in names)]
    return "\n".join(lines)


def _parser(words: Sequence[str]) -> argparse.ArgumentParser:
    """The parser; it imports only the sub-command that is named."""
    parser = argparse.ArgumentParser(
        prog="dsv4-console",
        usage="%(prog)s [OPTION ...]\n       %(prog)s COMMAND [OPTION ...]",
        description="Start, stop and watch vLLM engines on Ascend clusters. Without a command, dsv4-console opens the screen.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=_commands(),
    )
    parser.add_argument("--version", action="version", version=f"dsv4-console {__version__}")
    if words and not words[0].startswith("-") and words[0] not in COMMANDS:
        from console.model.suggestions import did_you_mean, suggestions

        meant = did_you_mean(suggestions(words[0], COMMANDS, CHANGING))
        raise UsageError(f"no command {words[0]!r}", hint=f"{meant} all of them: dsv4-console --help".lstrip())
    named = next((word for word in words if word in COMMANDS), None)
    if named is None or words[0] != named:
        importlib.import_module("console.cli.screen").add_options(parser)
        return parser
    subparsers = parser.add_subparsers(prog="dsv4-console", metavar="COMMAND", required=True, parser_class=RestParser)
    module = importlib.import_module(COMMANDS[named][0])
    add = getattr(module, "add_parsers", None) or module.add_parser
    add(subparsers)
    return parser
