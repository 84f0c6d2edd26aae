"""`import`: converts files that start vLLM into a layout, on stdout or in a file."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import ValidationError

from console.cli.findings import finding_lines
from console.cli.printer import print_file, print_message
from console.cli.rest_parser import RestParser
from console.files import layout_text, save_text
from console.model.errors import ExitCode, FileError, Problem, UsageError
from console.model.hardware import HARDWARE
from console.rules import check
from console.services.importing import Imported, build, read_files, renamed
from console.services.placement.edits import example

_DESCRIPTION = """\
convert files that start vLLM into a layout: shell scripts, command lines of launch_online_dp.py and of the proxy,
CI configurations of vllm-ascend, docker-compose files, LeaderWorkerSet manifests. Several files make one layout:
  import prefill.sh decode.sh launch.sh --name mine
Nothing is run. Give the values that a file does not contain with --set NAME=VALUE, or the arguments of a script after --."""


def add_parser(subparsers: argparse._SubParsersAction[RestParser]) -> None:
    """Add `import`."""
    parser = subparsers.add_parser(
        "import",
        help="convert scripts, CI configurations, compose files or manifests into a layout",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.rest = "arguments"
    parser.add_argument(
        "files", nargs="+", type=Path, metavar="FILE", help="scripts or YAML files; several files make one layout"
    )
    parser.add_argument("--name", help="name of the layout (default: the name of the first file)")
    parser.add_argument(
        "--version", default="", metavar="RELEASE", help="the vllm-ascend release, for example v0.21.0rc1"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="value of a variable of the scripts, or of an argument (1=…); it replaces the value in the script",
    )
    parser.add_argument(
        "--hardware", choices=tuple(HARDWARE), default="", help="kind of hardware, when the files do not show it"
    )
    parser.add_argument("--save", type=Path, metavar="PATH", help="write the layout to PATH instead of stdout")
    parser.add_argument("--force", action="store_true", help="replace the file at PATH")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print or save the layout; print doubts to stderr. Raises FileError for a file that cannot be imported."""
    imported = imported_from(
        *args.files,
        arguments=tuple(args.arguments),
        hardware=args.hardware,
        settings=_settings(args.set),
        version=args.version,
    )
    if args.name:
        imported = renamed(imported, args.name)
    text = layout_text(imported.layout)
    findings = check(example(imported.layout))
    for line in (*(f"note: {each}" for each in imported.warnings), *finding_lines(findings)):
        print_message(line)
    if args.save is None:
        print_file(text)
        return ExitCode.OK
    if args.save.exists() and not args.force:
        raise UsageError(f"{args.save} exists", hint="choose another name, or use --force to replace it")
    save_text(args.save, text)
    return ExitCode.OK


def _settings(given: Sequence[str]) -> dict[str, str]:
    settings: dict[str, str] = {}
    for each in given:
        name, equals, value = each.partition("=")
        if not equals or not name:
            raise UsageError(f"--set {each!r} gives no value", hint="write --set NAME=VALUE")
        settings[name] = value
    return settings


def imported_from(
    *paths: Path,
    arguments: tuple[str, ...] = (),
    hardware: str = "",
    settings: Mapping[str, str] | None = None,
    version: str = "",
) -> Imported:
    """The layout of the files. Raises FileError."""
    try:
        foreign = read_files(paths, arguments=arguments, settings=settings, hardware=hardware, version=version)
        return build(foreign)
    except ValidationError as error:
        problems = (f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        raise FileError(
            tuple(Problem(str(paths[0]), 0, 0, "", f"a layout cannot hold this: {each}") for each in problems)
        ) from None
