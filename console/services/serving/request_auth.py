"""How the servers of a deployment are asked: with which API key, over TLS, at which port or socket.

The key is that of the layout, else VLLM_API_KEY of this console. Only `/v1` needs a key; `/health` and `/metrics` do not
(vLLM 0.21).
"""

from __future__ import annotations

import os

from console.model.api_keys import ENGINE_KEY, keys_of, proxy_key
from console.model.deployment import Deployment
from console.model.layout import Layout, flag_name
from console.model.snapshot import EngineSnapshot
from console.remote.http import EngineHttp
from console.remote.link import NodeLink
from console.remote.standing_questions import Question

LOOPBACK = "127.0.0.1"
KEY_WANTED = f"it wants an API key: give {ENGINE_KEY} in the `env` of the layout, or to this console"
"""The remedy for an engine that answers 401."""


def key_of(layout: Layout, group: str) -> str:
    """The API key for the engines of a group, or for the `proxy`.

    A server outside of all groups does not get the key of the layout. Empty when no key is known, or the key is not valid in
    a header.
    """
    found = proxy_key(layout) if group == "proxy" else ""
    if group in layout.groups:
        found = next(iter(keys_of(layout, group)), "")
    key = found or os.environ.get(ENGINE_KEY, "")
    return key if key.isascii() and key.isprintable() else ""


def client(link: NodeLink, layout: Layout, group: str) -> EngineHttp:
    """An HTTP client for engines of a group, or the proxy, on a node, with their API key."""
    tls, uds = _way(layout, group)
    return link.http(key_of(layout, group), tls=tls, uds=uds)


def question(
    deployment: Deployment, engine: EngineSnapshot, path: str, want: str, every_s: float, timeout_s: float
) -> Question:
    """A standing question to the server of an engine, or to the proxy."""
    where = deployment.address(engine.node) or LOOPBACK, engine.port or 0
    tls, uds = _way(deployment.layout, engine.group)
    key = key_of(deployment.layout, engine.group)
    return Question(*where, path, want, every_s, timeout_s, api_key=key, tls=tls, uds=uds)


def unauthorized(status: int) -> bool:
    """Whether an engine refused the request for a missing or wrong API key."""
    return status == 401


def _way(layout: Layout, group: str) -> tuple[bool, str]:
    """(whether the engines of a group use TLS, their socket instead of a port)."""
    own = layout.groups.get(group)
    if own is None:
        return False, ""
    flags = {flag_name(key): value for key, value in {**layout.args, **own.args}.items()}
    return bool(flags.get("ssl-certfile") or flags.get("ssl-keyfile")), str(flags.get("uds") or "")
