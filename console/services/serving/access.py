"""What an engine wants shown before it answers requests: the key of its layout, else this console's own VLLM_API_KEY.

`/v1` alone is guarded; `/health` and `/metrics` answer anybody (vLLM 0.21). What an answer means does not enter here.
"""

from __future__ import annotations

import os

from console.commands.serve import api_key
from console.model.deployment import Deployment
from console.remote.http import AsyncHttp, HttpAnswer
from console.remote.link import NodeLink

OWN_KEY = "VLLM_API_KEY"
WANTED = f"it wants an API key: give {OWN_KEY} in the `env` of the layout, or to this console"
"""What to do about an engine that answers 401."""


def key_of(deployment: Deployment, engine: str) -> str:
    """What is sent to an engine or the proxy as Bearer; empty when nothing is known, or it cannot stand in a header."""
    proxy = deployment.proxy_rank()
    ranks = (*deployment.ranks(), *((proxy,) if proxy is not None else ()))
    rank = next((each for each in ranks if each.id == engine), None)
    key = (api_key(deployment, rank) if rank is not None else "") or os.environ.get(OWN_KEY, "")
    return key if key.isascii() and key.isprintable() else ""


def client(link: NodeLink, deployment: Deployment, engine: str) -> AsyncHttp:
    """HTTP to an engine or the proxy on a node, with what it wants shown."""
    return link.http(key_of(deployment, engine))


def barred(answer: HttpAnswer) -> bool:
    """Whether an engine refused to answer because it was shown no key, or another one."""
    return answer.status == 401
