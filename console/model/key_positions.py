"""The places of the keys of a file, so that a finding can name file and line. Does not read files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in a text file; both numbers start at 1."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Source:
    """A file and the places of its keys; `marks[("groups", "prefill", "port")]` is the place of that key."""

    path: str
    marks: Mapping[Path, Mark] = field(default_factory=dict)

    def mark(self, *keys: str | int) -> Mark | None:
        """The place of the key, or of the closest parent that has one; None when the file is empty."""
        for end in range(len(keys), -1, -1):
            if (mark := self.marks.get(keys[:end])) is not None:
                return mark
        return None

    def where(self, *keys: str | int) -> str:
        """`FILE:LINE` of the key or of its closest parent."""
        mark = self.mark(*keys)
        return f"{self.path}:{mark.line}" if mark else self.path
