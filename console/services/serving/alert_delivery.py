"""Keeps the alerts of a session and sends them to a command or a webhook, grouped and rate-limited.

Of several consoles with one state directory only the holder of a lock sends.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import time
from dataclasses import asdict
from pathlib import Path

from console.commands.masking import masked_text
from console.journal import Journal
from console.model.alert import Alert
from console.model.errors import ConsoleError
from console.model.snapshot import EventLevel
from console.private_files import open_private
from console.probes.sanitize import clean
from console.remote.webhook import post
from console.services.monitoring.monitor import Monitor
from console.services.serving.alerts import AlertBook, summary
from console.services.xdg_paths import file_name

EVERY_S = 1.0
GATHER_S = 3.0
"""How long to wait for more changes after the first one, so that they are sent together."""
SEND_S = 30.0


def lock_path(state_dir: Path, cluster: str) -> Path:
    """The lock of the console that sends the alerts of a cluster, in this state directory."""
    return state_dir / "alerts" / f"{file_name(cluster)}.lock"


class AlertWatch:
    """Updates the alerts from snapshots; sends them only when enabled and when it holds the lock."""

    def __init__(self, monitor: Monitor, journal: Journal, lock: Path, *, sends: bool) -> None:
        self._monitor = monitor
        self._journal = journal
        self._wanted = wanted = monitor.deployment.cluster.alerts
        self._lock = lock
        self._sends = sends and bool(wanted.command or wanted.webhook)
        self._book = AlertBook(hold_s=wanted.hold)
        self._raised: dict[str, Alert] = {}
        self._over: dict[str, Alert] = {}
        self._sent_at: float | None = None
        self._changed_at = 0.0
        self._trouble = ""
        self._lock_fd: int | None = None

    async def run(self) -> None:
        """Watch until cancelled."""
        try:
            while True:
                self._update()
                if self._sends and self._due() and self._is_sender():
                    await self._send()
                await asyncio.sleep(EVERY_S)
        finally:
            if self._lock_fd is not None:
                os.close(self._lock_fd)

    def continue_from(self, before: AlertWatch) -> None:
        """Take over the state of another watch of the same deployment, so that a reload of files raises no alert again."""
        if before._monitor.deployment.name != self._monitor.deployment.name:
            return
        self._book = before._book.copy(hold_s=self._wanted.hold)
        self._raised, self._over, self._sent_at = dict(before._raised), dict(before._over), before._sent_at
        self._changed_at = before._changed_at
        self._monitor.alerts = self._book.active
        self._monitor.publish()

    def _update(self) -> None:
        self._book.update(self._monitor.snapshot)
        raised, over = self._book.changes()
        wanted = [each for each in (*raised, *over) if self._wanted.level == "warning" or each.level == "error"]
        if wanted and not (self._raised or self._over):
            self._changed_at = time.monotonic()
        for each in wanted:
            if each in raised:
                self._raised[each.key] = each
            elif self._raised.pop(each.key, None) is None:
                self._over[each.key] = each
        if self._monitor.alerts != self._book.active:
            self._monitor.alerts = self._book.active
            self._monitor.touch()

    def _due(self) -> bool:
        now = time.monotonic()
        waited = self._sent_at is None or now - self._sent_at >= self._wanted.every
        return bool(self._raised or self._over) and waited and now - self._changed_at >= GATHER_S

    def _is_sender(self) -> bool:
        """Whether this console sends the alerts; alerts that another console sends are dropped here."""
        if self._lock_fd is None:
            try:
                self._lock_fd = open_private(self._lock, os.O_RDWR)
            except OSError:  # without a lock file an alert may be sent twice, which is better than not at all
                return True
        try:
            fcntl.flock(self._lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._raised, self._over = {}, {}
            return False
        return True

    async def _send(self) -> None:
        raised, over = self._raised, self._over
        self._raised, self._over, self._sent_at = {}, {}, time.monotonic()
        cluster = self._monitor.deployment.cluster.name
        text = summary(cluster, *({key: each.title for key, each in part.items()} for part in (raised, over)))
        message = {
            "text": clean(masked_text(text)),
            "cluster": cluster,
            "deployment": self._monitor.deployment.name,
            "at": round(time.time(), 3),
            "raised": [asdict(each) for each in raised.values()],
            "over": [asdict(each) for each in over.values()],
        }
        errors = []
        if self._wanted.command:
            errors.append(("command", await self._run(message)))
        if self._wanted.webhook is not None:
            errors.append(("webhook", await post(self._wanted.webhook.get_secret_value(), message, SEND_S)))
        self._record(message["text"], "; ".join(f"{what}: {trouble}" for what, trouble in errors if trouble))

    def _record(self, text: object, trouble: str) -> None:
        """Record the sent alert in the journal; add an event for a new delivery error only."""
        try:
            self._journal.record("alert", text=str(text), trouble=trouble)
        except ConsoleError as error:
            trouble = trouble or str(error)
        if trouble and trouble != self._trouble:
            self._monitor.note(EventLevel.WARNING, f"the alert was not delivered by {clean(trouble)}")
        self._trouble = trouble

    async def _run(self, message: object) -> str:
        """Run the command with the message on its standard input. Gives the error, or an empty text."""
        pipe, nothing = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
        try:
            process = await asyncio.create_subprocess_exec(
                *self._wanted.command, stdin=pipe, stdout=nothing, stderr=pipe, start_new_session=True
            )
        except OSError as error:
            return f"{self._wanted.command[0]}: {error.strerror or error}"
        try:
            async with asyncio.timeout(SEND_S):
                _, stderr = await process.communicate(json.dumps(message, ensure_ascii=False).encode())
        except TimeoutError:
            process.kill()
            await process.wait()
            return f"{self._wanted.command[0]} did not exit within {SEND_S:.0f} s"
        except asyncio.CancelledError:
            process.kill()
            raise
        last = masked_text(stderr.decode("utf-8", "replace")).strip().splitlines()[-1:]
        return f"exit {process.returncode} {''.join(last)[:200]}".strip() if process.returncode else ""
