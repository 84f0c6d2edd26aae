"""`diagnose`: what log files from anywhere say, and who broke first. Needs no cluster and no layout."""

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
"""Of a file of a directory that is taken for a log, and what is no part of its rank's name."""
_PACKED: tuple[tuple[bytes, str, Callable[[bytes], bytes]], ...] = (
    (b"\x1f\x8b", ".gz", gzip.decompress),
    (b"BZh", ".bz2", bz2.decompress),
    (b"\xfd7zXZ\x00", ".xz", lzma.decompress),
)
_MOST_BYTES = 1 << 30
"""A longer log is not read: it does not fit into memory with what is made of it."""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `diagnose`."""
    text = "say what log files from anywhere show, and who broke first"
    more = (
        "Reads engine logs, one file for each rank, its name without ending being the rank; a file may hold several ranks "
        "if its lines say whose they are. A directory stands for the logs in it, - for stdin. Prefixes of docker, Kubernetes "
        "and CI, quotes and compressed files (.gz, .bz2, .xz) are read. Exit code 0: something is known; 1: nothing is."
    )
    parser = subparsers.add_parser("diagnose", help=text, description=f"{text[0].upper()}{text[1:]}. {more}")
    parser.add_argument("files", nargs="+", metavar="FILE", help="log files, directories, or - for stdin")
    parser.add_argument(
        "--signatures", type=Path, metavar="FILE", help="more signatures, of the form of the shipped ones"
    )
    add_output(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the first cause, its remedy, and what followed from it. Exit code 0: a known failure was found; 1: none was."""
    if args.files.count("-") > 1:
        raise UsageError("- may be named once: stdin is read once")
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
        print_message("no known failure")
        for path, line, text in found.unknown:
            print_message(f"  the first error of {path}:{line} is not known: {text}")
    return ExitCode.OK if found.first is not None else ExitCode.FAILED


def _read_all(names: Iterable[str]) -> list[LogText]:
    """All files; FileError names every one that cannot be read."""
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
    """The file, or the logs of a directory."""
    path = Path(name)
    if not path.is_dir():
        yield path
        return
    logs = [each for each in sorted(path.rglob("*")) if _rank(each) != each.name and each.is_file()]
    if not logs:
        raise FileError((Problem(name, 0, 0, "", f"a directory without logs (*{', *'.join(_ENDINGS)})"),))
    yield from logs


def _file(path: Path) -> LogText:
    if path.stat().st_size > _MOST_BYTES:
        raise FileError(
            (Problem(str(path), 0, 0, "", "more than 1 GiB", "the part around the failure (tail -c 500M)"),)
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
        raise FileError((Problem(name, 0, 0, "", "not a text file", "an engine's log"),))
    return text


def _rank(path: Path) -> str:
    """A file's name without its endings."""
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
    """As the line has it; empty when nothing dates it."""


class CausesData(TypedDict):
    """What log files show."""

    first: CauseData | None
    """What failed first; null when nothing known failed."""
    causes: list[CauseData]
    """All in the order in which they happened, the first among them."""


def _data(cause: FileCause) -> CauseData:
    told = cause.diagnosis
    return {
        "file": cause.file,
        "engine": told.engine,
        "id": told.signature,
        "title": told.title,
        "cause": told.cause,
        "remedy": told.remedy,
        "line": cause.line,
        "text": told.text,
        "time": cause.time,
    }


def _print(said: FileDiagnosis) -> None:
    first = said.first
    if first is None:
        return
    told, found = first.diagnosis, summarize(said.causes, lambda each: each.diagnosis)
    if found.first is not None:
        print_line(first_words(found.first))
    print_line(f"  where:  {first.file}:{first.line}{f'  at {first.time}' if first.time else ''}")
    print_line(f"  line:   {told.text}")
    print_line(f"  cause:  {told.cause}")
    print_line(f"  remedy: {told.remedy}")
    notes = summarize(said.advice, lambda each: each.diagnosis).advice
    for heading, failures in (
        ("not explained by that:", found.others),
        ("in consequence:", found.consequences),
        ("worth knowing:", notes),
    ):
        if failures:
            print_line(heading)
        for each in failures:
            when = f"{each.one.time}  " if each.one.time else ""
            print_line(f"  {when}{each.title} on {each.where}, {each.one.file}:{each.one.line}")
