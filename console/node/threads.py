"""Threads of the helper: one that dies of a fault takes the helper with it, so that silence never looks like health.

The console then says so and starts another helper; engines do not notice.
"""

from __future__ import annotations

import os
import sys
import threading
import traceback
from typing import Any, Callable

FAULT = 70


def start(name: str, work: Callable[..., None], *args: Any) -> None:
    """Run `work` in a thread of its own."""
    threading.Thread(target=_guarded, args=(work, args), name=name, daemon=True).start()


def _guarded(work: Callable[..., None], args: Any) -> None:
    well = False
    try:
        work(*args)
        well = True
    finally:
        if not well:
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(FAULT)
