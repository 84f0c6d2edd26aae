"""Commands of the console on a lab, run in this process: no interpreter to start for each."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from console.cli.main import main
from tests.docs.outputs import must_fit
from tests.e2e.cluster import Lab


@dataclass(frozen=True, slots=True)
class Done:
    """What a command came to."""

    returncode: int
    stdout: str
    stderr: str


@dataclass(frozen=True, slots=True)
class Inline:
    """The console on one lab and layout."""

    made: Lab
    layout: str
    capsys: pytest.CaptureFixture[str]

    def __call__(self, *words: str) -> Done:
        """Run one command to its end."""
        self.capsys.readouterr()
        options = ["--cluster", str(self.made.file), "--layout", str(self.made.file.with_name(self.layout))]
        try:
            code = main([*words[:1], *options, *words[1:]])
        except SystemExit as error:
            code = int(str(error.code))
        told = self.capsys.readouterr()
        must_fit(words, told.out)
        return Done(int(code), told.out, told.err)


def inline(made: Lab, layout: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Inline:
    """The console, with the lab's own state directory."""
    monkeypatch.setenv("XDG_STATE_HOME", str(made.state))
    return Inline(made, layout, capsys)
