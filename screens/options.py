"""The options of the screen: appearance, and how often it redraws."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from screens.key_map import Keys


@dataclass(frozen=True, slots=True)
class Options:
    """How the console looks and how much it may send; nothing here changes what it does."""

    theme: str = "dark"
    colour: bool = True
    """Whether any look but the one without colours may be taken."""
    ascii: bool = False
    mouse: bool = False
    low_bandwidth: bool = False
    hints: bool = False
    """Whether who has not been here before is told where help is."""
    keys: Keys = field(default_factory=Keys)
    """Other keys than the table's, by action id."""
    more_keys: Callable[[], Keys] | None = None
    """Reads the operator's own keys once the first frame is painted. Raises ConsoleError when they are wrong."""

    @property
    def frames_per_s(self) -> float:
        """How often logs are redrawn."""
        return 0.6 if self.low_bandwidth else 4.0


def options_from(environment: dict[str, str], **given: object) -> Options:
    """Options with the environment's wishes: `NO_COLOR` takes all colour away whatever theme was asked for."""
    chosen = Options(**given)  # type: ignore[arg-type]
    return replace(chosen, theme="mono", colour=False) if environment.get("NO_COLOR") else chosen
