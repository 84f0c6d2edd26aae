"""The JSON bodies of vLLM's OpenAI API: models, completions, chat, streams, errors; shapes as captured from vLLM
0.21. No sockets here."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from console.demo.json_types import JsonValue

FINGERPRINT: Final = "vllm-0.21.0"
ENGINE_DEAD: Final = "EngineCore encountered an issue. See stack trace (above) for the root cause."


class Rejected(Exception):
    """A request is refused before it reaches an engine."""

    def __init__(self, status: int, message: str, kind: str, param: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.body = error(status, message, kind, param)


def error(status: int, message: str, kind: str, param: str | None = None) -> JsonValue:
    """The error body."""
    return {"error": {"message": message, "type": kind, "param": param, "code": status}}


@dataclass(frozen=True, slots=True)
class Ask:
    """A completion or chat request, understood."""

    id: str
    chat: bool
    model: str
    prompt_tokens: int
    max_tokens: int
    stream: bool
    usage: bool
    kv: Mapping[str, JsonValue] | None
    created: int


def understand(path: str, body: bytes, names: tuple[str, ...], max_len: int) -> Ask:
    """The request behind a body; Rejected with the real server's words."""
    chat = path == "/v1/chat/completions"
    where = f"    POST {path}"
    try:
        data = json.loads(body)
    except ValueError as fault:
        said = getattr(fault, "msg", str(fault))
        place = getattr(fault, "pos", 0)
        detail = f"{{'type': 'json_invalid', 'loc': ('body', {place}), 'msg': 'JSON decode error', 'input': {{}},"
        detail += f" 'ctx': {{'error': '{said}'}}}}"
        raise Rejected(400, f"1 validation error:\n  {detail}\n\n{where} [{detail}]", "Bad Request") from fault
    if not isinstance(data, dict):
        raise Rejected(400, "1 validation error:\n  Input should be a valid dictionary", "Bad Request")
    field = "messages" if chat else "prompt"
    if field not in data:
        detail = f"{{'type': 'missing', 'loc': ('body', '{field}'), 'msg': 'Field required', 'input': {data!r}}}"
        raise Rejected(400, f"1 validation error:\n  {detail}\n\n{where} [{detail}]", "Bad Request")
    model = data.get("model") or names[0]
    if model not in names:
        raise Rejected(404, f"The model `{model}` does not exist.", "NotFoundError", "model")
    tokens = data.get("max_completion_tokens") or data.get("max_tokens") or (1024 if chat else 16)
    prompt = max(1, len(json.dumps(data[field], ensure_ascii=False)) // 4)
    if not isinstance(tokens, int) or tokens > max_len:
        said = f"max_tokens={tokens} cannot be greater than max_model_len=max_total_tokens={max_len}."
        said += f" Please request fewer output tokens. (parameter=max_tokens, value={tokens})"
        raise Rejected(400, said, "BadRequestError", "max_tokens")
    options, kv = data.get("stream_options"), data.get("kv_transfer_params")
    return Ask(
        id=f"{'chatcmpl' if chat else 'cmpl'}-{uuid.uuid4().hex[:16]}",
        chat=chat,
        model=str(model),
        prompt_tokens=prompt,
        max_tokens=max(1, min(tokens, max_len - min(prompt, max_len - 1))),
        stream=bool(data.get("stream")),
        usage=isinstance(options, dict) and bool(options.get("include_usage")),
        kv=kv if isinstance(kv, dict) else None,
        created=int(time.time()),
    )


def models(names: tuple[str, ...], root: str, max_len: int) -> JsonValue:
    """`GET /v1/models`."""
    now = int(time.time())
    permission: dict[str, JsonValue] = {
        "id": f"modelperm-{uuid.uuid4().hex[:16]}",
        "object": "model_permission",
        "created": now,
        "allow_create_engine": False,
        "allow_sampling": True,
        "allow_logprobs": True,
        "allow_search_indices": False,
        "allow_view": True,
        "allow_fine_tuning": False,
        "organization": "*",
        "group": None,
        "is_blocking": False,
    }
    entries: list[JsonValue] = [
        {
            "id": name,
            "object": "model",
            "created": now,
            "owned_by": "vllm",
            "root": root,
            "parent": None,
            "max_model_len": max_len,
            "permission": [permission],
        }
        for name in names
    ]
    return {"object": "list", "data": entries}


def whole(ask: Ask, text: str, tokens: int, finish: str, kv: JsonValue) -> JsonValue:
    """The answer of a request that does not stream."""
    choice: dict[str, JsonValue] = {"index": 0}
    if ask.chat:
        message: dict[str, JsonValue] = {
            "role": "assistant",
            "content": text,
            "refusal": None,
            "annotations": None,
            "audio": None,
        }
        choice["message"] = {**message, "function_call": None, "tool_calls": [], "reasoning": None}
    else:
        choice["text"] = text
    choice |= {"logprobs": None, "finish_reason": finish, "stop_reason": None, "token_ids": None}
    return {
        "id": ask.id,
        "object": "chat.completion" if ask.chat else "text_completion",
        "created": ask.created,
        "model": ask.model,
        "choices": [choice],
        "service_tier": None,
        "system_fingerprint": FINGERPRINT,
        "usage": _usage(ask, tokens),
        "kv_transfer_params": kv,
    }


def _usage(ask: Ask, tokens: int) -> JsonValue:
    return {
        "prompt_tokens": ask.prompt_tokens,
        "total_tokens": ask.prompt_tokens + tokens,
        "completion_tokens": tokens,
        "prompt_tokens_details": None,
    }


def event(value: JsonValue) -> bytes:
    """One server-sent event."""
    return b"data: " + json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"


DONE: Final = b"data: [DONE]\n\n"


def first_piece(ask: Ask) -> bytes:
    """The role, before any text; only chats have it."""
    return _piece(ask, {"role": "assistant", "content": ""}, None) if ask.chat else b""


def piece(ask: Ask, text: str, finish: str | None) -> bytes:
    """One piece of streamed text."""
    return _piece(ask, {"content": text}, finish)


def _piece(ask: Ask, delta: Mapping[str, JsonValue], finish: str | None) -> bytes:
    choice: dict[str, JsonValue] = {"index": 0}
    choice |= {"delta": dict(delta)} if ask.chat else {"text": delta["content"]}
    choice |= {"logprobs": None, "finish_reason": finish, "token_ids": None}
    kind = "chat.completion.chunk" if ask.chat else "text_completion"
    return event({"id": ask.id, "object": kind, "created": ask.created, "model": ask.model, "choices": [choice]})


def usage_piece(ask: Ask, tokens: int) -> bytes:
    """The last event of a stream that asked for usage."""
    kind = "chat.completion.chunk" if ask.chat else "text_completion"
    return event(
        {
            "id": ask.id,
            "object": kind,
            "created": ask.created,
            "model": ask.model,
            "choices": [],
            "usage": _usage(ask, tokens),
        }
    )
