"""Settings for every test: hypothesis without a time limit (the machine may be busy), and repeatable where CI runs it.

Also has the files start first that take longest, so that no worker is left alone with one at the end, and says which files
had failures, for whoever runs those again (`make again`).
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("here", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "here")

LONGEST_FIRST = ("tests/e2e/", "tests/services/serving/", "tests/screens/test_monkey")
"""Files by the start of their path; each of them waits for real processes, or presses thousands of keys."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort the longest files to the front; the rest keeps its order."""
    places = len(LONGEST_FIRST)
    items.sort(
        key=lambda item: next((at for at, name in enumerate(LONGEST_FIRST) if item.nodeid.startswith(name)), places)
    )


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Write the test files that failed to the file that FAILED_FILES names, one a line; an empty file when none did."""
    if path := os.environ.get("FAILED_FILES"):
        reports = [*terminalreporter.getreports("failed"), *terminalreporter.getreports("error")]
        files = dict.fromkeys(report.nodeid.partition("::")[0] for report in reports)
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text("".join(f"{name}\n" for name in files if name), encoding="utf-8")
