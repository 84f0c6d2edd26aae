"""Who is at work on engines, here or from another console: a plan that runs, an end that was asked for, operations of others.

Names come from nodes: untrusted text, cut and cleaned before it gets here. Times are those of the jump host's clock.
"""

from __future__ import annotations

from dataclasses import dataclass

from console.model.deployment import engine_words
from console.model.durations import about
from console.model.name_ranges import name_ranges
from console.model.shortening import list_text

MANY = 6
"""Names that are told one by one."""


@dataclass(frozen=True, slots=True)
class StopRequest:
    """Somebody asked an engine to end."""

    by: str = ""
    """For example `alice@jump2`; empty when the note of it does not say."""
    at: float | None = None

    def who(self) -> str:
        """`by alice@jump2`, or `on request` of somebody nobody knows."""
        return f"by {self.by}" if self.by else "on request"

    def words(self, now: float, *, done: bool) -> str:
        """`stopped by alice@jump2, 40 s ago`; before it is `done`, that the stop was asked for."""
        ago = "" if self.at is None else f", {about(max(0.0, now - self.at))} ago"
        return f"{'stopped' if done else 'asked to stop'} {self.who()}{ago}"


@dataclass(frozen=True, slots=True)
class OngoingPlan:
    """A plan that runs on the deployment."""

    holder: str
    verb: str
    since: float
    ends: frozenset[str] = frozenset()
    """The engines it takes down before anything else happens to them."""

    def words(self) -> str:
        """`alice@jump2: stop runs`."""
        return f"{self.holder}: {self.verb} runs"

    def takes_down(self, engine: str, began_at: float | None) -> bool:
        """Whether it ends that engine's run, which started at that time; a run of the plan itself it does not."""
        return engine in self.ends and began_at is not None and began_at < self.since


@dataclass(frozen=True, slots=True)
class InterruptedPlan:
    """A plan that was to take engines down, and whose console is gone before it had."""

    work: OngoingPlan
    left: tuple[str, ...]
    """The engines that live on, in the order of the layout."""

    def brief(self) -> str:
        """`stop cut off: 12 of 16 left`."""
        return f"{self.work.verb} cut off: {len(self.left)} of {len(self.work.ends)} left"

    def words(self, now: float) -> str:
        """`the stop by ann@jump, started 3 min ago, was cut off; of its 16 engines these still run: decode-4, …`."""
        begun = f"the {self.work.verb} by {self.work.holder}, started {about(max(0.0, now - self.work.since))} ago"
        return (
            f"{begun}, was cut off; of its {len(self.work.ends)} engines these still run: {list_text(self.left, MANY)}"
        )


@dataclass(frozen=True, slots=True)
class ObservedOperation:
    """One act as nodes tell of it: runs that were started, or asked to end, by one person at about one time."""

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
