"""Settings for every test: hypothesis without a time limit (the machine may be busy), and repeatable where CI runs it.

Also says which files had failures, for whoever runs those again (`make again`).
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("here", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "here")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Write the test files that failed to the file that FAILED_FILES names, one a line; an empty file when none did."""
    if path := os.environ.get("FAILED_FILES"):
        reports = [*terminalreporter.getreports("failed"), *terminalreporter.getreports("error")]
        files = dict.fromkeys(report.nodeid.partition("::")[0] for report in reports)
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text("".join(f"{name}\n" for name in files if name), encoding="utf-8")
