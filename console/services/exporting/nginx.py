"""Exports an nginx configuration for an own router: one upstream for each group, and one server for the endpoint.

nginx alone cannot balance prefill and decode engines, because a request uses both; the proxy does that. Their upstreams are
for other routers; clients are routed to the proxy.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence

from console.model.deployment import Deployment, Rank
from console.model.errors import Refused
from console.services.exporting.shell_folders import ExportedFile, launched

LISTEN = 8080
ANSWER_S = 3600
"""Read timeout; long prompts take minutes before the first token."""


def nginx_configuration(deployment: Deployment) -> tuple[ExportedFile, ...]:
    """`nginx.conf.d/DEPLOYMENT.conf`. Raises UsageError without nodes, Refused without an endpoint for clients."""
    ranks = [rank for rank in launched(deployment) if rank.port is not None]
    for rank in ranks:
        if not rank.address:
            hint = "write `ip` of the node in the cluster file"
            raise Refused(f"the service address of {rank.node} is not known", hint=hint)
    return (ExportedFile(f"nginx.conf.d/{deployment.name}.conf", "\n".join(_lines(deployment, ranks)) + "\n"),)


def _lines(deployment: Deployment, ranks: Sequence[Rank]) -> Iterator[str]:
    yield f"# {deployment.name}: goes into the http block of nginx, for example as /etc/nginx/conf.d/{deployment.name}.conf"
    yield "# nginx does not look at load or KV cache; an engine that fails is left out for a while and tried again."
    for group in dict.fromkeys(rank.group for rank in ranks):
        mine = [rank for rank in ranks if rank.group == group]
        yield ""
        yield from _upstream(deployment, group, mine)
    yield ""
    yield from _server(deployment, _endpoint_group(deployment, ranks))


def _upstream(deployment: Deployment, group: str, ranks: Sequence[Rank]) -> Iterator[str]:
    role = ranks[0].role
    if role in ("prefill", "decode"):
        yield f"# {role} engines: behind the proxy, never directly in front of clients"
    yield f"upstream {_name(deployment, group)} {{"
    yield "    least_conn;"
    for rank in ranks:
        yield f"    server {_endpoint(rank)} max_fails=2 fail_timeout=10s;  # {rank.id} on {_comment(rank.node)}"
    yield "    keepalive 64;"
    yield "}"


def _endpoint_group(deployment: Deployment, ranks: Sequence[Rank]) -> str:
    """The group that receives client requests: the proxy, else mixed engines."""
    roles = {rank.role: rank.group for rank in reversed(ranks)}
    endpoint = roles.get("proxy") or roles.get("mixed")
    if endpoint is None:
        hint = "give the layout a proxy, or export the groups to a router that knows prefill and decode"
        raise Refused("prefill and decode engines without a proxy answer no client", hint=hint)
    return endpoint


def _server(deployment: Deployment, endpoint: str) -> Iterator[str]:
    yield "server {"
    yield f"    listen {LISTEN};"
    yield "    client_max_body_size 64m;  # long prompts"
    yield "    location /v1/ {"
    yield f"        proxy_pass http://{_name(deployment, endpoint)};"
    yield "        proxy_http_version 1.1;"
    yield '        proxy_set_header Connection "";'
    yield "        proxy_set_header Host $host;"
    yield "        proxy_buffering off;  # tokens are streamed"
    yield f"        proxy_read_timeout {ANSWER_S}s;"
    yield f"        proxy_send_timeout {ANSWER_S}s;"
    yield "        proxy_next_upstream error timeout;  # of a connection, never of a request that has begun"
    yield "    }"
    yield "}"


def _name(deployment: Deployment, group: str) -> str:
    return f"{deployment.name}-{group}"


def _endpoint(rank: Rank) -> str:
    try:
        address = ipaddress.ip_address(rank.address)
    except ValueError:
        return f"{rank.address}:{rank.port}"
    return f"[{address}]:{rank.port}" if address.version == 6 else f"{address}:{rank.port}"


def _comment(text: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in text)
