"""`completion`: prints a script with which bash, zsh or fish completes commands, options, layouts and files.

`make docs` writes the scripts from the parsers, so nothing is listed twice, and a shell that starts waits for no parser.
A script runs no program while somebody types.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from console.cli.printer import print_file
from console.cli.tables import table_lines
from console.model.errors import ExitCode

_TEXT = "print the script with which a shell completes this command line"
_HOW = (
    ("bash", 'eval "$(dsv4-console completion bash)"   in ~/.bashrc'),
    ("zsh", 'eval "$(dsv4-console completion zsh)"    in ~/.zshrc, after compinit'),
    ("fish", "dsv4-console completion fish | source    in ~/.config/fish/config.fish"),
)
SCRIPTS = "console/cli/completions/dsv4-console.{shell}"
"""Where the script for bash or fish is in the checkout."""
_FOR_ZSH = "autoload -U +X bashcompinit && bashcompinit\n"
"""With this before it, zsh runs the script for bash."""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `completion`."""
    epilog = "\n".join(table_lines(("SHELL", "LINE"), _HOW))
    formatter = argparse.RawDescriptionHelpFormatter
    parser = subparsers.add_parser(
        "completion", help=_TEXT, description=_TEXT, epilog=epilog, formatter_class=formatter
    )
    parser.add_argument("shell", choices=tuple(shell for shell, _ in _HOW))
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the script for the shell that is named."""
    head, shell = (_FOR_ZSH, "bash") if args.shell == "zsh" else ("", args.shell)
    script = Path(__file__).with_name("completions") / f"dsv4-console.{shell}"
    print_file(head + script.read_text(encoding="utf-8"))
    return ExitCode.OK
