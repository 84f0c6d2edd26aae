"""The handlers of all requests of the console. `ask` is replied to by `questions`, in its own time."""

from __future__ import annotations

import hashlib
import time
from typing import Callable, Dict, Optional

from console.node.file_reading import read_part
from console.node.frames import Header
from console.node.log_tails import LogTails
from console.node.questions import Questions
from console.node.request_error import RequestError, of_os
from console.node.run_dirs import Base, key_of
from console.node.run_operations import Push, Reply, RunOperations
from console.node.runs_watch import RunsWatch
from console.node.runtimes import Runtime
from console.node.sampling import MAX_BYTES, Commands, Sampler

FAULTS = (RequestError, OSError, LookupError, TypeError, ValueError, OverflowError)
"""Errors that a request can raise: refused, impossible or invalid. Any other error is a bug and ends the helper."""


class RequestHandlers:
    """The requests of one console."""

    def __init__(self, push: Push, sources: Dict[str, str]) -> None:
        self._push = push
        self._sources = sources
        self._commands = Commands()
        self._sampler = Sampler(self._commands, push)
        self._tails = LogTails(push)
        self._questions = Questions(push)
        self._runtime: Optional[Runtime] = None
        self._watching: Optional[RunsWatch] = None
        self._notices: Dict[str, Callable[[Header, bytes], None]] = {
            "follow": self._follow,
            "unfollow": self._unfollow,
            "credit": self._credit,
            "watch-holders": self._watch_holders,
            "questions": self._questions.update,
            "ask": self._questions.ask,
            "give-up": self._questions.give_up,
        }
        self._ops: Dict[str, Callable[[Header, bytes], Reply]] = {
            "ping": lambda _header, _payload: ({"clock": time.time()}, b""),
            "watch": self._watch,
            "probe": self._probe,
            "read": self._read,
            "digest": self._digest,
            "exec": self._exec,
        }

    def close(self) -> None:
        """Kill running commands; engines are not affected."""
        self._commands.close()

    def notice(self, header: Header, payload: bytes) -> bool:
        """Handle a message without a reply; False when it is a request."""
        work = self._notices.get(str(header.get("op")))
        if work is None:
            return False
        try:
            work(header, payload)
        except FAULTS as error:
            text = str(_request_error(str(header.get("op")), error))
            self._push({"push": "log-error", "key": header.get("key"), "message": text}, b"")
        return True

    def reply(self, header: Header, payload: bytes) -> Reply:
        """Handle a request; returns the reply, which can be a refusal."""
        op = str(header.get("op"))
        try:
            work = self._ops.get(op)
            if work is None and self._runtime is None:
                raise RequestError("bad-request", "watch comes first")
            if work is None:
                raise RequestError("bad-request", "unknown request %r" % op)
            body, data = work(header, payload)
            return dict(body, ok=True), data
        except FAULTS as error:
            return _request_error(op, error).reply(), b""

    def _where(self) -> Runtime:
        if self._runtime is None:
            raise RequestError("bad-request", "watch comes first")
        return self._runtime

    def _ground(self) -> Base:
        return self._where().base()

    def _watch(self, header: Header, _payload: bytes) -> Reply:
        if self._runtime is not None:
            raise RequestError("bad-request", "this helper watches already")
        asked = header["runtime"]
        words = [str(word) for word in asked["words"]]
        each = asked.get("per") == "engine"
        runtime = Runtime(words, str(asked["container"]), str(asked["python"]), str(header["base"]), each)
        deployments = header.get("deployments")
        wanted = None if deployments is None else [str(each) for each in deployments]
        every = max(0.05, float(header["runs_every_s"]))
        self._runtime = runtime
        self._watching = watching = RunsWatch(runtime.base, wanted, every, self._push)
        watching.start()
        self._ops.update(RunOperations(runtime, watching, self._push, self._sources).ops)
        self._sampler.start(header["probes"])
        self._tails.start()
        return {}, b""

    def _probe(self, header: Header, _payload: bytes) -> Reply:
        if not self._sampler.now(str(header["name"])):
            raise RequestError("not-found", "there is no probe %r" % header["name"])
        return {}, b""

    def _follow(self, header: Header, payload: bytes) -> None:
        self._tails.follow(self._where().base, key_of(header["key"]), int(header["offset"]), payload)

    def _unfollow(self, header: Header, _payload: bytes) -> None:
        self._tails.unfollow(key_of(header["key"]))

    def _credit(self, header: Header, _payload: bytes) -> None:
        self._tails.add_credit(key_of(header["key"]), int(header["bytes"]))

    def _watch_holders(self, header: Header, _payload: bytes) -> None:
        if self._watching is not None:
            self._watching.watch_holders([int(pid) for pid in header["pids"]])

    def _read(self, header: Header, _payload: bytes) -> Reply:
        key = key_of(header["key"]) if header.get("key") is not None else None
        path, offset, length = header.get("path"), int(header["offset"]), int(header["length"])
        data, size = read_part(self._ground(), key, None if path is None else str(path), offset, length)
        return {"size": size}, data

    def _digest(self, header: Header, _payload: bytes) -> Reply:
        offset, length = int(header["offset"]), int(header["length"])
        data, size = read_part(self._ground(), key_of(header["key"]), None, offset, length)
        return {"size": size, "length": len(data), "sha256": hashlib.sha256(data).hexdigest()}, b""

    def _exec(self, header: Header, payload: bytes) -> Reply:
        argv = [str(word) for word in header["argv"]]
        limit = min(MAX_BYTES, int(header.get("max_bytes", MAX_BYTES)))
        return self._commands.run(argv, float(header["timeout_s"]), limit, payload)


def _request_error(op: str, error: Exception) -> RequestError:
    if isinstance(error, RequestError):
        return error
    if isinstance(error, OSError):
        return of_os(error, op)
    return RequestError("bad-request", "%s: %s: %s" % (op, type(error).__name__, error))
