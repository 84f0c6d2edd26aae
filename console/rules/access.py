"""Rules about API keys and TLS: S1–S3."""

from __future__ import annotations

from collections.abc import Iterator

from console.model.api_keys import ENGINE_KEY, keys_of
from console.model.findings import Severity
from console.rules.rule import Rule, RuleContext, Violation

_TLS = ("ssl-keyfile", "ssl-certfile")


def _one_key(context: RuleContext) -> Iterator[Violation]:
    taken = {name: keys for name in context.groups if (keys := keys_of(context.layout, name))}
    if context.layout.proxy is None or not taken:
        return
    first = next(iter(taken))
    for name, keys in taken.items():
        if taken[first][0] not in keys:
            yield Violation(
                f"{name} does not accept the API key of {first}, which the proxy sends to all engines", context.at(name)
            )


def _in_argv(context: RuleContext) -> Iterator[Violation]:
    found: dict[str, list[str]] = {}
    for name in context.groups:
        if context.args(name).get("api-key"):
            found.setdefault(context.at_flag(name, "api-key"), []).append(name)
    for where, names in found.items():
        yield Violation(f"{', '.join(names)}: --api-key shows the key to every user of the node (ps)", where)


def _plain(context: RuleContext) -> Iterator[Violation]:
    if context.layout.proxy is None:
        return
    for name in context.groups:
        for flag in _TLS:
            if context.args(name).get(flag):
                yield Violation(f"{name}: --{flag} makes the engine use TLS", context.at_flag(name, flag))
        if context.args(name).get("uds"):
            yield Violation(
                f"{name}: --uds replaces the HTTP port by a socket, which the proxy cannot use",
                context.at_flag(name, "uds"),
                Severity.ERROR,
            )


RULES = (
    Rule(
        "S1",
        "One API key behind a proxy",
        Severity.ERROR,
        "The proxy sends the same key to every engine. An engine with another key answers 401, and then the proxy answers 500.",
        f"Set {ENGINE_KEY} once, in `env` of the layout.",
        "vllm-ascend load_balance_proxy_server_example.py; vLLM 0.21 entrypoints/openai/api_server.py",
        _one_key,
    ),
    Rule(
        "S2",
        "API keys are not in the process list",
        Severity.NOTE,
        "Every user of the node can read the arguments of a command; only root and the user of the engine can read its "
        "variables.",
        f"Set the key as {ENGINE_KEY} in `env`.",
        "proc(5)",
        _in_argv,
    ),
    Rule(
        "S3",
        "Engines behind a proxy use plain HTTP",
        Severity.WARNING,
        "The proxy sends plain HTTP to the port of an engine. The console itself also reaches engines over TLS or Unix sockets.",
        "Use TLS in front of the proxy only.",
        "vllm-ascend load_balance_proxy_server_example.py",
        _plain,
    ),
)
