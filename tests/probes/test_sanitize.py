"""Nothing a node prints can steer the terminal, hide, or reorder what is read."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.probes.sanitize import clean, decode, strip_escapes

HOSTILE = st.lists(
    st.one_of(
        st.text(max_size=6),
        st.characters(max_codepoint=0xFF),
        st.sampled_from(
            ["\x1b[", "\x1b]0;", "\x9b", "\x1b\\", "\x07", "31m", "\u202e", "\u200b", "\u2028", "\r\n", "\ud800"]
        ),
    ),
    max_size=20,
).map("".join)


@pytest.mark.parametrize(
    ("raw", "drawn"),
    [
        ("plain text\twith tab", "plain text\twith tab"),
        ("\x1b[31mERROR\x1b[0m red", "ERROR red"),
        ("\x1b[36m(EngineCore pid=1)\x1b[0;0m x", "(EngineCore pid=1) x"),
        ("\x1b]0;owned title\x07after", "after"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1b]0;never closed, still shown", "0;never closed, still shown"),
        ("\x1bPq#0;2;0;0;0\x1b\\sixel", "sixel"),
        ("\x9b31mC1 colour", "C1 colour"),
        ("\x1b[2J\x1b[Hwipe", "wipe"),
        ("\x1b(Bcharset", "charset"),
        ("cut \x1b[38;5", "cut "),
        ("lone \x1b", "lone \u241b"),
        ("bell\x07 null\x00 del\x7f", "bell\u2407 null\u2400 del\u2421"),
        ("over\rwrite", "over\u240dwrite"),
        ("windows end\r\n", "windows end"),
        ("two\nlines", "two\u240alines"),
        ("user\u202egnp.exe", "user<U+202E>gnp.exe"),
        ("isolate\u2066x\u2069", "isolate<U+2066>x<U+2069>"),
        ("a\u200bb\ufeffc\u00add", "abcd"),
        ("line\u2028sep\u2029para", "line<U+2028>sep<U+2029>para"),
        ("\x85next", "<U+0085>next"),
        ("lone surrogate \udcff", "lone surrogate \ufffd"),
        ("\ud800 \udfff \ufdd0 \ufdef \ufff9 \uffff", "\ufffd \ufffd \ufffd \ufffd \ufffd \ufffd"),
        ("de\u3164code\u115f-\u17b40\uffa0\ufe0f", "decode-0"),  # printable by Unicode, seen by nobody
        ("中文日志 ok é", "中文日志 ok é"),
        ("[bold]not markup[/]", "[bold]not markup[/]"),
        ("", ""),
    ],
)
def test_what_is_drawn(raw: str, drawn: str) -> None:
    assert clean(raw) == drawn


@pytest.mark.parametrize(
    ("raw", "drawn"),
    [
        (b"ok", "ok"),
        (b"bad \xff\xfe bytes", "bad \\xff\\xfe bytes"),
        ("温度".encode("gbk"), "\\xce¶\\xc8"),
        ("中".encode()[:2], "\\xe4\\xb8"),
        (b"\x1b[1mbold\x1b[m", "bold"),
    ],
)
def test_bytes_that_are_not_utf8_stay_visible(raw: bytes, drawn: str) -> None:
    assert decode(raw) == drawn


def _dangerous(char: str) -> bool:
    return char != "\t" and unicodedata.category(char) in {"Cc", "Cf", "Cs", "Zl", "Zp"}


@given(HOSTILE)
def test_no_dangerous_character_is_left_and_cleaning_is_stable(text: str) -> None:
    drawn = clean(text)
    assert not any(map(_dangerous, drawn))
    assert clean(drawn) == drawn


@given(st.binary(max_size=200))
def test_any_bytes_can_be_drawn(data: bytes) -> None:
    assert not any(map(_dangerous, decode(data)))


def test_every_format_and_control_character_is_dealt_with() -> None:
    for start in range(0, 0x110000, 0x1000):
        drawn = clean("a".join(map(chr, range(start, start + 0x1000))))
        assert [hex(ord(char)) for char in drawn if _dangerous(char)] == []


@given(st.text(alphabet=st.characters(categories=["L", "N", "P", "S"], max_codepoint=0x10FF), max_size=60))
def test_ordinary_text_is_not_touched(text: str) -> None:
    fillers = "\u115f\u1160"
    if not any(each in text for each in fillers):
        assert clean(text) == text


@given(st.text(alphabet=st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=80))
def test_parsers_see_plain_text_as_it_is(text: str) -> None:
    assert strip_escapes(text) == text
    assert strip_escapes(f"\x1b[36m{text}\x1b[0m") == text
