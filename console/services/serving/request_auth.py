"""What an engine wants shown before it answers requests: the key of its layout, else this console's own VLLM_API_KEY.

`/v1` alone is guarded; `/health` and `/metrics` answer anybody (vLLM 0.21). What an answer means does not enter here.
"""

from __future__ import annotations

import os

from console.model.api_keys import ENGINE_KEY, keys_of, proxy_key
from console.model.layout import Layout
from console.remote.http import AsyncHttp, HttpAnswer
from console.remote.link import NodeLink

WANTED = f"it wants an API key: give {ENGINE_KEY} in the `env` of the layout, or to this console"
"""What to do about an engine that answers 401."""


def key_of(layout: Layout, group: str) -> str:
    """What is sent as Bearer to the engines of a group, or to the `proxy`.

    A server that is of no group is not shown what the layout says. Empty when nothing is known, or it cannot stand in a header.
    """
    found = proxy_key(layout) if group == "proxy" else ""
    if group in layout.groups:
        found = next(iter(keys_of(layout, group)), "")
    key = found or os.environ.get(ENGINE_KEY, "")
    return key if key.isascii() and key.isprintable() else ""


def client(link: NodeLink, layout: Layout, group: str) -> AsyncHttp:
    """HTTP to engines of a group, or to the proxy, on a node, with what they want shown."""
    return link.http(key_of(layout, group))


def barred(answer: HttpAnswer) -> bool:
    """Whether an engine refused to answer because it was shown no key, or another one."""
    return answer.status == 401
