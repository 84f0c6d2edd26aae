"""What the pages promise is what the program has: their links, their commands, their examples, the size of the README."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from console.cli.main import COMMANDS, main
from console.cli.screen import THEMES
from screens.actions import BY_ID
from screens.key_map import Keys
from screens.panes.table import PANES
from screens.themes import LOOKS

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
EXAMPLES = sorted(ROOT.glob("examples/*.yaml"))


def _named(page: Path) -> set[str]:
    """Sub-commands that a page writes as `dsv4-console COMMAND`."""
    return set(re.findall(r"dsv4-console(?: -c \S+)? ([a-z][a-z-]+)\b", page.read_text()))


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_file_a_page_points_to_is_there(page: Path) -> None:
    links = set(re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()))
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_command_a_page_writes_exists(page: Path) -> None:
    assert _named(page) <= {*COMMANDS}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_a_key_that_a_page_gives_for_a_pane_opens_that_pane(page: Path) -> None:
    keys = {entry.title: Keys().word(BY_ID[entry.action]) for entry in PANES}
    text = page.read_text()
    given = re.findall(r"(?:Press|按) `(.)`[^.。`]{0,12}\*\*(\w+)\*\*", text)
    given += [(key, pane) for pane, key in re.findall(r"\*\*(\w+)\*\* pane \(`(.)`\)", text)]
    given += [(key, "Diagnosis") for key in re.findall(r"`DOWN` \|[^|`]*`(.)`", text)]
    assert [(key, pane) for key, pane in given if keys[pane] != key] == []


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_every_example_is_valid_without_a_finding(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", str(path)]) == 0
    assert capsys.readouterr().out.strip().endswith(": ok")


def test_the_themes_of_the_command_line_are_those_of_the_screen() -> None:
    assert set(THEMES) == set(LOOKS)
    assert THEMES[0] == "dark"


def test_a_misspelt_command_is_answered_with_the_one_that_was_meant(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["strat"]) == 2
    assert "did you mean status or start or restart?" in capsys.readouterr().err
