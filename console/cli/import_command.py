"""`import`: what foreign files start, as a layout on stdout or in a file."""

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
turn what others start vLLM with into a layout: shell scripts, lines of launch_online_dp.py and of the proxy,
vllm-ascend's CI configurations, docker-compose files, LeaderWorkerSet manifests. Several files make one layout:
  import prefill.sh decode.sh launch.sh --name mine
Nothing is run. What a file leaves open is asked for: --set NAME=VALUE, or the script's own arguments after --."""


def add_parser(subparsers: argparse._SubParsersAction[RestParser]) -> None:
    """Add `import`."""
    parser = subparsers.add_parser(
        "import",
        help="turn scripts, CI configurations, compose files or manifests into a layout",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.rest = "arguments"
    parser.add_argument(
        "files", nargs="+", type=Path, metavar="FILE", help="scripts, *.yaml; several are one deployment"
    )
    parser.add_argument("--name", help="name of the layout (default: the first file's)")
    parser.add_argument(
        "--version", default="", metavar="RELEASE", help="the vllm-ascend release, for example v0.21.0rc1"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="the value of a variable, or of an argument (1=…), of the scripts; before what they say themselves",
    )
    parser.add_argument(
        "--hardware", choices=tuple(HARDWARE), default="", help="what it is for, when it cannot be told"
    )
    parser.add_argument("--save", type=Path, metavar="PATH", help="write it there instead of stdout")
    parser.add_argument("--force", action="store_true", help="replace the file at PATH")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print or save the layout; what was doubtful goes to stderr. Raises FileError for what cannot be imported."""
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
        raise UsageError(f"{args.save} exists", hint="choose another name, or --force to replace it")
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
    """The layout of foreign files. Raises FileError."""
    try:
        foreign = read_files(paths, arguments=arguments, settings=settings, hardware=hardware, version=version)
        return build(foreign)
    except ValidationError as error:
        problems = (f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        raise FileError(
            tuple(Problem(str(paths[0]), 0, 0, "", f"no layout can hold this: {each}") for each in problems)
        ) from None
