"""Keeps one engine: holds its lock, starts it, records how it ended, and stays until the last of its processes is gone.

It is a fresh interpreter, on the host or inside a container, that knows nothing but its run directory. It survives the
link, the helper and the console. There is no pipe between engine and log, so nothing of ours can ever block an engine.
Deciding to stop an engine does not enter here.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import json
import os
import signal
import sys
import time
from typing import Any, Dict, List, NoReturn, Optional

from console.node import oom_kills, time_zones
from console.node.processes import boot_id, read_stat
from console.node.request_error import RequestError, of_os
from console.node.run_dirs import plain_dir, read_json, reserve, write_all, write_file, write_json, write_reserved
from console.node.runs import CURRENT, EXIT, LOCK, LOG, RUN, SCRIPT, SPEC, STOP, check_expected

PR_SET_CHILD_SUBREAPER = 36
LOCK_TRIES = 20
ANSWER = "answer.json"
"""What a supervisor says that has no pipe to its helper."""
EXIT_TRIES = 600
"""Seconds a full disk may keep the exit from being recorded before the run is given up as lost."""


def supervise(run_dir: str, stay: bool = False) -> None:
    """Launch the run; answer with one line of JSON on stdout once the engine's program runs, or does not.

    With `stay` this very process is the supervisor, as the first process of a container must be: it answers into a file of
    the run directory and ends with the engine's exit status.
    """
    locks: List[int] = []
    try:
        plain_dir(run_dir)
        record = read_json(os.path.join(run_dir, SPEC))
        if record is None:
            raise RequestError("not-found", "%s has no readable %s" % (run_dir, SPEC))
        if os.path.exists(os.path.join(run_dir, RUN)):
            raise RequestError("changed", "this run was launched before", "make the plan again")
        locks = take_locks(run_dir)
        check_expected(_engine_dir(run_dir), record.get("expected"))
        if stay:
            _keep(run_dir, record, locks, -1)
        reply = _fork_supervisor(run_dir, record, locks)
    except RequestError as refusal:
        reply = refusal.reply()
    except OSError as error:
        reply = of_os(error, "launching").reply()
    for lock in locks:
        os.close(lock)
    if stay:
        write_json(os.path.join(run_dir, ANSWER), reply)
        sys.exit(1)
    sys.stdout.write(json.dumps(reply) + "\n")
    sys.stdout.flush()


def take_locks(run_dir: str) -> List[int]:
    """The engine's lock (one run at a time) and the run's lock (its life). Raises RequestError `busy` naming the holder."""
    taken: List[int] = []
    for directory in (_engine_dir(run_dir), run_dir):
        path = os.path.join(directory, LOCK)
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(path, flags, 0o600)
        for attempt in range(LOCK_TRIES):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError as error:
                if error.errno not in (errno.EAGAIN, errno.EACCES):
                    raise
                if attempt == LOCK_TRIES - 1:
                    for each in (*taken, descriptor):
                        os.close(each)
                    raise _busy(path) from None
                time.sleep(0.05)
        taken.append(descriptor)
    return taken


def _busy(path: str) -> RequestError:
    holder = read_json(path) or {}
    since = holder.get("since")
    when = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(since)) if isinstance(since, (int, float)) else "?"
    return RequestError(
        "busy",
        "the engine is held by run %s, launched by %s at %s"
        % (holder.get("run") or "?", holder.get("owner") or "somebody", when),
        "stop that run first",
    )


def _engine_dir(run_dir: str) -> str:
    return os.path.dirname(os.path.dirname(run_dir))


def _fork_supervisor(run_dir: str, record: Dict[str, Any], locks: List[int]) -> Dict[str, object]:
    """Fork twice; the grandchild keeps the engine. Gives its answer, read from a pipe."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        os.setsid()
        if os.fork() != 0:
            os._exit(0)
        _keep(run_dir, record, locks, writing)
    os.close(writing)
    os.waitpid(child, 0)
    with os.fdopen(reading, "rb") as pipe:
        answer = pipe.read()
    if not answer:
        return RequestError("os", "the supervisor ended before it answered").reply()
    reply: Dict[str, object] = json.loads(answer.decode("utf-8"))
    return reply


def _keep(run_dir: str, record: Dict[str, Any], locks: List[int], ack: int) -> NoReturn:
    """The supervisor's life. Never returns."""
    status = 1
    try:
        _leave_session()
        status = Supervisor(run_dir, record, locks, ack).live()
    finally:
        os._exit(status)


def _leave_session() -> None:
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGPIPE, signal.SIGTSTP):
        signal.signal(number, signal.SIG_IGN)
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    os.chdir("/")


class Supervisor:
    """One engine from its fork to the end of its last process."""

    def __init__(self, run_dir: str, record: Dict[str, Any], locks: List[int], ack: int) -> None:
        self.run_dir = run_dir
        self.record = record
        self.locks = locks
        self.ack = ack
        self.status = 0
        self.kills = oom_kills.kills()

    def live(self) -> int:
        """Launch, answer, wait. Gives the process's own exit status."""
        try:
            self._reserve()
            go, failure, main = self._fork_engine()
            self._record(main)
        except OSError as error:
            self._answer(of_os(error, "launching").reply())
            return 1
        os.write(go, b"g")
        os.close(go)
        with os.fdopen(failure, "rb") as pipe:
            error_text = pipe.read().decode("utf-8", "replace")
        if error_text:
            self._reap(main, error_text)
            self._answer(RequestError("os", error_text, "look at %s" % os.path.join(self.run_dir, SCRIPT)).reply())
            return 1
        self._answer({"ok": True, "pid": main, "supervisor": os.getpid()})
        if self.ack < 0:
            signal.signal(signal.SIGTERM, lambda *_: _pass_on(main))
        self._reap(main, "")
        return self.status if self.ack < 0 else 0

    def _reserve(self) -> None:
        """Room for the exit and for the note of a stop, taken while there is some: the log may fill the disk later."""
        for name in (EXIT, STOP):
            reserve(os.path.join(self.run_dir, name))

    def _fork_engine(self) -> "tuple[int, int, int]":
        """The child waits for a byte before it becomes the engine, so that nothing ever runs unrecorded."""
        argv = shebang(os.path.join(self.run_dir, SCRIPT))
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
        log = os.open(os.path.join(self.run_dir, LOG), flags, 0o600)
        waiting, go = os.pipe()
        failure, failing = os.pipe()
        main = os.fork()
        if main == 0:
            os.close(go)
            self._become(argv, log, waiting, failing)
        for descriptor in (log, waiting, failing):
            os.close(descriptor)
        return go, failure, main

    def _become(self, argv: List[str], log: int, waiting: int, failing: int) -> NoReturn:
        try:
            os.setsid()
            for number in range(1, signal.NSIG):
                if signal.getsignal(number) is signal.SIG_IGN:
                    signal.signal(number, signal.SIG_DFL)
            if os.read(waiting, 1) != b"g":
                os._exit(1)
            os.dup2(log, 1)
            os.dup2(log, 2)
            for lock in self.locks:
                os.set_inheritable(lock, True)
            os.chdir(os.path.join(self.run_dir, "work"))
            os.execvpe(argv[0], argv, self._environment())
        except OSError as error:
            text = "exec failed: %s (%s)" % (error.strerror, error.filename or argv[0])
            os.write(failing, text.encode("utf-8"))
        finally:
            os._exit(127)

    def _environment(self) -> Dict[str, str]:
        env = dict(os.environ)
        env.pop("DSV4_SUPERVISOR", None)
        env["DSV4_RUN"] = self.record["token"]
        env["SPT_NOENV"] = "1"  # setproctitle would write its title over the cookie
        env["PYTHONUNBUFFERED"] = "1"
        return env

    def _record(self, main: int) -> None:
        """Say on the disk what runs; when that fails nothing runs."""
        stat, own = read_stat(main), read_stat(os.getpid())
        now = time.time()
        lock = {"run": os.path.basename(self.run_dir), "owner": self.record.get("owner", ""), "since": now}
        for descriptor in self.locks:
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, json.dumps(lock).encode("utf-8"), 0)
        write_file(os.path.join(_engine_dir(self.run_dir), CURRENT), os.path.basename(self.run_dir).encode("ascii"))
        run = {
            "token": self.record["token"],
            "pid": main,
            "start": stat.start if stat else None,
            "supervisor": os.getpid(),
            "supervisor_start": own.start if own else None,
            "boot_id": boot_id(),
            "pid_ns": os.readlink("/proc/self/ns/pid"),
            "uid": os.geteuid(),
            "started_at": now,
            "zone": time_zones.table(now, self._zone_name()),
        }
        write_json(os.path.join(self.run_dir, RUN), run)

    def _zone_name(self) -> Optional[str]:
        """TZ where the script sets it; None leaves the zone of this machine or container."""
        spec = self.record.get("spec")
        env = spec.get("env") if isinstance(spec, dict) else None
        name = env.get("TZ") if isinstance(env, dict) else None
        return name if isinstance(name, str) else None

    def _answer(self, reply: Dict[str, object]) -> None:
        """The helper may be gone; the engine does not depend on it."""
        if self.ack < 0:
            write_json(os.path.join(self.run_dir, ANSWER), reply)
            return
        try:
            write_all(self.ack, json.dumps(reply).encode("utf-8"))
        except OSError:
            return
        finally:
            os.close(self.ack)

    def _reap(self, main: int, error_text: str) -> None:
        """Wait for the engine, record its end, and stay for what it leaves behind."""
        while True:
            try:
                pid, status, usage = os.wait4(-1, 0)
            except ChildProcessError:
                return
            if pid != main:
                continue
            self.status = os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)
            ended: Dict[str, object] = {
                "code": os.WEXITSTATUS(status) if os.WIFEXITED(status) else None,
                "signal": os.WTERMSIG(status) if os.WIFSIGNALED(status) else None,
                "at": time.time(),
                "max_rss_kib": usage.ru_maxrss,
                "error": error_text,
                "oom": oom_kills.since(self.kills),
            }
            self._write_exit(ended)

    def _write_exit(self, ended: Dict[str, object]) -> None:
        for _ in range(EXIT_TRIES):
            try:
                write_reserved(os.path.join(self.run_dir, EXIT), ended)
                return
            except OSError:
                time.sleep(1.0)


def _pass_on(main: int) -> None:
    """TERM for a container's first process, as its tool's `stop` sends it, is meant for the engine."""
    try:
        os.kill(main, signal.SIGTERM)
    except ProcessLookupError:
        return  # it has ended; what it left is waited for


def shebang(path: str) -> List[str]:
    """argv that runs a script by its first line; the file need not be executable (the file system may be mounted noexec)."""
    with open(path, "rb") as file:
        first = file.readline(256)
    words: Optional[List[str]] = (
        first[2:].decode("utf-8", "replace").split(None, 1) if first.startswith(b"#!") else None
    )
    return [word.strip() for word in words or ["/bin/sh"]] + [path]
