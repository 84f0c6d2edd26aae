"""Several logs with their background work: filtering, and counting search results. Holds no position and no rows."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace

from screens.logs.filtered import FilteredLines
from screens.logs.folding import Names, Spot
from screens.logs.merge import Merge
from screens.logs.merge_member import MergeMember
from screens.logs.patterns import LineFilter, Pattern
from screens.logs.view_base import View


class Sources(View[Spot]):
    """The logs of a merged view."""

    def __init__(self, members: Sequence[MergeMember]) -> None:
        super().__init__()
        self.merge = Merge(members)
        self.names = Names.of([member.engine for member in members])
        self.manner = replace(self.manner, numbers=False, label_cells=self.names.cells)
        self._tally: list[FilteredLines] = []
        self._sifting = False
        """Whether the stretch was taken up before a new filter had seen all of the logs."""

    @abstractmethod
    def _anew(self) -> None:
        """Take the stretch up again."""

    @property
    def has_lines(self) -> bool:
        """Whether any log has a byte."""
        return any(member.file.size for member in self.merge.members)

    def work(self) -> bool:
        """Filter one more chunk of one log; when all is filtered, the stretch is taken up anew, for now it is whole."""
        scans = [scan for member in self.merge.members if member.shown is not None for scan in member.shown.scans()]
        least = min((scan for scan in (*scans, *self._tally)), key=lambda scan: scan.share, default=None)
        more = least is not None and least.share < 1.0 and least.advance()
        if self._sifting and all(scan.share >= 1.0 for scan in scans):
            self._sifting = False
            self._anew()
        return more

    def kept_lines(self) -> tuple[float, int, int | None] | None:
        """How much is filtered, how many lines are kept and hidden."""
        if not self.sieve:
            return None
        scans = [member.shown.kept for member in self.merge.members if member.shown is not None]
        size = sum(member.file.size for member in self.merge.members) or 1
        share = (
            sum(scan.share * member.file.size for scan, member in zip(scans, self.merge.members, strict=True)) / size
        )
        kept = sum(scan.total() for scan in scans)
        return share, kept, sum(scan.lines() for scan in scans) - kept - (self.hidden_lines() or 0)

    def hidden_lines(self) -> int | None:
        """How many lines of all logs are left out whatever the filter."""
        bases = [member.shown.base for member in self.merge.members if member.shown is not None and member.shown.base]
        if any(base.share < 1.0 for base in bases):
            return None
        return sum(base.lines() - base.total() for base in bases)

    def search(self, needle: Pattern | None) -> None:
        """What `n` and `N` look for; its hits are counted in the background."""
        super().search(needle)
        self._count_hits()

    def _count_hits(self) -> None:
        self._tally = []
        if self.needle is None:
            return
        for member in self.merge.members:
            sieve = member.shown.sieve if member.shown else LineFilter()
            self._tally.append(FilteredLines(member.file, replace(sieve, wanted=(self.needle, *sieve.wanted))))

    def hits(self) -> tuple[int | None, int] | None:
        """How many lines the search finds; which of them it stands on is not counted."""
        if not self._tally or any(tally.share < 1.0 for tally in self._tally):
            return None
        return None, sum(tally.total() for tally in self._tally)
