"""`diagnose`: finds known failures in log files, and the engine that failed first. Needs no cluster and no layout."""

from __future__ import annotations

import argparse
import bz2
import gzip
import lzma
import sys
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from typing_extensions import TypedDict

from console.cli.output import add_output, print_data
from console.cli.printer import print_line, print_message
from console.diagnosis.signatures import joined, load_signatures
from console.diagnosis.summary import first_words, summarize
from console.model.errors import ExitCode, FileError, Problem, UsageError
from console.probes.external_log import decoded
from console.services.serving.log_files import FileCause, FileDiagnosis, LogText, diagnose

_ENDINGS = (".log", ".txt", ".out", ".err")
"""Endings of log files; in a directory other files are skipped. An ending is not part of the name of a rank."""
_PACKED: tuple[tuple[bytes, str, Callable[[bytes], bytes]], ...] = (
    (b"\x1f\x8b", ".gz", gzip.decompress),
    (b"BZh", ".bz2", bz2.decompress),
    (b"\xfd7zXZ\x00", ".xz", lzma.decompress),
)
_MOST_BYTES = 1 << 30
"""A larger log is refused, because the log and the data made from it do not fit into memory."""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `diagnose`."""
    text = "find known failures in log files, and the engine that failed first"
    more = (
        "Reads engine logs: one file per rank, named after the rank, or one file with several ranks when each line names its "
        "rank. A directory stands for the logs in it, - for stdin. Line prefixes of docker, Kubernetes and CI are understood, "
        "and compressed files (.gz, .bz2, .xz) are unpacked. Exit code 0: a known failure was found; 1: none was found."
    )
    parser = subparsers.add_parser("diagnose", help=text, description=f"{text[0].upper()}{text[1:]}. {more}")
    parser.add_argument("files", nargs="+", metavar="FILE", help="log files, directories, or - for stdin")
    parser.add_argument(
        "--signatures",
        type=Path,
        metavar="FILE",
        help="file with more signatures, in the format of the shipped signatures",
    )
    add_output(parser, json="the first cause, and all causes", jsonl="a line for each cause")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the first cause, its remedy, and what followed from it. Exit code 0: a known failure was found; 1: none was."""
    if args.files.count("-") > 1:
        raise UsageError("- is given more than once: stdin can be read only once")
    signatures = load_signatures()
    if args.signatures is not None:
        signatures = joined(signatures, load_signatures(args.signatures))
    found = diagnose(_read_all(args.files), signatures)
    if args.output == "table":
        _print(found)
    else:
        causes = [_data(each) for each in found.causes]
        whole = CausesData(first=_data(found.first) if found.first else None, causes=causes)
        print_data(args.output, whole, causes)
    if found.first is None:
        print_message("no known failure found")
        for path, line, text in found.unknown:
            print_message(f"  {path}:{line}: the first error, which no signature knows: {text}")
    return ExitCode.OK if found.first is not None else ExitCode.FAILED


def _read_all(names: Iterable[str]) -> list[LogText]:
    """The text of all files. Raises FileError with every file that cannot be read."""
    found: dict[str, LogText] = {}
    problems: list[Problem] = []
    for name in names:
        try:
            found |= {each.path: each for each in ([_stdin()] if name == "-" else map(_file, _paths(name)))}
        except FileError as error:
            problems += error.problems
        except OSError as error:
            problems.append(Problem(str(error.filename or name), 0, 0, "", error.strerror or str(error)))
    if problems:
        raise FileError(tuple(problems), hint="give log files, directories with log files, or - for stdin")
    return list(found.values())


def _paths(name: str) -> Iterator[Path]:
    """The file itself, or the logs of a directory."""
    path = Path(name)
    if not path.is_dir():
        yield path
        return
    logs = [each for each in sorted(path.rglob("*")) if _rank(each) != each.name and each.is_file()]
    if not logs:
        raise FileError((Problem(name, 0, 0, "", f"the directory has no logs (*{', *'.join(_ENDINGS)})"),))
    yield from logs


def _file(path: Path) -> LogText:
    if path.stat().st_size > _MOST_BYTES:
        raise FileError(
            (Problem(str(path), 0, 0, "", "larger than 1 GiB", "the part around the failure (tail -c 500M)"),)
        )
    return LogText(str(path), _rank(path), _text(path.read_bytes(), str(path)), path.stat().st_mtime)


def _stdin() -> LogText:
    return LogText("-", "stdin", _text(sys.stdin.buffer.read(), "-"), time.time())


def _text(data: bytes, name: str) -> str:
    for magic, _, unpack in _PACKED:
        if data.startswith(magic):
            try:
                data = unpack(data)
            except (OSError, EOFError, ValueError, lzma.LZMAError, zlib.error) as error:
                raise FileError((Problem(name, 0, 0, "", f"a damaged archive: {error}"),)) from error
    text = decoded(data)
    if text is None:
        raise FileError((Problem(name, 0, 0, "", "not a text file", "the log of an engine"),))
    return text


def _rank(path: Path) -> str:
    """The name of a file without its endings."""
    name = path.name
    for ending in (*(each for _, each, _ in _PACKED), *_ENDINGS):
        name = name.removesuffix(ending) or name
    return name


class CauseData(TypedDict):
    """A known failure that a file shows."""

    file: str
    engine: str
    """Engine or rank whose log it is."""
    id: str
    """Id of the known failure, for example `A11`."""
    title: str
    cause: str
    remedy: str
    line: int
    """Line of the file, from 1."""
    text: str
    """That line."""
    time: str
    """The time as written in the line; empty when the line has none."""


class CausesData(TypedDict):
    """What log files show."""

    first: CauseData | None
    """What failed first; null when nothing known failed."""
    causes: list[CauseData]
    """All in the order in which they happened, the first among them."""


def _data(cause: FileCause) -> CauseData:
    found = cause.diagnosis
    return {
        "file": cause.file,
        "engine": found.engine,
        "id": found.signature,
        "title": found.title,
        "cause": found.cause,
        "remedy": found.remedy,
        "line": cause.line,
        "text": found.text,
        "time": cause.time,
    }


def _print(diagnosis: FileDiagnosis) -> None:
    first = diagnosis.first
    if first is None:
        return
    known, found = first.diagnosis, summarize(diagnosis.causes, lambda each: each.diagnosis)
    if found.first is not None:
        print_line(first_words(found.first))
    print_line(f"  where:  {first.file}:{first.line}{f'  at {first.time}' if first.time else ''}")
    print_line(f"  line:   {known.text}")
    print_line(f"  cause:  {known.cause}")
    print_line(f"  remedy: {known.remedy}")
    notes = summarize(diagnosis.advice, lambda each: each.diagnosis).advice
    for heading, failures in (
        ("not explained by the first failure:", found.others),
        ("consequences:", found.consequences),
        ("advice:", notes),
    ):
        if failures:
            print_line(heading)
        for each in failures:
            when = f"{each.one.time}  " if each.one.time else ""
            print_line(f"  {when}{each.title} on {each.where}, {each.one.file}:{each.one.line}")
