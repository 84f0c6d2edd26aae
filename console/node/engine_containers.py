"""One container for each engine: created for a run, and removed after the run was stopped.

Its first process is the supervisor of the run, so the kernel ends all its processes with the supervisor. A label with the run
directory marks it; a container with the same name but without the label is never changed.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from typing import Any, Dict, List, NamedTuple, Optional

from console.node.bundle_stdin import FROM_FILE, SUPERVISOR, stdin_bytes
from console.node.request_error import RequestError
from console.node.run_dirs import NAME, read_json, write_file
from console.node.runtimes import inspect, last_words, run_tool
from console.node.supervisor import ANSWER

LABEL = "dsv4-console.run"
TOOL_S = 60.0
"""Time limit to create or remove a container; usually it takes seconds, longer with a loaded daemon."""
ACK_S = 60.0
END_S = 15.0
"""Time limit for the end of a container after the last process of its engine."""
POLL_S = 0.05
ASK_EVERY_S = 1.0
_STATE = '{{.State.Running}} {{.State.ExitCode}} {{index .Config.Labels "%s"}}' % LABEL


class ContainerState(NamedTuple):
    """A container, as its tool reports it."""

    running: bool
    code: str
    run_dir: str
    """The run that it was created for; empty without the label."""


def wanted(value: object) -> Optional[Dict[str, Any]]:
    """The container in a request: name, flags, image; None without a container. Raises RequestError."""
    if value is None:
        return None
    if not isinstance(value, dict) or not NAME.match(str(value.get("name"))) or not value.get("image"):
        raise RequestError("bad-request", "a container needs a name, flags and an image")
    return {
        "name": str(value["name"]),
        "flags": [str(each) for each in value["flags"]],
        "image": str(value["image"]),
    }


def make(words: List[str], python: str, box: Dict[str, Any], sources: Dict[str, str], run_dir: str, token: str) -> None:
    """Create the container of a run and wait until its program runs. Raises RequestError; then no container remains."""
    name = box["name"]
    _make_room(words, name, run_dir)
    bundle = os.path.join(run_dir, SUPERVISOR)
    write_file(bundle, stdin_bytes(sources, ["supervise", run_dir, "stay"]))
    command = [*words, "run", "-d", "--name", name, "--label", "%s=%s" % (LABEL, run_dir)]
    command += ["-e", "DSV4_SUPERVISOR=" + token, "--pull=never", "--entrypoint", python, *box["flags"], box["image"]]
    try:
        done = run_tool([*command, *FROM_FILE, run_dir], TOOL_S)
        if done.returncode != 0:
            raise _not_made(box, done)
        _wait_answer(words, name, run_dir)
    except RequestError:
        with contextlib.suppress(RequestError):
            _remove(words, name, run_dir)
        raise
    finally:
        with contextlib.suppress(OSError):
            os.unlink(bundle)


def remove(words: List[str], name: str, engine_dir: str) -> str:
    """Remove the ended container of an engine; returns why it still exists, empty when it was removed."""
    until = time.monotonic() + END_S
    while True:
        found = look(words, name)
        if found is None or not _within(found.run_dir, engine_dir):
            return ""
        if not found.running:
            return _remove(words, name, found.run_dir)
        if time.monotonic() > until:
            return "container %s still runs" % name
        time.sleep(POLL_S)


def look(words: List[str], name: str) -> Optional[ContainerState]:
    """The container with that name, or None. Raises RequestError when the tool fails."""
    parts = (inspect(words, _STATE, name) or "").split(" ", 2)
    if len(parts) < 2:
        return None
    label = parts[2] if len(parts) == 3 else ""
    return ContainerState(parts[0] == "true", parts[1], label if label.startswith("/") else "")


def _make_room(words: List[str], name: str, run_dir: str) -> None:
    """Remove the ended container of an earlier run, which is kept until the next start."""
    found = look(words, name)
    if found is None:
        return
    if not _within(found.run_dir, os.path.dirname(os.path.dirname(run_dir))):
        hint = "look at it, then remove or rename it by hand"
        raise RequestError(
            "refused", "a container named %s exists already, and the console did not create it" % name, hint
        )
    if found.running:
        raise RequestError("busy", "container %s of run %s still runs" % (name, os.path.basename(found.run_dir)))
    left = _remove(words, name, found.run_dir)
    if left:
        raise RequestError("os", left)


def _within(run_dir: str, engine_dir: str) -> bool:
    return bool(run_dir) and os.path.dirname(os.path.dirname(run_dir)) == engine_dir


def _remove(words: List[str], name: str, run_dir: str) -> str:
    """Remove the container when it was created for this run; returns why it still exists."""
    found = look(words, name)
    if found is None or found.run_dir != run_dir:
        return ""
    done = run_tool([*words, "rm", "-f", name], TOOL_S)
    if done.returncode == 0 or look(words, name) is None:
        return ""
    return "container %s cannot be removed: %s" % (name, last_words(done.stderr))


def _wait_answer(words: List[str], name: str, run_dir: str) -> None:
    """Wait for the answer of the supervisor, which it writes to the run directory: a detached container has no pipe."""
    until = time.monotonic() + ACK_S
    asked = time.monotonic()
    path = os.path.join(run_dir, ANSWER)
    while True:
        reply = read_json(path)
        if reply is not None:
            break
        now = time.monotonic()
        if now > until:
            raise RequestError("timeout", "the launch did not answer within %d s" % ACK_S)
        if now > asked + ASK_EVERY_S:
            asked = now
            found = look(words, name)
            if (found is None or not found.running) and read_json(path) is None:
                said = last_words(run_tool([*words, "logs", name], TOOL_S).stderr)
                code = found.code if found else "?"
                hint = "check that the image has python and that the base directory is mounted"
                raise RequestError("os", "container %s ended (exit %s): %s" % (name, code, said), hint)
        time.sleep(POLL_S)
    if not reply.get("ok"):
        raise RequestError(str(reply.get("kind")), str(reply.get("message")), str(reply.get("hint", "")))


def _not_made(box: Dict[str, Any], done: "subprocess.CompletedProcess[bytes]") -> RequestError:
    said = last_words(done.stderr)
    hint = ""
    if b"pull" in done.stderr or b"No such image" in done.stderr or b"not known" in done.stderr:
        hint = "the image is not on the node: pull %s there first" % box["image"]
    return RequestError("os", "container %s was not created: %s" % (box["name"], said), hint)
