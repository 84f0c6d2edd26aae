"""Bars, sparklines and strips of fills: as wide as asked for, safe in every terminal, and truthful at both ends."""

from __future__ import annotations

from unicodedata import east_asian_width

import pytest
from hypothesis import given
from hypothesis import strategies as st

from screens.charts import bar, heat_strip, sparkline
from screens.styled_lines import Pen, plain

PENS = (Pen(), Pen(ascii=True))
VALUES = st.lists(st.one_of(st.none(), st.floats(0, 1e9)), max_size=40)


@pytest.mark.parametrize("pen", PENS)
@given(share=st.one_of(st.none(), st.floats(-1, 2)), values=VALUES, cells=st.integers(0, 40))
def test_pictures_fill_their_cells_with_glyphs_of_one_cell(
    pen: Pen, share: float | None, values: list[float | None], cells: int
) -> None:
    drawn = [plain(bar(share, cells, pen)), sparkline(values, cells, pen)]
    strip = plain(heat_strip([None if value is None else value / 1e9 for value in values], pen))
    assert [len(each) for each in drawn] == [cells, cells]
    assert len(strip) == len(values)
    for text in (*drawn, strip):
        assert {east_asian_width(each) for each in text} <= {"N", "Na"}
        assert text.isascii() or not pen.ascii


@pytest.mark.parametrize("pen", PENS)
def test_a_bar_is_empty_at_none_and_full_at_all_alone(pen: Pen) -> None:
    empty, full = plain(bar(0.0, 10, pen)), plain(bar(1.0, 10, pen))
    assert len(set(empty)) == len(set(full)) == 1
    assert plain(bar(0.0001, 10, pen)) not in (empty, full)
    assert plain(bar(0.9999, 10, pen)) not in (empty, full)
    assert plain(bar(None, 10, pen)) == " " * 10


@pytest.mark.parametrize("pen", PENS)
@given(low=st.floats(0, 1), high=st.floats(0, 1))
def test_more_is_never_drawn_as_less(pen: Pen, low: float, high: float) -> None:
    low, high = sorted((low, high))
    order = ".=#" if pen.ascii else "⣀⣄⣆⣇⣧⣷⣿"
    filled = [sum(order.index(each) for each in plain(bar(share, 10, pen))) for share in (low, high)]
    assert filled == sorted(filled)


def test_a_sparkline_ends_with_the_newest_value_and_leaves_unknown_ones_blank() -> None:
    pen, ascii_pen = PENS
    assert sparkline([None, 0, 0, 1, 2, 3, 4, 4], 4, pen) == "⢀⣀⣴⣿"
    assert sparkline([9.0, 0, 0], 1, pen) == "⣀", "what is older is left out, and zero is a dot"
    assert sparkline([None, None, 1.0], 3, pen) == "  ⢸"
    assert sparkline([None, None, 0, 0, 4, 8], 3, ascii_pen) == " _#"
    assert sparkline([2.0], 1, pen, top=8.0) == "⢀"
