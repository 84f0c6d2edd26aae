"""The API keys of engines and proxy, as the layout sets them. Does not send requests.

vLLM 0.21 protects only `/v1`, with the values of `--api-key`, else of VLLM_API_KEY (entrypoints/openai/api_server.py).
"""

from __future__ import annotations

from console.model.layout import Layout, flag_name

ENGINE_KEY = "VLLM_API_KEY"
CLIENT_KEY = "OPENAI_API_KEY"
"""The variable with the key that vllm-ascend's example proxies and `vllm bench serve` send."""


def keys_of(layout: Layout, group: str) -> tuple[str, ...]:
    """The keys that engines of a group accept; empty when they need none."""
    own = layout.groups[group]
    flags = {flag_name(key): value for key, value in {**layout.args, **own.args}.items()}
    written = flags.get("api-key")
    given = [str(key) for key in (written if isinstance(written, list) else [written]) if key]
    variable = {**layout.env, **own.env}.get(ENGINE_KEY)
    return tuple(given) or ((variable,) if variable else ())


def proxy_key(layout: Layout) -> str:
    """The key that the proxy sends to all engines: the first key of any group; empty when none needs a key."""
    return next((key for group in layout.groups for key in keys_of(layout, group)), "")
