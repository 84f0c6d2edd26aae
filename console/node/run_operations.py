"""The operations on runs for a console: prepare, launch, discard, stop, and the lease."""

from __future__ import annotations

import contextlib
import os
from typing import Any, Callable, Dict, List, Tuple

from console.node import engine_containers, lease, note_store
from console.node.frames import Header
from console.node.mounts import file_system
from console.node.request_error import RequestError
from console.node.run_dirs import NAME, Base, Key, key_of, read_json
from console.node.run_report import as_state
from console.node.run_verdicts import JudgedRun
from console.node.runs import SPEC, discard, prepare, prune
from console.node.runs_watch import RunsWatch
from console.node.runtimes import Runtime
from console.node.stopping import kill, living_names, stop
from console.node.supervisor_launch import launch
from console.node.unmanaged_processes import end

Reply = Tuple[Dict[str, Any], bytes]
Push = Callable[[Dict[str, Any], bytes], None]


class RunOperations:
    """The operations of one console on the runs of this node."""

    def __init__(self, runtime: Runtime, watching: RunsWatch, push: Push, sources: Dict[str, str]) -> None:
        self._runtime = runtime
        self._watching = watching
        self._push = push
        self._sources = sources
        self.ops: Dict[str, Callable[[Header, bytes], Reply]] = {
            "prepare": self._prepare,
            "commit": self._commit,
            "discard": self._discard,
            "stop": self._stop,
            "kill": self._stop,
            "lease": self._lease,
            "end": self._end,
        }

    def _judged(self) -> List[JudgedRun]:
        return self._watching.judged(thorough=True)

    def _prepare(self, header: Header, payload: bytes) -> Reply:
        spec = header["spec"]
        if not isinstance(spec, dict):
            raise RequestError("bad-request", "the spec is no object")
        expected = header.get("expect_run")
        box = engine_containers.wanted(header.get("container"))
        key = key_of(header["key"])
        prepare(self._runtime.make_base(), key, spec, payload, None if expected is None else str(expected), box)
        self._watching.look_again()
        return {"file_system": file_system(self._runtime.base().path)}, b""

    def _commit(self, header: Header, _payload: bytes) -> Reply:
        key, base = key_of(header["key"]), self._runtime.base()
        path = base.check(key)
        record = read_json(os.path.join(path, SPEC))
        if record is None:
            raise RequestError("not-found", "%s has no readable %s" % (path, SPEC))
        self._refuse_leftovers(base, key)
        try:
            self._launch(key, record)
        finally:
            self._watching.look_again()
        state = as_state(self._watching.settled(key))
        with contextlib.suppress(
            OSError, RequestError
        ):  # the engine runs: old runs that cannot be deleted are not a failure
            prune(base, key, [])
        return {"state": state}, b""

    def _launch(self, key: Key, record: Dict[str, Any]) -> None:
        box, token = engine_containers.wanted(record.get("container")), str(record["token"])
        run_dir = Base(self._runtime.path).run(key)
        if box is None:
            launch(self._runtime, self._sources, run_dir, token)
        else:
            engine_containers.make(self._runtime.words, self._runtime.python, box, self._sources, run_dir, token)

    def _refuse_leftovers(self, base: Base, key: Key) -> None:
        """Refuse when processes of an earlier run live, which the lock does not show when they closed its descriptor."""
        living = living_names(self._judged(), key)
        if not living:
            return
        record = read_json(base.file(Key(key.deployment, key.engine, living[-1]), SPEC)) or {}
        who = record.get("owner") or "somebody"
        raise RequestError(
            "busy", "the engine is held by run %s, launched by %s" % (living[-1], who), "stop that run first"
        )

    def _discard(self, header: Header, _payload: bytes) -> Reply:
        discard(self._runtime.base(), key_of(header["key"]))
        self._watching.look_again()
        return {}, b""

    def _stop(self, header: Header, _payload: bytes) -> Reply:
        base, by = self._runtime.base(), str(header.get("by", ""))
        keys = [key_of(each) for each in header["keys"]]
        kill_s = float(header["kill_s"])
        if header["op"] == "kill":
            results = kill(base, keys, kill_s, by, self._say_stop)
        else:
            results = stop(base, keys, float(header["grace_s"]), kill_s, by, self._say_stop)
        for result in results:
            self._clear_away(base, key_of(result["key"]), result)
        self._watching.look_again()
        return {"results": results}, b""

    def _clear_away(self, base: Base, key: Key, result: Dict[str, Any]) -> None:
        """Remove the container of an ended run; a container that remains is part of the result of the stop."""
        box = engine_containers.wanted((read_json(base.file(key, SPEC)) or {}).get("container"))
        if self._runtime.words and result["outcome"] == "stuck" and not result["reason"]:
            result["reason"] = self._runtime.why_stuck(box["name"] if box else self._runtime.container)
        if box is None or result["outcome"] == "stuck":
            return
        try:
            left = engine_containers.remove(self._runtime.words, box["name"], base.engine(key))
        except RequestError as refusal:
            left = str(refusal)
        if left:
            result.update(outcome="stuck", reason=left)

    def _say_stop(self, key: Key, stage: str) -> None:
        self._push({"push": "stop", "key": list(key), "stage": stage}, b"")
        self._watching.look_again()

    def _end(self, header: Header, _payload: bytes) -> Reply:
        listed, ours = self._watching.unmanaged()
        try:
            return {"result": end(listed, header, ours)}, b""
        finally:
            self._watching.look_again()

    def _lease(self, header: Header, _payload: bytes) -> Reply:
        base, deployment, act = self._runtime.base(), str(header["deployment"]), str(header["act"])
        if not NAME.match(deployment):
            raise RequestError("bad-request", "%r cannot be a directory name" % deployment)
        if act == "look":
            return {"lease": lease.look(base, deployment), "notes": note_store.look(base, deployment)}, b""
        if act == "note":
            note_store.keep(base, deployment, str(header["name"]), header["value"])
            return {}, b""
        token = str(header["token"])
        if act == "give-back":
            return {"given": lease.give_back(base, deployment, token)}, b""
        holder, verb, takeover = str(header["holder"]), str(header["verb"]), bool(header.get("takeover"))
        ends = [str(each) for each in header.get("ends") or []]
        return {"lease": lease.take(base, deployment, holder, verb, token, takeover, ends)}, b""
