"""What the README promises is what the program has: its keys, its commands, its files."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from console.cli.main import COMMANDS, main
from console.cli.screen import THEMES
from screens.key_map import markdown
from screens.themes import LOOKS

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()


def test_the_table_of_keys_is_the_one_in_use() -> None:
    found = re.search(r"<!-- keys:.*?-->\n(.*)<!-- end of keys -->", README, re.DOTALL)
    assert found is not None
    assert found[1] == markdown(), "renew it with: dsv4-console keys -o markdown"


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_is_named(command: str) -> None:
    assert re.search(rf"`{command}`|dsv4-console {command}\b|`make {command}`", README)


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\(([^)#:]+)\)", README))))
def test_every_file_it_points_to_is_there(link: str) -> None:
    assert (ROOT / link).is_file()


def test_the_themes_of_the_command_line_are_those_of_the_screen() -> None:
    assert set(THEMES) == set(LOOKS)
    assert THEMES[0] == "dark"


def test_a_misspelt_command_is_answered_with_the_one_that_was_meant(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["strat"]) == 2
    assert "did you mean status or start or restart?" in capsys.readouterr().err
