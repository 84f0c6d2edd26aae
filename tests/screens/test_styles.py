"""Style rules are for widgets that there are: a rule for a name nobody has is silently none."""

from __future__ import annotations

import importlib
import pkgutil
import re
from pathlib import Path

from textual.widget import Widget

import screens

RULE = re.compile(r"([^{}]+)\{[^{}]*\}")
NAME = re.compile(r"(?<![\w#.:$-])([A-Z]\w+)")


def _subclasses(kind: type[Widget]) -> set[type[Widget]]:
    below: list[type[Widget]] = kind.__subclasses__()
    return {kind, *(each for one in below for each in _subclasses(one))}


def test_every_rule_names_widgets_that_there_are() -> None:
    for module in pkgutil.walk_packages(screens.__path__, "screens."):
        importlib.import_module(module.name)
    importlib.import_module("textual.widgets").Input  # noqa: B018  (loaded when it is named)
    importlib.import_module("textual.widgets").Button  # noqa: B018
    known = {each.__name__ for each in _subclasses(Widget)}
    own = [each for each in _subclasses(Widget) if each.__module__.startswith("screens.")]
    sheets = [(each.__name__, str(vars(each).get(sheet, ""))) for each in own for sheet in ("CSS", "DEFAULT_CSS")]
    sheets.append(("console.tcss", (Path(screens.__path__[0]) / "console.tcss").read_text()))
    named = {(where, name) for where, text in sheets for rule in RULE.findall(text) for name in NAME.findall(rule)}
    assert len(named) > 10
    assert {(where, name) for where, name in named if name not in known} == set()
