"""Reads processes from /proc: identities, cookies, vLLM processes; sends signals only to the intended process.

A process is identified by pid and start time. Processes are never found by name, except for reports.
"""

from __future__ import annotations

import os
import signal
from typing import Dict, List, NamedTuple, Optional, Set

COOKIE = b"DSV4_RUN="
KEEPER = b"DSV4_SUPERVISOR="
"""Environment variables that carry a run's token: in every process of the engine, and in its supervisor only."""
SCOPE = "DSV4_SCOPE"
"""Set for the sessions of a node that shares its machine with other nodes (`SetEnv` of its sshd): a process with another
value, or none, is then no stranger of this node but somebody else's business. Unset on a machine that is one node."""


class Stat(NamedTuple):
    """The values of /proc/PID/stat."""

    pid: int
    start: int
    """Clock ticks after boot; the same in every pid namespace."""
    parent: int
    state: str
    name: str

    @property
    def halted(self) -> bool:
        """Whether a signal (SIGSTOP) paused it; a stop by a debugger (`t`) does not count."""
        return self.state == "T"


class Scan:
    """One walk over /proc."""

    def __init__(self) -> None:
        self.members: Dict[str, List[Stat]] = {}
        """Token → processes of that run."""
        self.keepers: Dict[str, Stat] = {}
        """Token → supervisor."""
        self.inner: Dict[int, int] = {}
        """Host pid → pid in its own namespace, for the processes above."""
        self.strange: List[int] = []
        """Processes without a cookie that look like vLLM."""
        self.elsewhere: Set[int] = set()
        """Processes of another node on this machine."""


def boot_id() -> str:
    """Changes with every boot of the machine; the same in its containers."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return ""


def read_stat(pid: int) -> Optional[Stat]:
    """None when there is no such process."""
    try:
        with open("/proc/%d/stat" % pid, "rb") as file:
            text = file.read()
    except OSError:
        return None
    begin, end = text.find(b"("), text.rfind(b")")
    rest = text[end + 1 :].split()
    if begin < 0 or len(rest) < 20:
        return None
    name = text[begin + 1 : end].decode("utf-8", "replace")
    return Stat(pid, int(rest[19]), int(rest[1]), rest[0].decode("ascii"), name)


def alive(pid: int, start: int) -> bool:
    """Whether exactly that process lives; a zombie does not."""
    return again(pid, start) is not None


def again(pid: int, start: int) -> Optional[Stat]:
    """Exactly that process as it is now; None when it does not live."""
    found = read_stat(pid)
    return found if found is not None and found.start == start and found.state not in "ZX" else None


def token_of(pid: int, variable: bytes = COOKIE) -> Optional[str]:
    """The token in a process's environment; None when it has none or we may not look."""
    return _token(_read("/proc/%d/environ" % pid), variable)


def scan() -> Scan:
    """Read every process once."""
    found = Scan()
    own = os.getpid()
    scope = os.environ.get(SCOPE)
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) == own:
            continue
        pid = int(name)
        environ = _read("/proc/%d/environ" % pid)
        member, keeper = _token(environ, COOKIE), _token(environ, KEEPER)
        if scope and _token(environ, SCOPE.encode() + b"=") != scope:
            found.elsewhere.add(pid)
        if member is None and keeper is None:
            if pid not in found.elsewhere and looks_like_vllm(command_line(pid)):
                found.strange.append(pid)
            continue
        stat = read_stat(pid)
        if stat is None or stat.state in "ZX":
            continue
        found.inner[pid] = _inner_pid(pid)
        if member is not None:
            found.members.setdefault(member, []).append(stat)
        elif keeper is not None:
            found.keepers[keeper] = stat
    return found


class ProcessFamily:
    """The children of each process, at one time."""

    def __init__(self) -> None:
        self.children: Dict[int, List[Stat]] = {}
        for name in os.listdir("/proc"):
            stat = read_stat(int(name)) if name.isdigit() else None
            if stat is not None:
                self.children.setdefault(stat.parent, []).append(stat)

    def below(self, root: int) -> List[Stat]:
        """Every process below the given one, at any depth."""
        found: List[Stat] = []
        left = [root]
        while left:
            for child in self.children.get(left.pop(), []):
                found.append(child)
                left.append(child.pid)
        return found


def send(target: Stat, number: int, token: Optional[str] = None) -> bool:
    """Send a signal to exactly that process, after a check of start time and cookie. False when it has ended."""
    opener = getattr(os, "pidfd_open", None)
    descriptor = -1
    try:
        if opener is not None:
            try:
                descriptor = opener(target.pid)
            except ProcessLookupError:
                return False
            except OSError:
                descriptor = -1
        if not alive(target.pid, target.start) or (token is not None and token_of(target.pid) != token):
            return False
        if descriptor >= 0:
            signal.pidfd_send_signal(descriptor, number)  # type: ignore[attr-defined,unused-ignore]
        else:
            os.kill(target.pid, number)
    except ProcessLookupError:
        return False
    finally:
        if descriptor >= 0:
            os.close(descriptor)
    return True


def command_line(pid: int) -> bytes:
    """Its words, each ended by NUL, or the title it gave itself; empty when it is gone."""
    return _read("/proc/%d/cmdline" % pid)


def looks_like_vllm(title: bytes) -> bool:
    """Whether a command line or title is one of vLLM's."""
    return title.startswith(b"VLLM::") or _is_vllm_serve(title)


def _is_vllm_serve(title: bytes) -> bool:
    """Whether it is `vllm serve`; a command with `--help` only, as in the preflight, does not serve."""
    words = title.split(b"\0")
    if any(word == b"-h" or word.startswith(b"--help") for word in words):
        return False
    for at, word in enumerate(words[:4]):
        if word.rpartition(b"/")[2] == b"vllm" and words[at + 1 : at + 2] == [b"serve"]:
            return True
    return b"vllm.entrypoints.openai.api_server" in words


def _token(environ: bytes, variable: bytes) -> Optional[str]:
    at = (b"\0" + environ).find(b"\0" + variable)
    if at < 0:
        return None
    begin = at + len(variable)
    end = environ.find(b"\0", begin)
    return environ[begin : end if end >= 0 else None].decode("ascii", "replace") or None


def _inner_pid(pid: int) -> int:
    for line in _read("/proc/%d/status" % pid).splitlines():
        if line.startswith(b"NSpid:"):
            return int(line.split()[-1])
    return pid


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return b""
