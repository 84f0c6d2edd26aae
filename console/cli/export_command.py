"""`export`: writes a deployment as scripts, systemd units, manifests or an nginx configuration, to stdout or to a folder."""

from __future__ import annotations

import argparse
from pathlib import Path

from console.cli.findings import failed, finding_lines
from console.cli.options import add_cluster_options
from console.cli.plan import deployment_or_example
from console.cli.printer import print_file, print_message
from console.files import save_text
from console.model.counting import counted
from console.model.errors import Refused, UsageError
from console.rules import check
from console.services.exporting import FORMATS, ExportedFile


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `export`."""
    text = "write a deployment as shell folders, systemd units, LeaderWorkerSet manifests or an nginx configuration"
    more = "The output contains secrets such as API keys, so that it can be run; only the owner can read the files."
    parser = subparsers.add_parser("export", help=text, description=f"{text}. {more}")
    parser.add_argument("--format", choices=tuple(FORMATS), default="sh")
    parser.add_argument(
        "--save", type=Path, metavar="DIR", help="write the files to DIR instead of stdout; DIR must be new or empty"
    )
    parser.add_argument(
        "--force", action="store_true", help="export although a rule does not hold, or into a folder that has files"
    )
    add_cluster_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Export the deployment, and print findings to stderr. Raises Refused when a finding is an error and --force is not given."""
    deployment = deployment_or_example(args)
    findings = check(deployment)
    for line in finding_lines(findings):
        print_message(line)
    if failed(findings) and not args.force:
        raise Refused("not exported: with the errors above the start fails", hint="fix them, or use --force")
    files = FORMATS[args.format](deployment)
    if args.save is None:
        for file in files:
            print_file(file.text if len(files) == 1 else f"# ==> {file.path} <==\n{file.text}\n")
        return 0
    _save(args.save, files, force=args.force)
    print_message(f"{counted(len(files), 'file')} in {args.save}")
    return 0


def _save(folder: Path, files: tuple[ExportedFile, ...], *, force: bool) -> None:
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is not a folder", hint="choose another path")
    if folder.is_dir() and any(folder.iterdir()) and not force:
        raise UsageError(f"{folder} is not empty", hint="choose a new folder, or use --force to overwrite files in it")
    for file in files:
        path = folder / file.path
        save_text(path, file.text)
        path.chmod(0o700 if file.executable else 0o600)
