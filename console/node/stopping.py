"""Ends runs: TERM to all main processes at once, time to end, KILL for every process with the run's
cookie, then a check that none is left.

A process is signalled only when its start time and its cookie (or its descent from the run's supervisor) are right in the
same step. Nothing is ever killed by name. Draining a proxy and looking at devices is the console's part.
"""

from __future__ import annotations

import signal
import time
from typing import Any, Callable, Dict, List, Optional

from console.node.processes import ProcessFamily, Scan, Stat, alive, scan, send
from console.node.request_error import of_os
from console.node.run_dirs import Base, Key, write_json, write_reserved
from console.node.run_verdicts import EXITED, LOST, PREPARED, JudgedRun, held, judge
from console.node.runs import LOCK, STOP

POLL_S = 0.1
EMPTY_LOOKS = 2
"""A process in the middle of a fork or exec shows no cookie for a moment: one empty look proves nothing."""

Say = Callable[[Key, str], None]


def stop(base: Base, keys: List[Key], grace_s: float, kill_s: float, by: str, say: Say) -> List[Dict[str, Any]]:
    """End the runs; gives a result for each. `grace_s` for their own end, `kill_s` for the kernel to clear the rest."""
    seen = Look()
    targets = [Target(base, key, seen) for key in keys]
    for target in targets:
        if target.living:
            target.note(by)
    for target in targets:
        if target.living:
            target.ask(seen)
            say(target.key, "TERM sent to %s" % (target.main.pid if target.main else "what is left of it"))
    _wait(targets, grace_s)
    return _kill(targets, kill_s, say)


def kill(base: Base, keys: List[Key], kill_s: float, by: str, say: Say) -> List[Dict[str, Any]]:
    """End the runs at once, by KILL."""
    seen = Look()
    targets = [Target(base, key, seen) for key in keys]
    for target in targets:
        if target.living:
            target.note(by)
    return _kill(targets, kill_s, say)


class Look:
    """All processes at one moment, shared by the runs that are being ended."""

    def __init__(self) -> None:
        self.seen: Scan = scan()
        self.family = ProcessFamily()


class Target:
    """One run on its way out."""

    def __init__(self, base: Base, key: Key, look: Look) -> None:
        self.base = base
        self.key = key
        base.check(key)
        found = judge(base, key, look.seen)
        self.token = found.token
        self.main: Optional[Stat] = found.main
        self.keeper = found.keeper
        self.living = found.verdict not in (PREPARED, EXITED, LOST)
        self.was_living = self.living
        self.killed = 0
        self.refused = ""
        self._left = found.members
        self._members = {each.pid for each in found.members}
        self._empty = 0

    def note(self, by: str) -> None:
        """Say on the disk that this end is wanted, so that every console reads it as a stop. A full disk forbids no stop."""
        path, note = self.base.file(self.key, STOP), {"at": time.time(), "by": by}
        try:
            try:
                write_json(path, note)
            except OSError:
                write_reserved(path, note)
        except OSError as error:
            self.refused = str(of_os(error, "recording the stop"))

    def ask(self, look: Look) -> None:
        """TERM for the main process, or for all when it is gone already."""
        for each in [self.main] if self.main is not None else self.look(look):
            self._send(each, signal.SIGTERM)

    def look(self, look: Look) -> List[Stat]:
        """Every process of the run: those with its cookie, and whatever its supervisor has adopted."""
        self._members = {each.pid for each in look.seen.members.get(self.token, [])}
        found = {each.pid: each for each in look.seen.members.get(self.token, [])}
        if self.keeper is not None and alive(self.keeper.pid, self.keeper.start):
            for each in look.family.below(self.keeper.pid):
                found.setdefault(each.pid, each)
        self._left = [each for each in found.values() if each.state not in "ZX"]
        return self._left

    def kill(self, look: Look) -> None:
        """KILL for all of it."""
        for each in self.look(look):
            if self._send(each, signal.SIGKILL):
                self.killed += 1

    def gone(self, look: Look) -> bool:
        """Whether nothing of it is left, seen twice, and its lock is free."""
        if self.look(look):
            self._empty = 0
            return False
        self._empty += 1
        return self._empty >= EMPTY_LOOKS and not held(self.base.file(self.key, LOCK))

    def likely_gone(self) -> bool:
        """A cheap look: main process and known members gone."""
        return not any(alive(each.pid, each.start) for each in self._left)

    def result(self) -> Dict[str, Any]:
        """What the console is told."""
        if not self.was_living:
            return {"key": list(self.key), "outcome": "absent", "processes": [], "killed": 0, "reason": ""}
        locked = held(self.base.file(self.key, LOCK))
        why = "its lock is still held" if locked and not self._left else self.refused if self._left else ""
        return {
            "key": list(self.key),
            "outcome": "stuck" if self._left or locked else "stopped",
            "processes": [[each.pid, each.state, each.parent, each.name] for each in self._left],
            "killed": self.killed,
            "reason": why,
        }

    def _send(self, target: Stat, number: int) -> bool:
        try:
            return send(target, number, self.token if target.pid in self._members else None)
        except OSError as error:
            self.refused = "signal %d to %d: %s" % (number, target.pid, error.strerror or error)
            return False


def _wait(targets: List[Target], limit_s: float) -> None:
    """Until all are gone or the time is over."""
    end = time.monotonic() + limit_s
    while any(target.living for target in targets) and time.monotonic() < end:
        likely = [target for target in targets if target.living and target.likely_gone()]
        if likely:
            look = Look()
            for target in likely:
                target.living = not target.gone(look)
        time.sleep(POLL_S)


def _kill(targets: List[Target], limit_s: float, say: Say) -> List[Dict[str, Any]]:
    end = time.monotonic() + limit_s
    told = False
    while True:
        living = [target for target in targets if target.living]
        if not living or (told and time.monotonic() > end):
            break
        look = Look()
        for target in living:
            if target.gone(look):
                target.living = False
                continue
            if not told:
                say(target.key, "KILL for %d processes" % len(target.look(look)))
            target.kill(look)
        told = True
        time.sleep(POLL_S)
    for target in targets:
        if target.was_living:
            say(target.key, "stuck" if target.living else "stopped")
    return [target.result() for target in targets]


def is_living(judged: JudgedRun) -> bool:
    """Whether anything of a run may still be there."""
    return judged.verdict not in (PREPARED, EXITED, LOST)


def living_names(judged: List[JudgedRun], key: Key) -> List[str]:
    """Runs of the same engine that still live."""
    return [each.key.run for each in judged if each.key[:2] == key[:2] and is_living(each)]
