"""Names use the words of the glossary: no command, option, key, tab, module, class or function has a word that it rules out."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from console.cli.main import COMMANDS
from screens.actions import ACTIONS
from screens.panes.table import PANES
from tests.docs.completions import words_of_commands

ROOT = Path(__file__).resolve().parents[2]
TABLE = (ROOT / "docs" / "glossary.md").read_text().partition("## Words that the project does not use")[2]
SOURCES = sorted(path for top in ("console", "screens") for path in (ROOT / top).rglob("*.py"))


def _ruled_out() -> Iterator[tuple[str, bool]]:
    """Each word of the table, and whether only commands and panes must not have it."""
    for row in re.findall(r"^\| ([^|]+) \|", TABLE, re.MULTILINE)[1:]:
        words, bracket, _ = row.partition(" (")
        for word in words.split(", "):
            if word.strip("- "):
                yield word, bool(bracket)


RULED_OUT = dict(_ruled_out())
NAMES = {word for word, shown_only in RULED_OUT.items() if not shown_only}


def _words(name: str) -> set[str]:
    """`ProxyWatch.take_key` → proxy, watch, take, key."""
    return {part.lower() for part in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)}


def _names(path: Path) -> Iterator[str]:
    yield path.stem
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name


def test_the_table_is_read() -> None:
    assert {"mend", "told", "causes", "guard"} <= {*RULED_OUT}
    assert "guard" not in NAMES


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_module_class_or_function_has_a_word_that_is_ruled_out(path: Path) -> None:
    assert [name for name in _names(path) if _words(name) & NAMES] == []


def test_no_command_option_key_or_pane_has_a_word_that_is_ruled_out() -> None:
    shown = [*COMMANDS, *(text for each in ACTIONS for text in (each.id, each.label)), *(pane.title for pane in PANES)]
    options = [option for words in words_of_commands().values() for option in words if option.startswith("--")]
    assert [name for name in shown if _words(name) & {*RULED_OUT}] == []
    assert [name for name in options if _words(name) & NAMES] == []
