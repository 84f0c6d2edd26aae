"""What starts servers without being `vllm serve`: vllm-ascend's `launch_online_dp.py`, its proxies, Ray; and what is left out.

Source of the launcher's arguments: vllm-ascend examples/external_online_dp/launch_online_dp.py.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from console.commands.serve import PROXY_SCRIPTS
from console.model.errors import FileError
from console.model.shortening import shortened
from console.services.importing.rank_marks import plainly
from console.services.importing.shell_scripts.script_state import (
    ProxyStart,
    Script,
    ServiceStart,
    Started,
    Stop,
    World,
    fault,
)
from console.services.importing.shell_scripts.unknowns import is_open
from console.services.importing.shell_scripts.variables import Variables
from console.services.importing.shell_scripts.wrappers import program

if TYPE_CHECKING:
    from console.services.importing.shell_scripts.interpreter import Shell

LAUNCHER = "launch_online_dp.py"
TEMPLATE = "run_dp_template.sh"
_OPTIONS = {
    "--dp-size": "",
    "--tp-size": "1",
    "--dp-size-local": "-1",
    "--dp-rank-start": "0",
    "--dp-address": "",
    "--dp-rpc-port": "12345",
    "--vllm-start-port": "9000",
}
"""Its options and their defaults; the two without one must be given."""
_PROXIES = {program(path): kind for kind, path in PROXY_SCRIPTS.items()}
_RAY_SCRIPTS = ("multi-node-serving.sh", "run_cluster.sh")
"""Scripts of vLLM's examples that start Ray and nothing else."""
_SERVICES = ("mooncake_master", "mooncake_http_metadata_server", "etcd", "redis-server", "memcached")


def ray(file: str, line: int) -> FileError:
    """Why a deployment on Ray is not imported."""
    message = "runs the engine on Ray, which the console does not start: an engine's processes would not be its own"
    hint = "use vLLM's own processes: data parallel over nodes (--data-parallel-address), or --nnodes for one engine"
    return fault(file, line, message, hint=hint)


def refuse_ray(shell: Shell, words: list[str]) -> None:
    """Refuse a script that was not given and starts Ray, by its name or its arguments. Raises FileError."""
    if program(words[0]) in _RAY_SCRIPTS or any(word.startswith("--ray") for word in words[1:]):
        raise ray(shell.file, shell.expander.line)


def launched(shell: Shell, words: list[str], env: dict[str, str]) -> bool:
    """Take in a launcher or a proxy that Python runs; False when it is neither."""
    at = next((at for at, word in enumerate(words) if word.endswith(".py")), 0)
    name = program(words[at]) if at else ""
    if name == LAUNCHER:
        _launch(shell, words[at + 1 :], env)
        return True
    if name in _PROXIES:
        found = ProxyStart(shell.file, shell.expander.line, words[at], tuple(words[at + 1 :]), _PROXIES[name])
        if found not in shell.world.proxies:
            shell.world.proxies.append(found)
        return True
    return False


def cut_off(shell: Shell, words: list[str]) -> None:
    """A flag that starts a command belongs to the command before it. Raises FileError."""
    message = f"{words[0]} starts a command: a comment, or a blank behind the backslash, ends the one before it"
    raise fault(shell.file, shell.expander.line, message, hint="join the lines again, then import")


def left_out(shell: Shell, name: str, words: list[str]) -> None:
    """Say what is not carried over."""
    shown = shell.world.unknowns.shown(" ".join(words))
    shown = shortened(re.sub(r"\s+", " ", shown), 80)
    if name in _SERVICES and not any(map(is_open, words)):
        shell.world.services.append(ServiceStart(shell.file, shell.expander.line, tuple(map(plainly, words))))
    elif name in _SERVICES:
        shell.note(f"`{shown}` is not carried over: start this service yourself before the engines")
    elif name in ("sysctl", "echo", "cpupower", "modprobe"):
        shell.note(f"`{shown}` is not carried over; see `dsv4-console tune` for settings of the host")
    else:
        shell.note(f"`{shown}` is not carried over")


def _launch(shell: Shell, words: list[str], env: dict[str, str]) -> None:
    """What a line of the launcher starts: one engine for each local rank, by its template."""
    file, line = shell.file, shell.expander.line
    options = _options(words, file, line, shell.world)
    script = _template(shell, options, env)
    local, width, first, port = (options[key] for key in ("local", "tp", "rank", "port"))
    place = shell.node or f"{file}:{line}:{' '.join(words)}"
    for rank in range(int(local)):
        devices = ",".join(str(each) for each in range(rank * int(width), (rank + 1) * int(width)))
        arguments = (devices, str(int(port) + rank), options["size"], str(int(first) + rank))
        _run(shell, script, (*arguments, options["address"], options["rpc"], width), env, place)


def _options(words: list[str], file: str, line: int, world: World) -> dict[str, str]:
    given, at = dict(_OPTIONS), 0
    while at < len(words):
        name, equals, value = words[at].partition("=")
        if name not in given:
            raise fault(file, line, f"{name!r} is no argument of {LAUNCHER} (it has {', '.join(given)})")
        if not equals:
            at += 1
            value = words[at] if at < len(words) else ""
        given[name] = value
        at += 1
    for name, value in given.items():
        if name == "--dp-address" and value:
            continue
        if is_open(value):
            inner = world.unknowns.within(value)
            raise fault(
                file, line, f"the value is {inner[0].title}", key=name, hint=f"--set {inner[0].name}=… gives it"
            )
        if not re.fullmatch(r"-?[0-9]{1,5}", value):
            raise fault(
                file, line, f"must be given to {LAUNCHER}" if not value else f"{value!r} is no number", key=name
            )
    size = int(given["--dp-size"])
    local = int(given["--dp-size-local"])
    local = size if local == -1 else local
    if not 0 < local <= 64:
        raise fault(file, line, f"{local} engines on one node", key="--dp-size-local")
    return {
        "size": given["--dp-size"],
        "local": str(local),
        "tp": given["--tp-size"],
        "rank": given["--dp-rank-start"],
        "address": given["--dp-address"],
        "rpc": given["--dp-rpc-port"],
        "port": given["--vllm-start-port"],
    }


def _run(shell: Shell, script: Script, arguments: tuple[str, ...], env: dict[str, str], place: str) -> None:
    variables = Variables(dict(env), set(env), arguments=arguments, in_function=True, name=script.path)
    inner = shell.child(variables, node=place)
    shell.world.ran.add(script.path)
    with suppress(Stop):
        inner.run_text(script)


def _template(shell: Shell, options: dict[str, str], env: dict[str, str]) -> Script:
    """The script that the launcher runs here: the one of its name, or the given one whose sizes fit this line."""
    world = shell.world
    candidates = [script for script in world.templates if script.path != shell.file]
    named = world.files.get(TEMPLATE)
    if named is not None and (named not in candidates or len(candidates) == 1):
        return named
    fitting = [each for each in candidates if _fits(shell, each, options, env)]
    if len({_shape(shell, each, options, env) for each in fitting}) == 1:
        return fitting[0]
    line, file = shell.expander.line, shell.file
    if not candidates:
        hint = f"give it too: import {file} {TEMPLATE}"
        raise fault(file, line, f"{LAUNCHER} runs {TEMPLATE} for each engine, which was not given", hint=hint)
    names = ", ".join(each.path for each in fitting or candidates)
    sizes = f"data parallel {options['size']}, tensor parallel {options['tp']}"
    what = "each of" if fitting else "none of"
    message = f"{what} {names} fits this line ({sizes}) by the sizes in its --kv-transfer-config"
    raise fault(file, line, message, hint="import the lines of each role with its own template, one role at a time")


def _trial(shell: Shell, script: Script, options: dict[str, str], env: dict[str, str]) -> list[Started]:
    """What a template starts for the first rank of a line."""
    world = shell.world.trial()
    inner = shell.child(Variables())
    inner.world = world
    arguments = (
        "0",
        options["port"],
        options["size"],
        options["rank"],
        options["address"],
        options["rpc"],
        options["tp"],
    )
    with suppress(FileError):
        _run(inner, script, arguments, env, "trial")
    return world.started


def _fits(shell: Shell, script: Script, options: dict[str, str], env: dict[str, str]) -> bool:
    """Whether the sizes a template's connector says of its own role are those of the line; without any, it fits."""
    started = _trial(shell, script, options, env)
    if not started:
        return False
    words = " ".join(started[0].words)
    side = "prefill" if "kv_producer" in words else "decode" if "kv_consumer" in words else ""
    found = re.search(rf'"{side}"\s*:\s*\{{([^{{}}]*)\}}', words) if side else None
    if found is None:
        return True
    sizes: dict[str, str] = dict(re.findall(r'"(dp_size|tp_size)"\s*:\s*"?([0-9]+)', found[1]))
    return (
        sizes.get("dp_size", options["size"]) == options["size"]
        and sizes.get("tp_size", options["tp"]) == options["tp"]
    )


def _shape(shell: Shell, script: Script, options: dict[str, str], env: dict[str, str]) -> tuple[str, ...]:
    """What a template starts, but for what belongs to its node: equal for the scripts of two nodes of one role."""
    started = _trial(shell, script, options, env)[0]
    own = ("HCCL_IF_IP", "VLLM_HOST_IP", "HCCL_SOCKET_IFNAME", "GLOO_SOCKET_IFNAME", "TP_SOCKET_IFNAME")
    kept = replace(started, env={name: value for name, value in started.env.items() if name not in own})
    return (*kept.words, *(f"{name}={value}" for name, value in kept.env.items()))
