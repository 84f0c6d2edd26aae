"""One set of nodes for each test module of this folder; each module leaves them idle."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.cluster import Lab, lab


@pytest.fixture(scope="module")
def a3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """The four A3 nodes of the tutorial."""
    with lab(tmp_path_factory.mktemp("a3")) as made:
        yield made
