"""When something that is done at intervals is done next: at whole multiples of the interval, so that one wake-up serves all."""

from __future__ import annotations

import time


def until_next(every_s: float) -> float:
    """Seconds until the next multiple of an interval on the node's clock that is not too soon after now."""
    left_s = every_s - time.time() % every_s
    return left_s if left_s > every_s / 4 else left_s + every_s
