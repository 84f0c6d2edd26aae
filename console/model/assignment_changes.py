"""Says in words how one assignment differs from another."""

from __future__ import annotations

from collections.abc import Iterator

from console.model.deployment import Assignment
from console.model.shortening import list_text

MOST = 3
"""Changes that are written out; the others are counted."""


def change_words(before: Assignment, after: Assignment) -> str:
    """What changed: `d1 from free to decode, d0 from place 0 to place 1 of prefill`; empty where nothing did."""
    return list_text([*_moves(before, after), *_shapes(before, after)], MOST)


def _moves(before: Assignment, after: Assignment) -> Iterator[str]:
    was, now = _places(before), _places(after)
    moved = [node for node in dict.fromkeys((*was, *now)) if was.get(node) != now.get(node)]
    swapped: set[str] = set()
    for node in moved:
        other = next(
            (each for each in moved if was.get(each) == now.get(node) and now.get(each) == was.get(node)), None
        )
        if other is not None and was.get(node) and now.get(node) and {node, other}.isdisjoint(swapped):
            swapped |= {node, other}
            yield f"{node} and {other} swapped"
        elif node not in swapped:
            yield _move(node, was.get(node), now.get(node))


def _move(node: str, was: tuple[str, int] | None, now: tuple[str, int] | None) -> str:
    if was is not None and now is not None and was[0] == now[0]:
        return f"{node} from place {was[1]} to place {now[1]} of {now[0]}"
    return f"{node} from {was[0] if was else 'free'} to {now[0] if now else 'free'}"


def _places(assignment: Assignment) -> dict[str, tuple[str, int]]:
    """Node -> group and place in it."""
    return {node: (group, at) for group, nodes in assignment.nodes.items() for at, node in enumerate(nodes)}


def _shapes(before: Assignment, after: Assignment) -> Iterator[str]:
    for group in dict.fromkeys((*before.shapes, *after.shapes)):
        if before.shapes.get(group) != after.shapes.get(group):
            yield f"size of {group}"
    for group in dict.fromkeys((*before.copies, *after.copies)):
        if (group in before.copies) != (group in after.copies):
            yield f"group {group} {'added' if group in after.copies else 'removed'}"
