"""Which API keys engines and the proxy want: what the layout says of them. Sending one does not enter here.

vLLM 0.21 guards `/v1` alone, by the words of `--api-key`, else by VLLM_API_KEY (entrypoints/openai/api_server.py).
"""

from __future__ import annotations

from console.model.layout import Layout, flag_name

ENGINE_KEY = "VLLM_API_KEY"
CLIENT_KEY = "OPENAI_API_KEY"
"""Variable whose value vllm-ascend's example proxies and `vllm bench serve` send."""


def keys_of(layout: Layout, group: str) -> tuple[str, ...]:
    """The keys that engines of a group take; empty when they let in everybody."""
    own = layout.groups[group]
    flags = {flag_name(key): value for key, value in {**layout.args, **own.args}.items()}
    written = flags.get("api-key")
    given = [str(key) for key in (written if isinstance(written, list) else [written]) if key]
    variable = {**layout.env, **own.env}.get(ENGINE_KEY)
    return tuple(given) or ((variable,) if variable else ())


def proxy_key(layout: Layout) -> str:
    """What the proxy sends to all its engines: the first key that any of them wants; empty when none does."""
    return next((key for group in layout.groups for key in keys_of(layout, group)), "")
