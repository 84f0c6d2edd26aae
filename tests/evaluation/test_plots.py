"""Charts fit their size whatever the numbers are, and show what they should."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.evaluation.plots import bars, line_chart, number, sparkline

VALUES = st.floats(allow_nan=True, allow_infinity=True) | st.just(0.0)


@given(st.lists(st.tuples(VALUES, VALUES), max_size=30), st.integers(0, 90), st.integers(0, 20), st.booleans())
def test_a_line_chart_has_exactly_its_size(
    points: list[tuple[float, float]], width: int, height: int, plain: bool
) -> None:
    lines = line_chart(points, width=width, height=height, ascii_only=plain)
    assert len(lines) == height
    assert {len(line) for line in lines} <= {width}
    assert not plain or all(line.isascii() for line in lines)


@given(
    st.lists(st.tuples(st.text("abc", max_size=30), st.none() | VALUES), max_size=10), st.integers(0, 90), st.booleans()
)
def test_bars_have_exactly_their_width(items: list[tuple[str, float | None]], width: int, plain: bool) -> None:
    lines = bars(items, width=width, ascii_only=plain)
    assert len(lines) == len(items)
    assert {len(line) for line in lines} <= {width}


@given(st.lists(st.none() | VALUES, max_size=100), st.integers(0, 60), st.booleans())
def test_a_sparkline_has_exactly_its_width(values: list[float | None], width: int, plain: bool) -> None:
    assert len(sparkline(values, width=width, ascii_only=plain)) == width


def test_a_rising_line_goes_from_the_lower_left_to_the_upper_right() -> None:
    lines = line_chart([(0, 0), (10, 100)], width=24, height=8, unit="ms", ascii_only=True)
    assert lines[0].startswith("100ms")
    assert lines[0].rstrip().endswith("*")
    assert lines[6].lstrip().startswith("0ms *")
    assert lines[7].split() == ["0", "10"]


def test_the_knee_is_marked() -> None:
    lines = line_chart([(1, 10), (2, 20), (3, 21)], width=30, height=8, ascii_only=True, mark=(2, 20))
    assert sum(line.count("X") for line in lines) == 1


def test_an_unknown_value_is_a_dash_and_zero_is_a_zero() -> None:
    lines = bars([("a", None), ("b", 0.0), ("c", 10.0)], width=30, ascii_only=True)
    assert [line.split()[-1] for line in lines] == ["-", "0", "10"]
    assert ["#" in line for line in lines] == [False, False, True]


def test_bars_are_as_long_as_their_values() -> None:
    lines = bars([("a", 5.0), ("b", 10.0)], width=40, ascii_only=True)
    assert lines[0].count("#") * 2 == pytest.approx(lines[1].count("#"), abs=1)


def test_a_gap_in_a_sparkline_is_not_a_zero() -> None:
    assert sparkline([8.0, None, 0.0, 4.0], width=4) == "⣿ ⣀⣤"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (41.622, "41.6"), (999.4, "999"), (12345, "12.3k"), (3.4e6, "3.4M"), (5e9, "5G"), (0.12345, "0.123")],
)
def test_numbers_are_short(value: float, text: str) -> None:
    assert number(value) == text


@given(st.floats(0.01, 1e12))
def test_no_number_up_to_a_million_million_is_long(value: float) -> None:
    assert len(number(value)) <= 6


def test_numbers_at_the_ends_of_what_a_float_holds_are_drawn_too() -> None:
    lines = line_chart([(-1e308, -1e308), (1e308, 1e308)], width=400, height=5)
    assert {len(line) for line in lines} == {400}
