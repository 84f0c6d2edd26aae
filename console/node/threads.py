"""Threads of the helper: when one fails, the helper exits, so that a failed thread is never mistaken for a healthy node.

The console reports it and starts another helper; engines are not affected.
"""

from __future__ import annotations

import os
import sys
import threading
import traceback
from typing import Any, Callable

FAULT = 70


def start(name: str, work: Callable[..., None], *args: Any) -> None:
    """Run `work` in a new thread."""
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
