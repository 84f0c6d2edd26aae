"""Starts supervisors on the host or in a container, in both cases as a new interpreter that reads its program from stdin."""

from __future__ import annotations

import json
import os
import subprocess
from typing import Any, Dict

from console.node.bundle_stdin import stdin_bytes
from console.node.request_error import RequestError
from console.node.runtimes import Runtime, last_words

ACK_S = 60.0
"""Time limit for the answer of a supervisor, with the start of the interpreter on a loaded node."""


def launch(runtime: Runtime, sources: Dict[str, str], run_dir: str, token: str) -> Dict[str, Any]:
    """Start the run in `run_dir` (the path where it will run); returns the answer of the supervisor. Raises RequestError."""
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
        out, err = child.communicate(stdin_bytes(sources, ["supervise", run_dir]), timeout=ACK_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.communicate()
        raise RequestError(
            "timeout", "the launch did not answer within %d s; check the state of the run" % ACK_S
        ) from None
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
