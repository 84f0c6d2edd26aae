"""Counters of processes that the kernel killed because memory was used up: of a control group, and of the machine."""

from __future__ import annotations

import os
from typing import Any, Dict, List, Optional

GROUP, MACHINE = "group", "machine"
_ROOT = "/sys/fs/cgroup"


def kills() -> Dict[str, int]:
    """The counts so far, of the control group of this process (which an engine inherits) and of the machine, if available."""
    found: Dict[str, int] = {}
    for path in _group_files():
        count = _counter(path)
        if count is not None:
            found[GROUP] = count
            break
    count = _counter("/proc/vmstat")
    if count is not None:
        found[MACHINE] = count
    return found


def since(before: Dict[str, int]) -> Dict[str, int]:
    """The counts since `before` that are larger than 0."""
    now = kills()
    return {name: now[name] - before[name] for name in now if name in before and now[name] > before[name]}


def words(exit_record: Dict[str, Any]) -> str:
    """The explanation of an exit record by these counts; empty when memory does not explain it."""
    killed = exit_record.get("oom")
    if not isinstance(killed, dict):
        return ""
    if killed.get(GROUP):
        text = "the kernel killed %s of its processes: the memory limit of its control group was reached"
        return str(text % killed[GROUP])
    if killed.get(MACHINE) and exit_record.get("signal") == 9:
        text = "killed by signal 9; the kernel killed %s processes of this node for lack of memory while it ran"
        return str(text % killed[MACHINE])
    return ""


def _group_files() -> List[str]:
    """Version 2 first, then version 1; inside a container the group's path may be that of the host."""
    try:
        with open("/proc/self/cgroup", encoding="utf-8") as file:
            lines = file.read().splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            found += [os.path.join(_ROOT, path.lstrip("/"), "memory.events"), os.path.join(_ROOT, "memory.events")]
        elif controllers == "memory":
            group = os.path.join(_ROOT, "memory")
            found += [
                os.path.join(group, path.lstrip("/"), "memory.oom_control"),
                os.path.join(group, "memory.oom_control"),
            ]
    return found


def _counter(path: str) -> Optional[int]:
    try:
        with open(path, encoding="ascii") as file:
            for line in file:
                name, _, value = line.partition(" ")
                if name == "oom_kill":
                    return int(value)
    except (OSError, ValueError):
        return None
    return None
