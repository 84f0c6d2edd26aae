"""Durations as text, from exact to rough, and durations read from files. All numbers are seconds."""

from __future__ import annotations

import re

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def seconds(value: object) -> object:
    """A duration of a file as seconds: `30s`, `15m`, `1h`, `2d`; a value that is not text is returned unchanged.

    Raises ValueError for other text.
    """
    if not isinstance(value, str):
        return value
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhd])", value.strip())
    if found is None:
        raise ValueError(f"{value!r} is not a duration: write a number and s, m, h or d, for example 30s or 1h")
    return float(found[1]) * _UNITS[found[2]]


def exact(value_s: float) -> str:
    """The shortest exact form: `90 s`, `15 min`, `1 h`, `2 d`; whole seconds when no larger unit fits."""
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if value_s >= size and value_s % size == 0:
            return f"{value_s / size:.0f} {unit}"
    return f"{value_s:.0f} s"


def two_units(value_s: float) -> str:
    """The two largest units, cut: `3 d 4 h`, `12 min 5 s`."""
    left = int(value_s)
    parts: list[str] = []
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        count, left = divmod(left, size)
        if count or parts:
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2]) or "0 s"


def about(value_s: float) -> str:
    """A rounded estimate: `40 s`, `2 min`, `1 h 10 min`."""
    if value_s < 115:
        step = 5 if value_s < 60 else 15
        return f"{max(step, round(value_s / step) * step)} s"
    minutes = round(value_s / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def stepped(value_s: float, step_s: int = 60) -> str:
    """An age cut to whole steps, so that it changes seldom: `40s`, `2m`, `1m40s` in steps of 10, `1h05m`."""
    whole = int(value_s // step_s) * step_s if value_s >= step_s else int(value_s // 10) * 10
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    if hours:
        return f"{hours}h{minutes:02d}m"
    return (f"{minutes}m" if minutes else "") + (f"{rest}s" if rest or not minutes else "")
