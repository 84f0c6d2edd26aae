"""Charts fit their size whatever the numbers are, and show what they should."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.evaluation.plots import Frame, line_chart, number, spread

VALUES = st.floats(allow_nan=True, allow_infinity=True) | st.just(0.0)


@given(st.lists(st.tuples(VALUES, VALUES), max_size=30), st.integers(0, 90), st.integers(0, 20), st.booleans())
def test_a_line_chart_has_exactly_its_size(
    points: list[tuple[float, float]], width: int, height: int, plain: bool
) -> None:
    lines = line_chart(points, width=width, height=height, ascii_only=plain)
    assert len(lines) == height
    assert {len(line) for line in lines} <= {width}
    assert not plain or all(line.isascii() for line in lines)


@given(st.lists(st.none() | VALUES, max_size=5), st.integers(0, 60), st.booleans())
def test_a_spread_has_exactly_its_width(steps: list[float | None], width: int, plain: bool) -> None:
    bar = spread(steps, width=width, ascii_only=plain)
    assert len(bar) == width
    assert not plain or bar.isascii()


def test_a_spread_thins_out_from_percentile_to_percentile() -> None:
    assert spread([10.0, 15.0, 20.0], width=12, ascii_only=True) == "######===---"
    assert spread([20.0, 20.0, 20.0], width=4) == "⣿" * 4


@pytest.mark.parametrize(
    "steps", [[1.0, None, 3.0], [3.0, 2.0, 1.0], [1.0, 2.0], [0.0, 0.0, 0.0], [1.0, 2.0, float("inf")]]
)
def test_a_spread_of_what_is_not_known_is_blank(steps: list[float | None]) -> None:
    assert spread(steps, width=8) == " " * 8


def test_no_line_goes_over_a_gap() -> None:
    whole = line_chart([(0, 5), (5, 5), (10, 5)], width=24, height=5, ascii_only=True)
    gap = line_chart([(0, 5), (5, float("nan")), (10, 5)], width=24, height=5, ascii_only=True)
    assert whole[0].count("*") > 10
    assert gap[0].count("*") == 2


def test_charts_of_one_frame_have_their_columns_above_one_another() -> None:
    frame = Frame(0.0, 100.0, None, 9)
    long = line_chart([(50, 123456), (60, 1)], width=40, height=5, ascii_only=True, frame=frame)
    short = line_chart([(50, 3), (60, 1)], width=40, height=5, ascii_only=True, frame=frame)
    assert long[0].index("*") == short[0].index("*")
    assert long[-1] == short[-1]
    assert long[-1].split() == ["0", "100"]


def test_a_rising_line_goes_from_the_lower_left_to_the_upper_right() -> None:
    lines = line_chart([(0, 0), (10, 100)], width=24, height=8, unit="ms", ascii_only=True)
    assert lines[0].startswith("100ms")
    assert lines[0].rstrip().endswith("*")
    assert lines[6].lstrip().startswith("0ms *")
    assert lines[7].split() == ["0", "10"]


def test_the_knee_is_marked() -> None:
    lines = line_chart([(1, 10), (2, 20), (3, 21)], width=30, height=8, ascii_only=True, mark=(2, 20))
    assert sum(line.count("X") for line in lines) == 1


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
