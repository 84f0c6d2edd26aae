"""Starts supervisors, on the host or inside a container, in one and the same way: a fresh interpreter fed on stdin.

What a supervisor does does not enter here.
"""

from __future__ import annotations

import json
import os
import subprocess
from typing import Any, Dict

from console.node.bundle_stdin import parcel
from console.node.request_error import RequestError
from console.node.runtimes import Runtime, last_words

ACK_S = 60.0
"""A supervisor answers within an interpreter's start; a loaded node may take a while for that."""


def launch(runtime: Runtime, sources: Dict[str, str], run_dir: str, token: str) -> Dict[str, Any]:
    """Start the run in `run_dir` (as seen where it will run); gives the supervisor's answer. Raises Refusal."""
    command = runtime.command(token, run_dir)
    env = dict(os.environ) if runtime.words else dict(os.environ, DSV4_SUPERVISOR=token)
    try:
        child = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=env,
            start_new_session=True,
        )
    except OSError as error:
        raise RequestError("os", "%s cannot be run: %s" % (command[0], error.strerror)) from error
    try:
        out, err = child.communicate(parcel(sources, ["supervise", run_dir]), timeout=ACK_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.communicate()
        raise RequestError("timeout", "the launch gave no answer in %d s; look at the run's state" % ACK_S) from None
    return _answer(out, err, child.returncode)


def _answer(out: bytes, err: bytes, code: int) -> Dict[str, Any]:
    try:
        reply = json.loads(out.decode("utf-8").splitlines()[-1])
    except (ValueError, IndexError):
        text = last_words(err.strip() or out)  # `docker exec` of some releases prints to stdout that it could not
        raise RequestError("os", "the supervisor did not start (exit %d): %s" % (code, text)) from None
    if not reply.get("ok"):
        raise RequestError(str(reply.get("kind")), str(reply.get("message")), str(reply.get("hint", "")))
    answer: Dict[str, Any] = reply
    return answer
