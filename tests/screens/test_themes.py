"""Every theme can be read, and its cursor is seen at once: contrasts as WCAG 2 defines them."""

from __future__ import annotations

import pytest
from rich.style import Style

from screens.styled_lines import Pen, strip
from screens.themes import LOOKS, Look

LEAST = 4.5
"""What WCAG 2 asks for text of usual size (AA)."""
COLOURED = [look for look in LOOKS.values() if look.name != "mono"]
CURSORS = ("cursor", "unfocused")


def _luminance(colour: tuple[int, int, int]) -> float:
    parts = [part / 255 for part in colour]
    red, green, blue = (part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _contrast(one: tuple[int, int, int], other: tuple[int, int, int]) -> float:
    dark, light = sorted((_luminance(one), _luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def _drawn(look: Look, role: str, ground: str, over: tuple[str, ...] = ()) -> tuple[tuple[int, int, int], ...]:
    """Foreground and background of a text in a role, on one of the theme's grounds, as it is drawn."""
    base = Style.parse(f"{look.theme.foreground} on {getattr(look.theme, ground)}")
    segment = next(iter(strip((("text", role),), look, Pen(), 4, base, over)))
    style = segment.style
    assert style is not None
    assert style.color is not None
    assert style.bgcolor is not None
    pair = (style.color.get_truecolor(), style.bgcolor.get_truecolor())
    return pair[::-1] if style.reverse else pair


@pytest.mark.parametrize("ground", ["background", "surface"])
@pytest.mark.parametrize("look", COLOURED, ids=lambda look: look.name)
def test_text_of_every_role_can_be_read_beside_and_under_the_cursor(look: Look, ground: str) -> None:
    for role in look.roles:
        for over in ((), *((each,) for each in CURSORS)):
            assert _contrast(*_drawn(look, role, ground, over)) >= LEAST, (role, over)


@pytest.mark.parametrize("ground", ["background", "surface"])
@pytest.mark.parametrize("look", COLOURED, ids=lambda look: look.name)
def test_the_row_of_the_cursor_stands_out_and_tells_whether_it_has_the_keys(look: Look, ground: str) -> None:
    _, plain = _drawn(look, "plain", ground)
    grounds = [_drawn(look, "plain", ground, (each,))[1] for each in CURSORS]
    for each, over in zip(grounds, CURSORS, strict=True):
        assert _contrast(each, plain) >= LEAST
        assert {_drawn(look, role, ground, (over,))[1] for role in look.roles} == {each}, "all of the row"
    assert grounds[0] != grounds[1]


def test_without_colour_the_row_of_the_cursor_is_reversed() -> None:
    styles = [LOOKS["mono"].style(each) for each in CURSORS]
    assert all(each.reverse for each in styles)
    assert styles[0] != styles[1]
