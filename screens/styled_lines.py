"""Styled lines as plain data, and their conversion to strips. Only this module computes the cells of a text.

A line is a tuple of spans `(text, role)`. Text that came from a node passes `shown()` first. No widget enters here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from unicodedata import east_asian_width

from rich.cells import cell_len, chop_cells, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from console.model.shortening import first_part
from console.probes.sanitize import clean
from screens.themes import LEVELS, LEVELS_PLAIN, Look, Sign

Span = tuple[str, str]
Line = tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a list: what it stands for, and what it shows."""

    key: str
    line: Line


_STAND_INS = {
    **dict.fromkeys("…·‥", "."),
    **dict.fromkeys("–—―─━═╌╍┄┅", "-"),
    **dict.fromkeys("│┃║╎", "|"),
    **dict.fromkeys("┌┐└┘├┤┬┴┼╔╗╚╝╠╣╦╩╬╭╮╯╰", "+"),
    **dict.fromkeys("▀▄█▌▐▁▂▃▅▆▇▉▊▋▍▎▏░▒▓■□", "#"),
    **dict.fromkeys("●○◆◇★☆", "*"),
    **dict.fromkeys("‘’", "'"),
    **dict.fromkeys("“”", '"'),
    "→": ">",
    "←": "<",
    "↑": "^",
    "↓": "v",
    "×": "x",
    "±": "~",
    "°": "o",
}
"""What is written for a character whose width terminals disagree about, in one cell each."""


@dataclass(frozen=True, slots=True)
class Pen:
    """How signs are written: with glyphs, or in ASCII only."""

    ascii: bool = False
    wide: bool = False
    """Whether the terminal draws characters of ambiguous width in two cells; each of them would shift its row."""

    def text(self, text: str) -> str:
        """The text as it is drawn: no sign of ours but ASCII, nothing of ambiguous width where that takes two cells."""
        return _stood_in(text, self.wide) if self.ascii and not text.isascii() else text

    def sign(self, sign: Sign) -> str:
        """The glyph of a state."""
        return sign.plain if self.ascii else sign.glyph

    def level(self, share: float) -> str:
        """The glyph of a fill between 0 and 1."""
        levels = LEVELS_PLAIN if self.ascii else LEVELS
        return levels[min(len(levels) - 1, max(0, int(share * len(levels))))]

    @property
    def marked(self) -> str:
        """What marks a chosen row."""
        return "*"

    @property
    def opened(self) -> str:
        """What marks a row whose children are shown; its counterpart is `closed`."""
        return "v" if self.ascii else "▾"

    @property
    def closed(self) -> str:
        """What marks a row that has hidden children."""
        return ">" if self.ascii else "▸"


@lru_cache(maxsize=4096)
def _stood_in(text: str, wide: bool) -> str:
    return "".join(_STAND_INS.get(each) or ("?" if wide and east_asian_width(each) == "A" else each) for each in text)


def shown(text: str) -> str:
    """Text from a node made harmless and kept on one line."""
    return clean(text).replace("\n", " ").replace("\t", " ")


@lru_cache(maxsize=4096)
def width(text: str) -> int:
    """Cells a text takes."""
    return cell_len(text)


def fit(text: str, cells: int, *, right: bool = False) -> str:
    """The text in exactly that many cells: cut at the end, or filled with blanks."""
    if cells <= 0:
        return ""
    length = width(text)
    if length > cells:
        return set_cell_size(text, 1) if cells == 1 else set_cell_size(brief(text, cells), cells)
    return " " * (cells - length) + text if right else text + " " * (cells - length)


def brief(text: str, cells: int) -> str:
    """The text in at most that many cells, its end cut with the mark `~`; a number is left out whole, never shortened."""
    return text if width(text) <= cells else _begin(text, cells - 1) + "~"


def _begin(text: str, cells: int) -> str:
    """As much of the start of a text as fits, without a part of a number."""
    return first_part(text, len(chop_cells(text, cells)[0])) if cells > 0 else ""


def cut(line: Line, cells: int) -> Line:
    """The line in exactly that many cells: filled with blanks, or cut with the mark `~` where words are lost."""
    total = length(line)
    if total <= cells:
        return (*line, (" " * (cells - total), "")) if total < cells else line
    lost = width(plain(line).rstrip(" ")) > cells
    spans: list[Span] = []
    left = cells - 1 if lost else cells
    for text, role in line:
        whole = width(text) <= left
        piece = text if whole else _begin(text, left) if lost else set_cell_size(text, left)
        spans.append((piece, role))
        left -= width(piece)
        if left <= 0 or not whole:
            break
    return (*spans, ("~" + " " * left, spans[-1][1] if spans else "dim")) if lost and cells > 0 else tuple(spans)


def shifted(line: Line, cells: int) -> Line:
    """The line moved to the left by so many cells, with the mark `~` in its first cell where words are lost."""
    if cells <= 0:
        return line
    spans: list[Span] = []
    left, lost = cells + 1, False
    for text, role in line:
        at = 0
        while left > 0 and at < len(text):
            left -= width(text[at])
            lost |= text[at] != " "
            at += 1
        rest = " " * max(0, -left) + text[at:]  # a wide character that is cut in half leaves a blank
        left = max(0, left)
        if rest:
            spans.append((rest, role))
    return (("~" if lost else " ", "dim"), *spans)


def wrap(text: str, cells: int, *, words: bool = False) -> list[str]:
    """The text cut into pieces of at most that many cells, at blanks where they are near, else not inside a number.

    With `words` at blanks wherever they are.
    """
    if width(text) <= cells:
        return [text]
    pieces: list[str] = []
    rest = text
    while width(rest) > cells:
        head = chop_cells(rest, cells)[0]
        cut = head.rfind(" ")
        near = cut > (0 if words else len(head) * 2 // 3)
        keep = head[:cut] if near else first_part(rest, len(head)) or head
        pieces.append(keep)
        rest = rest[len(keep) :].lstrip(" ")
    if rest:
        pieces.append(rest)
    return pieces


def length(line: Line) -> int:
    """Cells a line takes."""
    return sum(width(text) for text, _ in line)


def join(parts: Iterable[Line], gap: Span = (" ", "")) -> Line:
    """Lines put side by side, empty ones left out."""
    spans: list[Span] = []
    for part in parts:
        if part:
            if spans:
                spans.append(gap)
            spans.extend(part)
    return tuple(spans)


def plain(line: Line) -> str:
    """The text of a line alone."""
    return "".join(text for text, _ in line)


def strip(line: Line, look: Look, pen: Pen, cells: int, base: Style, over: Sequence[str] = ()) -> Strip:
    """The line in exactly that many cells; `over` are roles laid over the whole row."""
    top = Style.combine([look.style(role) for role in over]) if over else None
    segments = []
    for text, role in cut(line, cells) if length(line) > cells else line:
        style = base + look.style(role)
        segments.append(Segment(pen.text(text), style + top if top else style))
    ground = base + top if top else base
    drawn = Strip(segments).adjust_cell_length(cells, ground)
    return (
        drawn if over else drawn.simplify()
    )  # in pictures columns keep their places only when they are texts of their own
