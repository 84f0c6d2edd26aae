"""`import`: a configuration of vllm-ascend's CI, or a shell script with one `vllm serve`, as a layout on stdout or in a file."""

from __future__ import annotations

import argparse
from pathlib import Path

from pydantic import ValidationError

from console.cli.findings import finding_lines
from console.cli.printer import print_file, print_message
from console.files import layout_text, load_document, save_text
from console.model.errors import ExitCode, FileError, Problem, UsageError
from console.rules import check
from console.services.assigning.assignment import example
from console.services.importing import Imported, build, read_ci_config, read_script, renamed


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `import`."""
    text = "turn a vllm-ascend CI configuration or a `vllm serve` script into a layout"
    parser = subparsers.add_parser("import", help=text, description=text)
    parser.add_argument("file", type=Path, metavar="FILE", help="*.yaml of the CI, or a shell script")
    parser.add_argument("arguments", nargs="*", metavar="ARG", help="the script's own $1, $2 …, after --")
    parser.add_argument("--name", help="name of the layout (default: the file's)")
    parser.add_argument(
        "--hardware", choices=("a2", "a3"), default="", help="what a script is for, when it cannot be told"
    )
    parser.add_argument("--save", type=Path, metavar="PATH", help="write it there instead of stdout")
    parser.add_argument("--force", action="store_true", help="replace the file at PATH")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print or save the layout; what was doubtful goes to stderr. Raises FileError for a file that is neither."""
    imported = imported_from(args.file, arguments=tuple(args.arguments), hardware=args.hardware)
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


def imported_from(path: Path, *, arguments: tuple[str, ...] = (), hardware: str = "") -> Imported:
    """The layout of a foreign file. Raises FileError."""
    try:
        if path.suffix in (".yaml", ".yml"):
            foreign = read_ci_config(load_document(path, schema="1.1"), path.stem)
        else:
            foreign = read_script(_script(path), str(path), path.stem, arguments=arguments, hardware=hardware)
        return build(foreign)
    except ValidationError as error:
        problems = (f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        raise FileError(
            tuple(Problem(str(path), 0, 0, "", f"no layout can hold this: {each}") for each in problems)
        ) from None


def _script(path: Path) -> str:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise FileError((Problem(str(path), 0, 0, "", f"cannot be read: {error.strerror}"),)) from error
    except UnicodeDecodeError as error:
        raise FileError(
            (Problem(str(path), 0, 0, "", f"is not text: {error.reason} at byte {error.start}"),)
        ) from error
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise FileError((Problem(str(path), line, 0, "", "holds a NUL byte; it is not a script"),))
    return text
