"""Writes the pages under docs/ that follow from the program: commands, keys, known failures, rules, files, JSON output.

`make docs` runs it; a test fails where a page is not what this would write.
"""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

from pydantic import BaseModel

from console.cli.main import COMMANDS
from console.diagnosis.signatures import load_signatures
from console.model.cluster import Cluster
from console.model.layout import Layout
from console.rules import RULES
from screens.key_map import markdown
from tests.docs import outputs
from tests.docs.completions import scripts
from tests.docs.fields import SCHEMAS, schema, tables

DOCS = Path(__file__).resolve().parents[2] / "docs"
_HIDDEN = (argparse.SUPPRESS, None)


def _cell(text: str) -> str:
    """Text that breaks no table."""
    return " ".join(text.split()).replace("|", "&#124;").replace("<", "&lt;")


def parser_of(name: str) -> argparse.ArgumentParser:
    """The options of a sub-command."""
    module = importlib.import_module(COMMANDS[name][0])
    subparsers = argparse.ArgumentParser(prog="dsv4-console").add_subparsers()
    (getattr(module, "add_parsers", None) or module.add_parser)(subparsers)
    parser = subparsers.choices[name]
    assert isinstance(parser, argparse.ArgumentParser)
    return parser


def _metavar(action: argparse.Action) -> str:
    if action.nargs == 0:
        return ""
    named = action.metavar
    if isinstance(named, tuple):
        return " ".join(named)
    if named:
        return named
    if action.choices is not None:
        return "&#124;".join(map(str, action.choices))
    return action.dest.upper() if action.option_strings else action.dest


def _written(action: argparse.Action) -> str:
    """An option or argument as it is typed."""
    value = _metavar(action).replace("&#124;", "|")
    words = ", ".join(action.option_strings)
    text = f"{words} {value}".strip()
    return f"`{text.replace('|', '&#124;')}`" if "|" not in text else f"<code>{text.replace('|', '&#124;')}</code>"


def _actions(parser: argparse.ArgumentParser, before: str = "") -> Iterator[str]:
    """Rows of a parser's options; those of its own sub-commands follow, each with its name before it."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, inner in action.choices.items():
                yield f"| **{before}{name}** | {_cell(inner.description or '')} |"
                yield from _actions(inner, f"{before}{name} ")
        elif action.help not in _HIDDEN and not isinstance(action, argparse._HelpAction):
            help_text = str(action.help).replace("%(default)s", str(action.default)).replace("%%", "%")
            yield f"| {_written(action)} | {_cell(help_text)} |"


def commands_page() -> str:
    """Every sub-command with its options."""
    lines = [
        "# Commands",
        "",
        "`dsv4-console` without a command opens the screen. `dsv4-console COMMAND --help` prints the same as this page.",
        "",
    ]
    lines += ["| command | what it does |", "|---|---|"]
    lines += [f"| [`{name}`](#{name}) | {_cell(text)} |" for name, (_, text) in COMMANDS.items()]
    for name, (_, text) in COMMANDS.items():
        lines += ["", f"## {name}", "", f"{text[:1].upper()}{text[1:]}.", "", "| option | meaning |", "|---|---|"]
        lines += _actions(parser_of(name))
    return "\n".join(lines) + "\n"


def keys_page() -> str:
    """Every key of the screen."""
    head = "`?` on the screen shows this list and runs the chosen line. `keys.yaml` changes keys: [operate](operate.md#keys)."
    return f"# Keys\n\n{head}\n\n{markdown()}"


def failures_page() -> str:
    """Every failure signature: what it means and what to do."""
    lines = [
        "# Known failures",
        "",
        "The console looks for these in logs and in its own measurements. `dsv4-console diagnose FILE…` reads any log file.",
        "",
    ]
    for each in load_signatures():
        lines += [
            f"## {each.id} {each.title}",
            "",
            f"- Cause: {_cell(each.cause)}",
            f"- Fix: {_cell(each.remedy)}",
            f"- Source: {_cell(each.source)}",
            "",
        ]
    return "\n".join(lines).rstrip() + "\n"


def rules_page() -> str:
    """Every rule a deployment must keep."""
    lines = [
        "# Rules",
        "",
        "`validate`, `plan` and every start check these rules. `dsv4-console validate --explain ID` prints one rule in full.",
        "",
    ]
    lines += ["| rule | what must hold | severity | why | fix |", "|---|---|---|---|---|"]
    lines += [
        f"| {rule.id} | {_cell(rule.title)} | {rule.severity} | {_cell(rule.why)} | {_cell(rule.fix)} |"
        for rule in RULES.values()
    ]
    return "\n".join(lines) + "\n"


def _filled(name: str, root: type[BaseModel]) -> str:
    """A page written by hand, its tables of fields renewed."""
    head, mark, rest = (DOCS / name).read_text(encoding="utf-8").partition("<!-- fields -->\n")
    _, end, tail = rest.partition("<!-- end of fields -->\n")
    assert mark, f"docs/{name} has no place for its fields"
    assert end, f"docs/{name} has no place for its fields"
    return head + mark + "\n".join(tables(root)).lstrip("\n") + "\n" + end + tail


PAGES: Mapping[str, Callable[[], str]] = {
    "commands.md": commands_page,
    "keys.md": keys_page,
    "failures.md": failures_page,
    "rules.md": rules_page,
    "cluster-file.md": lambda: _filled("cluster-file.md", Cluster),
    "layouts.md": lambda: _filled("layouts.md", Layout),
    **{f"schemas/{name}.schema.json": partial(schema, root) for name, root in SCHEMAS.items()},
    "json-output.md": outputs.page,
    **scripts(),
    **{f"schemas/outputs/{name}": partial(str, text) for name, text in outputs.files().items()},
}


if __name__ == "__main__":
    for name, page in PAGES.items():
        (DOCS / name).write_text(page(), encoding="utf-8")
