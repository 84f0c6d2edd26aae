"""The full reason why a node is not connected, and what to do, on as many lines as needed."""

from __future__ import annotations

from collections.abc import Iterator

from console.model.snapshot import LinkState, NodeSnapshot
from screens.styled_lines import Row, shown, wrap

LEAST = 20
"""Cells below which words are no longer wrapped, but cut."""


def link_rows(node: NodeSnapshot, cells: int) -> Iterator[Row]:
    """The reason and the hint of a link; none while there is nothing to say."""
    link = node.link
    how = f"link {link.state}" if node.reached or link.state is not LinkState.LOST else "never reached"
    texts = (("link", f"{how}: {link.reason}" if link.reason else "", "fail"), ("hint", link.hint, "key"))
    for name, text, role in texts:
        for number, piece in enumerate(wrap(shown(text), max(LEAST, cells - 1)) if text else ()):
            yield Row(f"remark/{name}/{number}", ((piece, role),))
