"""`validate`: reads and checks cluster files, layouts and assignments; `--explain RULE` explains a rule."""

from __future__ import annotations

import argparse
from pathlib import Path

from typing_extensions import TypedDict

from console.cli.findings import explanation, failed, finding_lines
from console.cli.output import DATA, add_output, print_data
from console.cli.printer import print_line, print_lines
from console.files import load_assignment, load_cluster, load_document, load_layout, shipped_layouts
from console.model.errors import ExitCode, FileError, Problem, UsageError
from console.model.findings import Finding, FindingData
from console.rules import RULES, check, check_nodes
from console.services.placement.edits import example


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `validate`."""
    text = "check cluster files, layouts and assignments"
    parser = subparsers.add_parser("validate", help=text, description=text)
    parser.add_argument("files", nargs="*", metavar="FILE", help="a file, or the name of a shipped layout")
    parser.add_argument(
        "--explain", metavar="RULE", help="explain a rule: its reason and its fix; `all` lists the rules"
    )
    add_output(parser, json="a list of files with their findings", jsonl="a line for each file")
    parser.set_defaults(run=run)


class ProblemData(TypedDict):
    """A place of a file that cannot be read."""

    line: int | None
    """From 1; null when the problem concerns the whole file."""
    column: int | None
    """From 1."""
    key: str
    """Dotted path of the key; empty when it is about no key."""
    message: str
    expected: str
    """What would be right; empty when the message says it."""
    nearest: str
    """The known key that is nearest to an unknown one; empty when there is none."""


class FileReportData(TypedDict):
    """What is wrong with a file."""

    file: str
    """As it was named."""
    problems: list[ProblemData]
    """Why it cannot be read; no rule is checked then."""
    findings: list[FindingData]
    """Rules that do not hold."""


def run(args: argparse.Namespace) -> int:
    """Check every file. Exit code 0: every rule holds; 1: a finding is an error; 2: a file cannot be read."""
    if args.explain:
        lines = _all_rules() if args.explain == "all" else explanation(args.explain)
        print_lines(lines)
        return ExitCode.OK
    if not args.files:
        raise UsageError("no file to validate", hint="dsv4-console validate FILE…, or --explain RULE")
    worst = int(ExitCode.OK)
    report: list[FileReportData] = []
    for name in args.files:
        findings: tuple[Finding, ...] = ()
        problems: tuple[Problem, ...] = ()
        try:
            findings = _checked(name)
        except FileError as error:
            problems = error.problems
        worst = max(worst, ExitCode.USAGE if problems else failed(findings))
        report.append(
            {
                "file": name,
                "problems": [_problem_data(each) for each in problems],
                "findings": [each.data() for each in findings],
            }
        )
        if args.output == "table":
            _print(name, problems, findings)
    if args.output in DATA:
        print_data(args.output, report)
    return worst


def _checked(name: str) -> tuple[Finding, ...]:
    """The findings about one file. Raises FileError when it is neither a cluster file, a layout nor an assignment."""
    if name in shipped_layouts():
        return check(example(load_layout(name)))
    path = Path(name)
    value = load_document(path).value
    keys = set(value) if isinstance(value, dict) else set()
    if "groups" in keys or ({"model", "hardware"} & keys and "nodes" not in keys):
        return check(example(load_layout(str(path))))
    if "nodes" in keys or "defaults" in keys:
        return check_nodes(load_cluster(path))
    if "assign" in keys:
        load_assignment(path)
    elif {"routing", "deployment"} & keys:
        raise FileError(
            (
                Problem(
                    name, 1, 1, "", "this is a configuration of vllm-ascend's CI; convert it with `dsv4-console import`"
                ),
            )
        )
    else:
        message = "neither a cluster (nodes), a layout (groups) nor an assignment (assign)"
        raise FileError((Problem(name, 1, 1, "", message),))
    return ()


def _print(name: str, problems: tuple[Problem, ...], findings: tuple[Finding, ...]) -> None:
    for problem in problems:
        print_line(str(problem))
    for line in finding_lines(findings):
        print_line(line)
    if not problems and not findings:
        print_line(f"{name}: ok")


def _problem_data(problem: Problem) -> ProblemData:
    return {
        "line": problem.line or None,
        "column": problem.column or None,
        "key": problem.key,
        "message": problem.message,
        "expected": problem.expected,
        "nearest": problem.nearest,
    }


def _all_rules() -> list[str]:
    return [f"{rule.id:4} {rule.severity:8} {rule.title}" for rule in RULES.values()]
