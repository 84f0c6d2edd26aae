"""Finds the API key for requests to engines: the key of the layout, else VLLM_API_KEY of this console.

Only `/v1` needs a key; `/health` and `/metrics` do not (vLLM 0.21).
"""

from __future__ import annotations

import os

from console.model.api_keys import ENGINE_KEY, keys_of, proxy_key
from console.model.layout import Layout
from console.remote.http import AsyncHttp, HttpAnswer
from console.remote.link import NodeLink

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


def client(link: NodeLink, layout: Layout, group: str) -> AsyncHttp:
    """An HTTP client for engines of a group, or the proxy, on a node, with their API key."""
    return link.http(key_of(layout, group))


def unauthorized(answer: HttpAnswer) -> bool:
    """Whether an engine refused the request for a missing or wrong API key."""
    return answer.status == 401
