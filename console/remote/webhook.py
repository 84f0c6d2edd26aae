"""Sends a JSON document to a webhook from this machine. The address is secret, so no message contains it."""

from __future__ import annotations

import asyncio
import json
import ssl

import httpcore


async def post(url: str, value: object, timeout_s: float) -> str:
    """POST the value; returns an empty text after a status 2xx, else the error. Never raises for errors of the server."""
    body = json.dumps(value, ensure_ascii=False).encode("utf-8")
    fields: dict[bytes | str, bytes | str] = {"Content-Type": "application/json", "User-Agent": "dsv4-console"}
    try:
        async with asyncio.timeout(timeout_s), httpcore.AsyncConnectionPool() as pool:
            answer = await pool.request("POST", url, headers=fields, content=body)
    except (TimeoutError, httpcore.TimeoutException):
        return f"no answer within {timeout_s:g} s"
    except (httpcore.NetworkError, httpcore.ProtocolError, ssl.SSLError, OSError) as error:
        return type(error).__name__
    return "" if 200 <= answer.status < 300 else f"answered {answer.status}"
