"""The lease of a deployment: a small file on its first node that names the operator of the running plan.

It only tells other operators who works on the deployment. The lock of each run decides what can run. All times are on the clock
of this node.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time
from typing import Any, Dict, Iterator, Optional, Sequence

from console.node.processes import alive, read_stat
from console.node.request_error import RequestError, of_os
from console.node.run_dirs import Base, read_json, write_json

TTL_S = 90.0
"""A lease that was not renewed for this long belongs to a console that has ended."""
GONE_S = 20.0
"""The same when its helper on this node has ended: the console was killed, or its link was lost and can return."""


def look(base: Base, deployment: str) -> Optional[Dict[str, Any]]:
    """The lease with its `age_s`, whether its helper is `gone` and whether it is `expired`; None without a lease."""
    found = read_json(os.path.join(base.path, deployment, "lease.json"))
    if not isinstance(found, dict) or not isinstance(found.get("token"), str):
        return None
    now = time.time()
    renewed = found.get("renewed")
    idle = now - renewed if isinstance(renewed, (int, float)) else TTL_S + 1
    gone = not _lives(found.get("pid"), found.get("started"))
    limit = GONE_S if gone else TTL_S
    age = now - float(found.get("since") or now)
    return dict(found, age_s=age, gone=gone, expired=idle > limit or idle < -limit)


def take(
    base: Base, deployment: str, holder: str, verb: str, token: str, takeover: bool, ends: Sequence[str] = ()
) -> Dict[str, Any]:
    """Take the lease, or renew it with the same token. Raises RequestError `busy` with the holder.

    `ends` are the engines that the plan stops, for other consoles.
    """
    with locked(base, deployment):
        found = look(base, deployment)
        now = time.time()
        if found is not None and found["token"] != token and not _free(found, holder) and not takeover:
            text = "%s is at work on %s (%s, for %d s)" % (
                found.get("holder"),
                deployment,
                found.get("verb"),
                found["age_s"],
            )
            raise RequestError("busy", text, "ask them, or take over")
        ours = found is not None and found["token"] == token
        since = found["since"] if found is not None and ours else now
        pid = os.getpid()
        lease = {"holder": holder, "verb": verb, "token": token, "since": since, "renewed": now}
        own = read_stat(pid)
        lease.update(pid=pid, started=own.start if own else 0, ends=list(ends))
        write_json(os.path.join(base.path, deployment, "lease.json"), lease)
        before = found.get("holder") if found is not None and not ours else None
        return dict(lease, taken_from=before)


def give_back(base: Base, deployment: str, token: str) -> bool:
    """Return the lease; False when another console has it."""
    with locked(base, deployment):
        found = look(base, deployment)
        if found is None or found["token"] != token:
            return False
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(base.path, deployment, "lease.json"))
        return True


def _free(found: Dict[str, Any], holder: str) -> bool:
    """Whether the lease is free without a takeover: it has expired, or the same operator's console was killed."""
    return bool(found["expired"]) or (bool(found["gone"]) and found.get("holder") == holder)


def _lives(pid: object, started: object) -> bool:
    return isinstance(pid, int) and isinstance(started, int) and alive(pid, started)


@contextlib.contextmanager
def locked(base: Base, deployment: str) -> Iterator[None]:
    """Hold the lock for the files of a deployment. Raises RequestError."""
    directory = base.make_dirs(deployment)
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(os.path.join(directory, "lease.lock"), flags, 0o600)
    except OSError as error:
        raise of_os(error, "lease") from error
    try:
        deadline = time.monotonic() + 5.0
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError as error:
                if error.errno not in (errno.EAGAIN, errno.EACCES):
                    raise of_os(error, "lease") from error
                if time.monotonic() > deadline:
                    raise RequestError(
                        "busy", "another console takes the lease of %s at this moment" % deployment
                    ) from error
                time.sleep(0.05)
        yield
    finally:
        os.close(descriptor)
