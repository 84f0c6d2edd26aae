"""Work of operators on engines, of this console and of others: running plans, stop requests, interrupted plans.

Names come from nodes: untrusted text that was cut and cleaned before. Times are on the clock of the jump host.
"""

from __future__ import annotations

from dataclasses import dataclass

from console.model.deployment import engine_words
from console.model.durations import about
from console.model.name_ranges import name_ranges
from console.model.shortening import list_text

MANY = 6
"""Most names in a message; the others are counted."""


@dataclass(frozen=True, slots=True)
class StopRequest:
    """A request to stop an engine."""

    by: str = ""
    """The operator, for example `alice@jump2`; empty when the record does not name one."""
    at: float | None = None

    def who(self) -> str:
        """`by alice@jump2`, or `on request` when the operator is unknown."""
        return f"by {self.by}" if self.by else "on request"

    def words(self, now: float, *, done: bool) -> str:
        """`stopped by alice@jump2, 40 s ago`; until it is `done`, `asked to stop by …`."""
        ago = "" if self.at is None else f", {about(max(0.0, now - self.at))} ago"
        return f"{'stopped' if done else 'asked to stop'} {self.who()}{ago}"


@dataclass(frozen=True, slots=True)
class OngoingPlan:
    """A plan that runs on the deployment."""

    holder: str
    verb: str
    since: float
    ends: frozenset[str] = frozenset()
    """The engines that the plan stops first."""

    def words(self) -> str:
        """`alice@jump2: stop runs`."""
        return f"{self.holder}: {self.verb} runs"

    def takes_down(self, engine: str, began_at: float | None) -> bool:
        """Whether the plan stops the run of the engine that started at `began_at`; runs that the plan itself started are not."""
        return engine in self.ends and began_at is not None and began_at < self.since


@dataclass(frozen=True, slots=True)
class InterruptedPlan:
    """A plan that stops engines, and whose console ended before the plan."""

    work: OngoingPlan
    left: tuple[str, ...]
    """The engines that still run, in the order of the layout."""

    def brief(self) -> str:
        """`stop interrupted: 12 of 16 left`."""
        return f"{self.work.verb} interrupted: {len(self.left)} of {len(self.work.ends)} left"

    def words(self, now: float) -> str:
        """`the stop by ann@jump, started 3 min ago, was interrupted; of its 16 engines these still run: decode-4, …`."""
        plan = f"the {self.work.verb} by {self.work.holder}, started {about(max(0.0, now - self.work.since))} ago"
        return f"{plan}, was interrupted; of its {len(self.work.ends)} engines these still run: {list_text(self.left, MANY)}"


@dataclass(frozen=True, slots=True)
class ObservedOperation:
    """An operation reconstructed from nodes: runs that one person started, or asked to stop, at about the same time."""

    at: float
    who: str
    verb: str
    """`start` or `stop`."""
    engines: tuple[str, ...]

    def words(self, now: float) -> str:
        """`start of 19 engines by ann@jump2, about 3 min ago: prefill-0, prefill-1, decode-0..15, proxy`."""
        ago = about(max(0.0, now - self.at))
        who = self.who or "an unknown operator"
        return f"{self.verb} of {engine_words(self.engines)} by {who}, about {ago} ago: {name_ranges(self.engines)}"
