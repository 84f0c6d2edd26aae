"""Programs that run the command behind them: wrappers, containers, other hosts, other shells. What is inside, and with what."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

SHELLS = ("bash", "sh", "dash", "zsh", "ash", "ksh")
CONTAINERS = ("docker", "podman", "nerdctl")
PYTHON = re.compile(r"python[0-9.]*")
ASSIGNED = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=")
WRAPPERS = (
    "exec",
    "command",
    "nohup",
    "env",
    "sudo",
    "setsid",
    "nice",
    "ionice",
    "numactl",
    "taskset",
    "timeout",
    "stdbuf",
    "chrt",
    "time",
    "unbuffer",
    "script",
    "tini",
    "gosu",
    "runuser",
    "su",
    "screen",
    "xargs",
    "daemonize",
    "uv",
    "conda",
    "mamba",
    "micromamba",
    "poetry",
)
_RUN_SWITCHES = re.compile(
    r"-[ditPq]+|--(rm|privileged|init|detach|interactive|tty|no-healthcheck|oom-kill-disable|read-only|publish-all|sig-proxy|"
    r"disable-content-trust|quiet|replace|rmi|env-host|http-proxy|no-hosts|no-hostname|passwd|read-only-tmpfs|tls-verify)"
)
"""Options of `docker run` and `docker exec` that take no word."""
_SSH_VALUED = tuple("BbcDEeFIiJLlmOopQRSWw")


@dataclass(slots=True)
class Contained:
    """What a container is told to run."""

    words: list[str]
    env: dict[str, str] = field(default_factory=dict)
    image: str = ""
    name: str = ""
    entrypoint: str = ""
    env_files: list[str] = field(default_factory=list)
    runs: bool = False
    """A container is made; else one that is there is used."""


def program(word: str) -> str:
    """The name of a program, without its folder."""
    return word.rpartition("/")[2]


def known(word: str) -> bool:
    """Whether a wrapper's word is the program that it runs."""
    name = program(word)
    names = (*SHELLS, *WRAPPERS, *CONTAINERS, "vllm", "ssh", "ray", "mooncake_master")
    return bool(name) and (name in names or bool(PYTHON.fullmatch(name)) or name.endswith(".sh"))


def inside(words: Sequence[str], env: Mapping[str, str]) -> tuple[list[str], dict[str, str]]:
    """The command behind a wrapper, and its variables: from the first assignment or known program on."""
    changed = dict(env)
    rest = list(words[1:])
    if program(words[0]) == "env":
        for at, word in enumerate(rest):
            if word in ("-i", "-"):
                changed = {}
            elif word == "-u" and at + 1 < len(rest):
                changed.pop(rest[at + 1], None)
    if "-c" in rest and program(words[0]) in ("su", "runuser", "script"):
        return ["bash", "-c", rest[rest.index("-c") + 1]] if rest[-1] != "-c" else [], changed
    serving = {at for at, word in enumerate(rest) if program(word) != "vllm" or rest[at + 1 : at + 2] == ["serve"]}
    at = next((at for at in sorted(serving) if ASSIGNED.match(rest[at]) or known(rest[at])), len(rest))
    return rest[at:], changed


def contained(words: Sequence[str], env: Mapping[str, str]) -> Contained | None:
    """What `docker run` and `docker exec` run; None for other uses."""
    at = next((at for at, word in enumerate(words[1:4], 1) if word in ("run", "exec")), 0)
    if not at:
        return None
    found = Contained([], runs=words[at] == "run")
    rest = list(words[at + 1 :])
    while rest and rest[0].startswith("-"):
        option = rest.pop(0)
        if option == "--":
            break
        if _RUN_SWITCHES.fullmatch(option):
            continue
        if option.startswith("--"):
            name, equals, value = option.partition("=")
        else:
            name, equals, value = option[:2], option[2:3], option[2:]
        if not equals and rest:
            value = rest.pop(0)
        _option(found, name, value, env)
    if rest:
        first = rest.pop(0)
        found.image, found.name = (first, found.name) if found.runs else ("", first)
    found.words = [found.entrypoint, *rest] if found.entrypoint else rest
    return found


def _option(found: Contained, name: str, value: str, env: Mapping[str, str]) -> None:
    if name in ("-e", "--env"):
        key, equals, text = value.partition("=")
        if equals or key in env:
            found.env[key] = text if equals else env[key]
    elif name == "--env-file":
        found.env_files.append(value)
    elif name == "--name":
        found.name = value
    elif name == "--entrypoint":
        found.entrypoint = value


def remote(words: Sequence[str]) -> tuple[str, str]:
    """The host of an `ssh`, without a user, and the text it runs there; two empty texts when there is none."""
    rest = list(words[1:])
    while rest and rest[0].startswith("-"):
        option = rest.pop(0)
        if option[1:2] in _SSH_VALUED and len(option) == 2 and rest:
            rest.pop(0)
    if not rest:
        return "", ""
    return rest[0].rpartition("@")[2], " ".join(rest[1:])


def terminal(words: Sequence[str]) -> tuple[str, str]:
    """The terminal of `tmux` or `screen` that a text is typed into, empty for a new one, and the text; empty when none."""
    if "stuff" in words[:-1]:
        named = words[words.index("-S") + 1] if "-S" in words else "screen"
        return named, re.sub(r"(\^M|\\r|\\n|\\015)+$", "", words[words.index("stuff") + 1]).rstrip()
    if "send-keys" in words or "send" in words:
        rest, found, target = list(words[2:]), list[str](), "tmux"
        while rest:
            word = rest.pop(0)
            if word == "-t" and rest:
                target = rest.pop(0)
            elif word not in ("C-m", "Enter", "-l", "KPEnter"):
                found.append(word)
        return target, " ".join(found)
    if set(words) & {"new-session", "new", "new-window", "neww", "split-window"} and " " in words[-1]:
        return "", words[-1]
    return "", ""


def script_text(words: Sequence[str]) -> tuple[str | None, list[str]]:
    """What `bash -c TEXT ARG…` runs and its `$0`, `$1` …; None when a shell is given no text."""
    at = next((at for at, word in enumerate(words) if at and re.fullmatch(r"-[a-z]*c", word)), 0)
    if not at or at + 1 >= len(words):
        return None, []
    return words[at + 1], list(words[at + 2 :])
