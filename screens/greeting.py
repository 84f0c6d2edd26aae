"""What is said once to who has never seen this screen: where help is, and that looking harms nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from screens import memory
from screens.actions import BY_ID

if TYPE_CHECKING:
    from screens.main import MainScreen

_SEEN = "/greeted"
"""Beside the clusters in what is remembered; no cluster has such a name that matters here."""
STAYS_S = 120.0


def greet(screen: MainScreen) -> bool:
    """Say it unless it was said before on this machine; gives whether it was said now."""
    directory = screen.console.session.state_dir
    known = memory.load(directory)
    if not screen.console.options.hints or known.get(_SEEN) is True:
        return False
    memory.save(directory, {**known, _SEEN: True})
    keys = screen.console.options.keys

    def key(name: str) -> str:
        return keys.word(BY_ID[name]) or f":{name}"

    words = "\n".join(
        (
            f"{key('help')}  every key: search, Enter runs it",
            f"{key('problems')}  only what is wrong      {key('logs')}  log of the engine",
            f"{key('start')} {key('stop')} {key('restart')}  show a plan; nothing runs unconfirmed",
            f"{key('quit')}  leaves, engines go on   {key('back')}  hides this",
        )
    )
    screen.notify(words, title="First time here?", timeout=STAYS_S, markup=False)
    return True
