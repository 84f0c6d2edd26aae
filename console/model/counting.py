"""A number with its noun."""

from __future__ import annotations


def counted(number: int, noun: str) -> str:
    """`1 node`, `2 nodes`; the plural of `noun` ends with s."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
