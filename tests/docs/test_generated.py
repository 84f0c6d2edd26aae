"""The generated pages under docs/ are what the program has now."""

from __future__ import annotations

import pytest

from tests.docs.generate import DOCS, PAGES


@pytest.mark.parametrize("name", sorted(PAGES))
def test_a_generated_page_is_up_to_date(name: str) -> None:
    assert (DOCS / name).read_text(encoding="utf-8") == PAGES[name](), "renew it with: make docs"
