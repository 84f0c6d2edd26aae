"""Entry point of `dsv4-console`: parses, hands over to a sub-command, and turns errors into one line and an exit code.

Sub-commands are loaded when they are named, so that `--help` and `plan` stay fast and load neither Textual nor asyncssh.
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
    "demo": ("console.cli.demo", "the app on an embedded demo cluster; --serve runs only the cluster"),
    "layouts": ("console.cli.layouts", "list the layouts that are shipped"),
    "validate": ("console.cli.validate", "check cluster files and layouts"),
    "plan": ("console.cli.plan", "print every rank's environment and command"),
    "assign": ("console.cli.assign", "show or change which nodes run which group"),
    "import": (
        "console.cli.import_command",
        "turn scripts, CI configurations, compose files or manifests into a layout",
    ),
    "upgrade": ("console.cli.upgrade", "show what another release makes of a layout, write the layout for it"),
    "export": ("console.cli.export_command", "write scripts, systemd units, Kubernetes manifests, nginx configuration"),
    "diagnose": ("console.cli.diagnose", "say what log files from anywhere show, and who broke first"),
    "preflight": ("console.cli.preflight", "check what must hold on every node before a launch"),
    "containers": ("console.cli.containers", "show, create, start or adopt the containers engines run in"),
    "tune": ("console.cli.tune", "show kernel settings and limits that drift, set them"),
    "weights": ("console.cli.weights", "show the weights on the nodes, copy them from one node to others"),
    "start": ("console.cli.lifecycle", "start engines"),
    "stop": ("console.cli.lifecycle", "stop engines"),
    "restart": ("console.cli.lifecycle", "stop, then start"),
    "kill": ("console.cli.lifecycle", "kill engines at once"),
    "scale": ("console.cli.scaling", "add or take away groups while the deployment serves"),
    "sync-proxy": ("console.cli.scaling", "make the proxy list exactly the engines that are ready"),
    "auto-restart": ("console.cli.auto_restart", "restart failed groups as their layout says, until interrupted"),
    "watch": ("console.cli.watch", "print events and alerts as they come, send alerts"),
    "keys": ("console.cli.keys", "list every key and what it does"),
    "status": ("console.cli.status", "show nodes and engines as they are"),
    "verify": ("console.cli.verify", "prove by using it that the deployment answers"),
    "logs": ("console.cli.logs", "print the logs of engines, merged by time"),
    "journal": ("console.cli.journal", "show who did what on a cluster from this machine"),
    "shell": ("console.cli.shell", "open a shell on a node, or where an engine runs"),
    "support-bundle": ("console.cli.support_bundle", "gather what someone else needs to help, in one masked file"),
    "bench": ("console.cli.bench_eval", "measure throughput and latency"),
    "eval": ("console.cli.bench_eval", "measure accuracy with AISBench"),
    "results": ("console.cli.results", "show, compare and export what was measured"),
    "completion": ("console.cli.completion", "print what bash, zsh or fish needs to complete this command line"),
}
"""Name → (module, one line of help). A module has `add_parser(subparsers)` or, for several verbs, `add_parsers`."""

_GROUPS: dict[str, tuple[str, ...]] = {
    "look": ("status", "logs", "diagnose", "verify", "watch", "journal", "shell"),
    "plan": ("demo", "layouts", "validate", "plan", "assign", "import", "export", "upgrade"),
    "operate": ("start", "stop", "restart", "kill", "scale", "sync-proxy", "auto-restart"),
    "maintain": ("preflight", "containers", "weights", "tune", "support-bundle", "keys", "completion"),
    "measure": ("bench", "eval", "results"),
}
"""What `--help` lists together, in this order."""

CHANGING = {
    *("assign", "containers", "tune", "weights", "scale", "sync-proxy", "auto-restart"),
    *("start", "stop", "restart", "kill", "shell", "bench", "eval"),
}
"""Commands that can change something: never the first to be suggested for a misspelled one."""

_BEFORE = {"-c": 1, "--cluster": 1, "--layout": 1, "--assign": 1, "--readonly": 0, "--write": 0}
"""Options that may stand before a sub-command too → how many words follow each."""


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
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115  (the reader has gone; nothing may be written at exit)
        return 128 + signal.SIGPIPE
    except OSError as error:
        if error.filename is None and error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        print_message(f"dsv4-console: {error.filename or 'the output'}: {error.strerror}")
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115  (what could not be written is not tried again at exit)
        return ExitCode.FAILED


def _open_streams() -> None:
    """Make every text printable whatever the locale: files and pipes get UTF-8, a closed stream takes what it is given."""
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding=None if stream.isatty() else "utf-8", errors="backslashreplace")


def _command_first(words: list[str]) -> list[str]:
    """The words with the shared options that stand before a sub-command moved behind it, where its parser takes them."""
    at = 0
    while at < len(words) and words[at].startswith("-"):
        if words[at] not in _BEFORE and words[at].partition("=")[0] not in _BEFORE:
            return words
        at += 1 if "=" in words[at] else 1 + _BEFORE[words[at]]
    command = words[at : at + 1]
    return [*command, *words[:at], *words[at + 1 :]] if command and command[0] != "--" else words


def _commands() -> str:
    """Every command with its line of help, in groups."""
    lines = []
    for group, names in _GROUPS.items():
        lines += [f"{group}:", *(f"  {name:14} {COMMANDS[name][1]}" for name in names)]
    return "\n".join(lines)


def _parser(words: Sequence[str]) -> argparse.ArgumentParser:
    """The parser, with only the sub-command that is named loaded."""
    parser = argparse.ArgumentParser(
        prog="dsv4-console",
        description="A terminal console for DeepSeek-V4 on Ascend clusters. Without a command it opens the screen.",
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
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True, parser_class=RestParser)
    module = importlib.import_module(COMMANDS[named][0])
    add = getattr(module, "add_parsers", None) or module.add_parser
    add(subparsers)
    return parser
