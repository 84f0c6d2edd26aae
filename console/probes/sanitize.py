"""Cleans text from nodes: removes terminal control sequences and invisible characters, and shows reordering characters.

Log lines, host names, process names, error texts and HTTP bodies are cleaned here before they are shown. Does not handle
markup (screens draw plain text) and does not cut text.
"""

from __future__ import annotations

import re

_ESCAPE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?"  # CSI; cut sequences too
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d\x9e\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)"  # OSC, DCS, SOS, PM, APC with their text
    r"|\x1b[ -/]*[0-~]"  # everything shorter; an unterminated string loses its introducer only, so no text can hide behind it
)
_UNSEEN = re.compile(
    "[\u00ad\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200d\u2060-\u2065\u3164\ufe00-\ufe0f\ufeff\uffa0"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]+"
)
"""Zero-width and filler characters, variation selectors, tags: removed, because they shift columns and hide differences."""
_VISIBLE = re.compile(
    "[\x00-\x08\x0a-\x1f\x7f-\x9f\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u200e\u200f\u2028-\u202e\u2066-\u206f"
    "\ud800-\udfff\ufdd0-\ufdef\ufff9-\uffff\U000110bd\U000110cd\U00013430-\U0001343f]"
)
"""Control characters, bidi marks, line separators, surrogates: shown as symbols, because they change the terminal or the text."""
_PICTURES = 0x2400  # the block of control pictures: NUL is U+2400, ESC is U+241B


def strip_escapes(text: str) -> str:
    """The text without terminal escape sequences, for parsers; all other characters stay."""
    return _ESCAPE.sub("", text) if "\x1b" in text or not text.isascii() else text


def clean(text: str) -> str:
    """One line of text that is safe to draw: without escape sequences and invisible characters; control characters except tab are
    shown as symbols.

    A line end inside the text is a control character too: split lines first. Cleaning twice gives the same text.
    """
    if text.isascii() and (text.isprintable() or text.replace("\t", " ").isprintable()):
        return text
    text = _UNSEEN.sub("", _ESCAPE.sub("", text.removesuffix("\n").removesuffix("\r")))
    return _VISIBLE.sub(_shown, text)


def decode(data: bytes) -> str:
    """Bytes from a node as one cleaned line; bytes that are not UTF-8 are shown as `\\xNN`."""
    return clean(data.decode("utf-8", "backslashreplace"))


def _shown(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < 0x20:
        return chr(_PICTURES + code)
    if code == 0x7F:
        return "\u2421"
    if 0xD800 <= code <= 0xDFFF or 0xFFF9 <= code <= 0xFFFF or 0xFDD0 <= code <= 0xFDEF:
        return "\ufffd"
    return f"<U+{code:04X}>"
