"""Sends a JSON document to a webhook from this machine. The address is secret, so no message contains it."""

from __future__ import annotations

import asyncio
import json


async def post(url: str, value: object, timeout_s: float) -> str:
    """POST the value; returns an empty text after a status 2xx, else the error. Never raises for errors of the server."""
    import httpx  # loaded with the first alert: a console that sends none starts without it

    body = json.dumps(value, ensure_ascii=False).encode("utf-8")
    fields = {"Content-Type": "application/json", "User-Agent": "dsv4-console"}
    try:
        async with asyncio.timeout(timeout_s), httpx.AsyncClient(timeout=None, trust_env=False) as client:
            answer = await client.post(url, content=body, headers=fields)
    except (TimeoutError, httpx.TimeoutException):
        return f"no answer within {timeout_s:g} s"
    except (httpx.TransportError, httpx.InvalidURL, OSError) as error:
        return type(error).__name__
    return "" if answer.is_success else f"answered {answer.status_code}"
