"""Themes: the style of each role that a text can have, and the glyph and the word of every state.

Three channels always carry a state: the shape of its glyph, its word, its colour. Glyphs inside rows are East-Asian neutral
or narrow, so a terminal set to wide ambiguous characters does not shift a row, and no two states have glyphs that look
alike. Does not decide what is drawn where.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.style import Style
from textual.theme import Theme

from console.model.state import EngineState, Grade, LinkState

if TYPE_CHECKING:
    from console.model.snapshot import EngineSnapshot, NodeSnapshot


@dataclass(frozen=True, slots=True)
class Sign:
    """A state as an operator sees it."""

    glyph: str
    plain: str
    """The same in ASCII."""
    word: str
    role: str
    """Key into a look's styles."""


STATES: Mapping[EngineState, Sign] = {
    EngineState.READY: Sign("✓", "+", "ready", "ok"),
    EngineState.STARTING: Sign("↻", "/", "start", "busy"),
    EngineState.LAUNCHING: Sign("⇡", "^", "launch", "busy"),
    EngineState.STOPPING: Sign("⇄", "=", "stopping", "drain"),
    EngineState.DEGRADED: Sign("!", "!", "degraded", "warn"),
    EngineState.FAILED: Sign("✗", "X", "FAILED", "fail"),
    EngineState.LOST: Sign("◌", "L", "LOST", "fail"),
    EngineState.STUCK: Sign("◉", "S", "STUCK", "fail"),
    EngineState.UNMANAGED: Sign("▪", "u", "unmanaged", "warn"),
    EngineState.UNREACHABLE: Sign("?", "?", "no link", "stale"),
    EngineState.EXITED: Sign("▫", "o", "exited", "idle"),
    EngineState.IDLE: Sign("◦", "_", "idle", "idle"),
}

LINKS: Mapping[LinkState, Sign] = {
    LinkState.UP: Sign("✓", "+", "up", "ok"),
    LinkState.CONNECTING: Sign("↻", "/", "connecting", "busy"),
    LinkState.STALE: Sign("?", "?", "silent", "stale"),
    LinkState.LOST: Sign("?", "?", "no link", "stale"),
    LinkState.BLOCKED: Sign("✗", "X", "BLOCKED", "fail"),
    LinkState.CLOSED: Sign("-", "-", "closed", "idle"),
}


_UNREACHED = Sign("?", "?", "never reached", "stale")


def link_sign(node: NodeSnapshot) -> Sign:
    """How a node's link is; a link that never was is not called lost."""
    return _UNREACHED if node.link.state is LinkState.LOST and not node.reached else LINKS[node.link.state]


def sign_of(engine: EngineSnapshot) -> Sign:
    """What an engine is shown as: `connecting` until it is known how it is, else its state."""
    return LINKS[LinkState.CONNECTING] if engine.connecting else STATES[engine.state]


def signs_of(engines: Iterable[EngineSnapshot]) -> list[tuple[Sign, EngineState, int]]:
    """How many engines are shown as what, the worst first."""
    counts = Counter((engine.state, engine.connecting) for engine in engines)
    order = sorted(counts, key=lambda each: (EngineState.STARTING if each[1] else each[0]).rank)
    return [(LINKS[LinkState.CONNECTING] if new else STATES[state], state, counts[state, new]) for state, new in order]


GRADES: Mapping[Grade, Sign] = {
    Grade.OK: Sign("✓", "+", "ok", "ok"),
    Grade.WAIT: Sign("↻", "/", "wait", "busy"),
    Grade.FAIL: Sign("✗", "X", "FAIL", "fail"),
    Grade.UNKNOWN: Sign("?", "?", "unknown", "stale"),
    Grade.SKIPPED: Sign("-", "-", "not asked", "idle"),
}

LEVELS = "⣀⣄⣤⣦⣶⣷⣿"
LEVELS_PLAIN = ":-=*#"
"""Fill of a device's HBM from little to full; in ASCII by signs that cannot be read as numbers."""


@dataclass(frozen=True, slots=True)
class Look:
    """A theme: the frame's colours and one style for each role."""

    name: str
    title: str
    theme: Theme
    roles: Mapping[str, Style]

    def style(self, role: str) -> Style:
        """The style of a role, or of several joined by a blank, the last one winning; an unknown role is a defect."""
        if " " not in role:
            return self.roles[role]
        return Style.combine(self.roles[each] for each in role.split())


def _roles(words: Mapping[str, str]) -> dict[str, Style]:
    return {role: Style.parse(text) for role, text in words.items()}


_SHAPES = {
    "": "none",
    "plain": "none",
    "bold": "bold",
    "mark": "bold",
    "hit": "reverse",
    "current": "bold reverse",
    "under": "underline",
}

_DARK = {
    **_SHAPES,
    "dim": "#8b93a1",
    "ok": "#7fc97f",
    "busy": "#6cc5e0",
    "drain": "#c79bf0",
    "warn": "#f2c14e",
    "fail": "bold #ff6b6b",
    "stale": "#a0a4ad italic",
    "idle": "#9aa2ae",
    "key": "bold #f2c14e",
    "title": "bold #ffffff",
    "readwrite": "bold #10131a on #f2c14e",
    "readonly": "bold #10131a on #7fb4ff",
    "cursor": "not reverse #0b0f16 on #7fb4ff",
    "unfocused": "not reverse #0b0f16 on #8a94a6",
    "prefill": "#7fb4ff",
    "decode": "#e0a3ff",
    "mixed": "#8fe0c8",
    "proxy": "#f0b48a",
    "service": "#d6c27a",
    "gutter": "#818b9a",
    "bar": "#7f9cc0",
    "rule": "#818b9a",
    "hit": "#10131a on #f2c14e",
    "current": "bold #10131a on #ff9f43",
    "note": "bold #10131a on #6cc5e0",
    "danger": "bold #ff6b6b",
}

_LIGHT = {
    **_DARK,
    "dim": "#5a6270",
    "ok": "#1b6e2b",
    "busy": "#00617f",
    "drain": "#6b2fa0",
    "warn": "#7d5300",
    "fail": "bold #b00020",
    "stale": "#5c6068 italic",
    "idle": "#555d69",
    "key": "bold #7d3f00",
    "title": "bold #000000",
    "readwrite": "bold #ffffff on #8a5a00",
    "readonly": "bold #ffffff on #1d4f9e",
    "cursor": "#ffffff on #1d4f9e",
    "unfocused": "#ffffff on #5a6270",
    "prefill": "#1d4f9e",
    "decode": "#7a1fa2",
    "mixed": "#00695c",
    "proxy": "#8a4b12",
    "service": "#6b5a00",
    "gutter": "#5f6671",
    "bar": "#3f6292",
    "rule": "#5f6671",
    "hit": "#000000 on #ffd54f",
    "current": "bold #000000 on #ff9f43",
    "note": "bold #ffffff on #00617f",
    "danger": "bold #b00020",
}

_CONTRAST = {
    **_DARK,
    "dim": "#d0d0d0",
    "ok": "#00ff5f",
    "busy": "#00ffff",
    "drain": "#ffafff",
    "warn": "#ffff00",
    "fail": "bold #ffffff on #c00000",
    "stale": "#e0e0e0 italic",
    "idle": "#d0d0d0",
    "key": "bold #ffff00",
    "readwrite": "bold #000000 on #ffff00",
    "readonly": "bold #000000 on #00ffff",
    "cursor": "#000000 on #ffffff",
    "unfocused": "#000000 on #b0b0b0",
    "prefill": "#87d7ff",
    "decode": "#ffafff",
    "mixed": "#87ffd7",
    "proxy": "#ffd787",
    "service": "#ffff87",
    "gutter": "#b0b0b0",
    "bar": "#87afff",
    "rule": "#b0b0b0",
    "hit": "#000000 on #ffff00",
    "current": "bold #000000 on #ff9f43",
    "note": "bold #000000 on #00ffff",
    "danger": "bold #ffffff on #c00000",
}

_BLIND = {
    **_DARK,
    "ok": "#5aa9ff",
    "busy": "#7fe0f0",
    "drain": "#c0a8ff",
    "warn": "#ffe14d",
    "fail": "bold #ff9a3c",
    "danger": "bold reverse #ff9a3c",
    "prefill": "#5aa9ff",
    "decode": "#ffe14d",
    "mixed": "#e8e8e8",
    "proxy": "#ffb870",
    "service": "#d8d0ff",
}

_MONO = {
    **_SHAPES,
    "dim": "dim",
    "ok": "none",
    "busy": "underline",
    "drain": "dim",
    "warn": "bold",
    "fail": "bold reverse",
    "stale": "dim",
    "idle": "none",
    "key": "bold",
    "title": "bold",
    "readwrite": "bold reverse",
    "readonly": "bold reverse",
    "cursor": "bold reverse",
    "unfocused": "dim reverse",
    "prefill": "none",
    "decode": "none",
    "mixed": "none",
    "proxy": "none",
    "service": "none",
    "gutter": "dim",
    "bar": "none",
    "rule": "dim",
    "note": "reverse",
    "danger": "bold reverse",
}


def _theme(name: str, *, dark: bool, foreground: str, background: str, surface: str, primary: str) -> Theme:
    return Theme(
        name=name,
        dark=dark,
        primary=primary,
        secondary=primary,
        accent=primary,
        foreground=foreground,
        background=background,
        surface=surface,
        panel=surface,
        warning="#f2c14e" if dark else "#7d5300",
        error="#ff6b6b" if dark else "#b00020",
        success="#7fc97f" if dark else "#1b6e2b",
    )


def _colourless(name: str) -> Theme:
    default = "ansi_default"
    keys = (
        "block-cursor-foreground block-cursor-background input-cursor-background input-cursor-foreground border "
        "border-blurred scrollbar scrollbar-hover scrollbar-active scrollbar-background scrollbar-corner-color "
        "scrollbar-background-hover scrollbar-background-active "
        "input-selection-background input-selection-foreground screen-selection-background screen-selection-foreground "
        "block-hover-background ansi-background ansi-foreground"
    )
    return Theme(
        name=name,
        ansi=True,
        primary=default,
        secondary=default,
        warning=default,
        error=default,
        success=default,
        accent=default,
        foreground=default,
        background=default,
        surface=default,
        panel=default,
        boost=default,
        variables={
            **dict.fromkeys(keys.split(), default),
            "block-cursor-text-style": "reverse",
            "input-cursor-text-style": "reverse",
            "button-focus-text-style": "reverse",
        },
    )


_NIGHT = {"foreground": "#d8dee9", "background": "#12161e", "surface": "#1a202b", "primary": "#7fb4ff"}
_BLACK = {"foreground": "#ffffff", "background": "#000000", "surface": "#262626", "primary": "#00ffff"}
_DAY = {"foreground": "#1b1f26", "background": "#fbfbf8", "surface": "#eceff2", "primary": "#1d4f9e"}

LOOKS: Mapping[str, Look] = {
    look.name: look
    for look in (
        Look("dark", "Dark", _theme("dsv4-dark", dark=True, **_NIGHT), _roles(_DARK)),
        Look("light", "Light", _theme("dsv4-light", dark=False, **_DAY), _roles(_LIGHT)),
        Look("contrast", "High contrast", _theme("dsv4-contrast", dark=True, **_BLACK), _roles(_CONTRAST)),
        Look("blind", "Colour-blind safe", _theme("dsv4-blind", dark=True, **_NIGHT), _roles(_BLIND)),
        Look("mono", "No colour", _colourless("dsv4-mono"), _roles(_MONO)),
    )
}
