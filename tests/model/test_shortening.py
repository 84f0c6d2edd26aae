"""Texts that are shortened keep their numbers, wherever they are shortened."""

from __future__ import annotations

import pytest

from console.cli.journal import MOST, _cells
from console.files.yaml_documents import shown
from console.model.shortening import shortened
from console.model.suggestions import suggestions
from console.services.audit_log import AuditEntry


@pytest.mark.parametrize(
    ("text", "limit", "seen"),
    [
        ("8 engines", 9, "8 engines"),
        ("took 1234 s", 8, "took …"),
        ("took 1234 s", 10, "took 1234…"),
        ("at 12.75", 6, "at …"),
        ("words only", 6, "words…"),
        ("12345", 1, "…"),
    ],
)
def test_a_number_is_left_out_whole(text: str, limit: int, seen: str) -> None:
    assert shortened(text, limit) == seen


def test_values_of_files_and_outcomes_of_the_journal_are_shortened_so() -> None:
    assert shown("a" * 54 + " 123456") == "a" * 54 + " …"
    trace = AuditEntry(at=0.0, who="me", what="start", whom="all", outcome="x" * (MOST - 4) + " 123456")
    assert _cells(trace)[3] == "x" * (MOST - 4) + " …"


def test_a_suggestion_takes_no_heed_of_case_and_dashes() -> None:
    assert suggestions("Max-Num-Seqs", ["max_num_seqs", "max_model_len"])[0] == "max_num_seqs"
    assert suggestions("mpt", ["eagle", "mtp"]) == ("mtp",)
    assert suggestions("nothing-like-it", ["mtp"]) == ()
