"""Which rows of a list unfold, which of them are unfolded, and which rows stand below which."""

from __future__ import annotations


class Folds:
    """Of one list, whose rows have keys. What is unfolded stays when the rows are made anew."""

    def __init__(self) -> None:
        self.unfolded: set[str] = set()
        """Keys of the rows that are unfolded."""
        self._heads: dict[str, str] = {}
        """Row → the row that it is shown below, or itself where it can be unfolded."""

    @property
    def offered(self) -> set[str]:
        """Keys of the rows that can be unfolded."""
        return {key for key, head in self._heads.items() if key == head}

    def begin(self) -> None:
        """Forget which rows unfold; to be called before they are made anew."""
        self._heads = {}

    def offer(self, key: str) -> bool:
        """Take note of a row that can be unfolded; gives whether it is."""
        self._heads[key] = key
        return key in self.unfolded

    def put_below(self, key: str, head: str) -> None:
        """Take note of a row that is shown because another one is unfolded; it may itself unfold."""
        self._heads.setdefault(key, head)

    def head(self, key: str) -> str | None:
        """The row that unfolds and that this one is or is below; None where there is none."""
        return self._heads.get(key)

    def toggle(self, key: str) -> str | None:
        """Unfold what a row stands for, or fold it again; a row below folds it. Gives the row that unfolds."""
        head = self.head(key)
        self.unfolded ^= {head} if head else set()
        return head
