"""Rules about how engines let clients in: S1–S3."""

from __future__ import annotations

from collections.abc import Iterator

from console.model.api_keys import ENGINE_KEY, keys_of
from console.model.findings import Severity
from console.rules.rule import Hit, Rule, RuleContext

_TLS = ("ssl-keyfile", "ssl-certfile")


def _one_key(scene: RuleContext) -> Iterator[Hit]:
    taken = {name: keys for name in scene.groups if (keys := keys_of(scene.layout, name))}
    if scene.layout.proxy is None or not taken:
        return
    first = next(iter(taken))
    for name, keys in taken.items():
        if taken[first][0] not in keys:
            yield Hit(f"{name} does not take the key of {first}, which the proxy sends to all", scene.at(name))


def _in_argv(scene: RuleContext) -> Iterator[Hit]:
    found: dict[str, list[str]] = {}
    for name in scene.groups:
        if scene.args(name).get("api-key"):
            found.setdefault(scene.at_flag(name, "api-key"), []).append(name)
    for where, names in found.items():
        yield Hit(f"{', '.join(names)}: --api-key shows its key to everybody on the node (ps)", where)


def _plain(scene: RuleContext) -> Iterator[Hit]:
    for name in scene.groups:
        for flag in _TLS:
            if scene.args(name).get(flag):
                yield Hit(f"{name}: --{flag} makes the engine speak TLS", scene.at_flag(name, flag))
        if scene.args(name).get("uds"):
            yield Hit(f"{name}: --uds leaves no port to ask", scene.at_flag(name, "uds"), Severity.ERROR)


RULES = (
    Rule(
        "S1",
        "One API key behind a proxy",
        Severity.ERROR,
        "The proxy sends one key to every engine; those that want another answer 401, and the proxy 500.",
        f"Give {ENGINE_KEY} once, in the layout's `env`.",
        "vllm-ascend load_balance_proxy_server_example.py; vLLM 0.21 entrypoints/openai/api_server.py",
        _one_key,
    ),
    Rule(
        "S2",
        "Keys stay out of the process list",
        Severity.NOTE,
        "Words of a command can be read by every user of the node; variables only by the engine's own user and root.",
        f"Give the key as {ENGINE_KEY} in `env`.",
        "proc(5)",
        _in_argv,
    ),
    Rule(
        "S3",
        "Engines speak plain HTTP",
        Severity.WARNING,
        "The proxy and this console ask engines over plain HTTP on a port; inside the SSH connection nobody else can read it.",
        "Leave TLS to what stands in front of the proxy.",
        "vllm-ascend load_balance_proxy_server_example.py",
        _plain,
    ),
)
