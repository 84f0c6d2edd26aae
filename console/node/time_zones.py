"""The time zone of this machine or container as a table, for the time stamps of engine logs.

Names of zones are not sent, because the machine of the console can know them differently or not at all.
"""

from __future__ import annotations

import os
import time
from typing import List, Optional

BEFORE_S = 400 * 86400.0
AFTER_S = 800 * 86400.0
"""So far from now changes are listed; a run or a helper that lives longer is read by its last one."""
STEP_S = 7 * 86400.0
"""Two changes of one zone are further apart than this."""
MOST = 16


def table(now: float, name: Optional[str] = None) -> List[List[float]]:
    """`[from, seconds ahead of UTC]` in order, for the zone of this process or another value of TZ.

    Setting TZ changes this whole process: nothing else may ask for local times meanwhile.
    """
    if name is None:
        return _table(now - BEFORE_S, now + AFTER_S)
    before = os.environ.get("TZ")
    try:
        _set(name)
        return _table(now - BEFORE_S, now + AFTER_S)
    finally:
        _set(before)


def _set(name: Optional[str]) -> None:
    if name is None:
        os.environ.pop("TZ", None)
    else:
        os.environ["TZ"] = name
    time.tzset()


def _table(begin: float, end: float) -> List[List[float]]:
    found = [[float(int(begin)), _east(begin)]]
    at = begin
    while at < end and len(found) < MOST:
        after = at + STEP_S
        if _east(after) != found[-1][1]:
            change = _change(at, after)
            found.append([change, _east(change)])
        at = after
    return found


def _change(low: float, high: float) -> float:
    """The second at which the zone changes between two instants."""
    first, last = int(low), int(high)
    before = _east(first)
    while last - first > 1:
        middle = (first + last) // 2
        if _east(middle) == before:
            first = middle
        else:
            last = middle
    return float(last)


def _east(at: float) -> float:
    return float(time.localtime(at).tm_gmtoff)
