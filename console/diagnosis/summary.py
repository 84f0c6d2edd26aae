"""Groups known failures into the first cause, failures that it does not explain, and consequences. Does no I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from console.model.counting import counted
from console.model.name_ranges import in_order, name_ranges
from console.model.snapshot import Diagnosis

Shown = TypeVar("Shown")


@dataclass(frozen=True, slots=True)
class SharedFailure(Generic[Shown]):
    """One known failure, with all engines that show it."""

    one: Shown
    """The first cause, or the occurrence that was seen first."""
    known: Diagnosis
    """The diagnosis of `one`."""
    seen: tuple[Shown, ...]
    """All occurrences in the order in which they were seen; `one` is among them."""
    engines: tuple[str, ...]
    """The engines that show it, each once, sorted by name and number."""

    @property
    def title(self) -> str:
        """`HBM is full (C1)`."""
        return f"{self.known.title} ({self.known.signature})"

    @property
    def where(self) -> str:
        """`decode-0..15`: the engines that show it."""
        return name_ranges(self.engines)


@dataclass(frozen=True, slots=True)
class DiagnosisSummary(Generic[Shown]):
    """Every failure once."""

    first: SharedFailure[Shown] | None
    """The first cause, with all engines that fail in the same way."""
    others: tuple[SharedFailure[Shown], ...]
    """Failures that neither the first cause nor another failure explains."""
    consequences: tuple[SharedFailure[Shown], ...]
    """Failures that follow from another one, on the same engine or on others."""
    advice: tuple[SharedFailure[Shown], ...]
    """Known problems that broke nothing yet."""

    @property
    def consequence_words(self) -> str:
        """The consequences in one line, `2 consequences: a peer is gone (A2) on decode-0..14, …`; empty when there are none."""
        count = counted(len(self.consequences), "consequence")
        return f"{count}: {_texts(self.consequences)}" if self.consequences else ""

    @property
    def advice_words(self) -> str:
        """The advice in one line; empty when there is none."""
        return f"advice: {_texts(self.advice)}" if self.advice else ""


def summarize(found: Iterable[Shown], known: Callable[[Shown], Diagnosis]) -> DiagnosisSummary[Shown]:
    """Groups the failures of many engines, which are in the order in which they were seen; `known` gives a diagnosis."""
    every: dict[str, list[Shown]] = {}
    for each in found:
        every.setdefault(known(each).signature, []).append(each)
    first: SharedFailure[Shown] | None = None
    others: list[SharedFailure[Shown]] = []
    consequences: list[SharedFailure[Shown]] = []
    advice: list[SharedFailure[Shown]] = []
    for same in every.values():
        one = next((each for each in same if known(each).first), None)
        if one is not None:
            first = _shared(one, same, known)
            continue
        for kind, members in (
            (advice, [each for each in same if known(each).severity == "advice"]),
            (others, [each for each in same if known(each).severity != "advice" and not known(each).consequence]),
            (consequences, [each for each in same if known(each).consequence]),
        ):
            if members:
                kind.append(_shared(members[0], members, known))
    return DiagnosisSummary(first, tuple(others), tuple(consequences), tuple(advice))


def first_words(first: SharedFailure[Shown]) -> str:
    """The first cause in one sentence: `decode-3 on d0 failed first: HBM is full (C1); the same on 15 other engines`."""
    known, more = first.known, len(first.engines) - 1
    node = f" on {known.node}" if known.node else ""
    also = f"; the same on {counted(more, 'other engine')}" if more else ""
    return f"{known.engine}{node} failed first: {first.title}{also}"


def _shared(one: Shown, same: Iterable[Shown], known: Callable[[Shown], Diagnosis]) -> SharedFailure[Shown]:
    seen = tuple(same)
    return SharedFailure(one, known(one), seen, tuple(in_order(known(each).engine for each in seen)))


def _texts(failures: tuple[SharedFailure[Shown], ...]) -> str:
    return "; ".join(f"{each.title} on {each.where}" for each in failures)
