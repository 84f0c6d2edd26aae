"""Where engines of this node run, on the host or in a container that is already there, and where their files are seen from here.

A run directory is the same path inside and outside when the base is bind-mounted; otherwise it is reached through the
root directory of the container's main process. What is launched there does not enter here.
"""

from __future__ import annotations

import os
import re
import subprocess
import threading
import time
from typing import List, Optional

from console.node.bundle_stdin import FLAGS
from console.node.processes import Stat, alive, read_stat
from console.node.request_error import RequestError
from console.node.run_dirs import Base

ASK_S = 10.0
_ADVICE = re.compile(r"(Run|See) '.* --help'|Usage:")
AGAIN_S = 5.0
"""Time between two checks of a container that is not running."""


class Runtime:
    """From the console's `watch` request: `words` run the container tool, none on a host runtime."""

    def __init__(self, words: List[str], container: str, python: str, base: str, per_engine: bool = False) -> None:
        self.words = words
        self.per_engine = per_engine
        """Each engine has a container of its own, with the base mounted at the same path; `container` is none of theirs."""
        self.container = container
        self.python = python
        self.path = Base(base).path
        self._main: Optional[Stat] = None
        self._shared: Optional[Stat] = None
        """The one whose base is known to be ours too: a process that ends loses its root before it is seen to be dead."""
        self._asked_at = float("-inf")
        self._lock = threading.Lock()

    def command(self, token: str, run_dir: str) -> List[str]:
        """argv of the interpreter that becomes the supervisor of a run; the last words only tell `ps` what it is."""
        python = [self.python, *FLAGS, "dsv4-console", "supervise", run_dir]
        if not self.words:
            return python
        return [*self.words, "exec", "-i", "-e", "DSV4_SUPERVISOR=" + token, self.container, *python]

    def base(self) -> Base:
        """The base directory as seen from here. Raises RequestError when a link stands in its path inside the container."""
        main = self._container_main() if self.words and not self.per_engine else None
        if main is None:
            return Base(self.path)
        inside = "/proc/%d/root%s" % (main.pid, self.path)
        if self._shared != main and _same(self.path, inside):
            self._shared = main
        if self._shared == main or not alive(main.pid, main.start):
            return Base(self.path)
        _refuse_links("/proc/%d/root" % main.pid, self.path)
        return Base(inside)

    def make_base(self) -> Base:
        """The base directory where engines see it, made when missing. Raises RequestError when the container does not run."""
        if self.words and not self.per_engine and self._container_main(ask=True) is None:
            state = inspect(self.words, "{{.State.Status}}", self.container)
            if state is None:
                hint = "create it with `containers create`, or set `runtime.container` of the node to another one"
                raise RequestError("refused", "there is no container %s" % self.container, hint)
            text = "container %s is not running: it is %s" % (self.container, state)
            raise RequestError("refused", text, "start it, then try again")
        self.base().make()
        return self.base()

    def why_stuck(self, name: str) -> str:
        """What explains processes of that container that no signal ends; empty when nothing does."""
        try:
            paused = inspect(self.words, "{{.State.Paused}}", name) == "true"
        except RequestError:
            return ""
        return "container %s is paused: its processes end once it is unpaused" % name if paused else ""

    def _container_main(self, ask: bool = False) -> Optional[Stat]:
        """The container's first process, asked for only when it is not the known one."""
        with self._lock:
            if self._main is not None and alive(self._main.pid, self._main.start):
                return self._main
            if not ask and time.monotonic() - self._asked_at < AGAIN_S:
                return None
            self._asked_at = time.monotonic()
            pid = self._inspect(ask)
            self._main = read_stat(pid) if pid else None
            return self._main

    def _inspect(self, strict: bool) -> int:
        """Its pid on the host; 0 when it does not run. Raises RequestError when the tool cannot be run.

        A tool that runs and knows nothing, as with its daemon down, is no pid either, unless `strict` says that it matters why.
        """
        try:
            text = inspect(self.words, "{{.State.Pid}}", self.container) or ""
        except Unanswered:
            if strict:
                raise
            return 0
        return int(text) if text.isdigit() else 0


class Unanswered(RequestError):
    """The container tool ran and did not say what it was asked, or nothing in time."""


def inspect(words: List[str], fields: str, name: str) -> Optional[str]:
    """What the tool says of a container; None when there is none of that name. Raises RequestError, Unanswered."""
    done = run_tool([*words, "inspect", "--type", "container", "--format", fields, name], ASK_S)
    if done.returncode == 0:
        return done.stdout.decode("utf-8", "replace").strip()
    if b"no such" in done.stderr.lower():
        return None
    hint = "check that its daemon runs and that this user can use it; `sudo: true` of the node uses root"
    raise Unanswered("os", "container %s cannot be inspected: %s" % (name, last_words(done.stderr)), hint)


def last_words(said: bytes) -> str:
    """What a tool said last; docker's advice on where to read about its options stands after what is wrong."""
    lines = [each.strip() for each in said.decode("utf-8", "replace").splitlines()]
    kept = [each for each in lines if each and not _ADVICE.match(each)]
    return kept[-1][:300] if kept else "it said nothing"


def run_tool(argv: List[str], limit_s: float) -> "subprocess.CompletedProcess[bytes]":
    """Run the container tool and wait for it. Raises RequestError when it cannot be run or gives no answer in time."""
    try:
        return subprocess.run(
            argv,
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            timeout=limit_s,
        )
    except OSError as error:
        hint = "set `runtime` of the node: kind, command"
        raise RequestError("os", "%s cannot be run: %s" % (argv[0], error.strerror), hint) from error
    except subprocess.TimeoutExpired:
        raise Unanswered("timeout", "%s did not answer within %d s" % (argv[0], limit_s)) from None


def _same(one: str, other: str) -> bool:
    try:
        return os.path.samestat(os.lstat(one), os.lstat(other))
    except OSError:
        return False


def _refuse_links(root: str, path: str) -> None:
    """A link inside would be followed from our root, not from the container's."""
    here = root
    for part in path.strip("/").split("/"):
        here = os.path.join(here, part)
        if os.path.islink(here):
            text = "%s is a symbolic link inside the container" % here[len(root) :]
            raise RequestError("refused", text, "set `base` of the node to its real path")
